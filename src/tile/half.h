/* Half precision: float16 (IEEE 754 binary16) and bfloat16, to float32 and back.
 *
 * Written in integers and without branches, so that a loop over them becomes vectors at every
 * level and has the same bits at each of them. To float32 nothing is lost; back it rounds to
 * nearest, ties to even, overflows to infinity and keeps what a NaN's upper bits say. A NaN of
 * float16 is made a quiet one both ways, as the instructions do it that some levels have.
 */
#ifndef CC_HALF_H
#define CC_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t cc_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float cc_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* `condition ? yes : no`, both of which are computed: GCC would make a jump of it otherwise, since
 * an addition might raise a flag. */
static inline uint32_t cc_choose(int condition, uint32_t yes, uint32_t no)
{
    const uint32_t mask = 0u - (uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}

static inline float cc_widen_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    const uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    /* exponents are biased by 127 instead of 15; the largest stays the largest */
    const uint32_t normal = bits + ((127 - 15) << 23);
    const uint32_t quiet = cc_choose(bits > (31u << 23), 1u << 22, 0);
    const uint32_t special = (bits + ((255 - 31) << 23)) | quiet;
    /* a subnormal is the fraction of the smallest normal number, 2^-14, less its leading one */
    const uint32_t small = cc_bits(cc_float(bits + (113u << 23)) - cc_float(113u << 23));
    const uint32_t finite = cc_choose(bits < (1u << 23), small, normal);
    return cc_float(sign | cc_choose(bits < (31u << 23), finite, special));
}

static inline uint16_t cc_narrow_f16(float value)
{
    const uint32_t bits = cc_bits(value) & 0x7fffffff;
    const uint32_t sign = cc_bits(value) >> 16 & 0x8000;
    /* half of the last place, less one if that is even; a carry goes into the exponent */
    const uint32_t normal = (bits - ((127u - 15) << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
    /* below 2^-14: the last place of 0.5 is that of a subnormal, so adding it rounds */
    const uint32_t small = cc_bits(cc_float(bits) + 0.5f) - cc_bits(0.5f);
    const uint32_t nan = 0x7e00 | (bits >> 13 & 0x3ff);
    const uint32_t finite = cc_choose(bits < (113u << 23), small, normal);
    const uint32_t special = cc_choose(bits > 0x7f800000, nan, 0x7c00);
    return (uint16_t)(sign | cc_choose(bits < (143u << 23), finite, special));
}

static inline float cc_widen_bf16(uint16_t half)
{
    return cc_float((uint32_t)half << 16);
}

static inline uint16_t cc_narrow_bf16(float value)
{
    const uint32_t bits = cc_bits(value);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
}

#endif
