"""What a user's type checker makes of the package: strict ones, on programs that import it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cconv1d

pytest.importorskip("mypy")

GOOD = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import cconv1d
from cconv1d import Gradients

Array = NDArray[Any]
x: NDArray[np.float32] = np.ones((2, 4, 30), np.float32)
w: NDArray[np.float32] = np.ones((6, 2, 3), np.float32)
b: NDArray[np.float32] = np.ones(6, np.float32)

assert_type(cconv1d.__version__, str)
choice = cconv1d.choose_method(x.shape, w.shape, np.float32, 2, groups=2, padding="same")
assert_type(choice, cconv1d.MethodChoice)
assert_type(choice.reason, str)
length = cconv1d.conv1d_output_length(30, np.int64(3), stride=(2,), padding=(2, 1), dilation=1)
assert_type(length, int)

y = cconv1d.conv1d(x, w, b, 2, (2, 1), groups=2, padding_mode="reflect")
assert_type(y, Array)
cconv1d.conv1d(x, w, bias=None, stride=2, padding=[2, 1], groups=2, out=y, accumulate=True)
cconv1d.conv1d(x[0].T, w, padding="same", groups=2, layout="NLC")
assert_type(cconv1d.conv1d([1, 2.5, 3], (1, 1)), Array)

grads = cconv1d.conv1d_backward(y, x, w, 2, (2, 1), groups=2, needs=(True, True, False))
assert_type(grads, Gradients)
assert_type(grads.weight, Array | None)
dx, dw, db = cconv1d.conv1d_backward(y, x, w, 2, (2, 1), groups=2, out=grads)
assert dx is not None and dw is not None
assert_type(dx, Array)
cconv1d.conv1d_backward(y, x, w, 2, (2, 1), 1, 2, out=(None, dw, None), accumulate=False)
assert_type(cconv1d.conv1d_backward_input(y, w, 30, 2, (2, 1), groups=2, out=dx), Array)
assert_type(cconv1d.conv1d_backward_weight(y, x, 3, 2, (2, 1), groups=2, out=dw), Array)
assert_type(Gradients(dx, None, None).input, Array | None)

z = cconv1d.conv_transpose1d(y, w, None, 2, padding=1, output_padding=1, groups=2, dilation=1)
assert_type(z, Array)
assert_type(cconv1d.conv_transpose1d_backward(z, y, w, 2, 1, 1, 2, layout="NCL"), Gradients)
assert_type(cconv1d.conv_transpose1d_output_length(15, 3, stride=2, output_padding=1), int)

layer = cconv1d.PreparedConv1d(w, b, 2, (2, 1), groups=2, padding_mode="reflect", layout="NCL")
assert_type(layer(x, out=y, accumulate=True), Array)
assert_type(layer.backward(y, x, needs=(True, True, False), out=grads), Gradients)
assert_type(layer.weight, Array)
assert_type(layer.bias, Array | None)

z, history = cconv1d.conv1d_step(x, None, w, b, 2, dilation=2, groups=2, layout="NCL")
assert_type(history, Array)
steps = cconv1d.conv1d_step_backward(z, history, x, None, w, 2, 2, 2, needs=(True,) * 4)
assert_type(steps, cconv1d.StepGradients)
assert_type(steps.history, Array | None)

stream = cconv1d.Stream(w, b, stride=2, padding="full", groups=2, batch=2, extra_history=1)
cconv1d.Stream(w, b, method="fft", hop=64)
assert_type(stream.push(x, lengths=[30, 20], rows=np.array([1, 0])), Array)
assert_type(stream.clone(), cconv1d.Stream)
stream.rewind([1, 0])
stream.state = stream.state
assert_type(stream.finish(), Array)
stream.reset([0])

depthwise = np.ones((4, 3), np.float32)
causal = cconv1d.causal_conv1d_fn(x, depthwise, activation="silu")
found = cconv1d.causal_conv1d_backward(causal, x, depthwise, activation="silu")
assert_type(found, cconv1d.CausalGradients)
assert_type(found.bias, Array | None)
states = cconv1d.causal_conv1d_varlen_states(x[0].T, [0, 10, 30], 2)
assert_type(cconv1d.causal_conv1d_update(x[:, :, 0], states, depthwise), Array)

assert_type(cconv1d.convolve(x, [1.0, 2.0], "same", axis=0), Array)
assert_type(cconv1d.correlate(x, w[0, 0], mode=2), Array)

cconv1d.set_num_threads(2)
assert_type(cconv1d.get_num_threads(), int)
with cconv1d.num_threads(1):
    pass
assert_type(cconv1d.get_include(), str)
cconv1d.show_config()
assert_type(cconv1d.show_config("dicts"), dict[str, Any])
"""

