/* The transforms of every level that runs here: against sums in long double, back again, and bit
 * for bit against each other.
 *
 * Built with src/tile/tiles.c and src/fft/roots.c. Only a level without fused multiply-adds may
 * differ from the others.
 */
#include "tiles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN 6.283185307179586476925286766559005768L

static uint32_t state;

static double number(void) /* from -1 to 1 */
{
    state = state * 1664525u + 1013904223u;
    const double upper = (double)(state >> 8);
    state = state * 1664525u + 1013904223u;
    return (upper + (double)(state >> 8) / 16777216) / 8388608 - 1;
}

static long wrong;

/* Which root a number of a spectrum belongs to, in turns. */
static long double root(int log_points, ptrdiff_t lanes, ptrdiff_t packet, ptrdiff_t lane)
{
    const int depths = log_points / 2, last = 16 << log_points % 2;
    const ptrdiff_t leaf = (packet / last * lanes + lane) * last + packet % last;
    ptrdiff_t node = log_points % 2 ? leaf / 2 : leaf, reversed = 0;
    for (int digit = 0; digit < depths; digit++, node /= 4)
        reversed = reversed * 4 + node % 4;
    long double turns = (long double)(1 + 4 * reversed);
    for (int digit = 0; digit <= depths; digit++)
        turns /= 4;
    return log_points % 2 ? (turns + leaf % 2) / 2 : turns;
}

#define REAL float
#define NAME(name) name##_f32
#include "transform_driver.h"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_f64
#include "transform_driver.h"

int main(void)
{
    for (int log_points = CC_MIN_LOG_POINTS; log_points <= 13; log_points++) {
        check_f32(log_points);
        check_f64(log_points);
    }
    check_f32(CC_MAX_LOG_POINTS);
    for (int i = 0; i < cc_level_count; i++)
        if (cc_levels[i].supported()) {
            const int fuses = cc_levels[i].name[0] != 'b';
            products_f32(cc_levels[i].f32_transforms, fuses);
            products_f64(cc_levels[i].f64_transforms, fuses);
            each_f32(cc_levels[i].f32_transforms);
            each_f64(cc_levels[i].f64_transforms);
            each_summand_f32(cc_levels[i].f32_transforms);
            each_summand_f64(cc_levels[i].f64_transforms);
            lanes_f32(cc_levels[i].f32_transforms);
            lanes_f64(cc_levels[i].f64_transforms);
            for (int log_points = CC_MIN_LOG_POINTS_ACROSS; log_points <= 10; log_points++) {
                const ptrdiff_t points = (ptrdiff_t)1 << log_points;
                for (ptrdiff_t count = 2 * points; count > 0; count -= 1 + points * 3 / 8) {
                    across_f32(cc_levels[i].f32_transforms, log_points, count);
                    across_f64(cc_levels[i].f64_transforms, log_points, count);
                }
            }
        }
    puts(wrong ? "FAILED" : "all transforms right");
    return wrong != 0;
}
