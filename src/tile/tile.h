/* The tiles, written once in the vocabulary of simd.h and instantiated by tiles.c for each
 * level and dtype. TILE(name) is the name of a function in this instantiation.
 *
 *   correlate       out[r][p] = Σ_t w[t][r] · panel[offset[t] + p]         lanes along p
 *   row             the same for one row and few terms, all positions      lanes along p
 *   row_chain       chain[p] += Σ_t w[t] · panel[offset[t] + p]            lanes along p
 *   gemm            out[p][l] = Σ_t w[t·w_row + l] · x[p·x_row + offset[t]] lanes along l
 *   gemm_wide       the same for a position or two and several blocks of l lanes along l
 *   depthwise       gemm with x[p·x_row + offset[t] + l]                   lanes along l
 *   depthwise_blocks   out[p][l] = Σ_t w[w_offset[t] + l] · x[p·x_row + x_offset[t] + l]
 *                                                                          lanes along l
 *   dw_short        chain[t][l] += Σ_{n,p} dy[n, p, l] · x[n, p, t, l]     lanes along l
 *   rows_to_lanes   lanes[p][l] = rows[l][p], and lanes_to_rows
 *   swap_axes       to[c][r] = from[r][c]
 *   chains          gemm with w[w_offset[t] + l], chains and totals        lanes along l
 *   dw_outer        sums[r][l] += Σ_p panel[offset[r] + p·x_row] · dy[p·dy_row + l]
 *                                                                          lanes along l
 *   dw_dot          sums[a][b][lane] += Σ_p panel[offset[b] + p] · dy_rows[dy_offset[a] + p]
 *                                                                          lanes along p
 *   dw_depthwise    chains[p % CC_LANES][b][l] += dy[p·dy_row + l] · x[p·x_row + offset[b] + l]
 *                                                                          lanes along l
 *   dw_spread       the same with x[p·x_row + offset[b]]                    lanes along l
 *   transpose       transposed_panel[p][l] = rows[offset[l] + p]
 *   transpose_blocks  the same for many small blocks whose rows are evenly spaced
 *   load_strided    row[i] = first[i·step]                                 lanes along i
 *   sum_row         total += Σ_p dy[p]                                     lanes along p
 *
 * Phases: zero the accumulators; one multiply-add per accumulator and term, each chain
 * CC_BLOCK long at most; add the chain's sum to the total in memory, in order. The numbers of
 * rows R and of vectors V are constants where a function is instantiated, so that the loops
 * over them unroll and the accumulators stay in registers; four terms are unrolled besides,
 * because the instructions around 12 multiply-adds nearly fill the decoder otherwise (5 % on
 * Zen 3).
 */

/* How many rows and vectors fill the registers: R·V accumulators beside the smaller of R and V
 * and one more. Eight would do for two multiply-adds in a cycle that take four, if nothing else
 * ever came between; ten or twelve are up to 25 % faster. */
#if REGISTERS == 32
#define ROWS 12
#define FOR_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define VECTORS(R) ((R) <= 3 ? 8 : (R) <= 6 ? 4 : 2)
#define FOR_DEPTHWISE_TERMS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#define DEPTHWISE_TERMS 8
#else
#define ROWS 6
#define FOR_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define VECTORS(R) ((R) <= 1 ? 8 : (R) <= 2 ? 6 : (R) <= 3 ? 4 : (R) <= 4 ? 3 : 2)
#define FOR_DEPTHWISE_TERMS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define DEPTHWISE_TERMS 6
#endif

#define MOST_RUN (CC_SHIFT / LANES > 4 ? 1 : 4) /* what is gained by more is small */

/* M terms of a single row whose samples are CC_SHIFT from each other: what one of them reads, the
 * next reads again, so that a vector of samples is loaded once for all of them. */
INLINE void TILE(add_run)(const int M, const int V, const REAL *x, const REAL *w, VEC *sum)
{
    enum { STEP = LANES < CC_SHIFT ? LANES : CC_SHIFT };
    VEC ws[4];
    HERE(x);
    UNROLL for (int m = 0; m < M; m++)
        ws[m] = V_SET1(w[m]);
    UNROLL for (int at = 0; at <= (V - 1) * LANES + (M - 1) * CC_SHIFT; at += STEP) {
        VEC xs = V_LOAD(x + at);
        V_PIN(xs);
        UNROLL for (int m = 0; m < M; m++) {
            const int first = at - m * CC_SHIFT;
            if (first % LANES == 0 && first >= 0 && first / LANES < V)
                sum[first / LANES] = V_FMA(ws[m], xs, sum[first / LANES]);
        }
    }
}

/* A bias is added after all terms, to a row or, with EACH, lane by lane. */
INLINE void TILE(close_block)(const int EACH, const int R, const int V, VEC sum[CC_ROWS][8],
                              REAL *out, ptrdiff_t out_row, const REAL *bias, int add)
{
    if (add)
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_ADD(V_LOAD(out + r * out_row + v * LANES), sum[r][v]);
    if (bias)
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_ADD(sum[r][v], EACH ? V_LOAD(bias + v * LANES) : V_SET1(bias[r]));
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V; v++)
            V_STORE(out + r * out_row + v * LANES, sum[r][v]);
}

/* One multiply-add for each accumulator of a tile. */
INLINE void TILE(correlate_term)(const int R, const int V, const REAL *x, const REAL *w,
                                 VEC sum[CC_ROWS][8])
{
    if (R >= V) { /* fewer vectors of x than rows: they are what stays in registers */
        VEC xs[8];
        UNROLL for (int v = 0; v < V; v++) {
            xs[v] = V_LOAD(x + v * LANES);
            V_PIN(xs[v]);
        }
        UNROLL for (int r = 0; r < R; r++) {
            V_HERE(w);
            const VEC ws = V_SET1(w[r]);
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_FMA(ws, xs[v], sum[r][v]);
        }
    } else {
        VEC ws[CC_ROWS];
        UNROLL for (int r = 0; r < R; r++)
            ws[r] = V_SET1(w[r]);
        UNROLL for (int v = 0; v < V; v++) {
            V_HERE(x);
            VEC xs = V_LOAD(x + v * LANES);
            V_PIN(xs);
            UNROLL for (int r = 0; r < R; r++)
                sum[r][v] = V_FMA(ws[r], xs, sum[r][v]);
        }
    }
}

INLINE void TILE(correlate_rows)(const int R, const int V, const REAL *panel,
                                 const int32_t *offset, ptrdiff_t terms, const REAL *w,
                                 REAL *out, ptrdiff_t out_row, const REAL *bias, int resume)
{
    /* the stores come many cycles later: enough to fetch the lines that they go to */
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V * LANES * (int)sizeof(REAL); v += 64)
            PREFETCH_W((const char *)(out + r * out_row) + v);

    for (ptrdiff_t first = 0; first < terms; first += CC_BLOCK) {
        const ptrdiff_t last = terms - first > CC_BLOCK ? first + CC_BLOCK : terms;
        VEC sum[CC_ROWS][8];

        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_SET1(0);

        if (R == 1) {
            for (ptrdiff_t t = first; t < last;) {
                const REAL *x = panel + offset[t];
                ptrdiff_t run = 1;
                while (run < MOST_RUN && t + run < last
                       && offset[t + run] == offset[t] + run * CC_SHIFT)
                    run++;
                if (run == 1)
                    TILE(add_run)(1, V, x, w + t, sum[0]);
                else if (run == 2)
                    TILE(add_run)(2, V, x, w + t, sum[0]);
                else if (run == 3)
                    TILE(add_run)(3, V, x, w + t, sum[0]);
                else
                    TILE(add_run)(4, V, x, w + t, sum[0]);
                t += run;
            }
        } else {
            if (V > VECTORS(R) / 2)
                UNROLL_4 for (ptrdiff_t t = first; t < last; t++)
                    TILE(correlate_term)(R, V, panel + offset[t], w + t * R, sum);
            else
                for (ptrdiff_t t = first; t < last; t++)
                    TILE(correlate_term)(R, V, panel + offset[t], w + t * R, sum);
        }

        TILE(close_block)(0, R, V, sum, out, out_row, last == terms ? bias : NULL,
                          resume || first > 0);
    }
}

