/* The transforms of transforms.h, written once in the vocabulary of simd.h and instantiated by
 * level.h for each level and dtype.
 *
 * A node of depth d has the residue of the signal modulo t^4m - e^(2πiθ). It splits into four,
 * modulo t^m - e^(2πi(θ+r)/4), by
 *
 *     c_r[j] = Σ_q (i^r·ω)^q · z[j + q·m]      ω = e^(2πi·θ/4),  r, q = 0 .. 3
 *
 * until one number is left, which is the value at one root. ω is constant within a node. The root
 * of the tree has θ = 1/4. Where the number of points is no power of four the last nodes have two
 * numbers and split in two.
 *
 * Real and imaginary parts lie apart. In nodes of more than 16 numbers (32 before a split in two)
 * lanes run along j. As many smaller nodes as there are lanes are transposed in registers, and lanes
 * run across them to the end. Depth comes first, so that all of a subtree happens in the
 * first-level cache.
 *
 * 28 additions and multiply-adds for four numbers and two bits of the logarithm. The inverse takes
 * the same steps back; the factor 1 / 2^log_points is in its last one.
 */

#undef V_SUB
#undef V_MUL
#undef V_FNMA
#undef ZIP_LOW
#undef ZIP_HIGH

#if SIMD == SIMD_AVX512 || SIMD == SIMD_AVX2 || SIMD == SIMD_SSE2
#define V_SUB(a, b) V_OP(sub)(a, b)
#define V_MUL(a, b) V_OP(mul)(a, b)
#if SIMD == SIMD_SSE2
#define V_FNMA(a, b, c) V_OP(sub)(c, V_OP(mul)(a, b))
#else
#define V_FNMA(a, b, c) V_OP(fnmadd)(a, b, c) /* c - a·b */
#endif
#elif SIMD == SIMD_NEON
#define V_SUB(a, b) V_OP(vsubq)(a, b)
#define V_MUL(a, b) V_OP(vmulq)(a, b)
#define V_FNMA(a, b, c) V_OP(vfmsq)(c, a, b)
#else
#define V_SUB(a, b) ((a) - (b))
#define V_MUL(a, b) ((a) * (b))
#define V_FNMA(a, b, c) ((c) - (a) * (b))
#endif

/* The lower, or the higher, halves of both: a0 b0 a1 b1 ... */
#if SIMD == SIMD_AVX512
#ifdef REAL_IS_DOUBLE
#define ZIP_INDEX(first)                                                                         \
    _mm512_set_epi64(first + 11, first + 3, first + 10, first + 2, first + 9, first + 1,         \
                     first + 8, first)
#else
#define ZIP_INDEX(first)                                                                         \
    _mm512_set_epi32(first + 23, first + 7, first + 22, first + 6, first + 21, first + 5,        \
                     first + 20, first + 4, first + 19, first + 3, first + 18, first + 2,        \
                     first + 17, first + 1, first + 16, first)
#endif
#define ZIP_LOW(a, b) V_OP(permutex2var)(a, ZIP_INDEX(0), b)
#define ZIP_HIGH(a, b) V_OP(permutex2var)(a, ZIP_INDEX(LANES / 2), b)
#elif SIMD == SIMD_AVX2 || SIMD == SIMD_SSE2 /* of AVX2 in each half of the vector by itself */
#define ZIP_LOW(a, b) V_OP(unpacklo)(a, b)
#define ZIP_HIGH(a, b) V_OP(unpackhi)(a, b)
#elif SIMD == SIMD_NEON
#define ZIP_LOW(a, b) V_OP(vzip1q)(a, b)
#define ZIP_HIGH(a, b) V_OP(vzip2q)(a, b)
#else
#define ZIP_LOW(a, b) (a)
#define ZIP_HIGH(a, b) (b)
#endif

/* Points of a subtree that is passed over breadth first. */
#define SUBTREE IF_DOUBLE(1024, 2048)

