// Convolutions of 3x3, stride 1, padding 1, of float32 maps that lie channels last, by Winograd's F(4x4, 3x3).
//
// Of a patch d of 6x6 numbers and a kernel g, a tile of 4x4 outputs is  A' [ (G g G') * (B' d B) ] A,  with 36 products
// where the plain sum has 144. Summed over channels these are 36 products of matrices, tiles x inputs x outputs. Tiles
// are taken in blocks, so that their transformed numbers stay in a core's cache until they are transformed back.
//
// The gradient of the input is the same with the kernels turned; that of the weights is the adjoint of the formula,
// G' [ sum over tiles of (B' d B) * (A dy A') ] G.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <omp.h>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float Vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec v) { *reinterpret_cast<Vec*>(to) = v; }

constexpr int ROWS = 6;  // 6 x 2 vectors of sums, 2 factors and a broadcast fill the 16 registers of AVX2
constexpr int64_t CACHE = 160000;  // bytes for the numbers of a block: a part of a core's cache of 512 KiB
constexpr int PLANES = 36;
constexpr int64_t GROUP = 16;  // inputs whose weights are fetched together: they lie side by side in the memory

struct Freed { void operator()(float* memory) const { std::free(memory); } };
using Room = std::unique_ptr<float[], Freed>;

Room room(int64_t floats) {
    void* memory = std::aligned_alloc(64, (floats * 4 + 63) / 64 * 64);
    return Room(static_cast<float*>(memory));
}

// The one-dimensional transforms; each is used on the columns and then on the rows.

struct Input {  // B'
    static constexpr int from = 6, to = 6;
    template <class V> static void apply(const V* d, V* out) {
        V a = d[4] - 4.f * d[2], b = d[3] - 4.f * d[1], c = d[4] - d[2], e = d[3] - d[1];
        out[0] = 4.f * d[0] - 5.f * d[2] + d[4];
        out[1] = a + b;
        out[2] = a - b;
        out[3] = c + 2.f * e;
        out[4] = c - 2.f * e;
        out[5] = 4.f * d[1] - 5.f * d[3] + d[5];
    }
};

struct Output {  // A'
    static constexpr int from = 6, to = 4;
    template <class V> static void apply(const V* m, V* out) {
        V a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
        out[0] = m[0] + a + c;
        out[1] = b + 2.f * e;
        out[2] = a + 4.f * c;
        out[3] = b + 8.f * e + m[5];
    }
};

struct OutputGradient {  // A
    static constexpr int from = 4, to = 6;
    template <class V> static void apply(const V* y, V* out) {
        V a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4.f * y[2], e = y[1] + 4.f * y[3];
        out[0] = y[0];
        out[1] = a + b;
        out[2] = a - b;
        out[3] = c + 2.f * e;
        out[4] = c - 2.f * e;
        out[5] = y[3];
    }
};

struct Weight {  // G
    static constexpr int from = 3, to = 6;
    template <class V> static void apply(const V* w, V* out) {
        V a = (w[0] + w[2]) * (-1.f / 6), b = w[1] * (1.f / 6);
        V c = w[0] * (1.f / 24) + w[2] * (1.f / 6), e = w[1] * (1.f / 12);
        out[0] = w[0] * .25f;
        out[1] = a - b;
        out[2] = a + b;
        out[3] = c + e;
        out[4] = c - e;
        out[5] = w[2];
    }
};

struct WeightGradient {  // G'
    static constexpr int from = 6, to = 3;
    template <class V> static void apply(const V* v, V* out) {
        V a = v[1] + v[2], b = v[2] - v[1], c = v[3] + v[4], e = v[3] - v[4];
        out[0] = v[0] * .25f - a * (1.f / 6) + c * (1.f / 24);
        out[1] = b * (1.f / 6) + e * (1.f / 12);
        out[2] = (c - a) * (1.f / 6) + v[5];
    }
};

