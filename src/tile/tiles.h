/* What the nests ask of a tile, and the levels of instruction set that offer one.
 *
 * A tile is a few vectors of results that stay in registers while one term after another is
 * multiplied and added. It knows contiguous panels, not arrays; which part of which array a
 * panel holds is the nest's business. Functions take void pointers, so that one table serves
 * both dtypes and no vector type leaves the region that its instructions are compiled in.
 *
 * CC_ and cc_ begin the names that are internal to cconv1d; those of its C interface begin with
 * CCONV1D_ and cconv1d_.
 */
#ifndef CC_TILES_H
#define CC_TILES_H

#include "../fft/transforms.h"

#include <stddef.h>
#include <stdint.h>

enum {
    CC_BLOCK = 128, /* terms in one chain of multiply-adds; the chains' sums are added in order */
    CC_LANES = 16,  /* logical lanes of a sum over positions, the same at every level */
    CC_SHIFT = 8,   /* samples between terms that share their loads in a tile of one row */
    CC_ROW_TERMS_IN_REGISTERS = 8, /* most terms of `row` whose weights stay in registers */
    CC_ROW_TERMS_MAX = 16,         /* most terms of `row` */
    CC_DOT_ROWS = 3,               /* most rows of dy in dw_dot */
    CC_DOT_TERMS = 8,              /* most terms in dw_dot */
    CC_ROWS = 12,                  /* most rows of a tile */
    CC_TILE = 512                  /* most results of a tile */
};

/* out[r][p] (+)= Σ_t w[t][r] · panel[offset[t] + p]  (+ bias[r]), for one tile of positions p.
 * `resume` continues the sums that `out` holds; a bias, where there is one, is added last. */
typedef void (*cc_correlate)(const void *panel, const int32_t *offset, ptrdiff_t terms,
                             const void *w, void *out, ptrdiff_t out_row, const void *bias,
                             int resume);

/* out[p] = Σ_t w[t] · panel[offset[t] + p]  (+ *bias), for all positions p at once. */
typedef void (*cc_row)(const void *panel, const int32_t *offset, ptrdiff_t terms, const void *w,
                       void *out, ptrdiff_t positions, const void *bias);

/* out[p][l] (+)= Σ_t w[t][l] · x[p·x_row + offset[t]]  (+ bias[l]), as cc_correlate, for the lanes
 * l of one tile; in channels_last_depthwise with a sample x[p·x_row + offset[t] + l] for each. */
typedef void (*cc_channels_last)(const void *x, ptrdiff_t x_row, const int32_t *offset,
                                 ptrdiff_t terms, const void *w, void *out, ptrdiff_t out_row,
                                 const void *bias, int resume);

/* sums[r][l] += Σ_p panel[offset[r] + p] · dy_tile[p][l], for the lanes l of one tile. */
typedef void (*cc_dw_outer)(const void *panel, const int32_t *offset, const void *dy_tile,
                            ptrdiff_t positions, void *sums);

/* sums[a][b][p % CC_LANES] += panel[offset[b] + a·skew + p] · dy_rows[dy_offset[a] + p] for all p,
 * with `sums_row` sums from a to the next. The skew, 0 or CC_LANES, lets rows of dy share samples
 * that each of them needs that much later than the one before. */
typedef void (*cc_dw_dot)(const void *panel, const int32_t *offset, const void *dy_rows,
                          const int32_t *dy_offset, ptrdiff_t skew, ptrdiff_t positions,
                          void *sums, ptrdiff_t sums_row);

/* sums[i] = Σ_lane sums[i][lane], in place. */
typedef void (*cc_fold_lanes)(void *sums, ptrdiff_t count);

/* transposed_panel[p][l] = rows[offset[l] + p] for l < count, else 0: the `dy_tile` of dw_outer. */
typedef void (*cc_transpose)(const void *rows, const int32_t *offset, ptrdiff_t count,
                             ptrdiff_t positions, void *transposed_panel);

/* *total += Σ_p dy[p] */
typedef void (*cc_sum_row)(const void *dy, ptrdiff_t positions, void *total);

/* Tables are indexed by the number of rows, from 1 to the largest that the level has. */
typedef struct cc_tiles {
    ptrdiff_t correlate_rows;
    ptrdiff_t correlate_width[CC_ROWS + 1]; /* positions in a tile */
    cc_correlate correlate[CC_ROWS + 1];
    ptrdiff_t row_least; /* positions that a row has at least */
    cc_row row[CC_ROW_TERMS_IN_REGISTERS + 1]; /* indexed by the number of terms; [0] takes any */
    ptrdiff_t channels_last_rows;
    ptrdiff_t channels_last_lanes;
    cc_channels_last channels_last[CC_ROWS + 1];
    cc_channels_last channels_last_depthwise[CC_ROWS + 1];
    ptrdiff_t dw_outer_rows;
    ptrdiff_t dw_outer_width; /* lanes in a tile */
    cc_dw_outer dw_outer[CC_ROWS + 1];
    cc_transpose transpose;
    ptrdiff_t dw_dot_terms[CC_DOT_ROWS + 1]; /* b at most, for each number of rows a */
    cc_dw_dot dw_dot[CC_DOT_ROWS + 1][CC_DOT_TERMS + 1];
    cc_fold_lanes fold_lanes;
    cc_sum_row sum_row;
    const struct cc_tiles *narrower; /* with half the lanes and the same bits, or NULL */
} cc_tiles;

/* A half-precision format: how numbers stored so become float32, and how they are rounded. */
typedef void (*cc_widen)(const uint16_t *halves, ptrdiff_t count, float *values);
typedef void (*cc_narrow)(const float *values, ptrdiff_t count, uint16_t *halves);
typedef struct {
    cc_widen widen;
    cc_narrow narrow;
} cc_half;

typedef struct {
    const char *name;
    int (*supported)(void); /* by this processor and its operating system */
    const cc_tiles *f32;
    const cc_tiles *f64;
    const cc_half *float16;
    const cc_half *bfloat16;
    const cc_transforms *f32_transforms;
    const cc_transforms *f64_transforms;
} cc_level;

/* The levels that were compiled, lowest first. */
extern const cc_level cc_levels[];
extern const int cc_level_count;

/* Ask for the cache lines of some bytes that will be read soon; any address will do. */
static inline void cc_prefetch(const char *first, ptrdiff_t bytes)
{
#if defined(__GNUC__)
    for (ptrdiff_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(first + i);
#else
    (void)first;
    (void)bytes;
#endif
}

/* The compiler, for a bug report. */
extern const char cc_compiler[];

#endif