/* rows[t] = element t of each, for as many vectors as there are lanes */
INLINE void TILE(transpose_square)(VEC *rows)
{
    enum { HALVES = SIMD == SIMD_AVX2 ? 2 : 1, N = LANES / HALVES };
    VEC zipped[16];
#if SIMD == SIMD_AVX2 /* four squares, of which two change places */
#define V_HALVES(a, b, which) IF_DOUBLE(_mm256_permute2f128_pd, _mm256_permute2f128_ps)(a, b, which)
    UNROLL for (int i = 0; i < N; i++) {
        zipped[i] = V_HALVES(rows[i], rows[i + N], 0x20);
        zipped[i + N] = V_HALVES(rows[i], rows[i + N], 0x31);
    }
    UNROLL for (int i = 0; i < LANES; i++)
        rows[i] = zipped[i];
#undef V_HALVES
#endif
    UNROLL for (int round = 1; round < N; round *= 2) {
        UNROLL for (int half = 0; half < LANES; half += N)
            UNROLL for (int i = 0; i < N / 2; i++) {
                zipped[half + 2 * i] = ZIP_LOW(rows[half + i], rows[half + i + N / 2]);
                zipped[half + 2 * i + 1] = ZIP_HIGH(rows[half + i], rows[half + i + N / 2]);
            }
        UNROLL for (int i = 0; i < LANES; i++)
            rows[i] = zipped[i];
    }
}

/* Four numbers of a node, m apart, into those of its four children; w: ω, ω², ω³. */
INLINE void TILE(split_4)(VEC *re, VEC *im, const int m, const VEC *w)
{
    const VEC r1 = V_FNMA(im[m], w[1], V_MUL(re[m], w[0]));
    const VEC i1 = V_FMA(re[m], w[1], V_MUL(im[m], w[0]));
    const VEC r2 = V_FNMA(im[2 * m], w[3], V_MUL(re[2 * m], w[2]));
    const VEC i2 = V_FMA(re[2 * m], w[3], V_MUL(im[2 * m], w[2]));
    const VEC r3 = V_FNMA(im[3 * m], w[5], V_MUL(re[3 * m], w[4]));
    const VEC i3 = V_FMA(re[3 * m], w[5], V_MUL(im[3 * m], w[4]));
    const VEC even_r = V_ADD(re[0], r2), even_i = V_ADD(im[0], i2);
    const VEC odd_r = V_ADD(r1, r3), odd_i = V_ADD(i1, i3);
    const VEC less_r = V_SUB(re[0], r2), less_i = V_SUB(im[0], i2);
    const VEC turn_r = V_SUB(r1, r3), turn_i = V_SUB(i1, i3);
    re[0] = V_ADD(even_r, odd_r);
    im[0] = V_ADD(even_i, odd_i);
    re[m] = V_SUB(less_r, turn_i);
    im[m] = V_ADD(less_i, turn_r);
    re[2 * m] = V_SUB(even_r, odd_r);
    im[2 * m] = V_SUB(even_i, odd_i);
    re[3 * m] = V_ADD(less_r, turn_i);
    im[3 * m] = V_SUB(less_i, turn_r);
}

/* The inverse, times 4; the last step has a scale for the first number, as w has it for others. */
INLINE void TILE(join_4)(VEC *re, VEC *im, const int m, const VEC *w, const VEC *scale)
{
    const VEC even_r = V_ADD(re[0], re[2 * m]), even_i = V_ADD(im[0], im[2 * m]);
    const VEC odd_r = V_ADD(re[m], re[3 * m]), odd_i = V_ADD(im[m], im[3 * m]);
    const VEC less_r = V_SUB(re[0], re[2 * m]), less_i = V_SUB(im[0], im[2 * m]);
    const VEC turn_r = V_SUB(re[m], re[3 * m]), turn_i = V_SUB(im[m], im[3 * m]);
    const VEC r0 = V_ADD(even_r, odd_r), i0 = V_ADD(even_i, odd_i);
    const VEC r1 = V_ADD(less_r, turn_i), i1 = V_SUB(less_i, turn_r);
    const VEC r2 = V_SUB(even_r, odd_r), i2 = V_SUB(even_i, odd_i);
    const VEC r3 = V_SUB(less_r, turn_i), i3 = V_ADD(less_i, turn_r);
    re[0] = scale ? V_MUL(r0, *scale) : r0;
    im[0] = scale ? V_MUL(i0, *scale) : i0;
    re[m] = V_FMA(i1, w[1], V_MUL(r1, w[0]));
    im[m] = V_FNMA(r1, w[1], V_MUL(i1, w[0]));
    re[2 * m] = V_FMA(i2, w[3], V_MUL(r2, w[2]));
    im[2 * m] = V_FNMA(r2, w[3], V_MUL(i2, w[2]));
    re[3 * m] = V_FMA(i3, w[5], V_MUL(r3, w[4]));
    im[3 * m] = V_FNMA(r3, w[5], V_MUL(i3, w[4]));
}