/* What a tile does around its few terms would take longer than the terms. */
INLINE void TILE(row_terms)(const int T, const REAL *panel, const int32_t *offset, const REAL *w,
                            REAL *out, ptrdiff_t positions, const REAL *bias)
{
    enum { V = 4 };
    const VEC b = V_SET1(bias ? *bias : 0);
    VEC ws[CC_ROW_TERMS_IN_REGISTERS];
    const REAL *x[CC_ROW_TERMS_IN_REGISTERS];
    ptrdiff_t p = 0;

    UNROLL for (int t = 0; t < T; t++) {
        ws[t] = V_SET1(w[t]);
        x[t] = panel + offset[t];
    }
    for (; p + V * LANES <= positions; p += V * LANES) {
        VEC sum[V];
        UNROLL for (int v = 0; v < V; v++)
            sum[v] = V_SET1(0);
        UNROLL for (int t = 0; t < T; t++)
            UNROLL for (int v = 0; v < V; v++)
                sum[v] = V_FMA(ws[t], V_LOAD(x[t] + p + v * LANES), sum[v]);
        UNROLL for (int v = 0; v < V; v++)
            V_STORE(out + p + v * LANES, bias ? V_ADD(sum[v], b) : sum[v]);
    }
    while (p < positions) { /* the last vector may hold results that the one before it had */
        VEC sum = V_SET1(0);
        p = p + LANES <= positions ? p : positions - LANES;
        UNROLL for (int t = 0; t < T; t++)
            sum = V_FMA(ws[t], V_LOAD(x[t] + p), sum);
        V_STORE(out + p, bias ? V_ADD(sum, b) : sum);
        p += LANES;
    }
}

/* The same for terms too many for the registers, but too few to share what they load. */
INLINE void TILE(chain_terms)(const int T, const REAL *panel, const int32_t *offset, const REAL *w,
                              REAL *chain, ptrdiff_t positions)
{
    enum { V = 2 };
    VEC ws[CC_ROW_TERMS_IN_REGISTERS];
    const REAL *x[CC_ROW_TERMS_IN_REGISTERS];
    const ptrdiff_t last = positions - LANES;
    VEC rest = V_LOAD(chain + last); /* which the loop comes to in part, so it is summed before */
    ptrdiff_t p = 0;

    UNROLL for (int t = 0; t < T; t++) {
        ws[t] = V_SET1(w[t]);
        x[t] = panel + offset[t];
        rest = V_FMA(ws[t], V_LOAD(x[t] + last), rest);
    }
    for (; p + V * LANES <= positions; p += V * LANES) {
        VEC sum[V];
        UNROLL for (int v = 0; v < V; v++)
            sum[v] = V_LOAD(chain + p + v * LANES);
        UNROLL for (int t = 0; t < T; t++)
            UNROLL for (int v = 0; v < V; v++)
                sum[v] = V_FMA(ws[t], V_LOAD(x[t] + p + v * LANES), sum[v]);
        UNROLL for (int v = 0; v < V; v++)
            V_STORE(chain + p + v * LANES, sum[v]);
    }
    for (; p + LANES <= positions; p += LANES) {
        VEC sum = V_LOAD(chain + p);
        UNROLL for (int t = 0; t < T; t++)
            sum = V_FMA(ws[t], V_LOAD(x[t] + p), sum);
        V_STORE(chain + p, sum);
    }
    V_STORE(chain + last, rest);
}

static void TILE(row_chain)(const void *panel, const int32_t *offset, ptrdiff_t terms,
                            const void *w, void *chain, ptrdiff_t positions)
{
    ptrdiff_t t = 0;
    for (; t + CC_ROW_TERMS_IN_REGISTERS <= terms; t += CC_ROW_TERMS_IN_REGISTERS)
        TILE(chain_terms)(CC_ROW_TERMS_IN_REGISTERS, (const REAL *)panel, offset + t,
                          (const REAL *)w + t, (REAL *)chain, positions);
    for (; t < terms; t++)
        TILE(chain_terms)(1, (const REAL *)panel, offset + t, (const REAL *)w + t, (REAL *)chain,
                          positions);
}

static void TILE(row_0)(const void *panel_, const int32_t *offset, ptrdiff_t terms, const void *w_,
                        void *out_, ptrdiff_t positions, const void *bias_)
{
    enum { V = 8 };
    const REAL *panel = (const REAL *)panel_, *w = (const REAL *)w_;
    const REAL *bias = (const REAL *)bias_;
    REAL *out = (REAL *)out_;
    const VEC b = V_SET1(bias ? *bias : 0);
    ptrdiff_t p = 0;

    for (; p + V * LANES <= positions; p += V * LANES) {
        VEC sum[V];
        UNROLL for (int v = 0; v < V; v++)
            sum[v] = V_SET1(0);
        for (ptrdiff_t t = 0; t < terms; t++) {
            const REAL *x = panel + offset[t] + p;
            const VEC ws = V_SET1(w[t]);
            UNROLL for (int v = 0; v < V; v++)
                sum[v] = V_FMA(ws, V_LOAD(x + v * LANES), sum[v]);
        }
        UNROLL for (int v = 0; v < V; v++)
            V_STORE(out + p + v * LANES, bias ? V_ADD(sum[v], b) : sum[v]);
    }
    while (p < positions) {
        VEC sum = V_SET1(0);
        p = p + LANES <= positions ? p : positions - LANES;
        for (ptrdiff_t t = 0; t < terms; t++)
            sum = V_FMA(V_SET1(w[t]), V_LOAD(panel + offset[t] + p), sum);
        V_STORE(out + p, bias ? V_ADD(sum, b) : sum);
        p += LANES;
    }
}

#define LANE_VECTORS 2 /* more rows load less than more vectors would */

/* A sample goes to all lanes or, if DEPTHWISE, there is one for each. Beyond LANE_VECTORS the
 * weights of as many vectors are w_block from those before. */
INLINE void TILE(gemm_rows)(const int DEPTHWISE, const int R, const int V, const REAL *x,
                            ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms, const REAL *w,
                            ptrdiff_t w_row, ptrdiff_t w_block, REAL *out, ptrdiff_t out_row,
                            const REAL *bias, int resume)
{
    const REAL *rows[CC_ROWS];

    UNROLL for (int r = 0; r < R; r++) {
        rows[r] = x + r * x_row;
        UNROLL for (int v = 0; v < V * LANES * (int)sizeof(REAL); v += 64)
            PREFETCH_W((const char *)(out + r * out_row) + v);
    }

    for (ptrdiff_t first = 0; first < terms; first += CC_BLOCK) {
        const ptrdiff_t last = terms - first > CC_BLOCK ? first + CC_BLOCK : terms;
        VEC sum[CC_ROWS][8];

        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_SET1(0);

        UNROLL_4 for (ptrdiff_t t = first; t < last; t++) {
            const ptrdiff_t at = offset[t];
            VEC ws[8];
            if (!DEPTHWISE && V > LANE_VECTORS) { /* samples are what stays in registers */
                VEC xs[CC_ROWS];
                UNROLL for (int r = 0; r < R; r++)
                    xs[r] = V_SET1(rows[r][at]);
                UNROLL for (int v = 0; v < V; v++) {
                    ws[v] = V_LOAD(w + v / LANE_VECTORS * w_block + t * w_row
                                   + v % LANE_VECTORS * LANES);
                    V_PIN(ws[v]);
                    UNROLL for (int r = 0; r < R; r++)
                        sum[r][v] = V_FMA(ws[v], xs[r], sum[r][v]);
                }
                continue;
            }
            UNROLL for (int v = 0; v < V; v++) {
                ws[v] = V_LOAD(w + t * w_row + v * LANES);
                V_PIN(ws[v]);
            }
            UNROLL for (int r = 0; r < R; r++) {
                if (DEPTHWISE) {
                    UNROLL for (int v = 0; v < V; v++)
                        sum[r][v] = V_FMA(ws[v], V_LOAD(rows[r] + at + v * LANES), sum[r][v]);
                } else {
                    const VEC xs = V_SET1(rows[r][at]);
                    UNROLL for (int v = 0; v < V; v++)
                        sum[r][v] = V_FMA(ws[v], xs, sum[r][v]);
                }
            }
        }

        TILE(close_block)(1, R, V, sum, out, out_row, last == terms ? bias : NULL,
                          resume || first > 0);
    }
}

