/* The tiles of one dtype: tile_driver.c includes this for each, with REAL, BITS, FMA and NAME. */

static REAL NAME(panel)[SAMPLES], NAME(dy)[SAMPLES], NAME(got)[RESULTS], NAME(expected)[RESULTS];
static REAL NAME(weights)[32 * 400];

static REAL NAME(number)(void)
{
    const REAL upper = (REAL)(random_bits() - 32768), lower = (REAL)random_bits();
    return upper / 32768 + lower / 2147483648u;
}

static void NAME(fill)(REAL *numbers, int count)
{
    for (int i = 0; i < count; i++)
        numbers[i] = NAME(number)();
}

static void NAME(compare)(int count)
{
    for (int i = 0; i < count; i++, compared++)
        wrong += ((BITS *)NAME(got))[i] != ((BITS *)NAME(expected))[i];
}

/* Results before, the same in both places. */
static void NAME(start)(void)
{
    NAME(fill)(NAME(got), RESULTS);
    for (int i = 0; i < RESULTS; i++)
        NAME(expected)[i] = NAME(got)[i];
}

static void NAME(correlate)(const cc_tiles *tiles, int half, int rows, int terms, int resume,
                            int biased)
{
    const cc_correlate tile = (half ? tiles->correlate_half : tiles->correlate)[rows];
    const int width = (int)(half ? tiles->correlate_half_width : tiles->correlate_width)[rows];
    const int row = width + 3;
    REAL bias[CC_ROWS];
    NAME(fill)(bias, CC_ROWS);
    NAME(start)();
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < width; p++) {
            REAL total = resume ? NAME(expected)[r * row + p] : 0;
            for (int first = 0; first < terms; first += CC_BLOCK) {
                REAL chain = 0;
                for (int t = first; t < terms && t < first + CC_BLOCK; t++)
                    chain = FMA(NAME(weights)[t * rows + r], NAME(panel)[offset[t] + p], chain);
                total = resume || first ? total + chain : chain;
            }
            NAME(expected)[r * row + p] = biased ? total + bias[r] : total;
        }
    tile(NAME(panel), offset, terms, NAME(weights), NAME(got), row, biased ? bias : NULL, resume);
    NAME(compare)(rows * row + 64);
}

static void NAME(gemm)(const cc_tiles *tiles, int depthwise, int narrow, int rows, int terms,
                       int resume, int biased)
{
    const int lanes = (int)tiles->gemm_lanes / (narrow ? 2 : 1), row = lanes + 3, w_row = terms > 9 ? lanes : 400;
    REAL bias[CC_TILE];
    NAME(fill)(bias, CC_TILE);
    NAME(start)();
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < lanes; l++) {
            REAL total = resume ? NAME(expected)[r * row + l] : 0;
            for (int first = 0; first < terms; first += CC_BLOCK) {
                REAL chain = 0;
                for (int t = first; t < terms && t < first + CC_BLOCK; t++)
                    chain = FMA(NAME(weights)[t * w_row + l],
                                NAME(panel)[r * 7 + offset[t] + depthwise * l], chain);
                total = resume || first ? total + chain : chain;
            }
            NAME(expected)[r * row + l] = biased ? total + bias[l] : total;
        }
    const cc_gemm *tile = depthwise ? tiles->depthwise : tiles->gemm;
    if (narrow)
        tile = depthwise ? tiles->depthwise_narrow : tiles->gemm_narrow;
    tile[rows](
        NAME(panel), 7, offset, terms, NAME(weights), w_row, NAME(got), row, biased ? bias : NULL,
        resume);
    NAME(compare)(rows * row + 64);
}

static void NAME(gemm_wide)(const cc_tiles *tiles, int rows, int terms, int resume, int biased)
{
    const int lanes = (int)tiles->gemm_lanes, all = lanes * (int)tiles->gemm_wide_blocks[rows];
    const int row = all + 3, w_row = lanes + 1, w_block = 2048 + terms;
    REAL bias[CC_TILE];
    NAME(fill)(bias, CC_TILE);
    NAME(start)();
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < all; l++) {
            REAL total = resume ? NAME(expected)[r * row + l] : 0;
            for (int first = 0; first < terms; first += CC_BLOCK) {
                REAL chain = 0;
                for (int t = first; t < terms && t < first + CC_BLOCK; t++)
                    chain = FMA(NAME(weights)[l / lanes * w_block + t * w_row + l % lanes],
                                NAME(panel)[r * 7 + offset[t]], chain);
                total = resume || first ? total + chain : chain;
            }
            NAME(expected)[r * row + l] = biased ? total + bias[l] : total;
        }
    tiles->gemm_wide[rows](NAME(panel), 7, offset, terms, NAME(weights), w_row, w_block, NAME(got),
                           row, biased ? bias : NULL, resume);
    NAME(compare)(rows * row + 64);
}