/* The same for a node of two numbers; w: its root. */
INLINE void TILE(split_2)(VEC *re, VEC *im, const VEC *w)
{
    const VEC r = V_FNMA(im[1], w[1], V_MUL(re[1], w[0]));
    const VEC i = V_FMA(re[1], w[1], V_MUL(im[1], w[0]));
    re[1] = V_SUB(re[0], r);
    im[1] = V_SUB(im[0], i);
    re[0] = V_ADD(re[0], r);
    im[0] = V_ADD(im[0], i);
}

INLINE void TILE(join_2)(VEC *re, VEC *im, const VEC *w)
{
    const VEC r = V_SUB(re[0], re[1]), i = V_SUB(im[0], im[1]);
    re[0] = V_ADD(re[0], re[1]);
    im[0] = V_ADD(im[0], im[1]);
    re[1] = V_FMA(i, w[1], V_MUL(r, w[0]));
    im[1] = V_FNMA(r, w[1], V_MUL(i, w[0]));
}

/* Where the roots of a depth begin. */
INLINE const REAL *TILE(roots_of)(const REAL *roots, int depth)
{
    return roots + 2 * (((ptrdiff_t)1 << 2 * depth) - 1);
}

/* One node of 4·m numbers, m a multiple of the lanes. */
ONCE void TILE(node)(const int INVERSE, const REAL *roots, int depth, ptrdiff_t node,
                       ptrdiff_t m, REAL *re, REAL *im, const REAL *scale)
{
    const ptrdiff_t nodes = (ptrdiff_t)1 << 2 * depth;
    const REAL *root = TILE(roots_of)(roots, depth) + node;
    VEC w[6], factor = V_SET1(scale ? *scale : 1);
    UNROLL for (int i = 0; i < 6; i++)
        w[i] = V_SET1(scale ? root[i * nodes] * *scale : root[i * nodes]);
    for (ptrdiff_t j = 0; j < m; j += LANES) {
        VEC r[4], i[4];
        UNROLL for (int q = 0; q < 4; q++) {
            r[q] = V_LOAD(re + j + q * m);
            i[q] = V_LOAD(im + j + q * m);
        }
        if (!INVERSE)
            TILE(split_4)(r, i, 1, w);
        else
            TILE(join_4)(r, i, 1, w, scale ? &factor : NULL);
        UNROLL for (int q = 0; q < 4; q++) {
            V_STORE(re + j + q * m, r[q]);
            V_STORE(im + j + q * m, i[q]);
        }
    }
}

/* The last splits of LANES neighbouring nodes of 16·L numbers each, the first of them `node` of the
 * depth: lanes run across nodes, and node n's child r has its root at r·nodes + n. */