/* One chain of a depthwise layer: a weight and a sample for each lane. */
INLINE void TILE(depthwise_blocks_rows)(const int R, const int V, const REAL *x, ptrdiff_t x_row,
                                        ptrdiff_t x_block, const int32_t *x_offset,
                                        const REAL *w, ptrdiff_t w_block, const int32_t *w_offset,
                                        ptrdiff_t terms, REAL *out, ptrdiff_t out_row,
                                        ptrdiff_t out_block, const REAL *bias, int resume,
                                        ptrdiff_t blocks)
{
    for (ptrdiff_t block = 0; block < blocks; block++) {
        const REAL *rows[CC_ROWS];
        VEC sum[CC_ROWS][8];

        UNROLL for (int r = 0; r < R; r++) {
            rows[r] = x + block * x_block + r * x_row;
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_SET1(0);
        }

        UNROLL_2 for (ptrdiff_t t = 0; t < terms; t++) {
            const ptrdiff_t at = x_offset[t];
            const REAL *wt = w + block * w_block + w_offset[t];
            VEC ws[8];
            UNROLL for (int v = 0; v < V; v++) {
                ws[v] = V_LOAD(wt + v * LANES);
                V_PIN(ws[v]);
            }
            UNROLL for (int r = 0; r < R; r++)
                UNROLL for (int v = 0; v < V; v++)
                    sum[r][v] = V_FMA(ws[v], V_LOAD(rows[r] + at + v * LANES), sum[r][v]);
        }

        TILE(close_block)(1, R, V, sum, out + block * out_block, out_row,
                          bias ? bias + block * V * LANES : NULL, resume);
    }
}

/* T taps of its gradient of weights. */
INLINE void TILE(dw_short_taps)(const int T, const int V, const REAL *x, ptrdiff_t x_row,
                                ptrdiff_t x_sample, ptrdiff_t tap_pitch, const REAL *dy,
                                ptrdiff_t dy_row, ptrdiff_t dy_sample, ptrdiff_t positions,
                                ptrdiff_t samples, REAL *chain, int begin, REAL *total)
{
    VEC sum[CC_ROWS][8];

    UNROLL for (int t = 0; t < T; t++)
        UNROLL for (int v = 0; v < V; v++)
            sum[t][v] = begin ? V_SET1(0) : V_LOAD(chain + (t * V + v) * LANES);

    for (ptrdiff_t n = 0; n < samples; n++) {
        const REAL *taps[CC_ROWS];
        UNROLL for (int t = 0; t < T; t++)
            taps[t] = x + n * x_sample + t * tap_pitch;
        for (ptrdiff_t p = 0; p < positions; p++) {
            VEC dys[8];
            UNROLL for (int v = 0; v < V; v++) {
                dys[v] = V_LOAD(dy + n * dy_sample + p * dy_row + v * LANES);
                V_PIN(dys[v]);
            }
            UNROLL for (int t = 0; t < T; t++)
                UNROLL for (int v = 0; v < V; v++)
                    sum[t][v] = V_FMA(dys[v], V_LOAD(taps[t] + p * x_row + v * LANES), sum[t][v]);
        }
    }

    if (total)
        UNROLL for (int t = 0; t < T; t++)
            UNROLL for (int v = 0; v < V; v++)
                sum[t][v] = V_ADD(V_LOAD(total + (t * V + v) * LANES), sum[t][v]);
    REAL *to = total ? total : chain;
    UNROLL for (int t = 0; t < T; t++)
        UNROLL for (int v = 0; v < V; v++)
            V_STORE(to + (t * V + v) * LANES, sum[t][v]);
}

/* The numbers of each piece of PIECE vectors become a column of pieces, and the reverse. */
INLINE void TILE(transpose_pieces)(VEC v[4])
{
#if SIMD != SIMD_NONE
    if (PIECE == 4) {
        const VEC a = V_ZIP_LOW(v[0], v[2]), b = V_ZIP_HIGH(v[0], v[2]);
        const VEC c = V_ZIP_LOW(v[1], v[3]), d = V_ZIP_HIGH(v[1], v[3]);
        v[0] = V_ZIP_LOW(a, c);
        v[1] = V_ZIP_HIGH(a, c);
        v[2] = V_ZIP_LOW(b, d);
        v[3] = V_ZIP_HIGH(b, d);
    } else {
        const VEC a = v[0];
        v[0] = V_ZIP_LOW(a, v[1]);
        v[1] = V_ZIP_HIGH(a, v[1]);
    }
#else
    (void)v;
#endif
}

/* PIECE positions of a vector of rows: the row j·PIECE + i is the piece j of columns[i]. */
INLINE void TILE(load_columns)(const REAL *rows, ptrdiff_t pitch, VEC columns[4])
{
    UNROLL for (int i = 0; i < PIECE; i++)
        columns[i] = V_LOAD_PIECES(rows + i * pitch, PIECE * pitch);
    TILE(transpose_pieces)(columns);
}

/* A whole piece of fewer positions reads on into the rows that follow, if there are some. */
static void TILE(few_to_lanes)(const REAL *rows, ptrdiff_t pitch, ptrdiff_t positions, REAL *lanes,
                               int last)
{
    VEC columns[4];
    if (last || pitch != positions) {
        for (ptrdiff_t p = 0; p < positions; p++)
            for (int l = 0; l < LANES; l++)
                lanes[p * LANE_VECTORS * LANES + l] = rows[l * pitch + p];
        return;
    }
    TILE(load_columns)(rows, pitch, columns);
    UNROLL for (int p = 0; p < PIECE; p++)
        if (p < positions)
            V_STORE(lanes + p * LANE_VECTORS * LANES, columns[p]);
}

static void TILE(rows_to_lanes)(const void *rows_, ptrdiff_t pitch, ptrdiff_t positions,
                                void *lanes_, ptrdiff_t block, ptrdiff_t blocks)
{
    enum { WIDTH = LANE_VECTORS * LANES };
    const REAL *rows = (const REAL *)rows_;
    REAL *lanes = (REAL *)lanes_;

    for (ptrdiff_t b = 0; b < blocks; b++, rows += WIDTH * pitch, lanes += block) {
        if (positions < PIECE) {
            UNROLL for (int v = 0; v < LANE_VECTORS; v++)
                TILE(few_to_lanes)(rows + v * LANES * pitch, pitch, positions, lanes + v * LANES,
                                   b == blocks - 1 && v == LANE_VECTORS - 1);
            continue;
        }
        for (ptrdiff_t p = 0; p < positions; p += PIECE) {
            p = p + PIECE <= positions ? p : positions - PIECE; /* some for the second time */
            UNROLL for (int v = 0; v < LANE_VECTORS; v++) {
                VEC columns[4];
                TILE(load_columns)(rows + v * LANES * pitch + p, pitch, columns);
                UNROLL for (int i = 0; i < PIECE; i++)
                    V_STORE(lanes + (p + i) * WIDTH + v * LANES, columns[i]);
            }
        }
    }
}

