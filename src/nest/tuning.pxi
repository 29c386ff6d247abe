# Constants of the nests, each with its reason or its measurement.
#
# Gives  budgets of memory in bytes, thresholds between ways to compute, how work is shared out, and
#        threads_for().
#
# What is said of times was measured on Zen 3 or a later EPYC at avx2. Some of these numbers take
# part in the order of sums, so to change them changes bits (tests/bits.txt): MERGED_ROWS, and for
# the gradients of weight and bias PANEL_BYTES, MIN_PANEL_POSITIONS, IN_PLACE_*, FEW_ROWS and
# FOLD_POSITIONS, by the ranges of positions that are summed by lanes; and MIN_DEPTHWISE_CHANNELS,
# MAX_DEPTHWISE_SAMPLES, depthwise_positions and DEPTHWISE_ALONE_POSITIONS, by which nest sums.

# --- what fits the caches ---

# A panel stays in the second-level cache (256 KiB or more) and leaves half of it to the weights.
cdef enum: PANEL_BYTES = 128 * 1024
# The samples that all rows of results read for one strip of positions stay in the first-level cache
# (32 KiB or more). Against whole panels 10 to 33 % faster where 512 channels meet one tap or a few
# channels become many.
cdef enum: STRIP_BYTES = 16 * 1024
# Every strip reads the weights of a chunk of terms again, so these stay in the second level, too.
cdef enum: WEIGHT_BYTES = 256 * 1024
# Budget for results that are buffered until all terms are summed (half precision, complex numbers,
# results that are not contiguous), in the type of the sums.
cdef enum: RESULT_BYTES = 256 * 1024
# Budget for the gradients of padded copies in backward_input, until they go to their sources.
cdef enum: BORDER_BYTES = 512 * 1024
# Sums of backward_weight by lanes, CC_LANES numbers for each weight: a thread reads and writes them
# for every range of positions.
cdef enum: SUMS_BYTES = 256 * 1024
# The chains of a depthwise backward_weight along channels, which one strip of positions after
# another resumes, stay in the second level beside its samples. Of few taps these are 1 KiB and more
# of a sample, without which the memory is up to three times as slow.
cdef enum: CHAINS_BYTES = 128 * 1024
# The arena of a call that is no larger lies on the stack: a few tiles' worth.
cdef enum: SMALL_SCRATCH = 8 * 1024
# Terms of a chunk at most, for each of which an offset is kept: 16 KiB of them. A multiple of
# CC_BLOCK.
cdef enum: CHUNK_TERMS = 32 * 128

# --- panels ---

# Positions in a panel: as many as the budget allows between these.
cdef enum: MIN_PANEL_POSITIONS = 256, MAX_PANEL_POSITIONS = 4096
# Tiles read the array in place, without a panel, for at least IN_PLACE_POSITIONS between its ends,
# which then pay for the two panels at the ends, or a few times as many if they have rows; the
# gradient of a weight for at most IN_PLACE_CHANNELS, as each lies in a page of its own. Together
# with the order of taps for single rows, 1.3 to 1.6 times as fast.
cdef enum: IN_PLACE_POSITIONS = 384, IN_PLACE_CHANNELS = 32
# correlate.pxi reads samples of a single tap in place whatever their number, whose ends need no
# panel: 1.1 to 1.35 times as fast, 3.2 with 268 channels of 123 samples to 7; and those of several
# taps up to IN_PLACE_TERMS terms: 1.05 to 1.25. Not where rows lie a multiple of CROWDED_BYTES
# apart, so that they share few sets of the caches: .9. If all channels' samples, once for each tap,
# are FETCHED_BYTES, they are fetched ahead: 160 channels of 20000 samples and 9 taps are 1.06 times
# as fast as by panels, .25 without (Zen 5).
cdef enum: IN_PLACE_TERMS = 2048, FETCHED_BYTES = 16 * 1024 * 1024, CROWDED_BYTES = 4096
# Positions from which on one row of results with one tap is computed in place.
cdef enum: LONG_ROW = 32
# Where several rows of results have so few terms each, a row is computed for all positions at once:
# .65 to .75 of the time with two; tiles of rows are faster from four terms on (1.3 to 1.8).
cdef enum: FEW_ROW_TERMS = 2
# Eighths of a tile's time that one with half the positions takes.
cdef enum: HALF_TILE = 5
# Short signals share a panel where that saves more products than JOIN_COST for each result, which
# is copied once more then. A panel takes as long as JOINED_PANEL products, and as JOINED_TERM for
# each of its terms. 140 layers with signals of 20 to 180 samples take .86 of the time that signals
# alone take.
cdef enum: JOIN_COST = 12, JOINED_PANEL = 4000, JOINED_TERM = 16
# Where joined signals leave lanes idle, taps have rows of their own if the products that these
# lanes take, one for each row of results, take longer than to copy the rows: for each signal and
# tap so many products, and 16 for each sample. Rows are no longer than APART_SAMPLES.
cdef enum: APART_COST = 400, APART_SAMPLES = 1024
# Phases of backward_input with no more rows than this each become rows of one tile: two to three
# times as fast for strides to few channels.
cdef enum: MERGED_ROWS = 6