INLINE void TILE(last_nodes)(const int INVERSE, const int L, const REAL *roots, int depth,
                             ptrdiff_t node, REAL *re, REAL *im, REAL *spectrum, ptrdiff_t stride)
{
    enum { MOST = 32 };
    const ptrdiff_t nodes = (ptrdiff_t)1 << 2 * depth;
    const REAL *first = TILE(roots_of)(roots, depth) + node;
    const REAL *second = TILE(roots_of)(roots, depth + 1) + node;
    const REAL *third = TILE(roots_of)(roots, depth + 2) + node;
    VEC r[MOST], i[MOST], w[6];

    if (!INVERSE) {
        ROLLED for (int t = 0; t < 16 * L; t += LANES) {
            UNROLL for (int lane = 0; lane < LANES; lane++) {
                r[t + lane] = V_LOAD(re + lane * 16 * L + t);
                i[t + lane] = V_LOAD(im + lane * 16 * L + t);
            }
            TILE(transpose_square)(r + t);
            TILE(transpose_square)(i + t);
        }
        UNROLL for (int k = 0; k < 6; k++)
            w[k] = V_LOAD(first + k * nodes);
        ROLLED for (int t = 0; t < 4 * L; t++)
            TILE(split_4)(r + t, i + t, 4 * L, w);
    } else {
        ROLLED for (int t = 0; t < 16 * L; t++) {
            r[t] = V_LOAD(spectrum + t * stride);
            i[t] = V_LOAD(spectrum + t * stride + LANES);
        }
    }
    ROLLED for (int child = 0; child < 4; child++) {
        VEC *cr = r + child * 4 * L, *ci = i + child * 4 * L;
        UNROLL for (int k = 0; k < 6; k++)
            w[k] = V_LOAD(second + (4 * k + child) * nodes);
        if (!INVERSE)
            ROLLED for (int t = 0; t < L; t++)
                TILE(split_4)(cr + t, ci + t, L, w);
        if (L == 2)
            ROLLED for (int grandchild = 0; grandchild < 4; grandchild++) {
                VEC v[2];
                v[0] = V_LOAD(third + (child * 4 + grandchild) * nodes);
                v[1] = V_LOAD(third + (16 + child * 4 + grandchild) * nodes);
                if (!INVERSE)
                    TILE(split_2)(cr + grandchild * 2, ci + grandchild * 2, v);
                else
                    TILE(join_2)(cr + grandchild * 2, ci + grandchild * 2, v);
            }
        if (INVERSE)
            ROLLED for (int t = 0; t < L; t++)
                TILE(join_4)(cr + t, ci + t, L, w, NULL);
    }
    if (!INVERSE) {
        ROLLED for (int t = 0; t < 16 * L; t++) {
            V_STORE(spectrum + t * stride, r[t]);
            V_STORE(spectrum + t * stride + LANES, i[t]);
        }
    } else {
        UNROLL for (int k = 0; k < 6; k++)
            w[k] = V_LOAD(first + k * nodes);
        ROLLED for (int t = 0; t < 4 * L; t++)
            TILE(join_4)(r + t, i + t, 4 * L, w, NULL);
        ROLLED for (int t = 0; t < 16 * L; t += LANES) {
            TILE(transpose_square)(r + t);
            TILE(transpose_square)(i + t);
            UNROLL for (int lane = 0; lane < LANES; lane++) {
                V_STORE(re + lane * 16 * L + t, r[t + lane]);
                V_STORE(im + lane * 16 * L + t, i[t + lane]);
            }
        }
    }
}

/* All splits of the nodes of a subtree that lanes run along, and the last ones after them. */
INLINE void TILE(breadth_first)(const int INVERSE, const int L, const REAL *roots, int depth,
                                int last_depth, ptrdiff_t node, ptrdiff_t points, REAL *re,
                                REAL *im, REAL *spectrum, ptrdiff_t stride, const REAL *scale)
{
    const int levels = last_depth - depth;
    for (int step = 0; step <= levels; step++) {
        const int d = INVERSE ? last_depth - step : depth + step;
        const ptrdiff_t nodes = (ptrdiff_t)1 << 2 * (d - depth), size = points / nodes;
        if (d < last_depth)
            for (ptrdiff_t n = 0; n < nodes; n++)
                TILE(node)(INVERSE, roots, d, node * nodes + n, size / 4, re + n * size,
                           im + n * size, d == 0 ? scale : NULL);
        else
            for (ptrdiff_t n = 0; n < nodes; n += LANES)
                TILE(last_nodes)(INVERSE, L, roots, d, node * nodes + n, re + n * size,
                                 im + n * size, spectrum + n * size / LANES * stride, stride);
    }
}

ONCE void TILE(split)(const REAL *roots, int depth, int last_depth, int L, ptrdiff_t node,
                      ptrdiff_t points, REAL *re, REAL *im, REAL *spectrum, ptrdiff_t stride)
{
    if (points > SUBTREE) {
        TILE(node)(0, roots, depth, node, points / 4, re, im, NULL);
        for (int r = 0; r < 4; r++)
            TILE(split)(roots, depth + 1, last_depth, L, node * 4 + r, points / 4,
                        re + r * points / 4, im + r * points / 4,
                        spectrum + r * points / 4 / LANES * stride, stride);
    } else if (L == 1)
        TILE(breadth_first)(0, 1, roots, depth, last_depth, node, points, re, im, spectrum, stride,
                            NULL);
    else
        TILE(breadth_first)(0, 2, roots, depth, last_depth, node, points, re, im, spectrum, stride,
                            NULL);
}