// A square of vectors, `down` and `across` floats apart, transformed both ways and written likewise.
template <class T>
inline void transform(const float* from, int64_t down, int64_t across, float* to, int64_t to_down, int64_t to_across,
                      int rows = T::to, int columns = T::to) {
    Vec half[T::to][T::from];
#pragma GCC unroll 6
    for (int j = 0; j < T::from; ++j) {
        Vec column[T::from], result[T::to];
#pragma GCC unroll 6
        for (int i = 0; i < T::from; ++i) column[i] = load(from + i * down + j * across);
        T::apply(column, result);
#pragma GCC unroll 6
        for (int i = 0; i < T::to; ++i) half[i][j] = result[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < T::to; ++i) {
        if (i >= rows) break;
        Vec result[T::to];
        T::apply(half[i], result);
#pragma GCC unroll 6
        for (int j = 0; j < T::to; ++j)
            if (j < columns) store(to + i * to_down + j * to_across, result[j]);
    }
}

struct Maps {
    int64_t height, width, down, across, tiles;

    Maps(int64_t n, int64_t h, int64_t w) : height(h), width(w), down((h + 3) / 4), across((w + 3) / 4) {
        tiles = n * down * across;
    }

    struct Place { int64_t image, top, left; };

    Place place(int64_t tile) const {
        const int64_t within = tile % (down * across);
        return {tile / (down * across), within / across * 4, within % across * 4};
    }
};

// The patches (6x6) or tiles (4x4) of a block to rows of 36 x channels; missing rows are zeros.
template <class T>
void transform_in(const float* x, const Maps& maps, int64_t channels, int64_t first, int64_t count, int64_t rows,
                  float* edge, float* to) {
    const int64_t margin = T::from == 6;
    for (int64_t t = 0; t < count; ++t) {
        const auto [image, row, column] = maps.place(first + t);
        const int64_t top = row - margin, left = column - margin;
        const float* from = x + ((image * maps.height + top) * maps.width + left) * channels;
        int64_t down = maps.width * channels;
        if (top < 0 || left < 0 || top + T::from > maps.height || left + T::from > maps.width) {
            std::memset(edge, 0, T::from * T::from * channels * sizeof(float));
            const int64_t begin = std::max<int64_t>(0, -left), end = std::min<int64_t>(T::from, maps.width - left);
            for (int64_t i = std::max<int64_t>(0, -top); i < std::min<int64_t>(T::from, maps.height - top); ++i)
                std::memcpy(edge + (i * T::from + begin) * channels, from + i * down + begin * channels,
                            (end - begin) * channels * sizeof(float));
            from = edge;
            down = T::from * channels;
        }
        for (int64_t c = 0; c < channels; c += LANES)
            transform<T>(from + c, down, channels, to + t * PLANES * channels + c, 6 * channels, channels);
    }
    std::memset(to + count * PLANES * channels, 0, (rows - count) * PLANES * channels * sizeof(float));
}

void transform_out(const float* m, const Maps& maps, int64_t channels, int64_t first, int64_t count, float* y) {
    for (int64_t t = 0; t < count; ++t) {
        const auto [image, top, left] = maps.place(first + t);
        float* to = y + ((image * maps.height + top) * maps.width + left) * channels;
        const int down = std::min<int64_t>(4, maps.height - top), across = std::min<int64_t>(4, maps.width - left);
        const float* from = m + t * PLANES * channels;
        if (down == 4 && across == 4)
            for (int64_t c = 0; c < channels; c += LANES)
                transform<Output>(from + c, 6 * channels, channels, to + c, maps.width * channels, channels);
        else
            for (int64_t c = 0; c < channels; c += LANES)
                transform<Output>(from + c, 6 * channels, channels, to + c, maps.width * channels, channels, down, across);
    }
}

// to[r][j] = or += sum over i of a[r * row + i * step] * b[i][j], for R rows and N vectors
template <int R, int N, bool ADD>
inline void product(const float* a, int64_t row, int64_t step, const float* b, int64_t b_row, float* to, int64_t to_row,
                    int64_t depth) {
    Vec sum[R][N];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int j = 0; j < N; ++j) sum[r][j] = ADD ? load(to + r * to_row + j * LANES) : Vec{};
    for (int64_t i = 0; i < depth; ++i) {
        Vec factor[N];
#pragma GCC unroll 2
        for (int j = 0; j < N; ++j) factor[j] = load(b + i * b_row + j * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
            for (int j = 0; j < N; ++j) sum[r][j] += a[r * row + i * step] * factor[j];
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int j = 0; j < N; ++j) store(to + r * to_row + j * LANES, sum[r][j]);
}

// to = or += a b, for rows that are a sum of sixes and fours
template <bool ADD>
void multiply(const float* a, int64_t row, int64_t step, int64_t rows, const float* b, int64_t b_row, int64_t columns,
              float* to, int64_t to_row, int64_t depth) {
    for (int64_t k = 0; k < columns; k += 2 * LANES) {
        const bool two = k + LANES < columns;
        for (int64_t r = 0; r < rows;) {
            const float* from = a + r * row;
            float* here = to + r * to_row + k;
            if (rows - r == 4 || rows - r == 8) {
                if (two) product<4, 2, ADD>(from, row, step, b + k, b_row, here, to_row, depth);
                else product<4, 1, ADD>(from, row, step, b + k, b_row, here, to_row, depth);
                r += 4;
            } else {
                if (two) product<6, 2, ADD>(from, row, step, b + k, b_row, here, to_row, depth);
                else product<6, 1, ADD>(from, row, step, b + k, b_row, here, to_row, depth);
                r += 6;
            }
        }
    }
}

int64_t rows_of_block(int64_t in, int64_t out) {
    const int64_t fit = CACHE / (PLANES * 4 * (in + out)) / ROWS * ROWS;
    return std::max<int64_t>(2 * ROWS, std::min<int64_t>(fit, 12 * ROWS));
}

}  // namespace

