/* The roots of unity of transform.h, computed once for each number of points.
 *
 *     node i of depth d splits by  ω = e^(2πi·(1 + 4·r) / 4^(d+2))      r: i with its base-4 digits
 *                                                                          in reverse
 *
 * Gives  for each depth the real and imaginary parts of ω, ω² and ω³, as six arrays over the nodes;
 *        where a depth of two ways is left at the end, of ω² alone.
 *
 * Sines are computed here, by nothing but additions and multiplications, because those of C
 * libraries differ in the last bit.
 */
#include "transforms.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif

#include "../debug.h"

/* cos and sin of so many turns, from 0 to 1, in multiples of 2^-22 or more. */
static void circle(double turns, double *cosine, double *sine)
{
    const int quarter = ((int)(turns * 8) + 1) / 2; /* the nearest */
    /* 2·pi in two parts, the first of 30 bits: its product with the rest of the turns is exact */
    const double rest = turns - quarter * 0.25, more = rest * -3.4822062782016664e-09;
    const double x = rest * 6.283185310661792755126953125, xx = x * x;
    double c = 1, s = 1;
    for (int n = 22; n > 2; n -= 2) { /* Taylor's series, for |x| of at most pi/4 */
        c = 1 - xx / ((n - 1) * n) * c;
        s = 1 - xx / (n * (n + 1)) * s;
    }
    const double near_s = x - x * (xx / 6 * s), near_c = 1 - xx / 2 * c; /* of x alone */
    c = 1 - (xx / 2 * c + near_s * more);
    s = x + (near_c * more - x * (xx / 6 * s));
    switch (quarter & 3) {
    case 0: *cosine = c, *sine = s; break;
    case 1: *cosine = -s, *sine = c; break;
    case 2: *cosine = -c, *sine = -s; break;
    default: *cosine = s, *sine = -c;
    }
}

static void put(void *table, size_t size, size_t place, double value)
{
    if (size == sizeof(float))
        ((float *)table)[place] = (float)value;
    else
        ((double *)table)[place] = value;
}

static void *compute(int log_points, size_t size)
{
    const int depths = log_points / 2, odd = log_points % 2;
    void *table = malloc((size_t)2 * size << log_points);
    size_t start = 0;
    if (!table)
        return NULL;
    for (int depth = 0; depth < depths + odd; depth++) {
        const size_t nodes = (size_t)1 << 2 * depth;
        /* The last depths but two are children of the same lanes: see finish_nodes. */
        const int below = depth > depths - 2 ? depth - (depths - 2) : 0;
        for (size_t i = 0; i < nodes; i++) {
            const size_t lane = i >> 2 * below;
            const size_t child = i & (((size_t)1 << 2 * below) - 1);
            const size_t place = start + child * (nodes >> 2 * below) + lane;
            size_t reversed = 0;
            for (int digit = 0; digit < depth; digit++)
                reversed = reversed << 2 | (i >> 2 * digit & 3);
            for (int power = 1; power <= 3; power++) {
                double c, s;
                if (depth == depths && power != 2)
                    continue;
                circle((double)(power * (1 + 4 * reversed)) / (double)(nodes * 16), &c, &s);
                const size_t array = depth == depths ? 0 : 2 * (size_t)(power - 1);
                put(table, size, place + array * nodes, c);
                put(table, size, place + (array + 1) * nodes, s);
            }
        }
        start += nodes * 6;
    }
    return table;
}

static void *volatile tables[CC_MAX_LOG_POINTS + 1][2];

const void *cc_roots(int log_points, size_t size)
{
    void *volatile *slot = &tables[log_points][size == sizeof(double)];
#if defined(_MSC_VER) && !defined(__clang__)
    void *table = InterlockedCompareExchangePointer(slot, NULL, NULL);
#else
    void *table = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
#endif
    if (table)
        return table;
    table = compute(log_points, size);
    if (!table)
        return NULL;
    /* Two threads may compute the same; the first keeps its own. */
#if defined(_MSC_VER) && !defined(__clang__)
    void *found = InterlockedCompareExchangePointer(slot, table, NULL);
#else
    void *found = NULL;
    __atomic_compare_exchange_n(slot, &found, table, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
#endif
    if (!found)
        return table;
    free(table);
    return found;
}
