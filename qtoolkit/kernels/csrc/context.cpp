// Weight codes of one layer as one adaptive arithmetic stream (explained, and readable, in qtoolkit/compression/arithmetic.py
// and context.py; this is the same in C++, integer for integer, so both write the same bytes).
//
// A layer is walked row by row. Each place asks one bit, "is a weight kept here?", and each kept weight then its code, bit by
// bit. A Mixer guesses every bit from several views of what came before, each view a small cell (probability, times seen), and
// learns from the answer; a Coder turns the guess into fractions of a bit. There is nothing to run side by side here: every bit
// waits for the one before it. What makes C++ a hundred times faster than Python is only that a cell is four bytes in an array.
// The logistic function comes from Python as a table, so that no rounding of exp() on some machine can change a file.
// Views of a code's bits by row and by column are kept in hash tables, because few of them ever occur; how many may occur is
// part of the format (kMostCells), so that a hostile stream cannot ask for more memory than that.
#include <algorithm>
#include <new>
#include <unordered_map>
#include <vector>

#include "qk.h"

namespace {

constexpr int kLimit = 2559, kCountLimit = 400, kRate = 5;  // as in arithmetic.py
constexpr int64_t kFirstWeight = 18000, kMostCells = 1 << 22, kMostWeights = 1 << 24;

struct Cell {
    uint16_t p = 1 << 15, count = 0;
};

struct Logistic {
    const int32_t* squash;  // 2 kLimit + 1 probabilities, of d / 256 for d = -kLimit .. kLimit
    int32_t stretch[4096], reciprocal[kCountLimit + 1];

    explicit Logistic(const int32_t* table) : squash(table) {
        for (int p = 0; p < 4096; ++p)
            stretch[p] = std::min<int32_t>(std::lower_bound(table, table + 2 * kLimit + 1, 16 * p + 8) - table, 2 * kLimit) - kLimit;
        for (int n = 0; n <= kCountLimit; ++n) reciprocal[n] = 131072 / (2 * n + 3);
    }
};

struct Interval {  // [low, high]; a byte leaves when both ends agree on it
    uint32_t low = 0, high = 0xffffffff;

    void keep(int bit, uint32_t middle) { bit ? high = middle : low = middle + 1; }
    uint32_t middle(int32_t p) const { return low + uint32_t(uint64_t(high - low) * p >> 16); }
    bool settled() const { return (low ^ high) >> 24 == 0; }
    void shift() { low <<= 8, high = high << 8 | 0xff; }

    int shortest(uint8_t* bytes) const {  // the fewest bytes that name a number in [low, high]; returns how many
        for (int kept = 0; kept < 4; ++kept) {
            const uint64_t unit = uint64_t(1) << (32 - 8 * kept), number = (low + unit - 1) / unit * unit;
            if (number > high) continue;
            for (int i = 0; i < kept; ++i) bytes[i] = uint8_t(number >> (24 - 8 * i));
            return kept;
        }
        for (int i = 0; i < 4; ++i) bytes[i] = uint8_t(low >> (24 - 8 * i));
        return 4;
    }
};

struct Encoder {
    uint8_t* out;
    int64_t capacity, size = 0;  // size goes on counting beyond capacity
    Interval interval{};

    void put(uint8_t byte) {
        if (size < capacity) out[size] = byte;
        ++size;
    }
    int code(int bit, int32_t p) {
        for (interval.keep(bit, interval.middle(p)); interval.settled(); interval.shift()) put(uint8_t(interval.high >> 24));
        return bit;
    }
    bool finish() {
        uint8_t last[4];
        for (int i = 0, count = interval.shortest(last); i < count; ++i) put(last[i]);
        return true;
    }
    bool failed() const { return false; }
};

struct Decoder {  // beyond its end the stream holds zeros, four at most
    const uint8_t* stream;
    int64_t bytes, at = 0;
    uint32_t number = 0;
    Interval interval{};

    Decoder(const uint8_t* from, int64_t count) : stream(from), bytes(count) {
        for (int i = 0; i < 4; ++i) next();
    }
    void next() { number = number << 8 | (at < bytes ? stream[at] : 0), ++at; }
    int code(int, int32_t p) {
        const int bit = number <= interval.middle(p);
        for (interval.keep(bit, interval.middle(p)); interval.settled(); next()) interval.shift();
        return bit;
    }
    bool failed() const { return at > bytes + 4; }
    bool finish() const {  // the stream ends as the encoder would have ended it
        uint8_t last[4];
        const int count = interval.shortest(last);
        return at - 4 + count == bytes && std::equal(last, last + count, stream + at - 4);
    }
};

template <int N>
struct Weights {
    int64_t of[N];
    Weights() { std::fill(of, of + N, kFirstWeight); }
};

// Predict, code and learn one bit: p = squash(sum of w_i stretch(p_i)), then every w_i follows the gradient of the cost.
template <int N, class Coder>
int code_bit(Coder& coder, const Logistic& logistic, int bit, Cell* const (&cells)[N], Weights<N>& weights) {
    int32_t stretched[N];
    int64_t dot = 0;
    for (int i = 0; i < N; ++i) stretched[i] = logistic.stretch[cells[i]->p >> 4], dot += weights.of[i] * stretched[i];
    const int32_t p = logistic.squash[std::max<int64_t>(-kLimit, std::min<int64_t>(kLimit, dot >> 16)) + kLimit];
    bit = coder.code(bit, p);
    const int64_t error = int64_t((bit << 16) - p) * kRate;
    for (int i = 0; i < N; ++i) {
        weights.of[i] += (stretched[i] * error + (1 << 17)) >> 18;
        cells[i]->p = uint16_t(cells[i]->p + (int64_t(65535 * bit - cells[i]->p) * logistic.reciprocal[cells[i]->count] >> 16));
        cells[i]->count += cells[i]->count < kCountLimit;
    }
    return bit;
}

struct Mask {  // is a weight kept here? six views, and a set of weights for each number of neighbors that have one
    Cell always, levels[208 * 16], row_around[8 * 16], column_around[8 * 256];
    std::vector<Cell> column, row;
    Weights<6> weights[4];

