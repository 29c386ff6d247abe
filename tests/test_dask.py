"""The adapter for dask: one call on the whole arrays is the oracle, to the bit where promised."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv1d

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
cd = pytest.importorskip("cconv1d.dask")

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(autouse=True)
def _one_thread():
    """The scheduler is no part of most tests."""
    with dask.config.set(scheduler="sync"):
        yield


def cut(rng, size):
    """Random chunks of an axis, of one sample, too."""
    pieces = rng.integers(1, min(size, 5) + 1)
    inner = rng.choice(np.arange(1, size), pieces - 1, replace=False) if size > 1 else []
    return tuple(int(n) for n in np.diff([0, *np.sort(inner), size]))


def chunked(rng, array):
    return da.from_array(array, chunks=tuple(cut(rng, size) for size in array.shape))


def numbers(rng, dtype, *shape):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    values = 5 * rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 5j * rng.standard_normal(shape)
    return values.astype(dtype)


def assert_same_bits(got, expected, lazy):
    """Of what was computed; and what the graph said of it beforehand is true."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(got, expected)


def assert_close(got, expected, terms):
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if got.dtype.kind in "iu":
        np.testing.assert_array_equal(got, expected)
        return
    eps = 2.0**-7 if got.dtype.name == "bfloat16" else float(np.finfo(got.dtype).eps)
    bound = 8 * eps * np.sqrt(terms) * 25 * np.sqrt(terms)
    assert np.abs(got.astype("c16") - expected.astype("c16")).max(initial=0) <= bound