extern "C" {

// y [n, h, w, out] of x [n, h, w, in] and the weights, whose strides are those of [outputs, inputs, 3, 3]. `turned`: x
// is the gradient of an output and y that of the input. Returns 1 where memory is short.
int conv(const float* x, const float* weight, const int64_t* stride, int turned, float* y, int64_t n, int64_t h,
         int64_t w, int64_t in, int64_t out) {
    const Maps maps(n, h, w);
    const int64_t rows = rows_of_block(in, out), blocks = (maps.tiles + rows - 1) / rows;
    const int64_t u_row = PLANES * in, m_row = PLANES * out, v_plane = in * out + LANES;  // not a power of two
    const int64_t by_out = stride[turned ? 1 : 0], by_in = stride[turned ? 0 : 1];
    const int64_t own = rows * (u_row + m_row) + 36 * in + 9 * GROUP * out;
    const int threads = omp_get_max_threads();
    const Room v = room(PLANES * v_plane), work = room(threads * own);
    if (!v || !work) return 1;
#pragma omp parallel num_threads(threads)
    {
        float* u = &work[omp_get_thread_num() * own];
        float *m = u + rows * u_row, *edge = m + rows * m_row, *taps = edge + 36 * in;
#pragma omp for schedule(static)
        for (int64_t c = 0; c < in; c += GROUP) {
            for (int tap = 0; tap < 9; ++tap) {
                const int i = turned ? 2 - tap / 3 : tap / 3, j = turned ? 2 - tap % 3 : tap % 3;
                const float* from = weight + c * by_in + i * stride[2] + j * stride[3];
                for (int64_t k = 0; k < out; ++k)
                    for (int64_t g = 0; g < GROUP; ++g)
                        taps[(g * 9 + tap) * out + k] = from[k * by_out + g * by_in];
            }
            for (int64_t g = 0; g < GROUP; ++g)
                for (int64_t k = 0; k < out; k += LANES)
                    transform<Weight>(&taps[g * 9 * out + k], 3 * out, out, &v[(c + g) * out + k], 6 * v_plane,
                                      v_plane);
        }
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t first = b * rows, count = std::min(rows, maps.tiles - first);
            const int64_t filled = (count + ROWS - 1) / ROWS * ROWS;
            transform_in<Input>(x, maps, in, first, count, rows, edge, u);
            for (int f = 0; f < PLANES; ++f)
                multiply<false>(&u[f * in], u_row, 1, filled, &v[f * v_plane], out, out, &m[f * out], m_row, in);
            transform_out(m, maps, out, first, count, y);
        }
    }
    return 0;
}

// The gradient of the weights, with strides as above, of x [n, h, w, in] and dy [n, h, w, out].
int conv_weight(const float* x, const float* dy, float* dweight, const int64_t* stride, int64_t n, int64_t h,
                int64_t w, int64_t in, int64_t out) {
    const Maps maps(n, h, w);
    const int64_t rows = rows_of_block(in, out), blocks = (maps.tiles + rows - 1) / rows;
    const int64_t u_row = PLANES * in, m_row = PLANES * out, v_plane = in * out + LANES;  // not a power of two
    const int64_t own = rows * (u_row + m_row) + 36 * std::max(in, out) + (PLANES + 9 * GROUP) * out;
    const int threads = omp_get_max_threads();
    const Room sums = room(threads * PLANES * v_plane), work = room(threads * own);  // sums are added in their order
    if (!sums || !work) return 1;
#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num(), team = omp_get_num_threads();
        float* u = &work[thread * own];
        float *m = u + rows * u_row, *edge = m + rows * m_row, *total = edge + 36 * std::max(in, out);
        float *taps = total + PLANES * out, *mine = &sums[thread * PLANES * v_plane];
        std::memset(mine, 0, PLANES * v_plane * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t first = b * rows, count = std::min(rows, maps.tiles - first);
            transform_in<Input>(x, maps, in, first, count, rows, edge, u);
            transform_in<OutputGradient>(dy, maps, out, first, count, rows, edge, m);
            for (int f = 0; f < PLANES; ++f)
                multiply<true>(&u[f * in], 1, u_row, in, &m[f * out], m_row, out, mine + f * v_plane, out, count);
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < in; c += GROUP) {
            for (int64_t g = 0; g < GROUP; ++g) {
                for (int f = 0; f < PLANES; ++f)
                    for (int64_t k = 0; k < out; k += LANES) {
                        const float* from = &sums[f * v_plane + (c + g) * out + k];
                        Vec sum = load(from);
                        for (int p = 1; p < team; ++p) sum += load(from + p * PLANES * v_plane);
                        store(&total[f * out + k], sum);
                    }
                for (int64_t k = 0; k < out; k += LANES)
                    transform<WeightGradient>(&total[k], 6 * out, out, &taps[g * 9 * out + k], 3 * out, out);
            }
            for (int tap = 0; tap < 9; ++tap) {
                float* to = dweight + c * stride[1] + tap / 3 * stride[2] + tap % 3 * stride[3];
                for (int64_t k = 0; k < out; ++k)
                    for (int64_t g = 0; g < GROUP; ++g)
                        to[k * stride[0] + g * stride[1]] = taps[(g * 9 + tap) * out + k];
            }
        }
    }
    return 0;
}

}