/* Chains behind the totals: `open` goes on with them and leaves the last one. */
static void NAME(chains)(const cc_tiles *tiles, int half, int rows, int terms, int open)
{
    const int lanes = (int)tiles->gemm_lanes / (half ? 2 : 1), row = lanes + 3;
    REAL *got = NAME(got), *expected = NAME(expected);
    int32_t ends[8];
    int blocks = 0;
    NAME(start)();
    for (int t = 0; t < 400; t++)
        w_offset[t] = random_bits() % (32 * 400 - lanes);
    for (int end = terms % 3; end <= terms && blocks < 6; end += 1 + terms / 4)
        ends[blocks++] = end;
    if (!open)
        ends[blocks++] = terms;
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < lanes; l++) {
            REAL *total = expected + r * row + l, *chain = total + RESULTS / 2;
            for (int block = 0, t = 0; block <= blocks; block++) {
                for (; t < (block < blocks ? ends[block] : terms); t++)
                    *chain = FMA(NAME(weights)[w_offset[t] + l],
                                 NAME(panel)[r * 7 + offset[t]], *chain);
                if (block < blocks) {
                    *total += *chain;
                    *chain = 0;
                }
            }
        }
    (half ? tiles->half_chains : tiles->chains)[rows](
        NAME(panel), 7, offset, terms, NAME(weights), w_offset, ends, blocks, got + RESULTS / 2,
        got, row);
    NAME(compare)(RESULTS / 2 + rows * row + 64);
}

static void NAME(row)(const cc_tiles *tiles, int terms, int positions, int biased)
{
    const REAL bias = NAME(number)();
    NAME(start)();
    for (int p = 0; p < positions; p++) {
        REAL chain = 0;
        for (int t = 0; t < terms; t++)
            chain = FMA(NAME(weights)[t], NAME(panel)[offset[t] + p], chain);
        NAME(expected)[p] = biased ? chain + bias : chain;
    }
    tiles->row[terms <= CC_ROW_TERMS_IN_REGISTERS ? terms : 0](
        NAME(panel), offset, terms, NAME(weights), NAME(got), positions, biased ? &bias : NULL);
    NAME(compare)(positions + 64);
}

static void NAME(dw_outer)(const cc_tiles *tiles, int rows, int positions)
{
    const int width = (int)tiles->dw_outer_width;
    NAME(start)();
    const int x_row = 1 + positions % 3, dy_row = width + positions % 2 * 5;
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < width; l++) {
            REAL chain = 0;
            for (int p = 0; p < positions; p++)
                chain = FMA(NAME(panel)[offset[r] + p * x_row], NAME(dy)[p * dy_row + l], chain);
            NAME(expected)[r * width + l] += chain;
        }
    tiles->dw_outer[rows](NAME(panel), x_row, offset, NAME(dy), dy_row, positions, NAME(got));
    NAME(compare)(rows * width + 64);
}

static void NAME(dw_dot)(const cc_tiles *tiles, int a, int b, int skew, int positions)
{
    const int row = b + 2;
    NAME(start)();
    for (int i = 0; i < a; i++)
        for (int j = 0; j < b; j++)
            for (int lane = 0; lane < CC_LANES; lane++) {
                REAL chain = 0;
                for (int p = lane; p < positions; p += CC_LANES)
                    chain = FMA(NAME(panel)[offset[j] + i * skew + p],
                                NAME(dy)[dy_offset[i] + p], chain);
                NAME(expected)[(i * row + j) * CC_LANES + lane] += chain;
            }
    tiles->dw_dot[a][b](NAME(panel), offset, NAME(dy), dy_offset, skew, positions, NAME(got),
                        row);
    NAME(compare)(a * row * CC_LANES + 64);
}

