/* The transforms of one dtype: transform_driver.c includes this for each, with REAL and NAME. */

/* |a - b| as a part of scale, in units of the type's epsilon. */
static double NAME(off)(REAL a, long double b, long double scale)
{
    const double epsilon = sizeof(REAL) == 4 ? 0x1p-23 : 0x1p-52;
    return (double)(fabsl(a - b) / scale) / epsilon;
}

static REAL NAME(fused)(int fuses, REAL a, REAL b, REAL c)
{
    if (!fuses)
        return a * b + c;
    return sizeof(REAL) == 4 ? (REAL)fmaf((float)a, (float)b, (float)c) : (REAL)fma(a, b, c);
}

static const cc_transforms *NAME(of)(const cc_level *level)
{
    return sizeof(REAL) == 4 ? level->f32_transforms : level->f64_transforms;
}

/* A spectrum in the order of roots that no level depends on: leaf by leaf. */
static void NAME(sort)(const cc_transforms *t, int log_points, const REAL *spectrum,
                       ptrdiff_t stride, REAL *sorted)
{
    const int last = 16 << log_points % 2;
    const ptrdiff_t points = (ptrdiff_t)1 << log_points;
    for (ptrdiff_t packet = 0; packet < points / t->lanes; packet++)
        for (ptrdiff_t lane = 0; lane < t->lanes; lane++) {
            const ptrdiff_t leaf = (packet / last * t->lanes + lane) * last + packet % last;
            sorted[leaf] = spectrum[packet * stride + lane];
            sorted[points + leaf] = spectrum[packet * stride + t->lanes + lane];
        }
}

/* All numbers of rows, of columns and of summands, against plain chains; with packets apart. */
static void NAME(products)(const cc_transforms *t, int fuses)
{
    enum { ROWS = 9, MOST = 2 * CC_CHAIN + 3, WIDE = 32, PACKETS = 3, GAP = 5 };
    static REAL a[PACKETS * ROWS * MOST * WIDE + 64], b[PACKETS * ROWS * MOST * WIDE + 64];
    static REAL got[PACKETS * ROWS * ROWS * WIDE + 64], start[PACKETS * ROWS * ROWS * WIDE + 64];
    static const int sums[] = {1, 2, CC_CHAIN - 1, CC_CHAIN, CC_CHAIN + 1, MOST};
    const ptrdiff_t packet = 2 * t->lanes;
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] = (REAL)number(), b[i] = (REAL)number();
    for (int rows = 1; rows <= ROWS; rows++)
        for (int columns = 1; columns <= 5; columns++)
            for (int which = 0; which < 6; which++) {
                const int summands = sums[which], resume = (rows + columns + which) % 2;
                const cc_packets as = {a, rows * summands * packet + GAP, summands * packet, packet};
                const cc_packets bs = {b, columns * summands * packet, packet, columns * packet};
                const cc_packets os = {got, rows * columns * packet + GAP, packet, rows * packet};
                for (size_t i = 0; i < sizeof got / sizeof *got; i++)
                    got[i] = start[i] = (REAL)number();
                t->multiply(&as, rows, &bs, columns, summands, &os, PACKETS, resume);
                for (int f = 0; f < PACKETS; f++)
                    for (int i = 0; i < rows; i++)
                        for (int j = 0; j < columns; j++)
                            for (ptrdiff_t lane = 0; lane < t->lanes; lane++) {
                                const ptrdiff_t at = f * os.next + i * os.row + j * os.step + lane;
                                REAL re = start[at], im = start[at + t->lanes];
                                for (int s = 0; s < summands;) {
                                    const int first = s;
                                    REAL chain_r = 0, chain_i = 0;
                                    for (; s < summands && s < first + CC_CHAIN; s++) {
                                        const REAL *x = a + f * as.next + i * as.row + s * as.step;
                                        const REAL *y = b + f * bs.next + j * bs.row + s * bs.step;
                                        const REAL xr = x[lane], xi = x[lane + t->lanes];
                                        const REAL yr = y[lane], yi = y[lane + t->lanes];
                                        chain_r = NAME(fused)(fuses, xr, yr, chain_r);
                                        chain_i = NAME(fused)(fuses, xr, yi, chain_i);
                                        chain_r = NAME(fused)(fuses, xi, yi, chain_r);
                                        chain_i = NAME(fused)(fuses, -xi, yr, chain_i);
                                    }
                                    re = resume || first ? re + chain_r : chain_r;
                                    im = resume || first ? im + chain_i : chain_i;
                                }
                                wrong += re != got[at] || im != got[at + t->lanes];
                                start[at] = got[at], start[at + t->lanes] = got[at + t->lanes];
                            }
                wrong += memcmp(got, start, sizeof got) != 0; /* nothing else was touched */
            }
}