PADDINGS = (0, 3, (2, 7), "same", "same_lower", "causal", "full", (140, 0))
MODES = ("zeros", "reflect", "replicate", "circular")
DTYPES = ("float32", "float64", "complex64", "float16", "int32", "bfloat16")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_blocks_have_the_bits_of_one_call(padding, mode):
    """Any chunks: of one sample, shorter than the halo, odd beside the stride."""
    rng = np.random.default_rng([PADDINGS.index(padding), MODES.index(mode)])
    compared = 0
    for trial in range(3):
        dtype = DTYPES[(PADDINGS.index(padding) + MODES.index(mode) + trial) % len(DTYPES)]
        groups, ins, outs = (int(n) for n in rng.integers(1, 4, 3))
        taps, stride, dilation = (int(rng.choice(some)) for some in ([1, 3, 5], [1, 2, 7], [1, 4]))
        length = 150 if padding == (140, 0) and trial % 2 else int(rng.integers(1, 60))
        layout = "NLC" if trial % 3 == 0 else "NCL"
        x = numbers(rng, dtype, 3, groups * ins, length)
        w, b = numbers(rng, dtype, groups * outs, ins, taps), numbers(rng, dtype, groups * outs)
        x = x.swapaxes(1, 2) if layout == "NLC" else x
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        options |= {"padding_mode": mode, "layout": layout}
        lazy_x, lazy_w = chunked(rng, x), chunked(rng, w) if trial % 2 else w
        try:
            expected = cconv1d.conv1d(x, w, b, **options)
        except ValueError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                cd.conv1d(lazy_x, lazy_w, b, **options)
            continue
        compared += 1
        y = cd.conv1d(lazy_x, lazy_w, b, **options)
        assert_same_bits(y.compute(), expected, y)

        dy = numbers(rng, dtype, *y.shape)
        lazy_dy = chunked(rng, dy)
        grads = cd.conv1d_backward(lazy_dy, lazy_x, lazy_w, **options)
        oracle = cconv1d.conv1d_backward(dy, x, w, **options)
        assert grads.input.chunks == lazy_x.chunks
        assert_same_bits(grads.input.compute(), oracle.input, grads.input)
        terms = dy.size // (groups * outs)
        assert_close(grads.weight.compute(), oracle.weight, terms)
        assert_close(grads.bias.compute(), oracle.bias, terms)
        dx = cd.conv1d_backward_input(lazy_dy, lazy_w, length, **options)
        assert_same_bits(dx.compute(), oracle.input, dx)
        dw = cd.conv1d_backward_weight(lazy_dy, lazy_x, taps, **options)
        np.testing.assert_array_equal(dw.compute(), grads.weight.compute())
    assert compared


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_transposed(seed, dtype):
    rng = np.random.default_rng([seed, DTYPES.index(dtype)])
    groups, ins, outs = (int(n) for n in rng.integers(1, 4, 3))
    stride, dilation, taps = (int(rng.choice([1, 2, 3, 5])) for _ in range(3))
    x = numbers(rng, dtype, 2, groups * ins, 40)
    w = numbers(rng, dtype, groups * ins, outs, taps)
    b = numbers(rng, dtype, groups * outs)
    layout = "NLC" if seed % 3 == 0 else "NCL"
    x = x.swapaxes(1, 2) if layout == "NLC" else x
    options = {"stride": stride, "padding": (seed % 3, 1), "groups": groups, "dilation": dilation}
    options |= {"output_padding": int(rng.integers(0, max(stride, dilation))), "layout": layout}
    lazy_x, lazy_w = chunked(rng, x), chunked(rng, w) if seed % 2 else w
    y = cd.conv_transpose1d(lazy_x, lazy_w, b, **options)
    assert_same_bits(y.compute(), cconv1d.conv_transpose1d(x, w, b, **options), y)

    dy = numbers(rng, dtype, *y.shape)
    grads = cd.conv_transpose1d_backward(chunked(rng, dy), lazy_x, lazy_w, **options)
    oracle = cconv1d.conv_transpose1d_backward(dy, x, w, **options)
    assert grads.input.chunks == lazy_x.chunks
    assert_same_bits(grads.input.compute(), oracle.input, grads.input)
    assert_close(grads.weight.compute(), oracle.weight, 2 * 40)
    assert_close(grads.bias.compute(), oracle.bias, dy.size // (groups * outs))


@pytest.mark.parametrize("function", ["convolve", "correlate"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("taps", [1, 4, 9, 30])
def test_convolve_and_correlate(function, mode, taps):
    rng = np.random.default_rng(taps)
    for axis, dtype in [(0, "float32"), (1, "complex128"), (-1, "int32"), (2, "float64")]:
        a, v = numbers(rng, dtype, 20, 21, 22), numbers(rng, dtype, taps)
        y = getattr(cd, function)(chunked(rng, a), v, mode, axis=axis)
        assert_same_bits(y.compute(), getattr(cconv1d, function)(a, v, mode, axis=axis), y)


def test_ranks_of_signals():
    x, w = np.arange(12.0), np.array([1.0, 2.0, -1.0])
    lazy = da.from_array(x, chunks=5)
    np.testing.assert_array_equal(cd.conv1d(lazy, w).compute(), cconv1d.conv1d(x, w))
    y = cd.conv1d(lazy[None], w[None, None], padding="causal")
    np.testing.assert_array_equal(y, cconv1d.conv1d(x[None], w[None, None], padding="causal"))
    assert y.chunks == ((1,), (5, 5, 2))
    grads = cd.conv1d_backward(lazy[:-2], lazy, w, needs=(True, True, False))
    assert grads.bias is None
    assert grads.weight.shape == (3,)
    assert grads.input.shape == (12,)
    y = cd.conv_transpose1d(lazy, w, stride=2)
    grads = cd.conv_transpose1d_backward(y, lazy, w, stride=2, needs=(True, True, False))
    oracle = cconv1d.conv_transpose1d_backward(y.compute(), x, w, stride=2)
    assert grads.bias is None
    assert_same_bits(grads.input.compute(), oracle.input, grads.input)
    assert_close(grads.weight.compute(), oracle.weight, 12)


def test_lists_are_of_the_dtype_of_the_arrays():
    x = np.arange(40, dtype="f4").reshape(2, 2, 10)
    w, b = [[[1, 2.5], [0, -1]]], [0.5]
    y = cd.conv1d(da.from_array(x, chunks=3), w, b)
    assert_same_bits(y.compute(), cconv1d.conv1d(x, w, b), y)
    y = cd.conv1d(x.tolist(), w, b)
    assert_same_bits(y.compute(), cconv1d.conv1d(x.tolist(), w, b), y)
    dw = cd.conv1d_backward(x[:, :1, 1:].tolist(), da.from_array(x, chunks=3), w).weight
    assert_same_bits(dw.compute(), cconv1d.conv1d_backward(x[:, :1, 1:], x, w).weight, dw)


@pytest.mark.parametrize("dtype", [">f4", ">c16", ">i2"])
def test_foreign_byte_orders_become_native(dtype):
    rng = np.random.default_rng(0)
    x, w, dy = (numbers(rng, dtype, *shape) for shape in [(2, 2, 30), (2, 2, 4), (2, 2, 27)])
    lazy_x, lazy_dy = chunked(rng, x), chunked(rng, dy)
    y = cd.conv1d(lazy_x, w.astype(w.dtype.newbyteorder("=")))
    assert_same_bits(y.compute(), cconv1d.conv1d(x, w), y)
    assert y.dtype.isnative
    for got, expected in zip(
        cd.conv1d_backward(lazy_dy, lazy_x, w), cconv1d.conv1d_backward(dy, x, w), strict=True
    ):
        assert got.dtype.isnative
        assert_close(got.compute(), expected, dy.size)
    y = cd.correlate(lazy_x, w[0, 0])
    assert_same_bits(y.compute(), cconv1d.correlate(x, w[0, 0]), y)


def test_what_is_not_finite_reaches_what_one_call_says():
    x = np.ones((1, 1, 40))
    x[..., 19] = np.nan
    w = np.array([[[1.0, np.inf, 1.0]]])
    y = cd.conv1d(da.from_array(x, chunks=(1, 1, 5)), w, padding=1)
    np.testing.assert_array_equal(y, cconv1d.conv1d(x, w, padding=1))


def test_fft_to_within_its_error():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 3000)), rng.standard_normal((4, 4, 65))
    y = cd.conv1d(chunked(rng, x), w, padding="same", method="fft").compute()
    expected = cconv1d.conv1d(x, w, padding="same")
    bound = cconv1d.conv1d(np.abs(x), np.abs(w), padding="same") * np.finfo(float).eps * 30
    assert (np.abs(y - expected) <= bound).all()


def test_auto_chooses_for_the_whole_layer():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 16, 6000)), rng.standard_normal((16, 16, 65))
    choice = cconv1d.choose_method(x.shape, w.shape, x.dtype, padding="same")
    assert choice.method == "fft"
    assert cconv1d.choose_method((1, 16, 32 + 60), w.shape, x.dtype).method == "direct"
    y, fft = (
        cd.conv1d(da.from_array(x, chunks=(1, 16, 60)), w, padding="same", method=method).compute()
        for method in ("auto", "fft")
    )
    assert y.tobytes() == fft.tobytes()