static void NAME(dw_depthwise)(const cc_tiles *tiles, int spread, int terms, int positions,
                               int resume, int ends)
{
    static REAL sums[2][RESULTS];
    const cc_dw_depthwise tile = (spread ? tiles->dw_spread : tiles->dw_depthwise)[terms];
    const int lanes = (int)tiles->gemm_lanes, row = terms * lanes + 3;
    NAME(start)();
    NAME(fill)(sums[0], RESULTS);
    for (int i = 0; i < RESULTS; i++)
        sums[1][i] = sums[0][i];
    for (int lane = 0; lane < CC_LANES; lane++)
        for (int t = 0; t < terms; t++)
            for (int l = 0; l < lanes; l++) {
                REAL *result = NAME(expected) + lane * row + t * lanes + l;
                REAL chain = resume ? *result : 0;
                for (int p = lane; p < positions; p += CC_LANES)
                    chain = FMA(NAME(dy)[p * 37 + l],
                                NAME(panel)[p * 7 + offset[t] + (spread ? 0 : l)], chain);
                if (ends)
                    sums[1][lane * row + t * lanes + l] += chain;
                else
                    *result = chain;
            }
    tile(NAME(panel), 7, offset, NAME(dy), 37, positions, NAME(got), ends ? sums[0] : NULL, row,
         resume);
    NAME(compare)(CC_LANES * row);
    for (int i = 0; i < CC_LANES * row; i++, compared++)
        wrong += ((BITS *)sums[0])[i] != ((BITS *)sums[1])[i];
}

static REAL NAME(folded)(const REAL *lanes)
{
    REAL sums[CC_LANES];
    for (int i = 0; i < CC_LANES; i++)
        sums[i] = lanes[i];
    for (int half = CC_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            sums[i] += sums[i + half];
    return sums[0];
}

static void NAME(transpose_blocks)(const cc_tiles *tiles, int count, int positions)
{
    enum { BLOCKS = 3, ROW = 61, BLOCK = 1700 };
    const int width = (int)tiles->dw_outer_width, out_block = positions * width + 5;
    const int out_lanes = BLOCKS * out_block, lanes = (count + width - 1) / width * width;
    NAME(start)();
    for (int b = 0; b < BLOCKS; b++)
        for (int l = 0; l < lanes; l++)
            for (int p = 0; p < positions; p++)
                NAME(expected)[l / width * out_lanes + b * out_block + p * width + l % width]
                    = l < count ? NAME(panel)[b * BLOCK + l * ROW + p] : 0;
    tiles->transpose_blocks(NAME(panel), ROW, count, BLOCK, BLOCKS, positions, NAME(got),
                            out_block, out_lanes);
    NAME(compare)(RESULTS);
}

static void NAME(sums)(const cc_tiles *tiles, int positions)
{
    REAL lanes[CC_LANES] = {0};
    NAME(start)();
    for (int p = 0; p < positions; p++)
        lanes[p % CC_LANES] += NAME(panel)[p];
    NAME(expected)[0] += NAME(folded)(lanes);
    tiles->sum_row(NAME(panel), positions, NAME(got));
    NAME(compare)(1);

    NAME(start)();
    for (int i = 0; i < positions; i++)
        NAME(expected)[i] = NAME(folded)(NAME(got) + i * CC_LANES);
    tiles->fold_lanes(NAME(got), positions);
    NAME(compare)(positions);
}

static void NAME(row_chain)(const cc_tiles *tiles, int terms, int positions)
{
    NAME(start)();
    for (int p = 0; p < positions; p++)
        for (int t = 0; t < terms; t++)
            NAME(expected)[p]
                = FMA(NAME(weights)[t], NAME(panel)[offset[t] + p], NAME(expected)[p]);
    tiles->row_chain(NAME(panel), offset, terms, NAME(weights), NAME(got), positions);
    NAME(compare)(positions + 64);
}

/* From an array that ends with the last number that is wanted. */
static void NAME(load_strided)(const cc_tiles *tiles, int step, int count)
{
    const REAL *numbers = NAME(panel) + SAMPLES - (count > 0 ? (count - 1) * step + 1 : 0);
    NAME(start)();
    for (int i = 0; i < count; i++)
        NAME(expected)[i] = numbers[i * step];
    tiles->load_strided(numbers, step, count, NAME(got));
    NAME(compare)(count + 64);
}

static void NAME(transpose)(const cc_tiles *tiles, int count, int positions)
{
    const int width = (int)tiles->dw_outer_width;
    NAME(start)();
    for (int p = 0; p < positions; p++)
        for (int l = 0; l < width; l++)
            NAME(expected)[p * width + l] = l < count ? NAME(panel)[offset[l] + p] : 0;
    tiles->transpose(NAME(panel), offset, count, positions, NAME(got));
    NAME(compare)(positions * width + 64);
}

static void NAME(channels)(const cc_tiles *tiles, int rows, int terms, int resume, int biased)
{
    const int width = (int)tiles->gemm_lanes, out_row = width + 1, blocks = 2;
    const int x_row = 7, x_block = 61, w_block = 33, out_block = rows * out_row;
    REAL bias[2 * 64];
    NAME(fill)(bias, blocks * width);
    NAME(start)();
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < rows; p++)
            for (int l = 0; l < width; l++) {
                REAL *to = NAME(expected) + b * out_block + p * out_row + l, chain = 0;
                const REAL *x = NAME(panel) + b * x_block + p * x_row + l;
                for (int t = 0; t < terms; t++)
                    chain = FMA(NAME(dy)[b * w_block + offset[t + 9] + l], x[offset[t]], chain);
                *to = resume ? *to + chain : chain;
                *to = biased ? *to + bias[b * width + l] : *to;
            }
    tiles->depthwise_blocks[rows](NAME(panel), x_row, x_block, offset, NAME(dy), w_block,
                                  offset + 9, terms, NAME(got), out_row, out_block,
                                  biased ? bias : NULL, resume, blocks);
    NAME(compare)(blocks * out_block + 64);
}