# --- channels-last ---

# Positions whose samples stay in the first-level cache, one block of terms after another, while the
# tiles go across the channels of results.
cdef enum: CHANNELS_LAST_STRIP = 64
# Weights of a group that are near enough to be read again for every tile of positions: of 2 to 256
# KiB it made no difference on Zen 3, where the second level has 512.
cdef enum: NEAR_WEIGHT_BYTES = 64 * 1024
# Below this many positions packing the weights dominates, and the panel order packs faster. Where
# they are packed already, channels-last tiles are quicker from the second number on: 0.94 to 1.4
# times as fast as panels with 32 positions, 0.8 to 1.3 with 16, 1.1 to 1.7 with 128.
cdef enum: CHANNELS_LAST_MIN_POSITIONS = 256, CHANNELS_LAST_MIN_PREPACKED = 32
# Not a constant, because the tests set it to 0, that all is computed so that can be, or so high
# that nothing is.
cdef Py_ssize_t channels_last_least = CHANNELS_LAST_MIN_POSITIONS
# Against panels: a product of a block with half of the lanes takes so many tenths of another's
# time; a tile that is stored by way of a stage as much as so many products for each position and
# block of terms; a number that panels transpose as much as so many. Fitted to 900 random layers on
# Zen 5 at avx512: the time of the one that is taken is 1.006 of the better one's in the geometric
# mean.
cdef enum: LANES_NARROW = 13, LANES_STAGE = 200, LANES_COPY = 16
# Depthwise layers with lanes along channels, against rows whose samples change places with the
# lanes: a product of all lanes takes so many tenths of one along a row, and where there are fewer
# channels than lanes; the same of the gradient of weights; and a number that is copied takes as
# long as so many products for each lane. Of 56 layers (4 to 64 channels, 9 to 401 taps, both maps,
# Zen 5, avx512) the slower nest is taken for 6, which take 1.02 to 1.3 times as long; without, 13
# take 2 to 6 times.
cdef enum: DEPTHWISE_LANES = 11, DEPTHWISE_PART_LANES = 20, DEPTHWISE_COPY = 5
cdef enum: DEPTHWISE_WEIGHT_LANES = 21, DEPTHWISE_WEIGHT_PART_LANES = 40
# A panel of a depthwise layer pays when each sample is used at least WORTH_COPYING times: 2 to 3.5
# times as fast with 512 channels and many taps. Lanes are copied COPY_BYTES at a time; their size
# is a multiple of it.
cdef enum: WORTH_COPYING = 12, COPY_BYTES = 32
# Positions of a tile of a depthwise layer that reads samples in place: each is a row of channels,
# as is a result, and with 12 of them at avx512 2 x 5753 samples of 367 channels take 2.0 ms instead
# of 1.1 (Zen 5); with 3 as much for many channels, but a third more for 64.
cdef enum: ROWS_IN_PLACE = 8

