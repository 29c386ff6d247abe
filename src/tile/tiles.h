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
    CC_WIDE_ROWS = 2,              /* most rows of gemm_wide */
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

/* chain[p] += Σ_t w[t] · panel[offset[t] + p], for all positions p of a few terms after another: so
 * long rows are read as they lie. */
typedef void (*cc_row_chain)(const void *panel, const int32_t *offset, ptrdiff_t terms,
                             const void *w, void *chain, ptrdiff_t positions);

/* out[p][l] (+)= Σ_t w[t·w_row + l] · x[p·x_row + offset[t]]  (+ bias[l]), as cc_correlate, for the
 * lanes l of one tile; in `depthwise` with a sample x[p·x_row + offset[t] + l] for each. */
typedef void (*cc_gemm)(const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms,
                        const void *w, ptrdiff_t w_row, void *out, ptrdiff_t out_row,
                        const void *bias, int resume);

/* cc_gemm for the lanes of several tiles side by side in `out`, whose weights begin w_block from one
 * to the next: for so few rows that a tile would wait for each multiply-add to end. */
typedef void (*cc_gemm_wide)(const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms,
                             const void *w, ptrdiff_t w_row, ptrdiff_t w_block, void *out,
                             ptrdiff_t out_row, const void *bias, int resume);

/* out[p][l] (+)= Σ_t w[w_offset[t] + l] · x[p·x_row + x_offset[t] + l]  (+ bias[l]), one chain of
 * at most CC_BLOCK terms: `resume` adds it to what `out` holds, and a bias, where there is one, is
 * added last. The same for some blocks of lanes, one after another, which lie so far apart. */
typedef void (*cc_depthwise_blocks)(const void *x, ptrdiff_t x_row, ptrdiff_t x_block,
                                    const int32_t *x_offset, const void *w, ptrdiff_t w_block,
                                    const int32_t *w_offset, ptrdiff_t terms, void *out,
                                    ptrdiff_t out_row, ptrdiff_t out_block, const void *bias,
                                    int resume, ptrdiff_t blocks);

/* chain[t][l] += Σ_{n,p} dy[n·dy_sample + p·dy_row + l]
 *                        · x[n·x_sample + p·x_row + t·tap_pitch + l],
 * from zero on with `begin`; where `total` is not NULL the chain ends, and total[t][l] takes it. */
typedef void (*cc_dw_short)(const void *x, ptrdiff_t x_row, ptrdiff_t x_sample, ptrdiff_t tap_pitch,
                            const void *dy, ptrdiff_t dy_row, ptrdiff_t dy_sample,
                            ptrdiff_t positions, ptrdiff_t samples, void *chain, int begin,
                            void *total);

/* lanes[b·block + p·width + l] = rows[(b·width + l)·pitch + p] for all the lanes l of gemm,
 * `width`, and some blocks b of them; and the reverse. */
typedef void (*cc_rows_to_lanes)(const void *rows, ptrdiff_t pitch, ptrdiff_t positions,
                                 void *lanes, ptrdiff_t block, ptrdiff_t blocks);
typedef void (*cc_lanes_to_rows)(const void *lanes, ptrdiff_t block, ptrdiff_t positions,
                                 void *rows, ptrdiff_t pitch, ptrdiff_t blocks);

/* to[c·to_pitch + r] = from[r·pitch + c] for some rows r and columns c. */
typedef void (*cc_swap_axes)(const void *from, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t columns,
                             void *to, ptrdiff_t to_pitch);

/* chain[p][l] += Σ_t w[w_offset[t] + l] · x[p·x_row + offset[t]], where after each number of terms
 * in `ends` the chain is added to total[p][l] and begins anew. Chains and totals are `row` numbers
 * apart from p to the next. So terms may be left out, whose places in the blocks others keep. */
typedef void (*cc_chains)(const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms,
                          const void *w, const int32_t *w_offset, const int32_t *ends,
                          ptrdiff_t blocks, void *chain, void *total, ptrdiff_t row);

/* sums[r][l] += Σ_p panel[offset[r] + p·x_row] · dy[p·dy_row + l], for the lanes l of one tile. */
typedef void (*cc_dw_outer)(const void *panel, ptrdiff_t x_row, const int32_t *offset,
                            const void *dy, ptrdiff_t dy_row, ptrdiff_t positions, void *sums);

/* sums[a][b][p % CC_LANES] += panel[offset[b] + a·skew + p] · dy_rows[dy_offset[a] + p] for all p,
 * with `sums_row` sums from a to the next. The skew, 0 or CC_LANES, lets rows of dy share samples
 * that each of them needs that much later than the one before. */
typedef void (*cc_dw_dot)(const void *panel, const int32_t *offset, const void *dy_rows,
                          const int32_t *dy_offset, ptrdiff_t skew, ptrdiff_t positions,
                          void *sums, ptrdiff_t sums_row);