ONCE void TILE(join)(const REAL *roots, int depth, int last_depth, int L, ptrdiff_t node,
                     ptrdiff_t points, REAL *re, REAL *im, const REAL *spectrum, ptrdiff_t stride,
                     const REAL *scale)
{
    if (points > SUBTREE) {
        for (int r = 0; r < 4; r++)
            TILE(join)(roots, depth + 1, last_depth, L, node * 4 + r, points / 4,
                       re + r * points / 4, im + r * points / 4,
                       spectrum + r * points / 4 / LANES * stride, stride, scale);
        TILE(node)(1, roots, depth, node, points / 4, re, im, depth == 0 ? scale : NULL);
    } else if (L == 1)
        TILE(breadth_first)(1, 1, roots, depth, last_depth, node, points, re, im,
                            (REAL *)spectrum, stride, scale);
    else
        TILE(breadth_first)(1, 2, roots, depth, last_depth, node, points, re, im,
                            (REAL *)spectrum, stride, scale);
}

static void TILE(forward_transform)(const void *roots, int log_points, void *signal_,
                                    void *spectrum, ptrdiff_t stride)
{
    const ptrdiff_t points = (ptrdiff_t)1 << log_points;
    REAL *signal = (REAL *)signal_;
    TILE(split)((const REAL *)roots, 0, log_points / 2 - 2, 1 + log_points % 2, 0, points, signal,
                signal + points, (REAL *)spectrum, stride);
}

static void TILE(inverse_transform)(const void *roots, int log_points, const void *spectrum,
                                    ptrdiff_t stride, void *signal_)
{
    const ptrdiff_t points = (ptrdiff_t)1 << log_points;
    const REAL scale = (REAL)1 / (REAL)points;
    REAL *signal = (REAL *)signal_;
    TILE(join)((const REAL *)roots, 0, log_points / 2 - 2, 1 + log_points % 2, 0, points, signal,
               signal + points, (const REAL *)spectrum, stride, &scale);
}

/* --- the same with lanes across signals ------------------------------------------------------ */

/* All nodes of a depth, which split into 4 or 2 ways of m numbers: number n has its real parts at
 * from + n·step and its imaginary ones `im` later, and so has what becomes of it. */
INLINE void TILE(depth_across)(const int INVERSE, const int WAYS, const REAL *roots, int depth,
                               int depths, ptrdiff_t m, const REAL *from, ptrdiff_t from_im,
                               ptrdiff_t from_step, REAL *to, ptrdiff_t to_im, ptrdiff_t to_step,
                               const REAL *scale)
{
    const int below = depth > depths - 2 ? 2 * (depth - (depths - 2)) : 0;
    const ptrdiff_t nodes = (ptrdiff_t)1 << 2 * depth;
    const REAL *all = TILE(roots_of)(roots, depth);
    const VEC factor = V_SET1(scale ? *scale : 1);
    for (ptrdiff_t node = 0; node < nodes; node++) {
        const ptrdiff_t child = node & (((ptrdiff_t)1 << below) - 1);
        const REAL *root = all + child * (nodes >> below) + (node >> below);
        VEC w[6];
        UNROLL for (int i = 0; i < 2 * WAYS - 2; i++)
            w[i] = V_SET1(scale ? root[i * nodes] * *scale : root[i * nodes]);
        for (ptrdiff_t j = 0; j < m; j++, from += from_step, to += to_step) {
            VEC r[4], i[4];
            UNROLL for (int q = 0; q < WAYS; q++) {
                r[q] = V_LOAD(from + q * m * from_step);
                i[q] = V_LOAD(from + q * m * from_step + from_im);
            }
            if (WAYS == 2 && !INVERSE)
                TILE(split_2)(r, i, w);
            else if (WAYS == 2)
                TILE(join_2)(r, i, w);
            else if (!INVERSE)
                TILE(split_4)(r, i, 1, w);
            else
                TILE(join_4)(r, i, 1, w, scale ? &factor : NULL);
            UNROLL for (int q = 0; q < WAYS; q++) {
                V_STORE(to + q * m * to_step, r[q]);
                V_STORE(to + q * m * to_step + to_im, i[q]);
            }
        }
        from += (WAYS - 1) * m * from_step;
        to += (WAYS - 1) * m * to_step;
    }
}

