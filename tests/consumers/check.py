"""The C interface against Python's functions: python check.py CONSUMER CHECK.

It runs where cconv1d is installed and the consumers are built, apart from the tests.
"""

import ctypes
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import product

import numpy as np

import cconv1d
from cconv1d import _core
from cconv1d._geometry import MAX_SIZE, PADDING_MODES, resolve

OK, NO_MEMORY, BAD_DTYPE, BAD_SHAPE, BAD_GEOMETRY, BAD_ADDRESS = range(0, -6, -1)
FLOAT32, FLOAT64, FLOAT16, BFLOAT16 = range(4)
DTYPES = {FLOAT32: np.float32, FLOAT64: np.float64, FLOAT16: np.float16}
ZEROS, REFLECT, REPLICATE, CIRCULAR = range(4)
LARGEST = 2**63 - 1


def described(array):
    """An array as the consumers take it: what has fewer axes has axes of one item in front."""
    if array is None:
        return None
    missing = 3 - array.ndim
    address = array.__array_interface__["data"][0]
    return address, (1,) * missing + array.shape, (0,) * missing + array.strides


def call(consumer, name, dtype, first, second, bias, result, geometry):
    arrays = map(described, (first, second, bias, result))
    return consumer.call(name, dtype, *arrays, geometry)


# --- the same bits ---------------------------------------------------------------------------


def some_cases(rng):
    """Random convolutions: shapes of x and w, and the geometry; and some that are not so small."""
    yield (3, 12, 700), (8, 6, 5), (1, 2, 3, 1, 2, ZEROS)
    yield (2, 64, 300), (48, 64, 3), (1, 1, 1, 1, 1, CIRCULAR)
    yield (1, 24, 1000), (24, 1, 9), (2, 1, 4, 4, 24, REFLECT)
    yield (1, 1, 3000), (1, 1, 65), (1, 1, 64, 0, 1, ZEROS)
    yield (0, 4, 20), (6, 4, 3), (1, 1, 0, 0, 1, ZEROS)
    yield (2, 0, 20), (6, 0, 3), (1, 1, 0, 0, 1, ZEROS)
    yield (2, 4, 20), (0, 4, 3), (1, 1, 0, 0, 1, ZEROS)
    yield (2, 4, 0), (6, 2, 3), (1, 1, 2, 1, 2, ZEROS)
    for _ in range(60):
        groups, taps = rng.choice((1, 1, 2, 3)), rng.randint(1, 9)
        stride, dilation = rng.randint(1, 4), rng.randint(1, 3)
        mode = rng.randrange(4)
        span = dilation * (taps - 1) + 1
        length = rng.randint(span, span + 40)
        pads = rng.randint(0, span - 1), rng.randint(0, span - 1)
        channels, outs = rng.randint(1, 9), rng.randint(1, 9)
        x = rng.randint(1, 3), groups * channels, length
        yield x, (groups * outs, channels, taps), (stride, dilation, *pads, groups, mode)


def placed(rng, array):
    """The same numbers, somehow in memory."""
    how = rng.randrange(4)
    if how == 1:
        return np.flip(np.flip(array).copy())
    if how == 2:
        return array.swapaxes(-1, -2).copy().swapaxes(-1, -2) if array.ndim > 1 else array
    if how == 3:
        larger = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 3), array.dtype)
        view = larger[..., 1 : 1 + 2 * array.shape[-1] : 2]
        view[...] = array
        return view
    return array


def assert_same(consumer, rng, name, dtype, first, second, bias, geometry, expected):
    operands = [a if a is None else placed(rng, a) for a in (first, second, bias)]
    result = placed(rng, np.full(expected.shape, 77, expected.dtype))
    status = call(consumer, name, dtype, *operands, result, geometry)
    assert status == OK, (name, status, geometry, consumer.describe(status))
    same = result.tobytes() == expected.tobytes()
    assert same, (name, dtype, _core.isa(), first.shape, geometry)