static void TILE(lanes_to_rows)(const void *lanes_, ptrdiff_t block, ptrdiff_t positions,
                                void *rows_, ptrdiff_t pitch, ptrdiff_t blocks)
{
    enum { WIDTH = LANE_VECTORS * LANES };
    const REAL *lanes = (const REAL *)lanes_;
    REAL *rows = (REAL *)rows_;

    for (ptrdiff_t b = 0; b < blocks; b++, rows += WIDTH * pitch, lanes += block) {
        if (positions < PIECE) {
            for (int l = 0; l < WIDTH; l++)
                for (ptrdiff_t p = 0; p < positions; p++)
                    rows[l * pitch + p] = lanes[p * WIDTH + l];
            continue;
        }
        for (ptrdiff_t p = 0; p < positions; p += PIECE) {
            p = p + PIECE <= positions ? p : positions - PIECE;
            UNROLL for (int v = 0; v < LANE_VECTORS; v++) {
                VEC columns[4];
                UNROLL for (int i = 0; i < PIECE; i++)
                    columns[i] = V_LOAD(lanes + (p + i) * WIDTH + v * LANES);
                TILE(transpose_pieces)(columns);
                UNROLL for (int i = 0; i < PIECE; i++)
                    V_STORE_PIECES(rows + (v * LANES + i) * pitch + p, PIECE * pitch, columns[i]);
            }
        }
    }
}

/* Vectors of rows, pieces of columns at a time, or the reverse where rows are fewer; what is left at
 * the ends is done with some of its neighbours for the second time. */
static void TILE(swap_axes)(const void *from_, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t columns,
                            void *to_, ptrdiff_t to_pitch)
{
    const REAL *from = (const REAL *)from_;
    REAL *to = (REAL *)to_;
    VEC v[4];

    if (rows >= LANES && columns >= PIECE) {
        for (ptrdiff_t r = 0; r < rows; r += LANES) {
            r = r + LANES <= rows ? r : rows - LANES;
            for (ptrdiff_t c = 0; c < columns; c += PIECE) {
                c = c + PIECE <= columns ? c : columns - PIECE;
                TILE(load_columns)(from + r * pitch + c, pitch, v);
                UNROLL for (int i = 0; i < PIECE; i++)
                    V_STORE(to + (c + i) * to_pitch + r, v[i]);
            }
        }
    } else if (rows >= PIECE && columns >= LANES) {
        for (ptrdiff_t c = 0; c < columns; c += LANES) {
            c = c + LANES <= columns ? c : columns - LANES;
            for (ptrdiff_t r = 0; r < rows; r += PIECE) {
                r = r + PIECE <= rows ? r : rows - PIECE;
                UNROLL for (int i = 0; i < PIECE; i++)
                    v[i] = V_LOAD(from + (r + i) * pitch + c);
                TILE(transpose_pieces)(v);
                UNROLL for (int i = 0; i < PIECE; i++)
                    V_STORE_PIECES(to + (c + i) * to_pitch + r, PIECE * to_pitch, v[i]);
            }
        }
    } else {
        for (ptrdiff_t c = 0; c < columns; c++)
            for (ptrdiff_t r = 0; r < rows; r++)
                to[c * to_pitch + r] = from[r * pitch + c];
    }
}

/* Terms that lie anywhere and blocks that end anywhere: a chain may have begun before these terms,
 * and another call may go on with it. */
INLINE void TILE(chain_rows)(const int R, const int V, const REAL *x, ptrdiff_t x_row,
                             const int32_t *offset, ptrdiff_t terms, const REAL *w,
                             const int32_t *w_offset, const int32_t *ends, ptrdiff_t blocks,
                             REAL *chain, REAL *total, ptrdiff_t row)
{
    const REAL *rows[CC_ROWS];
    VEC sum[CC_ROWS][8];
    ptrdiff_t t = 0;

    UNROLL for (int r = 0; r < R; r++) {
        rows[r] = x + r * x_row;
        UNROLL for (int v = 0; v < V; v++)
            sum[r][v] = V_LOAD(chain + r * row + v * LANES);
    }
    for (ptrdiff_t block = 0; block <= blocks; block++) {
        const ptrdiff_t last = block < blocks ? ends[block] : terms;
        for (; t < last; t++) {
            const ptrdiff_t at = offset[t];
            const REAL *wt = w + w_offset[t];
            VEC ws[8];
            UNROLL for (int v = 0; v < V; v++) {
                ws[v] = V_LOAD(wt + v * LANES);
                V_PIN(ws[v]);
            }
            UNROLL for (int r = 0; r < R; r++) {
                const VEC xs = V_SET1(rows[r][at]);
                UNROLL for (int v = 0; v < V; v++)
                    sum[r][v] = V_FMA(ws[v], xs, sum[r][v]);
            }
        }
        if (block < blocks)
            UNROLL for (int r = 0; r < R; r++)
                UNROLL for (int v = 0; v < V; v++) {
                    REAL *to = total + r * row + v * LANES;
                    V_STORE(to, V_ADD(V_LOAD(to), sum[r][v]));
                    sum[r][v] = V_SET1(0);
                }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V; v++)
            V_STORE(chain + r * row + v * LANES, sum[r][v]);
}

INLINE void TILE(dw_outer_rows)(const int R, const int V, const REAL *panel,
                                ptrdiff_t x_row, const int32_t *offset, const REAL *dys,
                                ptrdiff_t dy_row, ptrdiff_t positions, REAL *sums)
{
    VEC sum[CC_ROWS][8];
    const REAL *x[CC_ROWS];

    UNROLL for (int r = 0; r < R; r++) {
        x[r] = panel + offset[r];
        UNROLL for (int v = 0; v < V; v++)
            sum[r][v] = V_SET1(0);
    }

    ptrdiff_t at = 0;
    for (ptrdiff_t p = 0; p < positions; p++) {
        VEC dy[8];
        UNROLL for (int v = 0; v < V; v++) {
            dy[v] = V_LOAD(dys + v * LANES);
            V_PIN(dy[v]);
        }
        UNROLL for (int r = 0; r < R; r++) {
            V_HERE(x[r]);
            const VEC xs = V_SET1(x[r][at]);
            UNROLL for (int v = 0; v < V; v++)
                sum[r][v] = V_FMA(xs, dy[v], sum[r][v]);
        }
        dys += dy_row;
        at += x_row;
    }

    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V; v++) {
            REAL *total = sums + (r * V + v) * LANES;
            V_STORE(total, V_ADD(V_LOAD(total), sum[r][v]));
        }
}

/* LANES rows, PIECE positions at a time. The vectors are loaded in pieces, each from a row so many
 * lanes ahead that squares within the pieces are all that is left to transpose. */
INLINE void TILE(transpose_lanes)(const REAL *const *row, ptrdiff_t positions, REAL *to)
{
    enum { WIDTH = LANE_VECTORS * LANES };
    ptrdiff_t p = 0;

    while (p < positions && positions >= PIECE) {
        VEC v[PIECE];
        if (p > positions - PIECE) /* some positions for the second time */
            p = positions - PIECE;
        UNROLL for (int i = 0; i < PIECE; i++)
            v[i] = V_PIECES(row + i, p);
        UNROLL for (int size = 1; size < PIECE; size *= 2) {
            VEC before[PIECE];
            UNROLL for (int i = 0; i < PIECE; i++)
                before[i] = v[i];
            UNROLL for (int i = 0; i < PIECE / 2; i++) {
                v[2 * i] = V_ZIP_LOW(before[i], before[i + PIECE / 2]);
                v[2 * i + 1] = V_ZIP_HIGH(before[i], before[i + PIECE / 2]);
            }
        }
        UNROLL for (int i = 0; i < PIECE; i++)
            V_STORE(to + (p + i) * WIDTH, v[i]);
        p += PIECE;
    }
    for (; p < positions; p++)
        for (int l = 0; l < LANES; l++)
            to[p * WIDTH + l] = row[l][p];
}

