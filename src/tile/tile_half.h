/* Rows of float16 and bfloat16 to float32 and back: half.h for many numbers at once, and where the
 * level has instructions for float16 (F16_LANES of simd.h), those. Included by tiles.c once for
 * each level, after simd.h for float32; TILE(name) as in tile.h.
 */
static void TILE(widen_f16)(const uint16_t *halves, ptrdiff_t count, float *values)
{
    ptrdiff_t i = 0;
#ifdef F16_LANES
    for (; i + F16_LANES <= count; i += F16_LANES)
        F16_WIDEN(halves + i, values + i);
#endif
    for (; i < count; i++)
        values[i] = cc_widen_f16(halves[i]);
}

static void TILE(narrow_f16)(const float *values, ptrdiff_t count, uint16_t *halves)
{
    ptrdiff_t i = 0;
#ifdef F16_LANES
    for (; i + F16_LANES <= count; i += F16_LANES)
        F16_NARROW(values + i, halves + i);
#endif
    for (; i < count; i++)
        halves[i] = cc_narrow_f16(values[i]);
}

static void TILE(widen_bf16)(const uint16_t *halves, ptrdiff_t count, float *values)
{
    for (ptrdiff_t i = 0; i < count; i++)
        values[i] = cc_widen_bf16(halves[i]);
}

static void TILE(narrow_bf16)(const float *values, ptrdiff_t count, uint16_t *halves)
{
    for (ptrdiff_t i = 0; i < count; i++)
        halves[i] = cc_narrow_bf16(values[i]);
}

static const cc_half TILE(float16) = {TILE(widen_f16), TILE(narrow_f16)};
static const cc_half TILE(bfloat16) = {TILE(widen_bf16), TILE(narrow_bf16)};