/* With lanes across signals: a spectrum has the bits that it has with lanes inside, and what is too
 * short for that comes back; of signals with zeros from `count` on. */
static void NAME(across)(const cc_transforms *t, int log_points, ptrdiff_t count)
{
    const ptrdiff_t points = (ptrdiff_t)1 << log_points, size = 2 * points;
    const ptrdiff_t lanes = t->lanes, stride = 2 * lanes + 16;
    const void *roots = cc_roots(log_points, sizeof(REAL));
    REAL *signals = malloc(lanes * size * sizeof(REAL)), *back = malloc(lanes * size * sizeof(REAL));
    REAL *swapped = malloc(lanes * size * sizeof(REAL)), *one = malloc(size * sizeof(REAL));
    REAL *apart = malloc(3 * lanes * size * sizeof(REAL));
    REAL *spectra = malloc(points * stride * sizeof(REAL));
    REAL *alone = malloc(points * stride * sizeof(REAL)), *sorted = malloc(size * sizeof(REAL));
    double worst = 0;
    for (ptrdiff_t i = 0; i < lanes * size; i++)
        signals[i] = (REAL)number();
    for (ptrdiff_t lane = 0; lane < lanes; lane++)
        for (ptrdiff_t n = 0; n < size; n++) {
            if (n >= count)
                signals[lane * size + n] = 0;
            swapped[n * lanes + lane] = n < count ? signals[lane * size + n] : (REAL)NAN;
            apart[3 * n * lanes + lane] = swapped[n * lanes + lane];
        }
    if (count % 2)
        t->forward_across(roots, log_points, swapped, lanes, count, swapped, spectra, stride);
    else
        t->forward_across(roots, log_points, apart, 3 * lanes, count, swapped, spectra, stride);
    t->inverse_across(roots, log_points, spectra, stride, swapped);
    for (ptrdiff_t lane = 0; lane < lanes; lane++)
        for (ptrdiff_t n = 0; n < size; n++)
            back[lane * size + n] = swapped[n * lanes + lane];
    for (ptrdiff_t i = 0; i < lanes * size; i++)
        worst = fmax(worst, NAME(off)(back[i], signals[i], 1));
    wrong += !(worst < log_points);
    for (ptrdiff_t lane = 0; lane < lanes; lane++) {
        if (log_points >= CC_MIN_LOG_POINTS) {
            memcpy(one, signals + lane * size, size * sizeof(REAL));
            t->forward(roots, log_points, one, alone, 2 * lanes);
            NAME(sort)(t, log_points, alone, 2 * lanes, sorted);
            for (ptrdiff_t f = 0; f < points; f++)
                wrong += sorted[f] != spectra[f * stride + lane]
                         || sorted[points + f] != spectra[f * stride + lanes + lane];
            t->inverse(roots, log_points, alone, 2 * lanes, one);
            wrong += memcmp(one, back + lane * size, size * sizeof(REAL)) != 0;
            continue;
        }
        for (ptrdiff_t f = 0; f < points; f++) {
            ptrdiff_t node = log_points % 2 ? f / 2 : f, reversed = 0;
            for (int digit = 0; digit < log_points / 2; digit++, node /= 4)
                reversed = reversed * 4 + node % 4;
            long double turns = (long double)(1 + 4 * reversed) / (4 << log_points / 2 * 2);
            turns = log_points % 2 ? (turns + f % 2) / 2 : turns;
            long double re = 0, im = 0;
            for (ptrdiff_t n = 0; n < size; n++) {
                re += signals[lane * size + n] * cosl(TURN * turns * n);
                im += signals[lane * size + n] * sinl(TURN * turns * n);
            }
            const double norm = sqrt((double)size);
            wrong += !(NAME(off)(spectra[f * stride + lane], re, norm) < log_points);
            wrong += !(NAME(off)(spectra[f * stride + lanes + lane], im, norm) < log_points);
        }
    }
    free(signals), free(back), free(swapped), free(apart), free(one), free(spectra), free(alone), free(sorted);
}

