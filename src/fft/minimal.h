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

/* Of pairs that lie `apart` vectors are taken at the same place of each period of 2·apart samples,
 * the last of them for the second time in part. */
#define FOR_PLACES(at)                                                                           \
    for (ptrdiff_t period = 0; period < periods; period++, samples += 2 * apart)                 \
        for (ptrdiff_t next = 0, at; next < apart; next += LANES, planes += LANES)               \
            if (at = next + LANES <= apart ? next : apart - LANES, 1)

INLINE void TILE(store_planes)(VEC x0, VEC x1, VEC x2, VEC x3, REAL *planes, ptrdiff_t plane)
{
    V_STORE(planes, V_SUB(x0, x2));
    V_STORE(planes + plane, V_ADD(x1, x2));
    V_STORE(planes + 2 * plane, V_SUB(x2, x1));
    V_STORE(planes + 3 * plane, V_SUB(x3, x1));
}

static void TILE(filter_samples)(const void *samples_, ptrdiff_t apart, ptrdiff_t periods,
                                 void *planes_, ptrdiff_t plane)
{
    const REAL *samples = (const REAL *)samples_;
    REAL *planes = (REAL *)planes_;
    if (apart > 1) {
        FOR_PLACES(at)
            TILE(store_planes)(V_LOAD(samples + at), V_LOAD(samples + at + apart),
                               V_LOAD(samples + at + 2 * apart),
                               V_LOAD(samples + at + 3 * apart), planes, plane);
        return;
    }
    ROLLED for (ptrdiff_t v = 0; v < periods; v++, samples += 2 * LANES, planes += LANES) {
        const VEC a = V_LOAD(samples), b = V_LOAD(samples + LANES);
        const VEC c = V_LOAD(samples + 2), d = V_LOAD(samples + LANES + 2);
        TILE(store_planes)(V_EVEN(a, b), V_ODD(a, b), V_EVEN(c, d), V_ODD(c, d), planes, plane);
    }
}

static void TILE(filter_results)(const void *planes_, ptrdiff_t plane, ptrdiff_t apart,
                                 ptrdiff_t periods, void *results_)
{
    const REAL *planes = (const REAL *)planes_;
    REAL *samples = (REAL *)results_;
#define EVEN_RESULT V_ADD(V_LOAD(planes), V_ADD(p1, p2))
#define ODD_RESULT V_ADD(V_SUB(p1, p2), V_LOAD(planes + 3 * plane))
    if (apart > 1) {
        FOR_PLACES(at) {
            const VEC p1 = V_LOAD(planes + plane), p2 = V_LOAD(planes + 2 * plane);
            V_STORE(samples + at, EVEN_RESULT);
            V_STORE(samples + at + apart, ODD_RESULT);
        }
        return;
    }
    ROLLED for (ptrdiff_t v = 0; v < periods; v++, planes += LANES, samples += 2 * LANES) {
        const VEC p1 = V_LOAD(planes + plane), p2 = V_LOAD(planes + 2 * plane);
        const VEC even = EVEN_RESULT, odd = ODD_RESULT;
        V_STORE(samples, V_ZIP_LOW(even, odd));
        V_STORE(samples + LANES, V_ZIP_HIGH(even, odd));
    }
}
#undef FOR_PLACES
#undef EVEN_RESULT
#undef ODD_RESULT

static void TILE(filter_taps)(const void *taps_, ptrdiff_t step, ptrdiff_t count, ptrdiff_t rows,
                              void *planes_, ptrdiff_t plane)
{
    const REAL *taps = (const REAL *)taps_;
    REAL *planes = (REAL *)planes_;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const REAL w0 = taps[r], w1 = count > 1 ? taps[r + step] : 0;
        const REAL w2 = count > 2 ? taps[r + 2 * step] : 0;
        planes[r] = w0;
        planes[r + plane] = ((w0 + w2) + w1) * (REAL).5;
        planes[r + 2 * plane] = ((w0 + w2) - w1) * (REAL).5;
        planes[r + 3 * plane] = w2;
    }
}
