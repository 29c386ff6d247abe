/* What the nests overlap_save and minimal_filtering ask of a transform: spectra of real signals, and
 * sums of their products; and, at the end, the planes of minimal filtering.
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
    CC_MIN_LOG_POINTS = 8,        /* of M: every level has lanes for so many points */
    CC_MIN_LOG_POINTS_ACROSS = 4, /* the same with lanes across signals */
    CC_MAX_LOG_POINTS = 20,       /* the roots of so many take 8 MB in float32 */
    CC_PLANES = 4,       /* of minimal filtering */
    CC_MOST_PAIRS = 128, /* of its results in a line, */
    CC_LINE_PAIRS = 192, /* which is filled up to whole tiles of all rows */
    CC_LONGEST_RUN = 16, /* numbers that are copied behind those that are meant */
    CC_CHAIN = 64        /* products in one chain of cc_multiply, of two multiply-adds each */
};

/* `signal`, whose 2·M numbers are overwritten, becomes M / lanes packets, one every `stride`
 * numbers. `roots` are those of cc_roots. */
typedef void (*cc_forward_transform)(const void *roots, int log_points, void *signal,
                                     void *spectrum, ptrdiff_t stride);
/* The inverse. */
typedef void (*cc_inverse_transform)(const void *roots, int log_points, const void *spectrum,
                                     ptrdiff_t stride, void *signal);

/* Packets of many spectra: number f of what has two indices at f·next + first·row + second·step. */
typedef struct {
    void *numbers;
    ptrdiff_t next, row, step;
} cc_packets;

/* out[i, j] (+)= Σ_s conj(a[i, s]) · b[j, s] for the first `packets` packets of spectra: chains of
 * CC_CHAIN products, whose sums are added in order, first to what is there if `resume`. */
typedef void (*cc_multiply)(const cc_packets *a, ptrdiff_t a_rows, const cc_packets *b,
                            ptrdiff_t b_rows, ptrdiff_t summands, const cc_packets *out,
                            ptrdiff_t packets, int resume);

/* The same for as many signals as there are lanes: a packet holds the numbers of all signals at one
 * root, so there are M packets. Of any points from 2^CC_MIN_LOG_POINTS_ACROSS on.
 *
 * `signals` has number n of all signals at n·step, for all n < count; the others are zero. `numbers` is
 * room for all 2·M of them, and may be `signals`; to it the inverse returns, number n at n·lanes. */
typedef void (*cc_forward_across)(const void *roots, int log_points, const void *signals,
                                  ptrdiff_t step, ptrdiff_t count, void *numbers, void *spectra,
                                  ptrdiff_t stride);
typedef void (*cc_inverse_across)(const void *roots, int log_points, const void *spectra,
                                  ptrdiff_t stride, void *numbers);

/* cc_multiply where the lanes of a are rows, `row` from one packet to the next, or summands, `step`
 * from one packet to the next: each number of them meets all lanes of b. With summands it is
 * a[i, s] · conj(b[j, s]) that is summed, in the order in which the other has b · conj(a). */
typedef enum { CC_ROOTS, CC_ROWS_OF_A, CC_SUMMANDS } cc_lanes;

/* Planes of minimal filtering: see minimal.h. A plane has a number for each pair of results that lie
 * `apart`: of places 0 .. apart - 1, 2·apart .. 3·apart - 1 and so on, in that order if they are not
 * neighbours, and then there are CC_LINE_PAIRS of them at most, CC_MOST_PAIRS apart. Planes lie `plane` numbers apart. Whole vectors
 * are read and written, and CC_LONGEST_RUN numbers behind them; of samples there are 2·apart more
 * than of results. Samples that are no neighbours become `whole` pairs, with zeros behind the others.
 *
 * Of `count` taps, three at most, `step` numbers from one to the next, some rows lie side by side, and
 * those of the next channel `next` numbers later. */
typedef void (*cc_filter_samples)(const void *samples, ptrdiff_t apart, ptrdiff_t pairs,
                                  ptrdiff_t whole, void *planes, ptrdiff_t plane);
typedef void (*cc_filter_results)(const void *planes, ptrdiff_t plane, ptrdiff_t apart,
                                  ptrdiff_t pairs, void *results);
typedef void (*cc_filter_taps)(const void *taps, ptrdiff_t step, ptrdiff_t count, ptrdiff_t rows,
                               ptrdiff_t next, ptrdiff_t channels, void *planes, ptrdiff_t plane,
                               ptrdiff_t planes_next);

/* signal[i] += bias for all i < count; returns whether all are finite. */
typedef int (*cc_finish)(void *signal, ptrdiff_t count, const void *bias);
/* The same for signals across the lanes, number n of all of them at n·lanes, and as many biases, or
 * NULL. spoiled[lane] is 0 if all of a signal are finite, else NaN. */
typedef void (*cc_finish_lanes)(void *signals, ptrdiff_t count, const void *biases, void *spoiled);

typedef struct {
    ptrdiff_t lanes;
    cc_forward_transform forward;
    cc_inverse_transform inverse;
    cc_multiply multiply;
    cc_forward_across forward_across;
    cc_inverse_across inverse_across;
    cc_multiply multiply_each_row;
    cc_multiply multiply_each_summand;
    cc_filter_samples filter_samples;
    cc_filter_results filter_results;
    cc_filter_taps filter_taps;
    cc_finish finish;
    cc_finish_lanes finish_lanes;
} cc_transforms;

/* The roots for 2^log_points points and numbers of `size` bytes, computed once and kept for all
 * threads until the process ends; NULL if memory ran out. */
const void *cc_roots(int log_points, size_t size);

#endif