/* Numbers whose lanes are rows or summands, each in all lanes of a packet of its own. */
static void NAME(widen)(const cc_transforms *t, const cc_packets *from, cc_lanes lanes_are,
                        int packets, int rows, int summands, const cc_packets *to)
{
    const ptrdiff_t lanes = t->lanes;
    for (int f = 0; f < packets; f++)
        for (int s = 0; s < summands; s++)
            for (int i = 0; i < rows; i++) {
                const REAL *number = (const REAL *)from->numbers + f * from->next;
                REAL *wide = (REAL *)to->numbers + f * to->next + s * to->step + i * to->row;
                if (lanes_are == CC_ROWS_OF_A)
                    number += s * from->step + i / lanes * from->row + i % lanes;
                else
                    number += i * from->row + s / lanes * from->step + s % lanes;
                for (ptrdiff_t lane = 0; lane < lanes; lane++)
                    wide[lane] = number[0], wide[lanes + lane] = number[lanes];
            }
}

/* Each number of packets against all lanes of others, as where these are in packets of their own. */
static void NAME(each)(const cc_transforms *t)
{
    enum { ROWS = 19, MOST = CC_CHAIN + 3, WIDE = 32, PACKETS = 2, COLUMNS = 3 };
    static REAL a[PACKETS * MOST * (ROWS + 16) * 2], wide[PACKETS * MOST * ROWS * WIDE];
    static REAL b[PACKETS * MOST * COLUMNS * WIDE];
    static REAL got[PACKETS * ROWS * COLUMNS * WIDE], expected[PACKETS * ROWS * COLUMNS * WIDE];
    const ptrdiff_t lanes = t->lanes, packet = 2 * lanes;
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] = (REAL)number();
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        b[i] = (REAL)number();
    for (int rows = 1; rows <= ROWS; rows++) {
        const ptrdiff_t blocks = (rows + lanes - 1) / lanes;
        const cc_packets as = {a, MOST * blocks * packet, packet, blocks * packet};
        const cc_packets ws = {wide, MOST * rows * packet, packet, rows * packet};
        const cc_packets bs = {b, MOST * COLUMNS * packet, packet, COLUMNS * packet};
        const cc_packets os = {got, rows * COLUMNS * packet, packet, rows * packet};
        const cc_packets es = {expected, rows * COLUMNS * packet, packet, rows * packet};
        NAME(widen)(t, &as, CC_ROWS_OF_A, PACKETS, rows, MOST, &ws);
        memset(got, 0, sizeof got), memset(expected, 0, sizeof expected);
        t->multiply_each_row(&as, rows, &bs, COLUMNS, MOST, &os, PACKETS, rows % 2);
        t->multiply(&ws, rows, &bs, COLUMNS, MOST, &es, PACKETS, rows % 2);
        wrong += memcmp(got, expected, sizeof got) != 0;
    }
}

