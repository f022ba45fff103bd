// The pool behind parallel_for; pool.h says what it is for.
//
// How a helper can never touch a job that is over: a helper first counts itself in (`inside`), then reads `open`. The caller
// first closes the job, then waits until `inside` is 0. Both are sequentially consistent, so either the helper sees the job
// closed, or the caller sees the helper inside; there is no third possibility. The job's fields are only written while the
// job is closed and nobody is inside. A helper spins for some microseconds before it sleeps, since networks come as trains of
// short jobs and waking a sleeping thread costs more than a small layer.
#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace qk {
namespace {

constexpr int kMostHelpers = 255, kSpins = 4000;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

class Pool {
  public:
    void run(int64_t tasks, int threads, void (*run)(void*, int64_t), void* context) {
        if (busy_.exchange(true)) {  // another caller has the helpers, or a task of ours calls us again
            for (int64_t task = 0; task < tasks; ++task) run(context, task);
            return;
        }
        run_ = run, context_ = context, tasks_ = tasks, next_ = 0, wanted_ = grow(threads - 1);
        open_ = true;
        wake();
        work();
        open_ = false;
        for (int spins = 0; inside_.load(); ++spins) spins < kSpins ? pause() : std::this_thread::yield();
        busy_ = false;
    }

  private:
    int grow(int helpers) {  // make sure that many helpers exist; returns how many do
        helpers = helpers < kMostHelpers ? helpers : kMostHelpers;
        try {
            for (; helpers_ < helpers; ++helpers_) std::thread(&Pool::help, this, helpers_).detach();
        } catch (const std::system_error&) {  // no more threads to be had: go on with those we have
        }
        return helpers < helpers_ ? helpers : helpers_;
    }

    void wake() {
        if (sleeping_.load() == 0) return;
        std::lock_guard<std::mutex> lock(sleep_);
        bell_.notify_all();
    }

    void work() {
        for (int64_t task; (task = next_.fetch_add(1)) < tasks_;) run_(context_, task);
    }

    [[noreturn]] void help(int me) {
        for (;;) {
            await_job(me);
            inside_.fetch_add(1);
            if (open_.load() && me < wanted_.load()) work();
            inside_.fetch_sub(1);
        }
    }

    bool job_for(int me) const { return open_.load() && me < wanted_.load() && next_.load() < tasks_.load(); }

    void await_job(int me) {
        for (int spins = 0; spins < kSpins; ++spins, pause())
            if (job_for(me)) return;
        std::unique_lock<std::mutex> lock(sleep_);
        sleeping_.fetch_add(1);
        bell_.wait(lock, [&] { return job_for(me); });
        sleeping_.fetch_sub(1);
    }

    std::mutex sleep_;
    std::condition_variable bell_;
    std::atomic<int> inside_{0}, sleeping_{0}, wanted_{0};
    std::atomic<bool> open_{false}, busy_{false};
    std::atomic<int64_t> next_{0}, tasks_{0};
    int helpers_ = 0;
    void (*run_)(void*, int64_t) = nullptr;
    void* context_ = nullptr;
};

std::atomic<Pool*> pool{nullptr};

// Never destroyed: at exit, helpers may still be asleep in it. A child process of fork() has no helpers and perhaps locked
// mutexes, so it starts with a new pool and leaves the old one (a few hundred bytes) behind.
void make_pool() { pool.store(new Pool); }

Pool& the_pool() {
    static const bool made = [] {
        make_pool();
#if !defined(_WIN32)
        pthread_atfork(nullptr, nullptr, make_pool);
#endif
        return true;
    }();
    (void)made;
    return *pool.load();
}

}  // namespace

void run_parallel(int64_t tasks, int threads, void (*run)(void*, int64_t), void* context) {
    if (tasks > 1 && threads > 1) return the_pool().run(tasks, threads, run, context);
    for (int64_t task = 0; task < tasks; ++task) run(context, task);
}

}  // namespace qk
