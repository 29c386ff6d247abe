/* Minimal filtering F(2, 3) for transforms.h: two results of three taps by four products, not six.
 *
 *     y[0] = p0 + p1 + p2      p0 = (x[0] - x[2]) · w[0]      p1 = (x[1] + x[2]) · (w[0] + w[1] + w[2]) / 2
 *     y[1] = p1 - p2 + p3      p3 = (x[3] - x[1]) · w[2]      p2 = (x[2] - x[1]) · (w[0] - w[1] + w[2]) / 2
 *
 * (S. Winograd, "Arithmetic complexity of computations", SIAM, 1980.) Sums over channels are those
 * of the products, so that samples and weights are combined once for each, and results at the end.
 * A plane holds one of the four combinations for all pairs of results. Within a vector these come
 * in the order in which V_EVEN and V_ODD part even samples from odd ones, and V_ZIP_LOW and
 * V_ZIP_HIGH give them back.
 */

#undef V_EVEN
#undef V_ODD
#if SIMD == SIMD_AVX512 || SIMD == SIMD_AVX2 || SIMD == SIMD_SSE2
#define V_EVEN(a, b) IF_DOUBLE(V_OP(unpacklo)(a, b), V_OP(shuffle)(a, b, 0x88))
#define V_ODD(a, b) IF_DOUBLE(V_OP(unpackhi)(a, b), V_OP(shuffle)(a, b, 0xdd))
#elif SIMD == SIMD_NEON
#define V_EVEN(a, b) V_OP(vuzp1q)(a, b)
#define V_ODD(a, b) V_OP(vuzp2q)(a, b)
#else
#define V_EVEN(a, b) (a)
#define V_ODD(a, b) (b)
#endif

INLINE void TILE(store_planes)(VEC x0, VEC x1, VEC x2, VEC x3, REAL *planes, ptrdiff_t plane)
{
    V_STORE(planes, V_SUB(x0, x2));
    V_STORE(planes + plane, V_ADD(x1, x2));
    V_STORE(planes + 2 * plane, V_SUB(x2, x1));
    V_STORE(planes + 3 * plane, V_SUB(x3, x1));
}

/* Runs of `apart` numbers from one line to two by turns, or the reverse if `together`. A copy of RUN
 * numbers may reach into what the next one overwrites. */
INLINE void TILE(part_runs)(const int together, const int RUN, REAL *line, REAL *even, REAL *odd,
                            ptrdiff_t apart, ptrdiff_t count)
{
    const size_t bytes = (size_t)(RUN ? RUN : apart) * sizeof(REAL);
    for (ptrdiff_t i = 0; i < count; i += apart, line += 2 * apart) {
        memcpy(together ? line : even + i, together ? even + i : line, bytes);
        memcpy(together ? line + apart : odd + i, together ? odd + i : line + apart, bytes);
    }
}

INLINE void TILE(part)(const int together, REAL *line, REAL *even, REAL *odd, ptrdiff_t apart,
                       ptrdiff_t count)
{
    if (apart <= 2)
        TILE(part_runs)(together, 2, line, even, odd, apart, count);
    else if (apart <= 4)
        TILE(part_runs)(together, 4, line, even, odd, apart, count);
    else if (apart <= 8)
        TILE(part_runs)(together, 8, line, even, odd, apart, count);
    else if (apart <= CC_LONGEST_RUN)
        TILE(part_runs)(together, CC_LONGEST_RUN, line, even, odd, apart, count);
    else
        TILE(part_runs)(together, 0, line, even, odd, apart, count);
}

static void TILE(filter_samples)(const void *samples_, ptrdiff_t apart, ptrdiff_t pairs,
                                 ptrdiff_t whole, void *planes_, ptrdiff_t plane)
{
    const REAL *samples = (const REAL *)samples_;
    REAL *planes = (REAL *)planes_;
    if (apart > 1) { /* even runs of `apart` samples, and odd ones */
        REAL even[CC_LINE_PAIRS + CC_MOST_PAIRS + CC_LONGEST_RUN];
        REAL odd[CC_LINE_PAIRS + CC_MOST_PAIRS + CC_LONGEST_RUN];
        TILE(part)(0, (REAL *)samples, even, odd, apart, pairs + apart);
        for (ptrdiff_t i = pairs + apart; i < whole + apart; i++)
            even[i] = odd[i] = 0;
        for (ptrdiff_t i = 0; i < whole; i += LANES)
            TILE(store_planes)(V_LOAD(even + i), V_LOAD(odd + i), V_LOAD(even + i + apart),
                               V_LOAD(odd + i + apart), planes + i, plane);
        return;
    }
    ROLLED for (ptrdiff_t i = 0; i < whole; i += LANES, samples += 2 * LANES) {
        const VEC a = V_LOAD(samples), b = V_LOAD(samples + LANES);
        const VEC c = V_LOAD(samples + 2), d = V_LOAD(samples + LANES + 2);
        TILE(store_planes)(V_EVEN(a, b), V_ODD(a, b), V_EVEN(c, d), V_ODD(c, d), planes + i, plane);
    }
}

static void TILE(filter_results)(const void *planes_, ptrdiff_t plane, ptrdiff_t apart,
                                 ptrdiff_t pairs, void *results_)
{
    const REAL *planes = (const REAL *)planes_;
    REAL *results = (REAL *)results_;
    REAL evens[CC_LINE_PAIRS + CC_LONGEST_RUN], odds[CC_LINE_PAIRS + CC_LONGEST_RUN];
    ROLLED for (ptrdiff_t i = 0; i < pairs; i += LANES) {
        const VEC p1 = V_LOAD(planes + i + plane), p2 = V_LOAD(planes + i + 2 * plane);
        const VEC even = V_ADD(V_LOAD(planes + i), V_ADD(p1, p2));
        const VEC odd = V_ADD(V_SUB(p1, p2), V_LOAD(planes + i + 3 * plane));
        if (apart > 1) {
            V_STORE(evens + i, even);
            V_STORE(odds + i, odd);
        } else {
            V_STORE(results + 2 * i, V_ZIP_LOW(even, odd));
            V_STORE(results + 2 * i + LANES, V_ZIP_HIGH(even, odd));
        }
    }
    if (apart > 1)
        TILE(part)(1, results, evens, odds, apart, pairs);
}

static void TILE(filter_taps)(const void *taps_, ptrdiff_t step, ptrdiff_t count, ptrdiff_t rows,
                              ptrdiff_t next, ptrdiff_t channels, void *planes_, ptrdiff_t plane,
                              ptrdiff_t planes_next)
{
    const REAL *taps = (const REAL *)taps_;
    REAL *planes = (REAL *)planes_;
    const VEC zero = V_SET1(0), half = V_SET1((REAL).5);
    for (ptrdiff_t c = 0; c < channels; c++, taps += next, planes += planes_next)
        for (ptrdiff_t r = 0; r < rows; r += LANES) {
            const ptrdiff_t left = rows - r;
            const VEC w0 = V_LOAD_FIRST(taps + r, left);
            const VEC w1 = count > 1 ? V_LOAD_FIRST(taps + r + step, left) : zero;
            const VEC w2 = count > 2 ? V_LOAD_FIRST(taps + r + 2 * step, left) : zero;
            const VEC even = V_ADD(w0, w2);
            V_STORE_FIRST(planes + r, left, w0);
            V_STORE_FIRST(planes + r + plane, left, V_MUL(V_ADD(even, w1), half));
            V_STORE_FIRST(planes + r + 2 * plane, left, V_MUL(V_SUB(even, w1), half));
            V_STORE_FIRST(planes + r + 3 * plane, left, w2);
        }
}
