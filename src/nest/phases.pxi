# The phases of a sum, their rows and terms.

cdef struct Rows:
    # The output channels of a group (for each phase of the output, if phases are rows), shared out
    # evenly among tiles: a last tile with few rows would be slow.
    Py_ssize_t count, blocks
    Py_ssize_t width   # whole tiles of every block


cdef Rows share_rows(const cc_tiles *tiles, Py_ssize_t count) noexcept nogil:
    cdef Rows rows
    rows.count = count
    rows.blocks = (count + tiles.correlate_rows - 1) // tiles.correlate_rows
    cdef Py_ssize_t width = tiles.correlate_width[count // rows.blocks]
    rows.width = width
    while rows.width % tiles.correlate_width[(count + rows.blocks - 1) // rows.blocks]:
        rows.width += width
    return rows


cdef inline Py_ssize_t first_row(const Rows *rows, Py_ssize_t block) noexcept nogil:
    return block * rows.count // rows.blocks


cdef struct Correlation:
    # A job for the pool. Its chunks are panels of positions of one group of one sample, or of
    # several short ones, and, where these are few, parts of the blocks of rows.
    const cc_tiles *tiles
    const Geometry *g
    View array, out
    bint transposed
    Py_ssize_t groups, channels, outs  # of a group: channels of the array and of the results
    Py_ssize_t terms, size             # taps of all channels of a group; numbers in the weights
    Py_ssize_t step                    # of the results that one phase writes
    bint merged                        # phases with as many taps are one, each with its rows
    Py_ssize_t phases
    Rows[2] rows                       # of a phase: all have the same, but for two merged ones
    Py_ssize_t width                   # whole tiles of all rows
    Py_ssize_t most_rows               # of a phase
    Py_ssize_t positions, panels, parts
    Py_ssize_t together, apart         # short signals in a panel, and positions between them
    bint aside                         # results that lie apart or are halves wait for all terms
    Py_ssize_t budget, most            # of samples in a panel, of terms in a chunk
    Py_ssize_t panel_size, offset_size, sums_size
    Py_ssize_t distance                # samples between channels, or 0 if panels must be packed
    bint ordered                       # and not summed as they come
    const int32_t *order               # [phase][term] tap of its class, or NULL: as they come
    const int32_t *places              # [phase][term] in the array, where `distance` is not 0
    const void *packed                 # [group][phase][block of rows][term][row of the block]
    const void *biases
    char *workers                      # the threads' own scratch
    Py_ssize_t worker_size


cdef struct Phase:
    # Results of one class, or of several if they are merged, and the terms that they sum.
    Py_ssize_t klass, end              # its classes
    Py_ssize_t first_result            # of the first of them
    Py_ssize_t first_position, last_position  # counted by the first class, for all of them
    Py_ssize_t first_term              # terms in the phases before this one
    const Rows *rows
    Terms terms


cdef inline Py_ssize_t first_result(const Correlation *job, Py_ssize_t klass) noexcept nogil:
    return class_phase(job.g, klass) if job.transposed else 0


cdef inline Py_ssize_t results_of(const Correlation *job, Py_ssize_t klass) noexcept nogil:
    """How many results a class writes in a row."""
    return (job.out.shape[2] - first_result(job, klass) + job.step - 1) // job.step


cdef inline Py_ssize_t ahead_of(
    const Correlation *job, Py_ssize_t klass, Py_ssize_t first_class
) noexcept nogil:
    """How many positions a class of a merged phase is ahead of the phase's first one."""
    return class_shift(job.g, klass) - class_shift(job.g, first_class)


cdef Phase phase_of(const Correlation *job, Py_ssize_t number) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef Py_ssize_t klass, ahead
    cdef Phase phase
    phase.klass, phase.end = number, number + 1
    if job.merged:  # classes with a tap more than the others come first
        phase.klass = g.taps % g.period if number else 0
        phase.end = g.classes if number == job.phases - 1 else g.taps % g.period
    phase.rows = &job.rows[number if job.merged else 0]
    phase.first_result = first_result(job, phase.klass)
    phase.first_position, phase.last_position = 0, results_of(job, phase.klass)
    for klass in range(phase.klass + 1, phase.end):
        ahead = ahead_of(job, klass, phase.klass)
        phase.first_position = min(phase.first_position, -ahead)
        phase.last_position = max(phase.last_position, results_of(job, klass) - ahead)
    phase.first_term = job.channels * (g.taps // g.period * phase.klass
                                       + min(g.taps % g.period, phase.klass))
    if job.transposed:
        phase.terms = terms_of_output(g, job.channels, phase.klass)
    else:
        phase.terms = terms_of_input(g, job.channels)
    if job.order != NULL:
        phase.terms.order = job.order + phase.first_term
    return phase


cdef void lay_out_weights(
    Correlation *job, const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups,
    bint transposed
) noexcept nogil:
    """What the order of packed weights depends on: none of it is a length or the padding."""
    cdef Py_ssize_t number, row
    cdef Phase phase
    job.tiles, job.g, job.groups, job.transposed = tiles, g, groups, transposed
    job.out = nothing
    job.order = NULL
    if transposed:
        job.channels, job.outs = w.shape[0] // groups, w.shape[1]
    else:
        job.channels, job.outs = w.shape[1], w.shape[0] // groups
    job.step = g.stride if transposed else 1
    job.phases = g.classes if transposed else 1
    # Phases that have few rows and share what they read are taken together: a tile with one row
    # loads a vector for each multiply-add, and a panel for a tap or two is not worth its packing.
    # With few terms in all, results that wait in scratch cost more than that.
    number = 2 if g.taps > g.period and g.taps % g.period else 1
    job.merged = (job.phases > number and job.outs <= MERGED_ROWS
                  and job.channels * g.taps > CC_MORE)
    if job.merged:
        job.phases = number
    job.width, job.most_rows = 1, 0
    for number in range(job.phases if job.merged else 1):
        phase = phase_of(job, number)
        row = job.outs * (phase.end - phase.klass)
        job.rows[number] = share_rows(tiles, row)
        job.most_rows = max(job.most_rows, row)
        row = job.width
        while job.width % job.rows[number].width:
            job.width += row
    job.ordered = job.outs == 1 and not job.merged and CC_APART % g.step == 0
    job.terms = job.channels * g.taps
    job.size = groups * job.outs * job.terms


cdef void order_terms(Correlation *job, int32_t *order) noexcept nogil:
    """The order of the terms of all phases, where a tile has a single row."""
    cdef Py_ssize_t number
    cdef Phase phase
    for number in range(job.phases):
        phase = phase_of(job, number)
        order_taps(&phase.terms, order + phase.first_term)
    job.order = order


cdef inline Py_ssize_t weights_before(
    const Correlation *job, Py_ssize_t group, const Phase *phase
) noexcept nogil:
    """How many weights are packed before those of a group's phase."""
    return job.outs * (group * job.terms + phase.first_term)
