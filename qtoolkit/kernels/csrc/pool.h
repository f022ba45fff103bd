// A small thread pool: `parallel_for(tasks, threads, f)` calls f(0), f(1), ... f(tasks - 1), each once, on up to `threads`
// threads, and returns when all are done.
//
// Why not OpenMP? Its barrier waits for *every* thread, also for one that the system has not scheduled: when another job
// holds a core, each parallel region then takes 8 to 24 ms instead of microseconds. Here the caller works too and takes
// tasks until none is left; it waits only for helpers that really took one. A helper that arrives late finds nothing and
// costs nothing. A second caller that finds the pool busy does its work alone. After fork() the child builds a new pool.
#pragma once
#include <cstdint>

namespace qk {

void run_parallel(int64_t tasks, int threads, void (*run)(void*, int64_t), void* context);

template <class F>
void parallel_for(int64_t tasks, int threads, F&& f) {
    run_parallel(tasks, threads, [](void* context, int64_t task) { (*static_cast<F*>(context))(task); }, &f);
}

// f(image, threads): images side by side with a thread each or, if they are fewer than threads, one after another with all threads.
template <class F>
void each_image(int64_t images, int threads, F&& f) {
    if (images >= threads) parallel_for(images, threads, [&](int64_t image) { f(image, 1); });
    else for (int64_t image = 0; image < images; ++image) f(image, threads);
}

// At most one thread for `each` multiply-adds of the `work`: a helper that has less to do costs more than it brings.
inline int worth(int threads, int64_t work, int64_t each) {
    const int64_t most = work < each ? 1 : work / each;
    return threads > most ? int(most) : threads;
}

}  // namespace qk