# --- transforms ---

# Fifths of the time of transforms and products with lanes along blocks that those with lanes along
# channels take, whose samples change places with the lanes where they lie: .7 to .95 in 16 layers
# where no lane is left over (Zen 5, avx512). Not a constant, because the tests set it.
cdef Py_ssize_t channel_lanes = 4

# --- few positions ---

# Positions up to which weights are read as they lie, where all lanes have a channel: measured
# against panels, 64 to 512 channels and taps from 1 to 400 take 1/4 to 1/2 of the time at 1 to 8
# positions, 2/3 at 16 to 32, as much between 128 and 256. Not a constant, because the tests set it.
cdef enum: FEW_POSITIONS = 128
cdef Py_ssize_t few_positions = FEW_POSITIONS
# Fewer channels of a group than this leave most lanes idle: see FEW_OUTS_POSITIONS; fewer terms are
# for half of the positions; no more weights are packed in next to no time; taps of complex weights.
cdef enum: FEW_POSITIONS_OUTS = 8, FEW_POSITIONS_TERMS = 64
cdef enum: FEW_POSITIONS_WEIGHTS = 16 * 1024, FEW_POSITIONS_COMPLEX_TAPS = 64
# With few channels: positions as a rule; residues of taps from which on panels copy samples slowly,
# and then positions of a signal; taps from which on it counts that panels of short signals are
# empty. Of 6582 random layers (1 to 7 channels, up to 1024 positions) 2950 go by few_positions.pxi
# so: in the geometric mean 1.6 times as fast at avx2 and 1.8 at avx512, 3 % of them slower than .9.
cdef enum: FEW_OUTS_POSITIONS = 12, FEW_OUTS_RESIDUES = 3, FEW_OUTS_SIGNAL = 32, FEW_OUTS_TAPS = 32
# Terms of a span: so much of each row of weights is read at once.
cdef enum: SPAN_BLOCKS = 4
# Positions of a strip at most, and at least unless samples take too much memory: a block of weights
# is transposed once for each strip, which costs as much as four to five positions.
cdef enum: STRIP_POSITIONS = 128, MIN_STRIP_POSITIONS = 16
# Positions from which on they are shared out among threads, if there are not enough channels.
cdef enum: PART_POSITIONS = 12
# Rows of samples that are this long begin an odd number of cache lines apart.
cdef enum: ROW_SAMPLES = 64
# Samples of a row for each that a tap meets, from which on positions have rows of their own.
cdef enum: WASTED_SAMPLES = 4
# Where taps are far apart, to copy a sample that none meets takes as long as so many multiply-adds.
# Up to so many positions have rows of their own then, and others are left to panels: two taps 512
# samples apart, 64 to 128 channels, take .2 of the time at 16 positions, .1 at 64 to 127 (Zen 5).
cdef enum: WASTED_COST = 12, OWN_ROWS_POSITIONS = 16

# --- padding that most taps meet ---

# living_taps.pxi computes where another nest would take so many eighths of its products, and
# LIVING_LEAST in all. Not a constant, because the tests set it to 0, that all is computed so that
# can be, or so high that nothing is. 250 random layers whose padding is long, packed and not, on
# Zen 5: .12 to .9 of the time for a quarter of them, two above 1.1. With lanes along signals, 70
# random batches of short ones: .02 to .9 for 24 of them, one above 1.1; 12 gain that are left out.
cdef Py_ssize_t living_gain = 10
# As long as so many products take: to copy a row of samples, and a strip beside its sums.
cdef enum: LIVING_LEAST = 128 * 1024, COPIED_ROW = 1000, LIVING_STRIP = 4000
# Signals from which on lanes along them are faster than few_positions_input: .3 to .9 of the time
# in 8 of 10 random layers with 60 to 215 signals, 1.1 to 3 times with fewer.
cdef enum: LIVING_SIGNALS = 128
# Where lanes are signals: to exchange a number with the lanes, and to list a term of a position.
cdef enum: SWAPPED_SAMPLE = 40, LISTED_TERM = 150
# Rows from which on short strips of long signals pay: 4 x 102 channels of 5 samples to 213, 43
# taps, take .45 of the time; with fewer rows or with dilation up to 1.5 (Zen 5).
cdef enum: LIVING_ROWS = 48