static void TILE(transpose)(const void *rows_, const int32_t *offset, ptrdiff_t count,
                            ptrdiff_t positions, void *transposed_panel_)
{
    static const REAL zeros[CC_BLOCK]; /* a row that is not there */
    enum { WIDTH = LANE_VECTORS * LANES };
    const REAL *rows = (const REAL *)rows_;
    REAL *transposed_panel = (REAL *)transposed_panel_;

    for (ptrdiff_t p = 0; p < positions; p += CC_BLOCK) {
        const ptrdiff_t some = positions - p > CC_BLOCK ? CC_BLOCK : positions - p;
        for (int first = 0; first < WIDTH; first += LANES) {
            const REAL *row[LANES];
            for (int l = 0; l < LANES; l++)
                row[l] = first + l < count ? rows + offset[first + l] + p : zeros;
            TILE(transpose_lanes)(row, some, transposed_panel + p * WIDTH + first);
        }
    }
}

static void TILE(transpose_blocks)(const void *rows_, ptrdiff_t row_, ptrdiff_t count,
                                   ptrdiff_t block, ptrdiff_t blocks, ptrdiff_t positions,
                                   void *out_, ptrdiff_t out_block, ptrdiff_t out_lanes)
{
    static const REAL zeros[CC_BLOCK]; /* a row that is not there */
    enum { WIDTH = LANE_VECTORS * LANES };
    const REAL *rows = (const REAL *)rows_;
    REAL *out = (REAL *)out_;

    for (ptrdiff_t b = 0; b < blocks; b++) {
        const REAL *first_row = rows + b * block;
        for (ptrdiff_t first = 0; first < count; first += LANES) {
            REAL *to = out + first / WIDTH * out_lanes + b * out_block + first % WIDTH;
            for (ptrdiff_t p = 0; p < positions; p += CC_BLOCK) {
                const ptrdiff_t some = positions - p > CC_BLOCK ? CC_BLOCK : positions - p;
                const REAL *row[LANES];
                if (first + LANES <= count)
                    UNROLL for (int l = 0; l < LANES; l++)
                        row[l] = first_row + (first + l) * row_ + p;
                else
                    for (int l = 0; l < LANES; l++)
                        row[l] = first + l < count ? first_row + (first + l) * row_ + p : zeros;
                if (b + 1 < blocks && first + LANES <= count) /* it lies in another page */
                    UNROLL for (int l = 0; l < LANES; l++)
                        cc_prefetch((const char *)(row[l] + block), 1);
                TILE(transpose_lanes)(row, some, to + p * WIDTH);
            }
        }
        for (ptrdiff_t l = (count + LANES - 1) / LANES * LANES; l % WIDTH; l += LANES)
            for (ptrdiff_t p = 0; p < positions; p++)
                V_STORE(out + l / WIDTH * out_lanes + b * out_block + p * WIDTH + l % WIDTH,
                        V_SET1(0));
    }
}

/* Sums of CC_LANES partial sums each, by folding the upper half onto the lower one. */
static void TILE(fold_lanes)(void *sums_, ptrdiff_t count)
{
    REAL *sums = (REAL *)sums_;
    UNROLL for (int half = CC_LANES / 2; half > 0; half /= 2)
        for (ptrdiff_t i = 0; i < count; i++)
            UNROLL for (int lane = 0; lane < half; lane++)
                sums[i * (half > 1 ? CC_LANES : 1) + lane] =
                    sums[i * CC_LANES + lane] + sums[i * CC_LANES + lane + half];
}

#ifndef V_LOAD_FIRST
INLINE VEC TILE(load_first)(const REAL *numbers, ptrdiff_t count)
{
    REAL first[LANES] = {0};
    for (ptrdiff_t i = 0; i < count && i < LANES; i++)
        first[i] = numbers[i];
    return V_LOAD(first);
}
INLINE void TILE(store_first)(REAL *numbers, ptrdiff_t count, VEC v)
{
    REAL first[LANES];
    V_STORE(first, v);
    for (ptrdiff_t i = 0; i < count && i < LANES; i++)
        numbers[i] = first[i];
}
#define V_LOAD_FIRST(p, n) TILE(load_first)(p, n)
#define V_STORE_FIRST(p, n, v) TILE(store_first)(p, n, v)
#endif

/* The positions of dw_dot_tile from one to another where not all rows of dy are under way, or lanes
 * lie past their end. Those take zeros from both sides: the samples that lie there are not part of
 * the sum, and 0 · NaN would poison it. */
ONCE void TILE(dw_dot_edge)(int A, int B, int H, const REAL *panel, const int32_t *offset,
                            const REAL *dy_rows, const int32_t *dy_offset, ptrdiff_t skew,
                            ptrdiff_t positions, ptrdiff_t first, ptrdiff_t last, REAL *part)
{
    for (ptrdiff_t p = first; p < last; p += CC_LANES)
        for (int a = 0; a < A; a++) {
            const ptrdiff_t q = p - a * skew;
            if (q < 0 || q >= positions)
                continue;
            for (int v = 0; v < H; v++) {
                const ptrdiff_t left = positions - q - v * LANES;
                const VEC dy = V_LOAD_FIRST(dy_rows + dy_offset[a] + q + v * LANES, left);
                REAL *sum = part + (a * B * H + v) * LANES;
                for (int b = 0; b < B; b++, sum += H * LANES)
                    V_STORE(sum, V_FMA(dy, V_LOAD_FIRST(panel + offset[b] + p + v * LANES, left),
                                       V_LOAD(sum)));
            }
        }
}

/* H vectors of lanes at a time: A·B·H sums fill the registers. */
INLINE void TILE(dw_dot_tile)(const int A, const int B, const int H, const REAL *panel,
                              const int32_t *offset, const REAL *dy_rows, const int32_t *dy_offset,
                              ptrdiff_t skew, ptrdiff_t positions, REAL *sums,
                              ptrdiff_t sums_row)
{
    const ptrdiff_t lead = (A - 1) * skew, end = positions + lead;
    const ptrdiff_t all = positions - positions % CC_LANES, whole = all > lead ? all : lead;
    REAL part[CC_DOT_ROWS * CC_DOT_TERMS * 4 * LANES];

    for (int lane = 0; lane < CC_LANES; lane += H * LANES) {
        VEC sum[CC_DOT_ROWS * CC_DOT_TERMS * 4];

        UNROLL for (int i = 0; i < A * B * H; i++)
            sum[i] = V_SET1(0);
#define AT_EDGE(first, last)                                                                     \
    UNROLL for (int i = 0; i < A * B * H; i++)                                                   \
        V_STORE(part + i * LANES, sum[i]);                                                       \
    TILE(dw_dot_edge)(A, B, H, panel + lane, offset, dy_rows + lane, dy_offset, skew,            \
                      positions - lane, first, last, part);                                      \
    UNROLL for (int i = 0; i < A * B * H; i++)                                                   \
        sum[i] = V_LOAD(part + i * LANES);
        if (lead) {
            AT_EDGE(0, lead)
        }
        for (ptrdiff_t p = lead; p < whole; p += CC_LANES) /* all rows of dy are under way */
            UNROLL for (int v = 0; v < H; v++) {
                const ptrdiff_t at = p + lane + v * LANES;
                VEC dy[CC_DOT_ROWS];
                UNROLL for (int a = 0; a < A; a++) {
                    dy[a] = V_LOAD(dy_rows + dy_offset[a] + at - a * skew);
                    V_PIN(dy[a]);
                }
                UNROLL for (int b = 0; b < B; b++) {
                    VEC xs = V_LOAD(panel + offset[b] + at);
                    V_PIN(xs);
                    UNROLL for (int a = 0; a < A; a++)
                        sum[(a * B + b) * H + v] = V_FMA(dy[a], xs, sum[(a * B + b) * H + v]);
                }
            }
        if (whole < end) {
            AT_EDGE(whole, end)
        }
#undef AT_EDGE
        UNROLL for (int a = 0; a < A; a++)
            UNROLL for (int i = 0; i < B * H; i++) {
                REAL *total = sums + (a * sums_row + i / H) * CC_LANES + lane + i % H * LANES;
                V_STORE(total, V_ADD(V_LOAD(total), sum[a * B * H + i]));
            }
    }
}