/* chains[p % CC_LANES][b][l] += dy[p·dy_row + l] · x[p·x_row + offset[b] + l] for all p and the lanes
 * l of one tile, with `chains_row` numbers from a p to the next. Chains begin at zero unless they
 * are to `resume`; where there are sums, which lie alike, they end there: they are added to these
 * instead of being stored. */
typedef void (*cc_dw_depthwise)(const void *x, ptrdiff_t x_row, const int32_t *offset,
                                const void *dy, ptrdiff_t dy_row, ptrdiff_t positions,
                                void *chains, void *sums, ptrdiff_t chains_row, int resume);

/* sums[i] = Σ_lane sums[i][lane], in place. */
typedef void (*cc_fold_lanes)(void *sums, ptrdiff_t count);

/* transposed_panel[p][l] = rows[offset[l] + p] for l < count, else 0: the dy of dw_outer. */
typedef void (*cc_transpose)(const void *rows, const int32_t *offset, ptrdiff_t count,
                             ptrdiff_t positions, void *transposed_panel);

/* out[l / width · out_lanes + b·out_block + p·width + l % width] = rows[b·block + l·row + p] for
 * l < count, else 0 up to a multiple of `width`, the lanes of `transpose`, for some blocks b. */
typedef void (*cc_transpose_blocks)(const void *rows, ptrdiff_t row, ptrdiff_t count,
                                    ptrdiff_t block, ptrdiff_t blocks, ptrdiff_t positions,
                                    void *out, ptrdiff_t out_block, ptrdiff_t out_lanes);

/* row[i] = first[i·step] for i < count */
typedef void (*cc_load_strided)(const void *first, ptrdiff_t step, ptrdiff_t count, void *row);

/* *total += Σ_p dy[p] */
typedef void (*cc_sum_row)(const void *dy, ptrdiff_t positions, void *total);

/* Tables are indexed by the number of rows, from 1 to the largest that the level has. */
typedef struct cc_tiles {
    int fused; /* whether a multiply-add is rounded once */
    ptrdiff_t correlate_rows;
    ptrdiff_t correlate_width[CC_ROWS + 1]; /* positions in a tile */
    cc_correlate correlate[CC_ROWS + 1];
    ptrdiff_t correlate_half_width[CC_ROWS + 1]; /* for the last positions: half as many, or less */
    cc_correlate correlate_half[CC_ROWS + 1];
    ptrdiff_t row_least; /* positions that a row has at least */
    cc_row row[CC_ROW_TERMS_IN_REGISTERS + 1]; /* indexed by the number of terms; [0] takes any */
    cc_row_chain row_chain; /* of row_least positions or more */
    ptrdiff_t gemm_rows;
    ptrdiff_t gemm_lanes;
    cc_gemm gemm[CC_ROWS + 1];
    cc_gemm gemm_narrow[CC_ROWS + 1]; /* with half the lanes */
    cc_gemm depthwise_narrow[CC_ROWS + 1];
    ptrdiff_t gemm_wide_blocks[CC_WIDE_ROWS + 1]; /* of gemm_lanes each */
    cc_gemm_wide gemm_wide[CC_WIDE_ROWS + 1];
    cc_gemm depthwise[CC_ROWS + 1];
    cc_depthwise_blocks depthwise_blocks[CC_ROWS + 1]; /* rows and lanes as gemm */
    cc_dw_short dw_short[CC_ROWS + 1];                 /* indexed by the number of taps */
    cc_rows_to_lanes rows_to_lanes;
    cc_lanes_to_rows lanes_to_rows;
    cc_swap_axes swap_axes;
    cc_chains chains[CC_ROWS + 1];      /* of gemm_lanes lanes */
    cc_chains half_chains[CC_ROWS + 1]; /* of half as many */
    ptrdiff_t dw_outer_rows;
    ptrdiff_t dw_outer_width; /* lanes in a tile */
    cc_dw_outer dw_outer[CC_ROWS + 1];
    cc_transpose transpose;
    cc_transpose_blocks transpose_blocks;
    ptrdiff_t dw_dot_terms[CC_DOT_ROWS + 1]; /* b at most, for each number of rows a */
    cc_dw_dot dw_dot[CC_DOT_ROWS + 1][CC_DOT_TERMS + 1];
    ptrdiff_t dw_depthwise_terms; /* b at most */
    cc_dw_depthwise dw_depthwise[CC_DOT_TERMS + 1];
    ptrdiff_t dw_spread_terms; /* b at most, where a sample x[p·x_row + offset[b]] goes to all l */
    cc_dw_depthwise dw_spread[CC_DOT_TERMS + 1];
    cc_fold_lanes fold_lanes;
    cc_sum_row sum_row;
    cc_load_strided load_strided;
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