/* The first of them, of signals with zeros from `count` on. */
INLINE void TILE(first_across)(const REAL *roots, ptrdiff_t points, const REAL *signals,
                               ptrdiff_t step, ptrdiff_t count, REAL *numbers)
{
    const ptrdiff_t m = points / 4;
    const VEC zero = V_SET1(0);
    VEC w[6];
    UNROLL for (int i = 0; i < 6; i++)
        w[i] = V_SET1(roots[i]);
    for (ptrdiff_t j = 0; j < m; j++) {
        VEC r[4], i[4];
        UNROLL for (int q = 0; q < 4; q++) {
            const ptrdiff_t n = j + q * m;
            r[q] = n < count ? V_LOAD(signals + n * step) : zero;
            i[q] = n + points < count ? V_LOAD(signals + (n + points) * step) : zero;
        }
        TILE(split_4)(r, i, 1, w);
        UNROLL for (int q = 0; q < 4; q++) {
            V_STORE(numbers + (j + q * m) * LANES, r[q]);
            V_STORE(numbers + (j + q * m + points) * LANES, i[q]);
        }
    }
}

static void TILE(forward_across)(const void *roots_, int log_points, const void *signals,
                                 ptrdiff_t step, ptrdiff_t count, void *numbers_, void *spectra_,
                                 ptrdiff_t stride)
{
    const ptrdiff_t points = (ptrdiff_t)1 << log_points;
    const REAL *roots = (const REAL *)roots_;
    REAL *numbers = (REAL *)numbers_, *spectra = (REAL *)spectra_;
    const int depths = log_points / 2;
    TILE(first_across)(roots, points, (const REAL *)signals, step, count, numbers);
    for (int depth = 1; depth < depths; depth++) {
        const int last = depth == depths - 1 && log_points % 2 == 0;
        TILE(depth_across)(0, 4, roots, depth, depths, points >> 2 * (depth + 1), numbers,
                           points * LANES, LANES, last ? spectra : numbers,
                           last ? LANES : points * LANES, last ? stride : LANES, NULL);
    }
    if (log_points % 2)
        TILE(depth_across)(0, 2, roots, depths, depths, 1, numbers, points * LANES, LANES, spectra,
                           LANES, stride, NULL);
}

static void TILE(inverse_across)(const void *roots_, int log_points, const void *spectra_,
                                 ptrdiff_t stride, void *signals)
{
    const ptrdiff_t points = (ptrdiff_t)1 << log_points;
    const REAL *roots = (const REAL *)roots_, *spectra = (const REAL *)spectra_;
    const REAL scale = (REAL)1 / (REAL)points;
    REAL *numbers = (REAL *)signals;
    const int depths = log_points / 2;
    if (log_points % 2)
        TILE(depth_across)(1, 2, roots, depths, depths, 1, spectra, LANES, stride, numbers,
                           points * LANES, LANES, NULL);
    for (int depth = depths - 1; depth >= 0; depth--) {
        const int first = depth == depths - 1 && log_points % 2 == 0;
        TILE(depth_across)(1, 4, roots, depth, depths, points >> 2 * (depth + 1),
                           first ? spectra : numbers, first ? LANES : points * LANES,
                           first ? stride : LANES, numbers, points * LANES, LANES,
                           depth ? NULL : &scale);
    }
}

/* --- products ---------------------------------------------------------------------------------- */

/* A tile of A × B packets, of at most CC_CHAIN products each. What the lanes of a are, if not the
 * roots that those of b are, meets all lanes of b. Where they are summands, b is what is conjugated:
 * the same products in the same order, so that it does not matter which of two factors is a. */