/* The logical lanes are positions, as in dw_dot, and are taken one after another: each has a vector
 * of sums for every term. A sample goes to all lanes or, if DEPTHWISE, there is one for each. */
INLINE void TILE(dw_depthwise_terms)(const int DEPTHWISE, const int B, const REAL *x,
                                     ptrdiff_t x_row, const int32_t *offset, const REAL *dy,
                                     ptrdiff_t dy_row, ptrdiff_t positions, REAL *chains,
                                     REAL *sums, ptrdiff_t chains_row, int resume)
{
    enum { V = LANE_VECTORS, SIZE = V * LANES * (int)sizeof(REAL), AHEAD = SIZE + 63 };
    for (int lane = 0; lane < CC_LANES; lane++) {
        VEC sum[CC_DOT_TERMS][V];
        const REAL *xs[CC_DOT_TERMS];

        UNROLL for (int b = 0; b < B; b++) {
            xs[b] = x + lane * x_row + offset[b];
            UNROLL for (int v = 0; v < V; v++)
                sum[b][v] = resume ? V_LOAD(chains + (b * V + v) * LANES) : V_SET1(0);
        }
        for (ptrdiff_t p = lane, at = 0; p < positions; p += CC_LANES, at += CC_LANES * x_row) {
            VEC dys[V];
            UNROLL for (int v = 0; v < V; v++) {
                dys[v] = V_LOAD(dy + p * dy_row + v * LANES);
                V_PIN(dys[v]);
            }
            /* the nest goes on to the channels that lie behind these, up to the last of a tile:
             * if rows begin within a line of the cache, that is in the line not yet read */
            cc_prefetch((const char *)(dy + p * dy_row) + AHEAD, SIZE);
            if (DEPTHWISE)
                cc_prefetch((const char *)(xs[0] + at) + AHEAD, SIZE);
            UNROLL for (int b = 0; b < B; b++)
                UNROLL for (int v = 0; v < V; v++)
                    sum[b][v] = V_FMA(dys[v],
                                      DEPTHWISE ? V_LOAD(xs[b] + at + v * LANES)
                                                : V_SET1(xs[b][at]),
                                      sum[b][v]);
        }
        UNROLL for (int b = 0; b < B; b++)
            UNROLL for (int v = 0; v < V; v++) {
                if (sums)
                    V_STORE(sums + (b * V + v) * LANES,
                            V_ADD(V_LOAD(sums + (b * V + v) * LANES), sum[b][v]));
                else
                    V_STORE(chains + (b * V + v) * LANES, sum[b][v]);
            }
        chains += chains_row;
        sums = sums ? sums + chains_row : NULL;
    }
}

#if V_MERGES
/* Vectors that lie side by side, each of which gives the numbers that it has. What they read beyond
 * the last one that is wanted lies before the next one that is. */
#define MERGE_FROM(S, K)                                                                         \
    if ((K) * LANES <= (LANES - 1) * (S))                                                        \
        found = V_MERGE(found, V_LOAD(x + (K) * LANES), S, K);
#define STRIDED(S)                                                                               \
    case S:                                                                                      \
        for (; i + LANES < count; i += LANES) {                                                  \
            const REAL *x = first + i * (S);                                                     \
            VEC found = V_LOAD(x);                                                               \
            MERGE_FROM(S, 0)                                                                     \
            MERGE_FROM(S, 1)                                                                     \
            MERGE_FROM(S, 2)                                                                     \
            MERGE_FROM(S, 3)                                                                     \
            MERGE_FROM(S, 4)                                                                     \
            MERGE_FROM(S, 5)                                                                     \
            MERGE_FROM(S, 6)                                                                     \
            MERGE_FROM(S, 7)                                                                     \
            V_STORE(row + i, found);                                                             \
        }                                                                                        \
        break;
#else
#define STRIDED(S)
#endif

static void TILE(load_strided)(const void *first_, ptrdiff_t step, ptrdiff_t count, void *row_)
{
    const REAL *first = (const REAL *)first_;
    REAL *row = (REAL *)row_;
    ptrdiff_t i = 0;
    switch (step) {
        STRIDED(2)
        STRIDED(3)
        STRIDED(4)
        STRIDED(5)
        STRIDED(6)
        STRIDED(7)
        STRIDED(8)
    default:
        break;
    }
    for (; i < count; i++)
        row[i] = first[i * step];
}

static void TILE(sum_row)(const void *dy_, ptrdiff_t positions, void *total)
{
    enum { V = CC_LANES / LANES };
    const REAL *dy = (const REAL *)dy_;
    const ptrdiff_t whole = positions - positions % CC_LANES;
    VEC sum[V];
    REAL lanes[CC_LANES];

    UNROLL for (int v = 0; v < V; v++)
        sum[v] = V_SET1(0);
    for (ptrdiff_t p = 0; p < whole; p += CC_LANES)
        UNROLL for (int v = 0; v < V; v++)
            sum[v] = V_ADD(sum[v], V_LOAD(dy + p + v * LANES));
    UNROLL for (int v = 0; v < V; v++)
        V_STORE(lanes + v * LANES, sum[v]);
    for (ptrdiff_t p = whole; p < positions; p++)
        lanes[p - whole] += dy[p];
    TILE(fold_lanes)(lanes, 1);
    *(REAL *)total += lanes[0];
}

/* Functions on pointers to anything, each with its number of rows as a constant. */
#define CORRELATE(R)                                                                           \
    static void TILE(correlate_##R)(const void *panel, const int32_t *offset, ptrdiff_t terms, \
                                    const void *w, void *out, ptrdiff_t out_row,               \
                                    const void *bias, int resume)                              \
    {                                                                                          \
        TILE(correlate_rows)(R, VECTORS(R), (const REAL *)panel, offset, terms,                \
                             (const REAL *)w, (REAL *)out, out_row, (const REAL *)bias,        \
                             resume);                                                          \
    }                                                                                          \
    static void TILE(correlate_half_##R)(                                                      \
        const void *panel, const int32_t *offset, ptrdiff_t terms, const void *w, void *out,   \
        ptrdiff_t out_row, const void *bias, int resume)                                       \
    {                                                                                          \
        TILE(correlate_rows)(R, VECTORS(R) / 2, (const REAL *)panel, offset, terms,            \
                             (const REAL *)w, (REAL *)out, out_row, (const REAL *)bias,        \
                             resume);                                                          \
    }
#define ROW(T)                                                                                 \
    static void TILE(row_##T)(const void *panel, const int32_t *offset, ptrdiff_t terms,       \
                              const void *w, void *out, ptrdiff_t positions, const void *bias) \
    {                                                                                          \
        (void)terms;                                                                           \
        TILE(row_terms)(T, (const REAL *)panel, offset, (const REAL *)w, (REAL *)out,          \
                        positions, (const REAL *)bias);                                        \
    }