/* The same where the lanes of a are summands: the bits of b · conj(a) in the other order. */
static void NAME(each_summand)(const cc_transforms *t)
{
    enum { ROWS = 7, MOST = CC_CHAIN + 19, WIDE = 32, PACKETS = 2, COLUMNS = 3 };
    static REAL a[PACKETS * ROWS * (MOST + 16) * 2], wide[PACKETS * MOST * ROWS * WIDE];
    static REAL b[PACKETS * MOST * COLUMNS * WIDE];
    static REAL got[PACKETS * ROWS * COLUMNS * WIDE], expected[PACKETS * ROWS * COLUMNS * WIDE];
    const ptrdiff_t lanes = t->lanes, packet = 2 * lanes, blocks = (MOST + lanes - 1) / lanes;
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] = (REAL)number();
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        b[i] = (REAL)number();
    for (int rows = 1; rows <= ROWS; rows++)
        for (int columns = 1; columns <= COLUMNS; columns++)
            for (int summands = MOST - 20; summands <= MOST; summands += 5) {
                const cc_packets as = {a, rows * blocks * packet, blocks * packet, packet};
                const cc_packets ws = {wide, MOST * rows * packet, packet, rows * packet};
                const cc_packets bs = {b, MOST * COLUMNS * packet, packet, COLUMNS * packet};
                const cc_packets os = {got, rows * COLUMNS * packet, packet, rows * packet};
                const cc_packets es = {expected, rows * COLUMNS * packet, rows * packet, packet};
                NAME(widen)(t, &as, CC_SUMMANDS, PACKETS, rows, MOST, &ws);
                memset(got, 0, sizeof got), memset(expected, 0, sizeof expected);
                t->multiply_each_summand(&as, rows, &bs, columns, summands, &os, PACKETS, rows % 2);
                t->multiply(&bs, columns, &ws, rows, summands, &es, PACKETS, rows % 2);
                wrong += memcmp(got, expected, sizeof got) != 0;
            }
}

/* Biases of lanes, and which of their signals are not finite. */
static void NAME(lanes)(const cc_transforms *t)
{
    enum { MOST = 40, WIDE = 16 };
    REAL signals[MOST * WIDE], before[MOST * WIDE], biases[WIDE], spoiled[WIDE];
    const ptrdiff_t lanes = t->lanes;
    for (ptrdiff_t count = 0; count < MOST; count++)
        for (ptrdiff_t bad = 0; bad < MOST * lanes; bad += 7) {
            for (ptrdiff_t i = 0; i < MOST * lanes; i++)
                signals[i] = (REAL)number();
            for (ptrdiff_t lane = 0; lane < lanes; lane++)
                biases[lane] = (REAL)number();
            signals[bad] = (REAL)(bad % 2 ? INFINITY : NAN);
            memcpy(before, signals, sizeof before);
            t->finish_lanes(signals, count, bad % 3 ? biases : NULL, spoiled);
            for (ptrdiff_t lane = 0; lane < lanes; lane++)
                wrong += (spoiled[lane] != 0) != (bad % lanes == lane && bad < count * lanes);
            for (ptrdiff_t i = 0; i < MOST * lanes; i++) {
                const REAL bias = bad % 3 && i < count * lanes ? biases[i % lanes] : 0;
                wrong += i != bad && signals[i] != before[i] + bias;
            }
        }
}