def test_the_threaded_scheduler():
    """More tasks at once than cores, each with one thread; the limit outside stays."""
    rng = np.random.default_rng(0)
    x, w = numbers(rng, "float32", 4, 16, 4000), numbers(rng, "float32", 16, 16, 7)
    y = cd.conv1d(da.from_array(x, chunks=(1, 16, 500)), w, padding="same")
    before = cconv1d.get_num_threads()
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(y.compute(), cconv1d.conv1d(x, w, padding="same"))
    assert cconv1d.get_num_threads() == before


def test_tasks_have_one_thread(monkeypatch):
    seen = []
    conv1d = cconv1d._functional.conv1d

    def spy(*args, **options):
        seen.append(cconv1d.get_num_threads())
        return conv1d(*args, **options)

    monkeypatch.setattr("cconv1d._functional.conv1d", spy)
    cd.conv1d(da.ones(30, chunks=10), [1.0, 2.0]).compute()
    assert seen == [1, 1, 1]


def test_a_graph_grows_with_the_blocks_and_holds_weights_once():
    w = np.ones((2, 2, 3))
    y = cd.conv1d(da.ones((1, 2, 8000), chunks=(1, 2, 100)), w, padding="same")
    graph = dict(y.__dask_graph__())
    assert len(graph) < 12 * 80
    assert sum(isinstance(value, np.ndarray) for value in graph.values()) <= 1