    Mask(int64_t rows, int64_t columns) : column(columns), row(rows) {}

    template <class Coder>
    int code(Coder& coder, const Logistic& logistic, int bit, int64_t at_row, int64_t at_column, int left, int far, int above,
             int64_t in_column, int64_t in_row) {
        const int around = left + 2 * far + 4 * above;
        const int64_t column_level = std::min<int64_t>(in_column * 64 / (at_row + 1), 15) + 16 * std::min<int64_t>(at_row, 12);
        const int64_t row_level = std::min<int64_t>(in_row * 96 / (at_column + 16), 15);
        Cell* const cells[6] = {&always, &column[at_column], &row[at_row], &levels[column_level * 16 + row_level],
                                &row_around[around * 16 + row_level], &column_around[around * 256 + column_level]};
        return code_bit(coder, logistic, bit, cells, weights[left + far + above]);
    }
};

struct Value {  // the code of a kept weight, from its top bit down; the bits so far are part of every view
    int width;
    std::vector<Cell> seen_so_far;
    std::unordered_map<uint64_t, Cell> by_column, by_row;
    std::vector<Weights<3>> weights;

    explicit Value(int bits) : width(bits), seen_so_far(size_t(1) << bits), weights(size_t(1) << bits) {}

    template <class Coder>
    int32_t code(Coder& coder, const Logistic& logistic, int32_t code, int64_t row, int64_t column) {
        uint32_t seen = 1;
        for (int shift = width - 1; shift >= 0; --shift) {
            const uint64_t key = uint64_t(seen) << 20;
            Cell* const cells[3] = {&seen_so_far[seen], &by_column[key | uint64_t(column)], &by_row[key | uint64_t(row)]};
            seen = seen << 1 | uint32_t(code_bit(coder, logistic, code >> shift & 1, cells, weights[seen]));
        }
        return int32_t(seen - (1u << width));
    }
    bool too_many() const { return int64_t(by_column.size() + by_row.size()) > kMostCells; }
};

// One walk serves both: encoding passes the codes through, decoding fills them in.
template <class Coder>
int walk(Coder& coder, int32_t* codes, int64_t rows, int64_t columns, int width, int64_t neighbor, const int32_t* squash) {
    const Logistic logistic(squash);
    Mask mask(rows, columns);
    Value value(width);
    std::vector<int32_t> in_column(columns);
    for (int64_t row = 0; row < rows; ++row) {
        int64_t in_row = 0;
        for (int64_t column = 0; column < columns; ++column) {
            int32_t* const at = codes + row * columns + column;
            if (*at < 0 || *at >> width) return QK_BAD_STREAM;
            const int left = column && at[-1], above = row && at[-columns], far = 0 < neighbor && neighbor <= column && at[-neighbor];
            const int kept = mask.code(coder, logistic, *at != 0, row, column, left, far, above, in_column[column], in_row);
            if (kept) {
                *at = value.code(coder, logistic, *at, row, column);
                if (!*at) return QK_BAD_STREAM;
                if (value.too_many()) return QK_BAD_SHAPE;
                ++in_column[column], ++in_row;
            }
            if (coder.failed()) return QK_BAD_STREAM;
        }
    }
    return coder.finish() ? QK_OK : QK_BAD_STREAM;
}

bool fits(int64_t rows, int64_t columns, int64_t width) {
    return rows >= 0 && columns >= 0 && (!rows || columns <= kMostWeights / rows) && rows <= kMostWeights && columns <= kMostWeights &&
           width >= 1 && width <= 16;
}

}  // namespace

int qk_context_encode(const int32_t* codes, int64_t rows, int64_t columns, int64_t width, int64_t neighbor, const int32_t* squash,
                      uint8_t* out, int64_t capacity, int64_t* written) try {
    if (!fits(rows, columns, width)) return QK_BAD_SHAPE;
    Encoder encoder{out, capacity};
    // Encoding writes each code back as it was, so the caller's memory stays as it is.
    const int status = walk(encoder, const_cast<int32_t*>(codes), rows, columns, int(width), neighbor, squash);
    *written = encoder.size;
    return status;
} catch (const std::bad_alloc&) {
    return QK_NO_MEMORY;
}

int qk_context_decode(const uint8_t* stream, int64_t bytes, int64_t rows, int64_t columns, int64_t width, int64_t neighbor,
                      const int32_t* squash, int32_t* codes) try {
    if (!fits(rows, columns, width)) return QK_BAD_SHAPE;
    std::fill(codes, codes + rows * columns, 0);
    Decoder decoder(stream, bytes);
    return walk(decoder, codes, rows, columns, int(width), neighbor, squash);
} catch (const std::bad_alloc&) {
    return QK_NO_MEMORY;
}