# --- depthwise layers with few positions ---

# Fewer channels leave most lanes of depthwise.pxi idle. With 16 it is 1.6 times as fast as panels
# at 64 positions and as fast at 200, with 8 as fast at 64 (avx2).
cdef enum: MIN_DEPTHWISE_CHANNELS = 16
# Outputs at most, of depthwise.pxi and depthwise_weight.pxi. Against panels, with 16 to 512
# channels and 1 to 31 taps: 2 to 20 times as fast at 64, 1.2 to 5 at 128, .9 to 1.2 at 256 with
# stride 1, 1.4 to 8 with more; dw 1.2 to 20 at 128, 1 to 10 at 256 (avx2). Not a constant, because
# the tests change it.
cdef Py_ssize_t depthwise_positions = 192
# A part of that with channels last, where panels are no alternative, and as many samples that are
# read: 1 to 6 times as fast as channels_last.pxi at 32, .6 to 1.8 at 64.
cdef enum: DEPTHWISE_NLC_SHARE = 6
# The gradient of a sample's own weights must not depend on how many samples there are, which are
# groups then. So with a single sample channels do not count, and it has to be as fast with one of
# them, which it is up to some 40 outputs.
cdef enum: DEPTHWISE_ALONE_POSITIONS = 40
# Samples of a signal at most: transposed, they fit PANEL_BYTES.
cdef enum: MAX_DEPTHWISE_SAMPLES = 1024
# A tile reads so many samples in place at most: rows that lie a power of two apart share a set of
# the first-level cache, which has 8 ways.
cdef enum: MAX_IN_PLACE_SAMPLES = 16
# Blocks of channels that lie side by side are copied together, so that whole cache lines are read:
# dw of 557 channels 2.5 times as fast.
cdef enum: DEPTHWISE_BLOCKS = 8

# --- backward_input of few positions ---

# Where few_positions_input computes sums of backward_input: see has_few_input_positions. The rule
# is fitted to 2544 random layers, up to 600 outputs long, on Zen 5 at avx512: the time of these is
# 1.035 of the better nest's in the geometric mean, and more than 1.1 for a tenth of them. Not a
# constant, because the tests set it to 0, or so high that all is computed so that can be.
cdef enum: FEW_INPUT_GAIN = 3, FEW_INPUT_STRIDE = 16
cdef Py_ssize_t few_input_gain = FEW_INPUT_GAIN
# Sums of a block of lanes, with the chains that go on, in a thread's scratch, and those of the
# blocks that are computed together.
cdef enum: FEW_SUMS_BYTES = 512 * 1024, TOGETHER_SUMS_BYTES = 256 * 1024
# Weights that are transposed together: they stay in the second-level cache.
cdef enum: FEW_WEIGHT_BYTES = 128 * 1024
# Blocks of lanes that are computed together, as their weights lie side by side in memory: up to
# 2.5 times as fast with four as with one where each has a cache line of a page.
cdef enum: FEW_BLOCKS = 4
# What a transposition takes of a row at a time.
cdef enum: PIECE_BYTES = 16
# Samples of dy in the panel of a whole call, if it is larger than the weights.
cdef enum: FEW_PANEL_BYTES = 1024 * 1024

# --- backward_weight ---