# Each line is refused, for its argument's type or because there is no such argument.
BAD = """
import cconv1d
cconv1d.conv1d([1.0], None)
cconv1d.conv1d([1.0], [1.0], stride=1.5)
cconv1d.conv1d([1.0], [1.0], stride="2")
cconv1d.conv1d([1.0], [1.0], padding="SAME")
cconv1d.conv1d([1.0], [1.0], padding_mode="constant")
cconv1d.conv1d([1.0], [1.0], layout="LNC")
cconv1d.conv1d([1.0], [1.0], groups=(1,))
cconv1d.conv1d([1.0], [1.0], out=[0.0])
cconv1d.conv1d([1.0], [1.0], accumulate="yes")
cconv1d.conv1d([1.0], [1.0], None, 1, 0, 1, 1, "zeros")
cconv1d.conv1d_backward([1.0], [1.0], [1.0]).weight.shape
cconv1d.conv1d_backward([1.0], [1.0], [1.0], needs="all")
cconv1d.conv1d_backward([1.0], [1.0], [1.0], bias=[1.0])
cconv1d.conv1d_backward_input([1.0], [1.0])
cconv1d.conv1d_backward_weight([1.0], [1.0], "3")
cconv1d.conv_transpose1d([1.0], [1.0], padding="same")
cconv1d.conv_transpose1d([1.0], [1.0], padding_mode="zeros")
cconv1d.conv_transpose1d_backward([1.0], [1.0], [1.0], output_padding=0.5)
cconv1d.conv1d_output_length(10.0, 3)
cconv1d.choose_method(10, (1, 1, 3))
cconv1d.conv_transpose1d_output_length(10, 3, padding="full")
cconv1d.conv1d_step([1.0], None, [1.0], padding="causal")
cconv1d.conv1d_step_backward([1.0], None, [1.0], [1.0]).input
cconv1d.Stream([1.0], padding_mode="circular")
cconv1d.Stream([1.0], method="auto")
cconv1d.causal_conv1d_fn([1.0], [1.0], activation="relu")
cconv1d.causal_conv1d_update([[1.0]], [[[1.0]]], [[1.0]])
cconv1d.convolve([1.0], [1.0], "all")
cconv1d.correlate([1.0], [1.0], axis=None)
cconv1d.set_num_threads(1.5)
cconv1d.num_threads("2")
cconv1d.show_config("json")
cconv1d.conv2d
"""


#: How a checker is called, strictly, and how it tells the file and the line of an error.
CHECKERS = {
    "mypy": (["--strict", "--no-incremental"], r"^(\S+):(\d+): error"),
    "pyright": (["--pythonpath", sys.executable], r"^\s+\S*?([^/\s]+\.py):(\d+):\d+ - error"),
}


@pytest.fixture(scope="module", params=CHECKERS)
def errors(request, tmp_path_factory):
    """The lines of good.py and of bad.py in which it finds errors, and all that it prints."""
    pytest.importorskip(request.param)
    options, error = CHECKERS[request.param]
    folder = tmp_path_factory.mktemp("programs")
    (folder / "good.py").write_text(GOOD, encoding="utf-8")
    (folder / "bad.py").write_text(BAD, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "MYPYPATH"}
    environment["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"  # of a newer release
    config = {"typeCheckingMode": "strict"}
    home = Path(cconv1d.__file__).resolve().parents[1]
    if home.name not in ("site-packages", "dist-packages"):
        environment["MYPYPATH"] = str(home)
        config["extraPaths"] = [str(home)]
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", request.param, *options, "good.py", "bad.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert checked.stderr == ""
    assert checked.returncode == 1, checked.stdout
    found = re.findall(error, checked.stdout, re.MULTILINE)
    assert re.search(rf"\b{len(found)} errors", checked.stdout), checked.stdout
    return {
        name: {int(line) for path, line in found if path == name} for name in ("good.py", "bad.py")
    }, checked.stdout


def test_a_program_that_uses_every_public_name(errors):
    for name in cconv1d.__all__:
        assert re.search(rf"\b{name}\b", GOOD), name
    lines, printed = errors
    assert lines["good.py"] == set(), printed


def test_that_program_runs():
    threads = cconv1d.get_num_threads()
    try:
        exec(GOOD, {})
    finally:
        cconv1d.set_num_threads(threads)


def test_every_wrong_line_is_refused(errors):
    lines, printed = errors
    expected = {i for i, line in enumerate(BAD.splitlines(), 1) if line.startswith("cconv1d.")}
    assert lines["bad.py"] == expected, printed


def test_the_stub_of_the_extension_is_complete(tmp_path: Path) -> None:
    """What it declares is what the extension has, by name and signature, and the reverse."""
    pytest.importorskip("cconv1d._core")
    of_cython = tmp_path / "allowed"
    of_cython.write_text(r".*\.__(reduce_cython|setstate_cython|test|pyx_capi)__" + "\n")
    command = [sys.executable, "-m", "mypy.stubtest", "cconv1d._core", "--ignore-disjoint-bases"]
    done = subprocess.run(
        [*command, "--allowlist", of_cython, "--ignore-unused-allowlist"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