static void NAME(channels_dw)(const cc_tiles *tiles, int taps, int positions, int begin, int end)
{
    const int width = (int)tiles->gemm_lanes, samples = 3, count = taps * width;
    const int x_row = 11, x_sample = 701, tap_pitch = 37, dy_row = 13, dy_sample = 503;
    NAME(start)();
    for (int t = 0; t < taps; t++)
        for (int l = 0; l < width; l++) {
            REAL chain = begin ? 0 : NAME(expected)[t * width + l];
            for (int n = 0; n < samples; n++)
                for (int p = 0; p < positions; p++)
                    chain = FMA(NAME(dy)[n * dy_sample + p * dy_row + l],
                                NAME(panel)[n * x_sample + p * x_row + t * tap_pitch + l], chain);
            if (end)
                NAME(expected)[count + t * width + l] += chain;
            else
                NAME(expected)[t * width + l] = chain;
        }
    tiles->dw_short[taps](NAME(panel), x_row, x_sample, tap_pitch, NAME(dy), dy_row,
                              dy_sample, positions, samples, NAME(got), begin,
                              end ? NAME(got) + count : NULL);
    NAME(compare)(2 * count + 64);
}

static void NAME(lanes)(const cc_tiles *tiles, int positions, int pitch)
{
    const int width = (int)tiles->gemm_lanes, blocks = 2, block = positions * width + 5;
    NAME(start)();
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < positions; p++)
            for (int l = 0; l < width; l++)
                NAME(expected)[b * block + p * width + l] =
                    NAME(panel)[(b * width + l) * pitch + p];
    tiles->rows_to_lanes(NAME(panel), pitch, positions, NAME(got), block, blocks);
    NAME(compare)(blocks * block + 64);

    NAME(start)();
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < positions; p++)
            for (int l = 0; l < width; l++)
                NAME(expected)[(b * width + l) * pitch + p] =
                    NAME(panel)[b * block + p * width + l];
    tiles->lanes_to_rows(NAME(panel), block, positions, NAME(got), pitch, blocks);
    NAME(compare)(blocks * width * pitch + 64);
}

static void NAME(swap_axes)(const cc_tiles *tiles, int rows, int columns)
{
    const int pitch = columns + 3, to_pitch = rows + 2;
    NAME(start)();
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            NAME(expected)[c * to_pitch + r] = NAME(panel)[r * pitch + c];
    tiles->swap_axes(NAME(panel), pitch, rows, columns, NAME(got), to_pitch);
    NAME(compare)(columns * to_pitch + 64);
}

