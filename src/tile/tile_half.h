/* Rows of float16 and bfloat16 to float32 and back: half.h for many numbers at once, and where the
 * level has instructions for float16 (F16_LANES of simd.h), those. Included by level.h once for
 * each level, after simd.h for float32; TILE(name) as in tile.h.
 */

/* `format` is half.h's name of it. WIDEN and NARROW take STEP numbers at once, unless it is 0. */
#define NOTHING(from, to) ((void)0)
#define HALF_FORMAT(name, format, STEP, WIDEN, NARROW)                                         \
    static void TILE(widen_##format)(const uint16_t *halves, ptrdiff_t count, float *values)   \
    {                                                                                          \
        ptrdiff_t i = 0;                                                                       \
        for (; STEP && i + STEP <= count; i += STEP)                                           \
            WIDEN(halves + i, values + i);                                                     \
        for (; i < count; i++)                                                                 \
            values[i] = cc_widen_##format(halves[i]);                                          \
    }                                                                                          \
    static void TILE(narrow_##format)(const float *values, ptrdiff_t count, uint16_t *halves)  \
    {                                                                                          \
        ptrdiff_t i = 0;                                                                       \
        for (; STEP && i + STEP <= count; i += STEP)                                           \
            NARROW(values + i, halves + i);                                                    \
        for (; i < count; i++)                                                                 \
            halves[i] = cc_narrow_##format(values[i]);                                         \
    }                                                                                          \
    static const cc_half TILE(name) = {TILE(widen_##format), TILE(narrow_##format)};

HALF_FORMAT(float16, f16, F16_LANES, F16_WIDEN, F16_NARROW)
HALF_FORMAT(bfloat16, bf16, 0, NOTHING, NOTHING)

#undef HALF_FORMAT
#undef NOTHING
