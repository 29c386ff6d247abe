"""The example that runs a network live, run as a user runs it."""

from __future__ import annotations

from functools import partial

import pytest
from support import BACKEND, example

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

run = partial(example, "streaming_ecg.py")


@pytest.mark.skipif(BACKEND != "native", reason="the sums of the reference are BLAS's")
def test_what_comes_out_has_the_bits_of_one_call(tmp_path):
    options = ("--epochs", "1", "--seconds", "20", "--network", "weights.npz")
    done = run(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("7200 samples in ")
    assert lines[1] == "latency: 769 samples, 2136 ms"
    assert lines[-1] == "the bits of one call on the whole signal: yes"
    assert (tmp_path / "streaming_ecg.png").read_bytes().startswith(b"\x89PNG")
    again = run(tmp_path, *options, "--out", "again.png")  # with the network that was kept
    assert again.stderr == ""
    same = [line for line in lines if "time per" not in line]
    assert [line for line in again.stdout.splitlines() if "time per" not in line] == same


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", "0"), "--epochs must be at least 1, not 0"),
        (("--seconds", "0"), "--seconds must be more than 0, not 0"),
        (("--seed", "-1"), "--seed must not be negative, but is -1"),
        (("--network", "bad.npz"), "bad.npz"),
    ],
)
def test_refusals(tmp_path, arguments, words):
    (tmp_path / "bad.npz").write_bytes(b"no numbers")
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("streaming_ecg.py: error: ")
    assert words in done.stderr