def bits(consumer):
    """All maps, at every level of instruction set, with any strides."""
    for level in _core.available_isas():
        _core.set_isa(level)
        for dtype, numpy_dtype in DTYPES.items():
            rng, numbers = random.Random(dtype), np.random.default_rng(dtype)

            def normal(*shape, numbers=numbers, numpy_dtype=numpy_dtype):
                return numbers.standard_normal(shape).astype(numpy_dtype)

            for x_shape, w_shape, geometry in some_cases(rng):
                stride, dilation, left, right, groups, mode = geometry
                options = stride, (left, right), dilation, groups
                word = PADDING_MODES[mode]
                x, w, b = normal(*x_shape), normal(*w_shape), normal(w_shape[0])
                bias = rng.choice((b, None))
                y = cconv1d.conv1d(x, w, bias, *options, padding_mode=word)
                assert consumer.output_length(x_shape[2], w_shape[2], geometry) == y.shape[2]
                assert_same(consumer, rng, "forward", dtype, x, w, bias, geometry, y)

                dy = normal(*y.shape)
                dx, dw, db = cconv1d.conv1d_backward(dy, x, w, *options, padding_mode=word)
                assert_same(consumer, rng, "backward_input", dtype, dy, w, None, geometry, dx)
                assert_same(consumer, rng, "backward_weight", dtype, dy, x, None, geometry, dw)
                assert_same(consumer, rng, "backward_bias", dtype, dy, None, None, geometry, db)

                if mode == ZEROS and y.shape[2] > left + right:
                    extra = rng.randrange(max(stride, dilation))
                    transposed = stride, dilation, left, right - extra, groups, ZEROS
                    b = normal(x_shape[1])
                    z = cconv1d.conv_transpose1d(
                        dy, w, b, stride, (left, right), extra, groups, dilation
                    )
                    length = consumer.transposed_length(y.shape[2], w_shape[2], transposed)
                    assert length == z.shape[2]
                    assert_same(consumer, rng, "backward_input", dtype, dy, w, b, transposed, z)


