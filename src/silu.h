/* SiLU, v / (1 + exp(-v)), and the gradient that it passes on.
 *
 * The exponential is a polynomial of multiplications and additions in double precision, each of
 * which is rounded as IEEE 754 says, so that the bits are the same with any compiler and on any
 * processor; libm's and NumPy's are not. float32 is computed in double and rounded once, float64 is
 * within 2 ulp. What is not a number stays one, and -inf becomes one, as in the formula.
 */
#ifndef CC_SILU_H
#define CC_SILU_H

#include <stddef.h>

typedef struct {
    const char *level; /* of cc_levels, whose processors have the instructions */
    /* values = silu(values) */
    void (*f32)(float *values, ptrdiff_t count);
    void (*f64)(double *values, ptrdiff_t count);
    /* grads = grads * silu'(values) */
    void (*backward_f32)(const float *values, float *grads, ptrdiff_t count);
    void (*backward_f64)(const double *values, double *grads, ptrdiff_t count);
} cc_silu;

/* Those of a level, or of the one below it that has some of its own. */
const cc_silu *cc_silu_of(const char *level);

#endif