static void NAME(check)(const cc_tiles *tiles)
{
    static const int terms[] = {1, 2, 3, 4, 7, 127, 128, 131, 258};
    NAME(fill)(NAME(panel), SAMPLES);
    NAME(fill)(NAME(dy), SAMPLES);
    NAME(fill)(NAME(weights), 32 * 400);
    for (int shifted = 0; shifted < 2; shifted++) {
        /* CC_SHIFT from each dy for a while, or anywhere */
        for (int t = 0; t < 400; t++)
            offset[t] = shifted ? t % 5 * CC_SHIFT + t / 5 : random_bits() % 4000;
        for (int i = 0; i < CC_DOT_ROWS; i++)
            dy_offset[i] = random_bits() % 4000;
        for (int rows = 1; rows <= tiles->correlate_rows; rows++)
            for (int i = 0; i < 18; i++)
                NAME(correlate)(tiles, i % 2, rows, terms[i / 2], i / 2 % 2, (i + rows) % 3 == 0);
        for (int rows = 1; rows <= tiles->gemm_rows; rows++)
            for (int i = 0; i < 18; i++)
                NAME(gemm)(tiles, i % 2, 0, rows, terms[i / 2], i / 2 % 2, (i + rows) % 3 == 0);
        for (int rows = 1; rows <= tiles->gemm_rows; rows++)
            for (int i = 0; i < 18; i++)
                NAME(gemm)(tiles, i % 2, 1, rows, terms[i / 2], i / 2 % 2, (i + rows) % 3 == 0);
        for (int t = 1; t <= tiles->dw_depthwise_terms; t++)
            for (int positions = 1; positions < 70; positions += 1 + positions % 16)
                NAME(dw_depthwise)(tiles, 0, t, positions, positions / 2 % 2, positions / 4 % 2);
        for (int t = 1; t <= tiles->dw_spread_terms; t++)
            for (int positions = 1; positions < 70; positions += 1 + positions % 16)
                NAME(dw_depthwise)(tiles, 1, t, positions, positions / 2 % 2, positions / 4 % 2);
        for (int rows = 1; rows <= CC_WIDE_ROWS; rows++)
            for (int i = 0; i < 8; i++) /* which reach as far as the weights do */
                NAME(gemm_wide)(tiles, rows, terms[i], i % 2, (i + rows) % 3 == 0);
        for (int rows = 1; rows <= tiles->gemm_rows; rows++)
            for (int i = 0; i < 18; i++)
                NAME(chains)(tiles, i % 2, rows, terms[i / 2], (i / 2 + rows) % 2);
        for (int t = 1; t <= CC_ROW_TERMS_MAX; t++)
            for (int more = 0; more < 90; more += 7)
                NAME(row)(tiles, t, (int)tiles->row_least + more, more % 2);
        for (int rows = 1; rows <= tiles->dw_outer_rows; rows++)
            for (int positions = 1; positions <= 128; positions += positions < 6 ? 1 : 61)
                NAME(dw_outer)(tiles, rows, positions);
        for (int a = 1; a <= CC_DOT_ROWS; a++)
            for (int b = 1; b <= tiles->dw_dot_terms[a]; b++)
                for (int positions = 1; positions < 150; positions += 16 + a)
                    NAME(dw_dot)(tiles, a, b, positions % 2 * CC_LANES, positions);
        for (int rows = 1; rows < 40; rows += 1 + rows / 9)
            for (int columns = 1; columns < 40; columns += 1 + columns / 9)
                NAME(swap_axes)(tiles, rows, columns);
        for (int count = 1; count <= tiles->dw_outer_width; count++)
            NAME(transpose)(tiles, count, 1 + count % 50);
        for (int positions = CC_BLOCK - 1; positions <= CC_BLOCK + 3; positions++)
            NAME(transpose)(tiles, (int)tiles->dw_outer_width - positions % 2, positions);
        for (int positions = 1; positions <= 9; positions++)
            for (int count = 1; count <= tiles->dw_outer_width + 3; count += 1 + count / 7)
                NAME(transpose_blocks)(tiles, count, positions);
        for (int positions = 1; positions < 100; positions += 7)
            NAME(sums)(tiles, positions);
        for (int positions = (int)tiles->row_least; positions < 90; positions++)
            NAME(row_chain)(tiles, positions % 19, positions);
        for (int step = 1; step <= 10; step++)
            for (int count = 0; count <= 70; count++)
                NAME(load_strided)(tiles, step, count);
        for (int rows = 1; rows <= tiles->gemm_rows; rows++)
            for (int i = 0; i < 7; i++) {
                NAME(channels)(tiles, rows, terms[i], i % 2, (i + rows) % 3 == 0);
                NAME(channels_dw)(tiles, rows, 1 + 4 * i, i % 2, i % 3);
            }
        for (int positions = 1; positions < 12; positions++)
            for (int more = 0; more < 4; more += 3)
                NAME(lanes)(tiles, positions, positions + more);
    }
}