# With fewer rows than this on either side, lanes run along positions (dot products), because a
# tile of outer products would have idle lanes or registers.
cdef enum: FEW_ROWS = 8
# Output channels whose gradients are summed in one pass over dy and x.
cdef enum: CHANNELS_PER_PASS = 512
# Positions of a strip, for which the chains along channels are loaded and stored once; but only
# CC_LANES where samples are read in place and a multiple of CROWDED_BYTES apart: 5.7 ms instead of
# 9.5 with 1024 channels and 4 taps on Zen 3. Twice as many where a sample goes to all lanes: .9 of
# the time (Zen 5).
cdef enum: LANES_WEIGHT_STRIP = 64
# Positions of a sum by lanes: a chain of CC_BLOCK in each of CC_LANES lanes.
cdef enum: FOLD_POSITIONS = 2048

# --- backward_weight of few positions ---

# Up to twice so many positions of all samples together, of those whose taps meet samples: against
# dw_outer 1.5 to 10 times as fast up to 128 positions, 1.1 to 1.4 at 512, .8 to .9 at 2048, where
# the stride is 1. Half as many where either side is narrower than NARROW_SIDE; with a stride, for
# which the others pack phases, as many times as FEW_STRIDED_POSITIONS; and signals that are shorter
# than SHORT_SAMPLE, however many. For the rule with few rows see takes_few_positions. Of 2386
# random layers on Zen 5 it takes 1.03, 1.01, 1.06 and 1.02 times as long as the better nest
# (dw_outer, with a stride, dw_dot, with a stride). Not a constant, because the tests set it to 0.
cdef enum: FEW_WEIGHT_POSITIONS = 256, NARROW_SIDE = 48, FEW_STRIDED_POSITIONS = 4, SHORT_SAMPLE = 8
cdef Py_ssize_t few_weight_positions = FEW_WEIGHT_POSITIONS
# From this stride on, samples of any length where a sample is met by one or two taps: the phases
# that the other nests pack are read number by number. 1.0 to 1.8 times as fast; .5 to .9 at stride
# 2, and .7 to .9 where three taps and more meet a sample.
cdef enum: APART_STRIDE = 3
# A panel has this many positions and terms at most, and fewer terms where positions are many.
cdef enum: PANEL_RANGE = 512, WEIGHT_PANEL_TERMS = 256, WEIGHT_PANEL_BYTES = 96 * 1024
# Positions whose taps lie more samples apart than this have lines of their own.
cdef enum: FAR_POSITIONS = 64
# A line that takes part in fewer numbers of the panel than this is not worth its copying.
cdef enum: SHORT_LINE = 64

# --- threads ---

# Fewer products than this take some 20 microseconds and are not worth waking a second thread. Not a
# constant, because the tests set it to 0.
cdef Py_ssize_t serial_products = 1024 * 1024
# Fewer weights than this are packed in some 10 microseconds.
cdef enum: SERIAL_WEIGHTS = 32 * 1024
# Channels of backward_input whose weights are packed for one block of rows after another, because
# what lies in the same cache line is read again. Even, for the parts of complex numbers.
cdef enum: NEAR_CHANNELS = 8
# Four chunks per thread balance the load. backward_weight packs x again for each part, so it gets
# one per thread.
cdef enum: CHUNKS_PER_THREAD = 4
# From this many tiles per part of a gradient on, a tile more or less does not unbalance the parts.
cdef enum: ENOUGH_TILES = 8
# A part of a sum has at least this many blocks of rows, and a part of a gradient this many terms,
# to be worth a panel of its own.
cdef enum: MIN_BLOCKS_PER_PART = 4, MIN_TERMS_PER_PART = 64


cdef int threads_for(Py_ssize_t results, Py_ssize_t products) noexcept nogil:
    """The number of threads worth using for `results` sums of `products` terms."""
    if results == 0 or products < serial_products // results:
        return 1
    return min(cc_pool_threads(), CC_POOL_MAX)