REFUSALS = [
    (TypeError, "one dtype", lambda x: cd.conv1d(x, np.ones((1, 1, 3), "f4"))),
    (TypeError, "weight must be an array", lambda x: cd.conv1d(x, None)),
    (ValueError, "weights of each sample", lambda x: cd.conv1d(x, np.ones((1, 1, 1, 3)))),
    (ValueError, "unknown length", lambda x: cd.conv1d(x[..., x[0, 0] > 0], np.ones((1, 1, 3)))),
    (ValueError, "dilated kernel spans", lambda x: cd.conv1d(x, np.ones((1, 1, 30)))),
    (ValueError, "takes 2 input channels", lambda x: cd.conv1d(x, np.ones((1, 2, 3)))),
    (
        ValueError,
        "grad_output must have shape",
        lambda x: cd.conv1d_backward(x, x, np.ones((1, 1, 3))),
    ),
    (
        ValueError,
        "'fft' rounds",
        lambda x: cd.conv1d(x.astype(int), np.ones((1, 1, 3), int), method="fft"),
    ),
    (TypeError, "input must hold", lambda x: cd.conv1d(x > 0, np.ones((1, 1, 3), bool))),
    (TypeError, "input must hold", lambda x: cd.conv1d(x.astype("V8"), np.ones((1, 1, 3)))),
    (TypeError, "does not go into int", lambda x: cd.conv1d(x.astype(int), [[[0.5]]])),
    (ValueError, "rectangular", lambda x: cd.conv1d(x, [[[1.0], [2.0, 3.0]]])),
    (
        ValueError,
        "grad_output must have shape",
        lambda x: cd.conv_transpose1d_backward(x, x, np.ones((1, 1, 3))),
    ),
    (TypeError, "needs", lambda x: cd.conv_transpose1d_backward(x, x, x, needs=None)),
    (ValueError, "output_padding", lambda x: cd.conv_transpose1d(x, x, output_padding=1)),
    (ValueError, "v must have shape", lambda x: cd.convolve(x, np.ones((2, 2)))),
    (ValueError, "v cannot be empty", lambda x: cd.convolve(x, [])),
    (TypeError, "dask array", lambda x: cd.correlate(np.ones(3), [1.0])),
    (ValueError, "axis", lambda x: cd.correlate(x, [1.0], axis=3)),
    (TypeError, "axis", lambda x: cd.correlate(x, [1.0], axis=0.5)),
    (ValueError, "mode", lambda x: cd.correlate(x, [1.0], "all")),
]


@pytest.mark.parametrize(("kind", "words", "call"), REFUSALS, ids=[row[1] for row in REFUSALS])
def test_refusals_come_while_the_graph_is_built(kind, words, call):
    with pytest.raises(kind, match=words):
        call(da.ones((1, 1, 20), chunks=7))


CLUSTER = """
import sys
import warnings

import numpy as np

import cconv1d

if __name__ == "__main__":
    import dask.array as da
    from dask.distributed import Client, LocalCluster

    import cconv1d.dask as cd

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \\
            Client(cluster, timeout=120) as client:
        client.wait_for_workers(2, timeout=120)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, 4, 1000))
        w, b = rng.standard_normal((6, 4, 5)), rng.standard_normal(6)
        options = {"padding": 3, "padding_mode": "reflect", "stride": 2}
        lazy = da.from_array(x, chunks=(1, 4, 130))
        y = cd.conv1d(lazy, w, b, **options)
        got = y.compute()
        grads = [g.compute() for g in cd.conv1d_backward(y, lazy, w, **options)]
        expected = cconv1d.conv1d(x, w, b, **options)
        oracle = cconv1d.conv1d_backward(expected, x, w, **options)
        assert got.tobytes() == expected.tobytes()
        assert grads[0].tobytes() == oracle.input.tobytes()
        np.testing.assert_allclose(grads[1], oracle.weight, rtol=1e-11, atol=1e-10)
        np.testing.assert_allclose(grads[2], oracle.bias, rtol=1e-11, atol=1e-10)
        assert len(set(client.run(lambda: __import__("os").getpid()).values())) == 2
    print("the same")
"""


@pytest.mark.alone
def test_a_cluster_of_processes(tmp_path):
    """Two workers of dask.distributed, started by a process that ends with all its threads."""
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same\n"


def test_the_processes_scheduler(tmp_path):
    script = tmp_path / "processes.py"
    script.write_text(
        "import numpy as np, dask.array as da, cconv1d, cconv1d.dask as cd\n"
        "if __name__ == '__main__':\n"
        "    x, w = np.arange(300.0), np.array([1.0, 2.0, 0.5])\n"
        "    y = cd.conv1d(da.from_array(x, chunks=100), w, padding='full')\n"
        "    got = y.compute(scheduler='processes', num_workers=2)\n"
        "    print(got.tobytes() == cconv1d.conv1d(x, w, padding='full').tobytes())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "True\n", done.stderr


def test_examples_in_docstrings():
    failed, tried = doctest.testmod(cd)
    assert tried > 4
    assert failed == 0


PAGE = DOCS / "dask.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the pages are not beside the tests")
@pytest.mark.parametrize("part", ["dask", "xarray", "numba"])
def test_the_examples_of_the_page(part):
    """A section is a session, and needs the package that it is about."""
    pytest.importorskip(part)
    sections = re.findall(r"^## (\w+).*?\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
    blocks = re.findall(r"```python\n(.*?)```", dict(sections)[part], re.DOTALL)
    text = "".join(blocks)
    assert text.count(">>> ") > 4
    example = doctest.DocTestParser().get_doctest(text, {}, part, str(PAGE), 0)
    assert doctest.DocTestRunner().run(example).failed == 0