def bfloat16(consumer):
    """The bits of float32, rounded to nearest, ties to even."""
    numbers = np.random.default_rng(0)

    def halves(*shape):
        return (numbers.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(
            np.uint16
        )

    def wide(array):
        return (array.astype(np.uint32) << 16).view(np.float32)

    x, w, b = halves(3, 4, 50), halves(6, 2, 5), halves(6)
    geometry = 2, 1, 2, 1, 2, ZEROS
    y = cconv1d.conv1d(wide(x), wide(w), wide(b), 2, (2, 1), 1, 2).view(np.uint32)
    expected = ((y + 0x7FFF + (y >> 16 & 1)) >> 16).astype(np.uint16)
    result = np.zeros_like(expected)
    assert call(consumer, "forward", BFLOAT16, x, w, b, result, geometry) == OK
    assert np.array_equal(result, expected)


def cropped(consumer):
    """A negative padding takes samples away."""
    numbers = np.random.default_rng(0)
    x, w = numbers.standard_normal((2, 3, 40)), numbers.standard_normal((4, 3, 5))
    for left, right in ((-7, 2), (3, -4), (-5, -6), (-45, 50), (50, -45)):
        whole = np.pad(x, ((0, 0), (0, 0), (max(left, 0), max(right, 0))))
        part = whole[..., max(-left, 0) : whole.shape[-1] - max(-right, 0)]
        expected = cconv1d.conv1d(part, w, stride=2)
        y = np.zeros_like(expected)
        geometry = 2, 1, left, right, 1, ZEROS
        assert call(consumer, "forward", FLOAT64, x, w, None, y, geometry) == OK
        assert np.array_equal(y, expected)


# --- threads ---------------------------------------------------------------------------------


def threads(consumer):
    """From many threads at once, each call large enough for several threads of the pool."""
    numbers = np.random.default_rng(0)
    x = numbers.standard_normal((2, 32, 2000)).astype(np.float32)
    w = numbers.standard_normal((32, 32, 5)).astype(np.float32)
    geometry = 1, 1, 2, 2, 1, ZEROS
    consumer.set_num_threads(1)
    y = cconv1d.conv1d(x, w, padding=2)
    dw = cconv1d.conv1d_backward_weight(y, x, 5, padding=2)
    consumer.set_num_threads(4)
    tasks = [("forward", x, w, y), ("backward_weight", y, x, dw)]

    def task(number):
        name, first, second, expected = tasks[number % 2]
        result = np.empty_like(expected)
        status = call(consumer, name, FLOAT32, first, second, None, result, geometry)
        return status == OK and np.array_equal(result, expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(task, range(64)))

    if hasattr(consumer, "call_in_threads") and sys.platform != "win32":
        # threads that Python does not know, while this one holds the GIL until all are done
        for name, first, second, expected in tasks:
            results = [np.empty_like(expected) for _ in range(16)]
            statuses = consumer.call_in_threads(
                name, FLOAT32, described(first), described(second), None,
                tuple(map(described, results)), geometry,
            )  # fmt: skip
            assert statuses == (OK,) * 16
            assert all(np.array_equal(result, expected) for result in results)


def thread_counts(consumer):
    consumer.set_num_threads(3)
    assert cconv1d.get_num_threads() == consumer.get_num_threads() == 3
    assert consumer.limit_num_threads(2) == 0
    assert cconv1d.get_num_threads() == consumer.get_num_threads() == 2
    for count in (1, 4):  # a block decides, whether it has less or more than the thread's limit
        with cconv1d.num_threads(count):
            assert cconv1d.get_num_threads() == consumer.get_num_threads() == count
            assert consumer.limit_num_threads(2) == 2
            assert cconv1d.get_num_threads() == consumer.get_num_threads() == count
        assert cconv1d.get_num_threads() == consumer.get_num_threads() == 2
    assert consumer.limit_num_threads(-5) == 2
    assert consumer.get_num_threads() == 3
    consumer.set_num_threads(-(2**31))
    assert consumer.get_num_threads() == 1


# --- what is refused -------------------------------------------------------------------------


class Call:
    """The arguments of one good call, and what is to be changed of them."""

    def __init__(self, name="forward", geometry=(2, 1, 2, 3, 2, ZEROS), bias=True):
        stride, dilation, left, right, groups, mode = geometry
        x, w = np.ones((2, 6, 20), np.float32), np.ones((8, 3, 5), np.float32)
        options = stride, (left, right), dilation, groups
        y = cconv1d.conv1d(x, w, None, *options, padding_mode=PADDING_MODES[mode])
        operands = {
            "forward": (x, w, np.ones(8, np.float32), y),
            "backward_input": (y, w, np.ones(6, np.float32), x),
            "backward_weight": (y, x, None, w),
            "backward_bias": (y, None, None, np.ones(8, np.float32)),
        }[name]
        self.name, self.dtype, self.geometry = name, FLOAT32, list(geometry)
        self.kept = [a if a is None else a.copy() for a in operands]
        self.arrays = [a if a is None else list(map(_listed, described(a))) for a in self.kept]
        if not bias:
            self.arrays[2] = None

    def status(self, consumer):
        before = [None if a is None else a.tobytes() for a in self.kept]
        arrays = [None if a is None else tuple(map(_tupled, a)) for a in self.arrays]
        status = consumer.call(self.name, self.dtype, *arrays, tuple(self.geometry))
        after = [None if a is None else a.tobytes() for a in self.kept]
        assert status == OK or before == after
        return status


def _listed(value):
    return list(value) if isinstance(value, tuple) else value


def _tupled(value):
    return tuple(value) if isinstance(value, list) else value


STRIDE, DILATION, LEFT, RIGHT, GROUPS, MODE = range(6)
EXTREMES = (-LARGEST - 1, -LARGEST, -(2**48) - 1, -(2**31), -1, 0, 2**31, 2**48 + 1, 2**62, LARGEST)


def refusals(consumer):
    """Each status, by name: one thing is wrong with an otherwise good call."""

    def geometry(which, value):
        return lambda c: c.geometry.__setitem__(which, value)

    def shape(array, axis, value):
        return lambda c: c.arrays[array][1].__setitem__(axis, value)

    def stride(array, axis, value):
        return lambda c: c.arrays[array][2].__setitem__(axis, value)

    def address(array, change):
        return lambda c: c.arrays[array].__setitem__(0, change(c.arrays[array][0]))

    bad = [(BAD_DTYPE, lambda c, d=d: setattr(c, "dtype", d)) for d in (-1, 4, 2**31 - 1, -(2**31))]
    too_large = 2**48 + 1, 2**62, LARGEST
    negative = -LARGEST - 1, -LARGEST, -(2**48) - 1
    for which, values in {
        STRIDE: (0, -1, *negative, *too_large),
        DILATION: (0, -1, 7, 2**31, *negative, *too_large),
        GROUPS: (0, -1, *negative, *too_large),
        LEFT: (-19, 2**48, *negative, *too_large),  # 19: the kernel does not fit any more
        RIGHT: (-18, 2**48, *negative, *too_large),
        MODE: (-1, 4, 2**31 - 1, -(2**31)),
    }.items():
        bad += [(BAD_GEOMETRY, geometry(which, value)) for value in values]
    bad += [(BAD_SHAPE, geometry(GROUPS, groups)) for groups in (1, 3, 4, 2**31, 2**48)]
    bad += [(BAD_SHAPE, geometry(STRIDE, stride)) for stride in (1, 3, 2**31, 2**48)]
    bad += [(BAD_SHAPE, geometry(LEFT, pad)) for pad in (0, 4, -18, 2**31)]
    for array, axis in product(range(4), range(3)):
        bad += [(BAD_SHAPE, shape(array, axis, size)) for size in (-1, *negative, *too_large)]
        fits = (array, axis) != (1, 2)
        bad += [(BAD_SHAPE if fits else BAD_GEOMETRY, shape(array, axis, n)) for n in (0, 2**31)]
        if array != 2:
            bad.append((BAD_SHAPE, shape(array, axis, 7)))
    for array in range(4):
        bad.append((BAD_ADDRESS, address(array, lambda place: 0)))
        bad.append((BAD_ADDRESS, address(array, lambda place: place + 2)))
        axes = (2,) if array == 2 else range(3)
        bad += [(BAD_ADDRESS, stride(array, axis, 6)) for axis in axes]
    for status, change in bad:
        wrong = Call()
        assert wrong.status(consumer) == OK
        wrong = Call()
        change(wrong)
        seen = wrong.status(consumer)
        assert seen == status, (seen, status, wrong.dtype, wrong.arrays, wrong.geometry)
    assert len({consumer.describe(status) for status in range(0, -7, -1)}) == 7

    alone = Call()
    stride(2, 0, 6)(alone)  # of an axis with one item
    assert alone.status(consumer) == OK

    x, w, y = np.ones((2, 9, 20), "f4"), np.ones((8, 3, 5), "f4"), np.ones((2, 8, 16), "f4")
    thirds = 1, 1, 0, 0, 3, ZEROS
    assert call(consumer, "forward", FLOAT32, x, w, None, y, thirds) == BAD_SHAPE
    for groups, x, w, y in (
        (2**48, (2, 0, 20), (0, 2**16, 1), (2, 0, 20)),  # 2**64 channels in all groups
        (2**40, (0, 2**40, 2**20), (0, 1, 1), (0, 0, 2**20)),  # behind an axis of 0
    ):
        x, w, y = ((0, shape, (0, 0, 0)) for shape in (x, w, y))
        options = 1, 1, 0, 0, groups, ZEROS
        assert consumer.call("forward", FLOAT32, x, w, None, y, options) == BAD_SHAPE

    for limit in (
        (1, 1, 20, 0, 1, REFLECT), (1, 1, 0, 20, 1, REFLECT), (1, 1, 21, 0, 1, CIRCULAR),
        (1, 1, -1, 0, 1, REFLECT), (1, 1, 0, -1, 1, REPLICATE), (1, 1, 0, -1, 1, CIRCULAR),
    ):  # fmt: skip
        assert consumer.output_length(20, 3, limit) == BAD_GEOMETRY
    assert consumer.output_length(0, 1, (1, 1, 1, 0, 1, REPLICATE)) == BAD_GEOMETRY
    reflected = 2, 1, 2, 3, 2, REFLECT
    assert Call("backward_input", reflected).status(consumer) == BAD_GEOMETRY  # it has a bias
    assert Call("backward_input", reflected, bias=False).status(consumer) == OK


def is_convolution(arrays, bias_axis, geometry):
    """Whether sizes go together, in Python's integers: x, w and y in the order of their roles."""
    x, w, bias, y = (None if a is None else a[1] for a in arrays)
    stride, dilation, left, right, groups, mode = geometry
    try:
        where = x[2], w[2], stride, (max(left, 0), max(right, 0)), dilation, PADDING_MODES[mode]
        found = resolve("check", *where)
    except (ValueError, IndexError):
        return False
    padded = x[2] + left + right
    span = dilation * (w[2] - 1) + 1
    if mode < 0 or min(left, right) < (-MAX_SIZE if mode == ZEROS else 0) or span > padded:
        return False
    assert min(left, right) < 0 or (padded - span) // stride + 1 == found.output_length
    return (
        groups >= 1
        and x[1] == groups * w[1]
        and w[0] % groups == 0
        and (x[0], w[0], (padded - span) // stride + 1) == tuple(y)
        and (bias is None or tuple(bias) == (1, 1, bias_axis(x, y)))
        and all(np.prod([max(n, 1) for n in a], dtype=object) <= MAX_SIZE for a in (x, w, y))
        and min(*x, *w, *y) >= 0
    )


def any_integers(consumer):
    """One or two integers of a good call are anything; what does not go together is refused."""
    rng = random.Random(0)
    small = (*range(-3, 9), 12, 20, 24)
    refused = 0
    for _ in range(5000):
        name = rng.choice(("forward", "backward_input", "backward_weight"))
        changed = Call(name, bias=rng.random() < 0.5)
        for _ in range(rng.randint(1, 2)):
            value = rng.choice(small + EXTREMES)
            present = [a for a in changed.arrays if a is not None]
            where = rng.randrange(len(present) + 2)
            if where < len(present):
                present[where][1][rng.randrange(3)] = value
            else:
                which = rng.randrange(6)
                changed.geometry[which] = value if which != MODE else value % 2**32 - 2**31
        first, second, bias, result = changed.arrays
        if name == "forward":
            roles, bias_axis = (first, second, bias, result), lambda x, y: y[1]
        elif name == "backward_input":
            roles, bias_axis = (result, second, bias, first), lambda x, y: x[1]
        else:
            roles, bias_axis = (second, result, None, first), None
        if not is_convolution(roles, bias_axis, changed.geometry):
            refused += 1
            assert changed.status(consumer) < 0, (changed.arrays, changed.geometry)
    assert refused > 4000


def lengths(consumer):
    """Those of Python's functions; refused where these raise."""
    rng = random.Random(0)
    sizes = (
        *range(9),
        15,
        100,
        *range(1, 9),
        *range(20, 30),
        2**31,
        2**47,
        2**48 - 1,
        2**48,
        2**48 + 1,
        2**62,
        LARGEST,
    )
    refused = 0
    for _ in range(20000):
        length, taps, stride, dilation, left, right = rng.choices(sizes, k=6)
        mode = rng.randrange(4)
        try:
            where = length, taps, stride, (left, right), dilation, PADDING_MODES[mode]
            expected = resolve("check", *where).output_length
        except ValueError:
            expected = None
        found = consumer.output_length(length, taps, (stride, dilation, left, right, 1, mode))
        assert found == expected if expected else found in (BAD_SHAPE, BAD_GEOMETRY), where
        refused += expected is None
    assert 2000 < refused < 19000
    refused = 0
    for _ in range(20000):
        length, taps, stride, dilation, left, right = rng.choices(range(9), k=6)
        extra = rng.randrange(max(stride, dilation, 1))
        try:
            expected = cconv1d.conv_transpose1d_output_length(
                length, taps, stride, (left, right), extra, dilation
            )
        except ValueError:
            expected = None
        geometry = stride, dilation, left, right - extra, 1, ZEROS
        found = consumer.transposed_length(length, taps, geometry)
        assert found == expected if expected else found in (BAD_SHAPE, BAD_GEOMETRY), geometry
        refused += expected is None
        if expected:
            assert consumer.output_length(found, taps, geometry) == length
    assert 2000 < refused < 19000
    longest = 2, MAX_SIZE - 1, 1, 0, 1, ZEROS  # with two taps
    assert consumer.transposed_length(1, 2, longest) == MAX_SIZE - 1
    assert consumer.transposed_length(1, 2, (2, MAX_SIZE, *longest[2:])) == BAD_GEOMETRY
    for _ in range(20000):
        length, taps, stride, dilation, left, right = rng.choices(sizes + EXTREMES, k=6)
        geometry = stride, dilation, left, right, 1, ZEROS
        found = consumer.transposed_length(length, taps, geometry)
        if found > 0:
            assert found == (length - 1) * stride + dilation * (taps - 1) + 1 - left - right
            assert consumer.output_length(found, taps, geometry) == length
        else:
            assert found in (BAD_SHAPE, BAD_GEOMETRY)


def empty(consumer):
    """Arrays without items need no memory."""
    nothing = (0, (0, 6, 20), (0, 0, 0)), (0, (0, 8, 11), (0, 0, 0))
    w = np.ones((8, 3, 5), np.float32)
    geometry = 2, 1, 2, 3, 2, ZEROS
    x, y = nothing
    arrays = x, described(w), None, y
    assert consumer.call("forward", FLOAT32, *arrays, geometry) == OK
    dw = np.ones_like(w)
    assert consumer.call("backward_weight", FLOAT32, y, x, None, described(dw), geometry) == OK
    assert not dw.any()


def broadcast(consumer):
    """An axis of an operand may have a stride of 0."""
    x, w = np.arange(30.0), np.broadcast_to(np.array(0.5), (4,))
    y = np.zeros(27)
    assert call(consumer, "forward", FLOAT64, x, w, None, y, (1, 1, 0, 0, 1, ZEROS)) == OK
    assert np.array_equal(y, cconv1d.conv1d(x, np.full(4, 0.5)))


def contiguous(consumer):
    for dtype, size in ((FLOAT32, 4), (FLOAT64, 8), (FLOAT16, 2), (BFLOAT16, 2)):
        expected = 64, (2, 3, 5), (15 * size, 5 * size, size)
        assert consumer.contiguous(dtype, 64, 2, 3, 5) == expected
    consumer.contiguous(FLOAT64, 0, LARGEST, LARGEST, LARGEST)  # which is for a call to refuse


# --- versions --------------------------------------------------------------------------------


def versions(name):
    """A library of another major, of an older minor, with a smaller table: no consumer loads."""
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

    class Head(ctypes.Structure):
        _fields_ = (
            ("major", ctypes.c_int), ("minor", ctypes.c_int), ("size", ctypes.c_size_t)
        )  # fmt: skip

    label = b"cconv1d._core._C_API"
    real = _core._C_API
    head = Head.from_address(api.PyCapsule_GetPointer(real, label))
    table = ctypes.string_at(ctypes.addressof(head), head.size)

    def load(capsule):
        """Import the consumer where the library has this capsule."""
        sys.modules.pop(name, None)
        _core._C_API = capsule
        try:
            import_module(name)
            return "imported"
        except (ImportError, ValueError) as error:
            return str(error)
        finally:
            _core._C_API = real

    kept = []

    def forged(major=0, minor=0, size=0):
        """A capsule with a table that says so much more of each."""
        kept.append(ctypes.create_string_buffer(table, len(table)))
        copy = Head.from_buffer(kept[-1])
        copy.major += major
        copy.minor += minor
        copy.size += size
        return api.PyCapsule_New(ctypes.addressof(kept[-1]), label, None)

    version = f"version {head.major}.{head.minor} of the C interface"
    for changes, told in (
        ({"major": 1}, f"{head.major + 1}.{head.minor}"),
        ({"major": -1}, f"{head.major - 1}.{head.minor}"),
        ({"minor": -1}, f"{head.major}.{head.minor - 1}"),
        ({"size": -8}, f"({head.size - 8} bytes)"),
    ):
        message = load(forged(**changes))
        assert version in message, message
        assert told in message, message
    assert "PyCapsule" in load(object())
    assert load(forged(minor=3, size=64)) == "imported"
    assert import_module(name).version() == (head.major, head.minor, head.major, head.minor + 3)


if __name__ == "__main__":
    consumer, check = sys.argv[1:]
    globals()[check](consumer if check == "versions" else import_module(consumer))
