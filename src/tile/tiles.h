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

#include <stddef.h>
#include <stdint.h>

enum {
    CC_BLOCK = 128, /* terms in one chain of multiply-adds; the chains' sums are added in order */
    CC_LANES = 16,  /* logical lanes of a sum over positions, the same at every level */
    CC_APART = 8,   /* samples between terms that share their loads in a tile of one row */
    CC_FEW = 8,     /* most terms of `row` whose weights stay in registers */
    CC_MORE = 16,   /* most terms of `row` */
    CC_ACROSS = 3,  /* most rows of `other` in by_position */
    CC_DOWN = 8,    /* most terms in by_position */
    CC_ROWS = 12,   /* most rows of a tile */
    CC_TILE = 512   /* most results of a tile */
};

/* out[r][p] (+)= Σ_t w[t][r] · panel[offset[t] + p]  (+ bias[r]), for one tile of positions p.
 * `resume` continues the sums that `out` holds; a bias, where there is one, is added last. */
typedef void (*cc_correlate)(const void *panel, const int32_t *offset, ptrdiff_t terms,
                             const void *w, void *out, ptrdiff_t out_row, const void *bias,
                             int resume);

/* out[p] = Σ_t w[t] · panel[offset[t] + p]  (+ *bias), for all positions p at once. */
typedef void (*cc_row)(const void *panel, const int32_t *offset, ptrdiff_t terms, const void *w,
                       void *out, ptrdiff_t positions, const void *bias);

/* out[p][l] (+)= Σ_t w[t][l] · x[p·x_row + offset[t]]  (+ bias[l]), as cc_correlate, for the lanes l
 * of one tile; in across_each with a sample x[p·x_row + offset[t] + l] for each lane. */
typedef void (*cc_across)(const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms,
                          const void *w, void *out, ptrdiff_t out_row, const void *bias,
                          int resume);

/* sums[r][l] += Σ_p panel[offset[r] + p] · other[p][l], for the lanes l of one tile. */
typedef void (*cc_by_lane)(const void *panel, const int32_t *offset, const void *other,
                           ptrdiff_t positions, void *sums);

/* sums[a][b][p % CC_LANES] += panel[offset[b] + a·skew + p] · other[line[a] + p] for all p, with
 * `sums_row` sums from a to the next. The skew, 0 or CC_LANES, lets rows of `other` share samples
 * that each of them needs that much later than the one before. */
typedef void (*cc_by_position)(const void *panel, const int32_t *offset, const void *other,
                               const int32_t *line, ptrdiff_t skew, ptrdiff_t positions,
                               void *sums, ptrdiff_t sums_row);

/* sums[i] = Σ_lane sums[i][lane], in place. */
typedef void (*cc_fold)(void *sums, ptrdiff_t count);

/* turned[p][l] = rows[offset[l] + p] for l < count, else 0: the `other` of by_lane. */
typedef void (*cc_turn)(const void *rows, const int32_t *offset, ptrdiff_t count,
                        ptrdiff_t positions, void *turned);

/* *total += Σ_p dy[p] */
typedef void (*cc_sum)(const void *dy, ptrdiff_t positions, void *total);

/* Tables are indexed by the number of rows, from 1 to the largest that the level has. */
typedef struct cc_tiles {
    ptrdiff_t correlate_rows;
    ptrdiff_t correlate_width[CC_ROWS + 1]; /* positions in a tile */
    cc_correlate correlate[CC_ROWS + 1];
    ptrdiff_t row_least; /* positions that a row has at least */
    cc_row row[CC_FEW + 1]; /* indexed by the number of terms; [0] takes any */
    ptrdiff_t across_rows;
    ptrdiff_t across_lanes;
    cc_across across[CC_ROWS + 1];
    cc_across across_each[CC_ROWS + 1];
    ptrdiff_t by_lane_rows;
    ptrdiff_t by_lane_width; /* lanes in a tile */
    cc_by_lane by_lane[CC_ROWS + 1];
    cc_turn turn;
    ptrdiff_t by_position_terms[CC_ACROSS + 1]; /* b at most, for each number of rows a */
    cc_by_position by_position[CC_ACROSS + 1][CC_DOWN + 1];
    cc_fold fold;
    cc_sum sum;
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