#define GEMM(R)                                                                                \
    static void TILE(gemm_##R)(                                                                \
        const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms, const void *w, \
        ptrdiff_t w_row, void *out, ptrdiff_t out_row, const void *bias, int resume)           \
    {                                                                                          \
        TILE(gemm_rows)(0, R, LANE_VECTORS, (const REAL *)x, x_row, offset, terms,             \
                        (const REAL *)w, w_row, 0, (REAL *)out, out_row, (const REAL *)bias,   \
                        resume);                                                               \
    }                                                                                          \
    static void TILE(depthwise_##R)(                                                           \
        const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms, const void *w, \
        ptrdiff_t w_row, void *out, ptrdiff_t out_row, const void *bias, int resume)           \
    {                                                                                          \
        TILE(gemm_rows)(1, R, LANE_VECTORS, (const REAL *)x, x_row, offset, terms,             \
                        (const REAL *)w, w_row, 0, (REAL *)out, out_row, (const REAL *)bias,   \
                        resume);                                                               \
    }
#define GEMM_NARROW(R)                                                                         \
    static void TILE(gemm_narrow_##R)(                                                         \
        const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms, const void *w, \
        ptrdiff_t w_row, void *out, ptrdiff_t out_row, const void *bias, int resume)           \
    {                                                                                          \
        TILE(gemm_rows)(0, R, LANE_VECTORS / 2, (const REAL *)x, x_row, offset, terms,         \
                        (const REAL *)w, w_row, 0, (REAL *)out, out_row, (const REAL *)bias,   \
                        resume);                                                               \
    }                                                                                          \
    static void TILE(depthwise_narrow_##R)(                                                    \
        const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms, const void *w, \
        ptrdiff_t w_row, void *out, ptrdiff_t out_row, const void *bias, int resume)           \
    {                                                                                          \
        TILE(gemm_rows)(1, R, LANE_VECTORS / 2, (const REAL *)x, x_row, offset, terms,         \
                        (const REAL *)w, w_row, 0, (REAL *)out, out_row, (const REAL *)bias,   \
                        resume);                                                               \
    }
#define GEMM_WIDE(R)                                                                           \
    static void TILE(gemm_wide_##R)(                                                           \
        const void *x, ptrdiff_t x_row, const int32_t *offset, ptrdiff_t terms, const void *w, \
        ptrdiff_t w_row, ptrdiff_t w_block, void *out, ptrdiff_t out_row, const void *bias,    \
        int resume)                                                                            \
    {                                                                                          \
        TILE(gemm_rows)(0, R, WIDE_BLOCKS(R) * LANE_VECTORS, (const REAL *)x, x_row, offset,   \
                        terms, (const REAL *)w, w_row, w_block, (REAL *)out, out_row,          \
                        (const REAL *)bias, resume);                                           \
    }
#define DEPTHWISE_BLOCKS(R)                                                                    \
    static void TILE(depthwise_blocks_##R)(                                                    \
        const void *x, ptrdiff_t x_row, ptrdiff_t x_block, const int32_t *x_offset,            \
        const void *w, ptrdiff_t w_block, const int32_t *w_offset, ptrdiff_t terms, void *out, \
        ptrdiff_t out_row, ptrdiff_t out_block, const void *bias, int resume,                  \
        ptrdiff_t blocks)                                                                      \
    {                                                                                          \
        TILE(depthwise_blocks_rows)(R, LANE_VECTORS, (const REAL *)x, x_row, x_block,          \
                                    x_offset, (const REAL *)w, w_block, w_offset, terms,       \
                                    (REAL *)out, out_row, out_block, (const REAL *)bias,       \
                                    resume, blocks);                                           \
    }                                                                                          \
    static void TILE(dw_short_##R)(                                                            \
        const void *x, ptrdiff_t x_row, ptrdiff_t x_sample, ptrdiff_t tap_pitch,               \
        const void *dy, ptrdiff_t dy_row, ptrdiff_t dy_sample, ptrdiff_t positions,            \
        ptrdiff_t samples, void *chain, int begin, void *total)                                \
    {                                                                                          \
        TILE(dw_short_taps)(R, LANE_VECTORS, (const REAL *)x, x_row, x_sample, tap_pitch,      \
                            (const REAL *)dy, dy_row, dy_sample, positions, samples,           \
                            (REAL *)chain, begin, (REAL *)total);                              \
    }
#define CHAINS(R)                                                                              \
    static void TILE(chains_##R)(const void *x, ptrdiff_t x_row, const int32_t *offset,        \
                                 ptrdiff_t terms, const void *w, const int32_t *w_offset,      \
                                 const int32_t *ends, ptrdiff_t blocks, void *chain,           \
                                 void *total, ptrdiff_t row)                                   \
    {                                                                                          \
        TILE(chain_rows)(R, LANE_VECTORS, (const REAL *)x, x_row, offset, terms,               \
                         (const REAL *)w, w_offset, ends, blocks, (REAL *)chain,               \
                         (REAL *)total, row);                                                  \
    }                                                                                          \
    static void TILE(half_chains_##R)(const void *x, ptrdiff_t x_row, const int32_t *offset,   \
                                      ptrdiff_t terms, const void *w, const int32_t *w_offset, \
                                      const int32_t *ends, ptrdiff_t blocks, void *chain,      \
                                      void *total, ptrdiff_t row)                              \
    {                                                                                          \
        TILE(chain_rows)(R, LANE_VECTORS / 2, (const REAL *)x, x_row, offset, terms,           \
                         (const REAL *)w, w_offset, ends, blocks, (REAL *)chain,               \
                         (REAL *)total, row);                                                  \
    }
#define DW_OUTER(R)                                                                            \
    static void TILE(dw_outer_##R)(const void *panel, ptrdiff_t x_row, const int32_t *offset,  \
                                   const void *dy, ptrdiff_t dy_row, ptrdiff_t positions,      \
                                   void *sums)                                                 \
    {                                                                                          \
        TILE(dw_outer_rows)(R, LANE_VECTORS, (const REAL *)panel, x_row, offset,               \
                            (const REAL *)dy, dy_row, positions, (REAL *)sums);                \
    }
#define DW_DOT(A, B)                                                                           \
    static void TILE(dw_dot_##A##_##B)(                                                        \
        const void *panel, const int32_t *offset, const void *dy_rows,                         \
        const int32_t *dy_offset, ptrdiff_t skew, ptrdiff_t positions, void *sums,             \
        ptrdiff_t sums_row)                                                                    \
    {                                                                                          \
        TILE(dw_dot_tile)(A, B, TOGETHER(A, B), (const REAL *)panel, offset,                   \
                          (const REAL *)dy_rows, dy_offset, skew, positions, (REAL *)sums,     \
                          sums_row);                                                           \
    }

#define DW_ALONG_ROWS(NAME, DEPTHWISE, B)                                                      \
    static void TILE(NAME##_##B)(                                                              \
        const void *x, ptrdiff_t x_row, const int32_t *offset, const void *dy,                 \
        ptrdiff_t dy_row, ptrdiff_t positions, void *chains, void *sums, ptrdiff_t chains_row, \
        int resume)                                                                            \
    {                                                                                          \
        TILE(dw_depthwise_terms)(DEPTHWISE, B, (const REAL *)x, x_row, offset,                 \
                                 (const REAL *)dy, dy_row, positions, (REAL *)chains,          \
                                 (REAL *)sums, chains_row, resume);                            \
    }
#define DW_DEPTHWISE(B) DW_ALONG_ROWS(dw_depthwise, 1, B)
#define DW_SPREAD(B) DW_ALONG_ROWS(dw_spread, 0, B)

/* dw_dot: rows of dy and terms of a tile, and how many vectors of lanes go together. */
#define FOR_PAIRS(X)                                                                           \
    X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7) X(1, 8)                            \
    X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(2, 5) X(2, 6) X(3, 1) X(3, 2) X(3, 3) X(3, 4)