INLINE void TILE(multiply_tile)(const cc_lanes OF_A, const int A, const int B, const REAL *a,
                                const cc_packets *as, const REAL *b, const cc_packets *bs,
                                ptrdiff_t summands, REAL *out, const cc_packets *outs, int add)
{
    VEC re[4][2], im[4][2];
    UNROLL for (int i = 0; i < A; i++)
        UNROLL for (int j = 0; j < B; j++)
            re[i][j] = im[i][j] = V_SET1(0);
    for (ptrdiff_t s = 0; s < summands; s++) {
        VEC br[2], bi[2];
        UNROLL for (int j = 0; j < B; j++) {
            br[j] = V_LOAD(b + j * bs->row);
            bi[j] = V_LOAD(b + j * bs->row + LANES);
            V_PIN(br[j]);
            V_PIN(bi[j]);
        }
        UNROLL for (int i = 0; i < A; i++) {
            const REAL *number = OF_A == CC_ROWS_OF_A ? a + i : a + i * as->row;
            VEC ar = OF_A == CC_ROOTS ? V_LOAD(number) : V_SET1(number[0]);
            VEC ai = OF_A == CC_ROOTS ? V_LOAD(number + LANES) : V_SET1(number[LANES]);
            V_PIN(ar);
            V_PIN(ai);
            UNROLL for (int j = 0; j < B; j++) {
                re[i][j] = V_FMA(ar, br[j], re[i][j]);
                im[i][j] = OF_A == CC_SUMMANDS ? V_FMA(ai, br[j], im[i][j])
                                               : V_FMA(ar, bi[j], im[i][j]);
            }
            UNROLL for (int j = 0; j < B; j++) {
                re[i][j] = V_FMA(ai, bi[j], re[i][j]);
                im[i][j] = OF_A == CC_SUMMANDS ? V_FNMA(ar, bi[j], im[i][j])
                                               : V_FNMA(ai, br[j], im[i][j]);
            }
        }
        if (OF_A != CC_SUMMANDS)
            a += as->step;
        else
            a += s % LANES < LANES - 1 ? 1 : as->step - (LANES - 1);
        b += bs->step;
    }
    UNROLL for (int i = 0; i < A; i++)
        UNROLL for (int j = 0; j < B; j++) {
            REAL *o = out + i * outs->row + j * outs->step;
            V_STORE(o, add ? V_ADD(V_LOAD(o), re[i][j]) : re[i][j]);
            V_STORE(o + LANES, add ? V_ADD(V_LOAD(o + LANES), im[i][j]) : im[i][j]);
        }
}

/* All rows of some columns of one packet: what lies nearest are the columns, as vectors are longer than
 * single numbers. */
INLINE void TILE(multiply_columns)(const cc_lanes OF_A, const int B, const REAL *a,
                                   const cc_packets *as, ptrdiff_t a_rows, const REAL *b,
                                   const cc_packets *bs, ptrdiff_t summands, REAL *out,
                                   const cc_packets *outs, int add)
{
    enum { A = LANES == 1 ? 1 : LANES == 2 || REGISTERS < 32 ? 2 : 4 };
    for (ptrdiff_t i = 0, rows; i < a_rows; i += rows) {
        const REAL *row = a + (OF_A == CC_ROWS_OF_A ? i / LANES * as->row + i % LANES
                                                    : i * as->row);
        REAL *to = out + i * outs->row;
        rows = i + A <= a_rows ? A : A == 4 && i + 2 <= a_rows ? 2 : 1;
        if (rows == A)
            TILE(multiply_tile)(OF_A, A, B, row, as, b, bs, summands, to, outs, add);
        else if (A == 4 && rows == 2)
            TILE(multiply_tile)(OF_A, 2, B, row, as, b, bs, summands, to, outs, add);
        else
            TILE(multiply_tile)(OF_A, 1, B, row, as, b, bs, summands, to, outs, add);
    }
}

INLINE void TILE(multiply_any)(const cc_lanes OF_A, const cc_packets *as_, ptrdiff_t a_rows,
                               const cc_packets *bs_, ptrdiff_t b_rows, ptrdiff_t summands,
                               const cc_packets *outs_, ptrdiff_t packets, int resume)
{
    const cc_packets copies[3] = {*as_, *bs_, *outs_}; /* which no store may change */
    const cc_packets *as = copies, *bs = copies + 1, *outs = copies + 2;
    for (ptrdiff_t f = 0; f < packets; f++)
        for (ptrdiff_t s = 0; s < summands; s += CC_CHAIN) {
            const ptrdiff_t chain = summands - s < CC_CHAIN ? summands - s : CC_CHAIN;
            const REAL *a = (const REAL *)as->numbers + f * as->next
                            + (OF_A == CC_SUMMANDS ? s / LANES : s) * as->step;
            const REAL *b = (const REAL *)bs->numbers + f * bs->next + s * bs->step;
            REAL *out = (REAL *)outs->numbers + f * outs->next;
            const int add = resume || s > 0;
            ptrdiff_t j = 0;
            for (; j + 2 <= b_rows; j += 2)
                TILE(multiply_columns)(OF_A, 2, a, as, a_rows, b + j * bs->row, bs, chain,
                                       out + j * outs->step, outs, add);
            if (j < b_rows)
                TILE(multiply_columns)(OF_A, 1, a, as, a_rows, b + j * bs->row, bs, chain,
                                       out + j * outs->step, outs, add);
        }
}

