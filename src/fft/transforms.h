/* What the nest overlap_save asks of a transform: spectra of real signals, and sums of their
 * products.
 *
 *     spectrum[f] = Σ_n signal[n] · ω_f^n        n < 2·M,  ω_f the M roots of  t^M = i
 *
 * Products of such spectra are those of signals modulo t^(2·M) + 1: what a convolution wraps round
 * at the end of 2·M samples comes back with the other sign. Half of the roots of that polynomial
 * are enough, as the values at the others are the conjugates; and a signal is taken for M complex
 * numbers signal[n] + i·signal[n + M], because t^M is i. So no untangling of two halves follows.
 *
 * The roots come in no order that matters: packet by packet, a packet being the real parts of
 * `lanes` numbers and then their imaginary parts. Every level computes the same numbers, by the same
 * multiply-adds, and only their places in the packets differ.
 */
#ifndef CC_TRANSFORMS_H
#define CC_TRANSFORMS_H

#include <stddef.h>

enum {
    CC_MIN_LOG_POINTS = 8,  /* of M: every level has lanes for so many points */
    CC_MAX_LOG_POINTS = 20, /* the roots of so many take 8 MB in float32 */
    CC_CHAIN = 64           /* products in one chain of cc_multiply: 2 multiply-adds for each */
};

/* `signal`, whose 2·M numbers are overwritten, becomes M / lanes packets, one every `stride`
 * numbers. `roots` are those of cc_roots. */
typedef void (*cc_forward_transform)(const void *roots, int log_points, void *signal,
                                     void *spectrum, ptrdiff_t stride);
/* The inverse. */
typedef void (*cc_inverse_transform)(const void *roots, int log_points, const void *spectrum,
                                     ptrdiff_t stride, void *signal);

/* Where packets lie: item i, summand s at i·item + s·step, in numbers. */
typedef struct {
    const void *packets;
    ptrdiff_t item, step;
} cc_packets;

/* out[i·out_item + j·out_step] (+)= Σ_s conj(a[i, s]) · b[j, s], all of them packets: chains of
 * CC_CHAIN products, whose sums are added in order, first to what is there if `resume`. */
typedef void (*cc_multiply)(const cc_packets *a, ptrdiff_t a_items, const cc_packets *b,
                            ptrdiff_t b_items, ptrdiff_t summands, void *out, ptrdiff_t out_item,
                            ptrdiff_t out_step, int resume);

/* signal[i] += bias for all i < count; returns whether all are finite. */
typedef int (*cc_finish)(void *signal, ptrdiff_t count, const void *bias);

typedef struct {
    ptrdiff_t lanes;
    cc_forward_transform forward;
    cc_inverse_transform inverse;
    cc_multiply multiply;
    cc_finish finish;
} cc_transforms;

/* The roots for 2^log_points points and numbers of `size` bytes, computed once and kept for all
 * threads until the process ends; NULL if memory ran out. */
const void *cc_roots(int log_points, size_t size);

#endif