#define TOGETHER(A, B)                                                                         \
    (CC_LANES / LANES % 4 == 0 && A * B <= 3 ? 4 : CC_LANES / LANES % 2 == 0 && A * B <= 6 ? 2 : 1)

/* gemm_wide: how many blocks of lanes give as many chains as two multiply-adds in a cycle that take
 * four; with vectors of 512 bits more would not leave a block of weights in the first level. */
#define FOR_WIDE_ROWS(X) X(1) X(2)
#define WIDE_BLOCKS(R) ((R) == 1 && sizeof(VEC) <= 32 ? 4 : 2)

/* dw_spread has as many accumulators as two multiply-adds in a cycle that take four. */
#define SPREAD_TERMS 4
#define FOR_SPREAD_TERMS(X) X(1) X(2) X(3) X(4)

#define FOR_ROW_TERMS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)

FOR_ROWS(CORRELATE)
FOR_ROW_TERMS(ROW)
FOR_ROWS(GEMM)
FOR_ROWS(GEMM_NARROW)
FOR_WIDE_ROWS(GEMM_WIDE)
FOR_ROWS(DEPTHWISE_BLOCKS)
FOR_ROWS(CHAINS)
FOR_ROWS(DW_OUTER)
FOR_PAIRS(DW_DOT)
FOR_DEPTHWISE_TERMS(DW_DEPTHWISE)
FOR_SPREAD_TERMS(DW_SPREAD)

#define WIDTH_ENTRY(R) [R] = VECTORS(R) * LANES,
#define HALF_WIDTH_ENTRY(R) [R] = VECTORS(R) / 2 * LANES,
#define CORRELATE_ENTRY(R) [R] = TILE(correlate_##R),
#define CORRELATE_HALF_ENTRY(R) [R] = TILE(correlate_half_##R),
#define ROW_ENTRY(T) [T] = TILE(row_##T),
#define GEMM_ENTRY(R) [R] = TILE(gemm_##R),
#define GEMM_WIDE_ENTRY(R) [R] = TILE(gemm_wide_##R),
#define GEMM_WIDE_BLOCKS_ENTRY(R) [R] = WIDE_BLOCKS(R),
#define DEPTHWISE_ENTRY(R) [R] = TILE(depthwise_##R),
#define GEMM_NARROW_ENTRY(R) [R] = TILE(gemm_narrow_##R),
#define DEPTHWISE_NARROW_ENTRY(R) [R] = TILE(depthwise_narrow_##R),
#define DEPTHWISE_BLOCKS_ENTRY(R) [R] = TILE(depthwise_blocks_##R),
#define DW_SHORT_ENTRY(R) [R] = TILE(dw_short_##R),
#define CHAINS_ENTRY(R) [R] = TILE(chains_##R),
#define HALF_CHAINS_ENTRY(R) [R] = TILE(half_chains_##R),
#define DW_OUTER_ENTRY(R) [R] = TILE(dw_outer_##R),
#define DW_DEPTHWISE_ENTRY(B) [B] = TILE(dw_depthwise_##B),
#define DW_SPREAD_ENTRY(B) [B] = TILE(dw_spread_##B),
#define DW_DOT_ENTRY(A, B) [A][B] = TILE(dw_dot_##A##_##B),

static const cc_tiles TILE(tiles) = {
    .fused = V_FUSED,
    .correlate_rows = ROWS,
    .correlate_width = {FOR_ROWS(WIDTH_ENTRY)},
    .correlate = {FOR_ROWS(CORRELATE_ENTRY)},
    .correlate_half_width = {FOR_ROWS(HALF_WIDTH_ENTRY)},
    .correlate_half = {FOR_ROWS(CORRELATE_HALF_ENTRY)},
    .row_least = LANES,
    .row = {ROW_ENTRY(0) FOR_ROW_TERMS(ROW_ENTRY)},
    .row_chain = TILE(row_chain),
    .gemm_rows = ROWS,
    .gemm_lanes = LANE_VECTORS * LANES,
    .gemm = {FOR_ROWS(GEMM_ENTRY)},
    .gemm_wide_blocks = {FOR_WIDE_ROWS(GEMM_WIDE_BLOCKS_ENTRY)},
    .gemm_wide = {FOR_WIDE_ROWS(GEMM_WIDE_ENTRY)},
    .depthwise = {FOR_ROWS(DEPTHWISE_ENTRY)},
    .gemm_narrow = {FOR_ROWS(GEMM_NARROW_ENTRY)},
    .depthwise_narrow = {FOR_ROWS(DEPTHWISE_NARROW_ENTRY)},
    .depthwise_blocks = {FOR_ROWS(DEPTHWISE_BLOCKS_ENTRY)},
    .dw_short = {FOR_ROWS(DW_SHORT_ENTRY)},
    .rows_to_lanes = TILE(rows_to_lanes),
    .lanes_to_rows = TILE(lanes_to_rows),
    .chains = {FOR_ROWS(CHAINS_ENTRY)},
    .half_chains = {FOR_ROWS(HALF_CHAINS_ENTRY)},
    .dw_outer_rows = ROWS,
    .dw_outer_width = LANE_VECTORS * LANES,
    .dw_outer = {FOR_ROWS(DW_OUTER_ENTRY)},
    .dw_dot_terms = {0, 8, 6, 4},
    .dw_dot = {FOR_PAIRS(DW_DOT_ENTRY)},
    .dw_depthwise_terms = DEPTHWISE_TERMS,
    .dw_depthwise = {FOR_DEPTHWISE_TERMS(DW_DEPTHWISE_ENTRY)},
    .dw_spread_terms = SPREAD_TERMS,
    .dw_spread = {FOR_SPREAD_TERMS(DW_SPREAD_ENTRY)},
    .fold_lanes = TILE(fold_lanes),
    .swap_axes = TILE(swap_axes),
    .transpose = TILE(transpose),
    .transpose_blocks = TILE(transpose_blocks),
    .sum_row = TILE(sum_row),
    .load_strided = TILE(load_strided),
#ifdef NARROWER
    .narrower = &NARROWER_TILE(tiles),
#endif
};

#undef MOST_RUN
#undef MERGE_FROM
#undef STRIDED
#undef ROWS
#undef FOR_ROWS
#undef VECTORS
#undef FOR_PAIRS
#undef TOGETHER
#undef LANE_VECTORS
#undef FOR_ROW_TERMS
#undef CORRELATE
#undef ROW
#undef ROW_ENTRY
#undef GEMM
#undef GEMM_ENTRY
#undef GEMM_WIDE
#undef GEMM_WIDE_ENTRY
#undef GEMM_WIDE_BLOCKS_ENTRY
#undef FOR_WIDE_ROWS
#undef WIDE_BLOCKS
#undef DEPTHWISE_ENTRY
#undef GEMM_NARROW
#undef GEMM_NARROW_ENTRY
#undef DEPTHWISE_NARROW_ENTRY
#undef DEPTHWISE_BLOCKS
#undef DEPTHWISE_BLOCKS_ENTRY
#undef DW_SHORT_ENTRY
#undef CHAINS
#undef CHAINS_ENTRY
#undef HALF_CHAINS_ENTRY
#undef DW_OUTER
#undef DW_DOT
#undef DW_DEPTHWISE
#undef DW_SPREAD
#undef DW_ALONG_ROWS
#undef FOR_SPREAD_TERMS
#undef SPREAD_TERMS
#undef FOR_DEPTHWISE_TERMS
#undef DEPTHWISE_TERMS
#undef WIDTH_ENTRY
#undef HALF_WIDTH_ENTRY
#undef CORRELATE_ENTRY
#undef CORRELATE_HALF_ENTRY
#undef DW_OUTER_ENTRY
#undef DW_DEPTHWISE_ENTRY
#undef DW_SPREAD_ENTRY
#undef DW_DOT_ENTRY
