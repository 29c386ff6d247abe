/* The levels: each compiles tile.h for both dtypes with the instructions it may use.
 *
 * setuptools has one set of flags for an extension, so the instructions are switched on by
 * target regions. System headers come before the first region: an inline function of theirs
 * that is compiled inside one could end up in code that runs on every processor.
 *
 * A new instruction set takes four edits by hand: its section in simd.h, and here a function that
 * tells whether the processor has it, the lines that include level.h, and a row of cc_levels.
 */
#include "tiles.h"

#include "half.h"

#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define CC_X86_64
#include <immintrin.h>
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../debug.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
/* A function that calls itself: GCC otherwise puts several copies of it into each. */
#ifdef __clang__
#define ONCE static __attribute__((noinline))
#else
#define ONCE static __attribute__((noinline, noclone))
#endif
#define PREFETCH_W(address) __builtin_prefetch(address, 1)
/* Loads through the pointer stay in their branch: GCC takes what branches have in common before
 * them, and has no registers left then. */
#define HERE(pointer) __asm__ volatile("" : "+r"(pointer))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_4 _Pragma("clang loop unroll_count(4)")
#define UNROLL_2 _Pragma("clang loop unroll_count(2)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#define UNROLL_4 _Pragma("GCC unroll 4")
#define UNROLL_2 _Pragma("GCC unroll 2")
#define ROLLED _Pragma("GCC unroll 1")
#endif
#else
#define INLINE static __forceinline
#define ONCE static __declspec(noinline)
#define PREFETCH_W(address) ((void)(address))
#define HERE(pointer) ((void)(pointer))
#define UNROLL
#define UNROLL_4
#define UNROLL_2
#define ROLLED
#endif

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#if defined(__clang__)
#define REGION(features)                                                                         \
    _Pragma(STRINGIFY(clang attribute push(__attribute__((target(features))), apply_to = function)))
#define END_REGION _Pragma("clang attribute pop")
#elif defined(__GNUC__)
#define REGION(features) _Pragma("GCC push_options") _Pragma(STRINGIFY(GCC target(features)))
#define END_REGION _Pragma("GCC pop_options")
#endif

/* --- baseline: what every processor of the architecture has -------------------------------- */

static int always(void) { return 1; }

#if defined(__aarch64__)
#define LEVEL neon
#define SIMD SIMD_NEON
#elif defined(CC_X86_64)
#define LEVEL baseline
#define SIMD SIMD_SSE2
#else
#define LEVEL baseline
#define SIMD SIMD_NONE
#endif
#include "level.h"

/* --- x86-64-v3 and v4 ------------------------------------------------------------------------
 * Not with MSVC, which has been given the baseline alone. */

#if defined(CC_X86_64) && defined(__GNUC__)
#define CC_X86_LEVELS

/* The processor's word is not enough: the operating system must save the wider registers, which
 * XCR0 tells (bits 1 and 2 for ymm; 5, 6 and 7 besides for zmm). Intel SDM volume 1, chapter 14. */
static unsigned enabled_state(void)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) /* OSXSAVE */
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has_avx2(void)
{
    const unsigned fma_f16c = 1u << 12 | 1u << 29;
    unsigned a, b, c, d;
    if ((enabled_state() & 0x06) != 0x06)
        return 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & fma_f16c) != fma_f16c)
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 5));
}

#define LEVEL avx2
#define SIMD SIMD_AVX2
#define FEATURES "avx2,fma,f16c"
#include "level.h"

static int has_avx512(void)
{
    const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    unsigned a, b, c, d;
    return has_avx2() && (enabled_state() & 0xe6) == 0xe6
           && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & f_dq_bw_vl) == f_dq_bw_vl;
}

#define LEVEL avx512
#define SIMD SIMD_AVX512
#define NARROWER avx2
#define FEATURES "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c"
#include "level.h"

#endif

/* --- the table ------------------------------------------------------------------------------- */

#define LEVEL_ROW(name, supported)                                                  \
    {#name, supported, &name##_f32_tiles, &name##_f64_tiles, &name##_f32_float16,              \
     &name##_f32_bfloat16, &name##_f32_transforms, &name##_f64_transforms}

const cc_level cc_levels[] = {
#if defined(__aarch64__)
    LEVEL_ROW(neon, always),
#else
    LEVEL_ROW(baseline, always),
#endif
#ifdef CC_X86_LEVELS
    LEVEL_ROW(avx2, has_avx2),
    LEVEL_ROW(avx512, has_avx512),
#endif
};
const int cc_level_count = sizeof cc_levels / sizeof cc_levels[0];

#if defined(__clang__)
const char cc_compiler[] = "Clang " __clang_version__;
#elif defined(__GNUC__)
const char cc_compiler[] = "GCC " __VERSION__;
#elif defined(_MSC_VER)
const char cc_compiler[] = "MSVC " STRINGIFY(_MSC_VER);
#else
const char cc_compiler[] = "unknown";
#endif
