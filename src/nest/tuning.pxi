# What was measured: budgets, thresholds, and how many threads a call takes.

# Panels of up to this many bytes stay in the second-level cache beside what else is in use.
cdef enum: PANEL_BYTES = 128 * 1024
# Of it, this much stays in the first-level cache while all rows of results are computed.
cdef enum: STRIP_BYTES = 16 * 1024
# What copies of samples beyond the ends receive in dx, before it is added to theirs.
cdef enum: BORDER_BYTES = 512 * 1024
# Sums of results that are stored in half precision, or as parts of complex numbers.
cdef enum: RESULT_BYTES = 256 * 1024
# The weights of a chunk stay in the second level, too: every strip reads them again.
cdef enum: WEIGHT_BYTES = 256 * 1024
# Scratch of a call that lies on the stack: a few tiles' worth.
cdef enum: SMALL_SCRATCH = 8 * 1024
# Terms whose offsets are kept: a multiple of CC_BLOCK.
cdef enum: CHUNK_TERMS = 32 * 128
# Samples are read from the array itself, without a panel, for so many positions at least, which are
# worth the panels at the two ends, and so many channels at most, each of them in a page of its own.
cdef enum: IN_PLACE_POSITIONS = 384, IN_PLACE_CHANNELS = 32
# Positions whose samples stay in the first level, block by block of terms, while tiles go across
# the channels of results.
cdef enum: ACROSS_STRIP = 64
# Below this many positions packing the weights dominates, and the panel order packs faster. Where
# they are packed already, channels-last tiles are quicker from the second number on: 0.94 to 1.4
# times as fast as panels with 32 positions, 0.8 to 1.3 with 16, 1.1 to 1.7 with 128 (EPYC, avx2).
cdef enum: ACROSS_LEAST = 256, ACROSS_LEAST_PACKED = 32
# Tiles take a sample so many times at least, if it is worth a copy to where samples lie close;
# the lanes of a tile are copied by so many bytes, of which they have a multiple.
cdef enum: WORTH_COPYING = 12, COPY_BYTES = 32
# Positions in a panel: as many as the budget allows between these.
cdef enum: NARROW = 256, WIDE = 4096
# Phases of backward_input with no more rows than this each become rows of one tile.
cdef enum: MERGED_ROWS = 6
# With fewer rows than this on either side, lanes run along positions in backward_weight.
cdef enum: FEW_ROWS = 8
# Output channels whose gradients backward_weight sums in one pass over dy and x.
cdef enum: CHANNELS_PER_PASS = 512
# Positions that one lane-wise sum over positions takes: a chain of CC_BLOCK in each of CC_LANES
# lanes. The sums of such chains, lane by lane, take so many bytes at most.
cdef enum: FOLD_POSITIONS = 2048
cdef enum: SUMS_BYTES = 256 * 1024

# Fewer products than this take some 20 microseconds and are not worth waking a second thread.
cdef Py_ssize_t serial_products = 1024 * 1024
# Fewer weights than this are packed in some 10 microseconds.
cdef enum: SERIAL_WEIGHTS = 32 * 1024
# Channels of backward_input whose weights are packed for one block of rows after another: what lies
# in the same cache line is read again.
cdef enum: NEAR_CHANNELS = 8
# Chunks for each thread, so that one that comes late leaves its share to the others. Each part of
# a weight's gradient packs its samples again, so of these there is one for each thread.
cdef enum: PARTS = 4
# With so many tiles for each part of a gradient, one more or less does not count.
cdef enum: EVEN_TILES = 8
# Blocks of rows and terms of a gradient that are worth packing samples for.
cdef enum: PART_BLOCKS = 4, PART_TERMS = 64


cdef int threads_for(Py_ssize_t results, Py_ssize_t products) noexcept nogil:
    """Threads for so many results, each a sum of so many products."""
    if results == 0 or products < serial_products // results:
        return 1
    return min(cc_pool_threads(), CC_POOL_MAX)
