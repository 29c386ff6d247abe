/* See silu.h. One text for all levels: compilers make vectors of the loops, as many lanes as the
 * level has. Multiply-adds are not fused, as the build allows no contraction (setup.py): not every
 * level has them. */
#include "silu.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "debug.h"

#if defined(__GNUC__)
#ifndef __clang__
/* GCC makes no vectors where someone may ask which floating-point exceptions were raised. */
#pragma GCC optimize("no-trapping-math")
#endif
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static __forceinline
#endif

#ifdef _MSC_VER
#define restrict __restrict
#endif

/* Added to a double of moderate size, it leaves no room for a fraction: the sum's lowest bits are
 * the nearest integer. */
#define ROUND 0x1.8p52

INLINE double power_of_2(double rounded) /* ROUND + an integer from -1022 to 1023 */
{
    uint64_t bits;
    double power;
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(x) = (m + rest) * 2^k for x from -MOST to MOST, with m from 0.7 to 1.42 and m + rest == m. */
typedef struct {
    double m, rest;
    double low, high; /* powers of 2, whose product is 2^-|k|: one step to subnormal numbers */
} exponential;

INLINE exponential exp_of(double x, int wide)
{
    const double rounded = x * 0x1.71547652b82fep+0 + ROUND;
    const double k = rounded - ROUND;
    /* log(2) in two parts, of which the first has zeros enough for its product to be exact */
    const double r = (x - k * 0x1.62e42fefa0000p-1) - k * 0x1.cf79abc9e3b3ap-40;
    const double down = k > 0 ? -k : k;
    const double half = down * 0.5 + ROUND, other = (down - (half - ROUND)) + ROUND;
    double p;
    if (wide) { /* Taylor's series: the next term is below 5e-18 */
        p = 1 / 6227020800.0;
        p = p * r + 1 / 479001600.0;
        p = p * r + 1 / 39916800.0;
        p = p * r + 1 / 3628800.0;
        p = p * r + 1 / 362880.0;
        p = p * r + 1 / 40320.0;
    } else { /* and below 3e-10, far below what float32 can tell */
        p = 1 / 40320.0;
    }
    p = p * r + 1 / 5040.0;
    p = p * r + 1 / 720.0;
    p = p * r + 1 / 120.0;
    p = p * r + 1 / 24.0;
    p = p * r + 1 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    exponential result;
    result.m = 1 + p;
    result.rest = p - (result.m - 1);
    result.low = power_of_2(half);
    result.high = power_of_2(other);
    return result;
}

/* Beyond it the exponential is lost in rounding, or the result in what is less than any number. */
#define MOST 800.0

INLINE double clamp(double v) { return v < -MOST ? -MOST : v > MOST ? MOST : v; }

/* Where the exponential is large, both sides of the fraction are scaled by 2^-k:
 *
 *     v / (1 + m * 2^k)      or      v / (2^-k + m) * 2^-k
 *
 * Selected are values alone, never operations, or compilers make no vectors of them. */
INLINE double silu(double given)
{
    const double v = clamp(given);
    const exponential exp = exp_of(-v, 1);
    const double power = exp.low * exp.high, small = exp.m * exp.low * exp.high;
    const double large = v < 0 ? exp.m : 1, other = v < 0 ? power : small;
    const double s = large + other;
    const double finite = given > MOST ? given : v;
    /* what the roundings of s and m took; 1 / s to one digit */
    const double rest = v < 0 ? exp.rest : exp.rest * power;
    double y = finite / s;
    y -= y * ((other - (s - large)) + rest) * (1.5 - 0.5 * s);
    const double low = v < 0 ? exp.low : 1, high = v < 0 ? exp.high : 1;
    y = y * low * high;
    return given == -INFINITY ? NAN : y;
}

INLINE double silu_slope(double given, int wide)
{
    const double v = clamp(given);
    const exponential exp = exp_of(v < 0 ? v : -v, wide);
    const double e = exp.m * exp.low * exp.high, d = 1 / (1 + e), ed = e * d;
    const double s = v < 0 ? ed : d, t = v < 0 ? d : ed; /* sigmoid of v, and of -v */
    return s * (1 + v * t);
}

/* The same in float32 throughout, which is off by less than 2 units in the last place: less than 1
 * is the exponential's, and half of one each what is rounded for the sum and the quotient. */
INLINE float power_of_2f(float rounded) /* ROUND_F + an integer from -126 to 127 */
{
    uint32_t bits;
    float power;
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

#define ROUND_F 0x1.8p23f

INLINE float silu_f(float given)
{
    const float most = 120; /* beyond it the exponential is lost, or the result is none */
    const float v = given < -most ? -most : given > most ? most : given;
    const float rounded = v * -0x1.715476p+0f + ROUND_F;
    const float k = rounded - ROUND_F;
    const float r = (-v - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
    const float down = k > 0 ? -k : k;
    const float half = down * 0.5f + ROUND_F, other = (down - (half - ROUND_F)) + ROUND_F;
    const float low = power_of_2f(half), high = power_of_2f(other);
    float p = 1 / 5040.0f; /* Taylor's series: the next term is below 6e-9 */
    p = p * r + 1 / 720.0f;
    p = p * r + 1 / 120.0f;
    p = p * r + 1 / 24.0f;
    p = p * r + 1 / 6.0f;
    p = p * r + 0.5f;
    p = p * (r * r) + r;
    const float m = 1 + p, scaled = (v < 0 ? 1 : m) * low * high;
    const float rest = v < 0 ? p - (m - 1) : 0; /* what rounding took from m, where it counts */
    const float y = (given > most ? given : v) / ((v < 0 ? m : 1) + (scaled + rest));
    const float result = y * (v < 0 ? low : 1) * (v < 0 ? high : 1);
    return given == -INFINITY ? NAN : result;
}

/* So many numbers at once, by one loop of that length: of a loop of any length compilers make
 * three, and each has all of an exponential in it. */
#define BLOCK 16

#define FOR_BLOCKS(real, count, values, statement)                                               \
    for (ptrdiff_t first = 0; first < (count); first += BLOCK) {                                 \
        const ptrdiff_t rest = (count) - first;                                                  \
        const size_t size = (rest < BLOCK ? (size_t)rest : BLOCK) * sizeof(real);                \
        real v[BLOCK] = {0}, g[BLOCK] = {0};                                                     \
        take(v, (values) + first, size, sizeof v);                                               \
        statement                                                                                \
    }

INLINE void take(void *to, const void *from, size_t size, size_t whole)
{
    if (size == whole)
        memcpy(to, from, whole); /* of a size that compilers know */
    else
        memcpy(to, from, size);
}

#define VALUES(target, name, real, value)                                                        \
    target static void name(real *values, ptrdiff_t count)                                       \
    {                                                                                            \
        FOR_BLOCKS(real, count, values, {                                                        \
            for (int i = 0; i < BLOCK; i++)                                                      \
                g[i] = value;                                                                    \
            take(values + first, g, size, sizeof g);                                             \
        })                                                                                       \
    }

#define GRADIENTS(target, name, real, wide)                                                      \
    target static void name(const real *restrict values, real *restrict grads, ptrdiff_t count)  \
    {                                                                                            \
        FOR_BLOCKS(real, count, values, {                                                        \
            take(g, grads + first, size, sizeof g);                                              \
            for (int i = 0; i < BLOCK; i++)                                                      \
                g[i] = (real)(g[i] * silu_slope(v[i], wide));                                    \
            take(grads + first, g, size, sizeof g);                                              \
        })                                                                                       \
    }

#define LEVEL(name, target)                                                                      \
    VALUES(target, name##_f32, float, silu_f(v[i]))                                              \
    VALUES(target, name##_f64, double, silu(v[i]))                                               \
    GRADIENTS(target, name##_backward_f32, float, 0)                                             \
    GRADIENTS(target, name##_backward_f64, double, 1)

#define ROW(name) {#name, name##_f32, name##_f64, name##_backward_f32, name##_backward_f64}

LEVEL(baseline, )
#if defined(__GNUC__) && defined(__x86_64__)
LEVEL(avx2, __attribute__((target("avx2"))))
LEVEL(avx512, __attribute__((target("avx512f,avx512dq,avx512vl"))))
#endif

static const cc_silu levels[] = {
    ROW(baseline),
#if defined(__GNUC__) && defined(__x86_64__)
    ROW(avx2),
    ROW(avx512),
#endif
};

const cc_silu *cc_silu_of(const char *level)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(levels[i].level, level) == 0)
            return &levels[i];
    return &levels[0];
}