static void TILE(multiply)(const cc_packets *as, ptrdiff_t a_rows, const cc_packets *bs,
                           ptrdiff_t b_rows, ptrdiff_t summands, const cc_packets *outs,
                           ptrdiff_t packets, int resume)
{
    TILE(multiply_any)(CC_ROOTS, as, a_rows, bs, b_rows, summands, outs, packets, resume);
}

static void TILE(multiply_each_row)(const cc_packets *as, ptrdiff_t a_rows, const cc_packets *bs,
                                    ptrdiff_t b_rows, ptrdiff_t summands, const cc_packets *outs,
                                    ptrdiff_t packets, int resume)
{
    TILE(multiply_any)(CC_ROWS_OF_A, as, a_rows, bs, b_rows, summands, outs, packets, resume);
}

static void TILE(multiply_each_summand)(const cc_packets *as, ptrdiff_t a_rows,
                                        const cc_packets *bs, ptrdiff_t b_rows,
                                        ptrdiff_t summands, const cc_packets *outs,
                                        ptrdiff_t packets, int resume)
{
    TILE(multiply_any)(CC_SUMMANDS, as, a_rows, bs, b_rows, summands, outs, packets, resume);
}

#include "minimal.h"

static int TILE(finish)(void *signal_, ptrdiff_t count, const void *bias)
{
    REAL *signal = (REAL *)signal_;
    const REAL b = bias ? *(const REAL *)bias : 0;
    const VEC bs = V_SET1(b), zero = V_SET1(0);
    VEC check = zero, other = zero; /* 0 as long as all are finite */
    REAL lanes[LANES], rest = 0;
    int finite = 1;
    ptrdiff_t p = 0;
    for (; p + 2 * LANES <= count; p += 2 * LANES) {
        const VEC y = V_LOAD(signal + p), z = V_LOAD(signal + p + LANES);
        check = V_FMA(y, zero, check);
        other = V_FMA(z, zero, other);
        if (bias) {
            V_STORE(signal + p, V_ADD(y, bs));
            V_STORE(signal + p + LANES, V_ADD(z, bs));
        }
    }
    if (p + LANES <= count) {
        const VEC y = V_LOAD(signal + p);
        check = V_FMA(y, zero, check);
        if (bias)
            V_STORE(signal + p, V_ADD(y, bs));
        p += LANES;
    }
    for (; p < count; p++) {
        rest += signal[p] * 0;
        if (bias)
            signal[p] += b;
    }
    V_STORE(lanes, V_ADD(check, other));
    for (int lane = 0; lane < LANES; lane++)
        finite &= lanes[lane] == 0;
    return finite & (rest == 0);
}

static void TILE(finish_lanes)(void *signals_, ptrdiff_t count, const void *biases, void *spoiled)
{
    REAL *signals = (REAL *)signals_;
    const VEC zero = V_SET1(0), bs = biases ? V_LOAD((const REAL *)biases) : zero;
    VEC check = zero;
    for (ptrdiff_t p = 0; p < count; p++) {
        const VEC y = V_LOAD(signals + p * LANES);
        check = V_FMA(y, zero, check);
        if (biases)
            V_STORE(signals + p * LANES, V_ADD(y, bs));
    }
    V_STORE((REAL *)spoiled, check);
}

static const cc_transforms TILE(transforms) = {
    LANES,
    TILE(forward_transform),
    TILE(inverse_transform),
    TILE(multiply),
    TILE(forward_across),
    TILE(inverse_across),
    TILE(multiply_each_row),
    TILE(multiply_each_summand),
    TILE(filter_samples),
    TILE(filter_results),
    TILE(filter_taps),
    TILE(finish),
    TILE(finish_lanes),
};

#undef SUBTREE
#undef ZIP_INDEX