static void NAME(check)(int log_points)
{
    const ptrdiff_t points = (ptrdiff_t)1 << log_points, size = 2 * points;
    const void *roots = cc_roots(log_points, sizeof(REAL));
    REAL *x = malloc(size * sizeof(REAL)), *w = malloc(size * sizeof(REAL));
    REAL *signal = malloc(size * sizeof(REAL)), *sorted = malloc(size * sizeof(REAL));
    REAL *first = malloc(size * sizeof(REAL)), *result = malloc(size * sizeof(REAL));
    REAL *before = malloc(size * sizeof(REAL));
    double norm = 0;
    for (ptrdiff_t n = 0; n < size; n++) {
        x[n] = (REAL)number();
        w[n] = n < points ? (REAL)number() : 0;
        norm += (double)x[n] * (double)x[n];
    }
    norm = sqrt(norm);
    if (roots != cc_roots(log_points, sizeof(REAL)))
        wrong++;
    int fused = 0;
    for (int i = 0; i < cc_level_count; i++) {
        const cc_level *level = &cc_levels[i];
        if (!level->supported())
            continue;
        const cc_transforms *t = NAME(of)(level);
        const ptrdiff_t stride = 2 * t->lanes + 16, packets = points / t->lanes;
        REAL *xs = malloc(packets * stride * sizeof(REAL));
        REAL *ws = malloc(packets * stride * sizeof(REAL));
        REAL *ys = malloc(packets * stride * sizeof(REAL));
        double worst = 0, back = 0, product = 0;
        int bits = 0;

        /* a spectrum, number by number, or some of them */
        memcpy(signal, x, size * sizeof(REAL));
        t->forward(roots, log_points, signal, xs, stride);
        const ptrdiff_t step = log_points < 11 ? 1 : packets * t->lanes / 97;
        for (ptrdiff_t at = 0; at < points; at += step) {
            const ptrdiff_t packet = at / t->lanes, lane = at % t->lanes;
            const long double turns = root(log_points, t->lanes, packet, lane);
            const long double cr = cosl(TURN * turns), ci = sinl(TURN * turns);
            long double re = 0, im = 0;
            for (ptrdiff_t block = 0; block < size; block += 64) {
                const long double start = turns * block - floorl(turns * block);
                const long double sr = cosl(TURN * start), si = sinl(TURN * start);
                long double hr = 0, hi = 0; /* Horner's scheme */
                for (ptrdiff_t n = block + 63; n >= block; n--) {
                    const long double turned = hr * ci + hi * cr;
                    hr = hr * cr - hi * ci + x[n];
                    hi = turned;
                }
                re += hr * sr - hi * si;
                im += hr * si + hi * sr;
            }
            worst = fmax(worst, NAME(off)(xs[packet * stride + lane], re, norm));
            worst = fmax(worst, NAME(off)(xs[packet * stride + t->lanes + lane], im, norm));
        }

        const int fuses = level->name[0] != 'b'; /* then it has the bits of the one before */
        NAME(sort)(t, log_points, xs, stride, sorted);
        if (fuses) {
            if (fused)
                bits += memcmp(sorted, first, size * sizeof(REAL)) != 0;
            memcpy(first, sorted, size * sizeof(REAL));
        }

        /* back */
        t->inverse(roots, log_points, xs, stride, signal);
        for (ptrdiff_t n = 0; n < size; n++)
            back = fmax(back, NAME(off)(signal[n], x[n], 1));

        /* x correlated with w, where nothing is wrapped round; one product, then two more added */
        memcpy(signal, w, size * sizeof(REAL));
        t->forward(roots, log_points, signal, ws, stride);
        const cc_packets a = {ws, stride, 0, 0}, b = {xs, stride, 0, 0}, out = {ys, stride, 0, 0};
        t->multiply(&a, 1, &b, 1, 1, &out, packets, 0);
        t->multiply(&a, 1, &b, 1, 2, &out, packets, 1);
        t->inverse(roots, log_points, ys, stride, signal);
        for (ptrdiff_t p = 0; p <= points; p += points / 64) {
            long double sum = 0;
            for (ptrdiff_t j = 0; j < points; j++)
                sum += 3 * (long double)w[j] * x[p + j];
            product = fmax(product, NAME(off)(signal[p], sum, (long double)norm));
        }
        if (fuses) {
            if (fused++)
                bits += memcmp(signal, before, size * sizeof(REAL)) != 0;
            memcpy(before, signal, size * sizeof(REAL));
        }
        const REAL bias = 2;
        memcpy(result, signal, size * sizeof(REAL));
        if (!t->finish(result, size - 3, &bias) || result[size - 4] != signal[size - 4] + 2
            || result[size - 3] != signal[size - 3])
            wrong++;
        for (ptrdiff_t bad = size - 40; bad < size - 3; bad++) {
            result[bad] = (REAL)(bad % 2 ? INFINITY : NAN);
            if (t->finish(result, size - 3, NULL) || !t->finish(result, bad, NULL))
                wrong++;
            result[bad] = 1;
        }
        const double most = log_points; /* about twice what is seen */
        if (!(worst < most && back < most && product < 3 * most) || bits)
            wrong++;
        printf("%s %d bytes 2^%d points: %.2f, %.2f, %.2f eps; %d other bits\n", level->name,
               (int)sizeof(REAL), log_points, worst, back, product, bits);
        free(xs);
        free(ws);
        free(ys);
    }
    free(x), free(w), free(signal), free(sorted), free(first), free(before);
    free(result);
}
