/* The transforms of one dtype: transform_driver.c includes this for each, with REAL and NAME. */

/* |a - b| as a part of scale, in units of the type's epsilon. */
static double NAME(off)(REAL a, long double b, long double scale)
{
    const double epsilon = sizeof(REAL) == 4 ? 0x1p-23 : 0x1p-52;
    return (double)(fabsl(a - b) / scale) / epsilon;
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
        for (ptrdiff_t f = 0; f < packets; f++) {
            REAL out[2 * 16];
            const cc_packets a = {ws + f * stride, 0, 0}, b = {xs + f * stride, 0, 0};
            t->multiply(&a, 1, &b, 1, 1, out, 0, 0, 0);
            t->multiply(&a, 1, &b, 1, 2, out, 0, 0, 1);
            memcpy(xs + f * stride, out, 2 * t->lanes * sizeof(REAL));
        }
        t->inverse(roots, log_points, xs, stride, signal);
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
    }
    free(x), free(w), free(signal), free(sorted), free(first), free(before);
    free(result);
}
