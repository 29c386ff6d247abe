"""The example of an extension in C, built and run as a user runs it."""

from __future__ import annotations

import re

import pytest
from support import BACKEND, example

for module in ("Cython", "matplotlib", "setuptools", "tqdm"):
    pytest.importorskip(module)


@pytest.mark.skipif(BACKEND != "native", reason="an extension needs the compiled one")
def test_the_kernel_learns_both_rooms(tmp_path):
    """To a thousandth, which takes the echo below the voice; the script compares NumPy's bits."""
    done = example("echo_canceller.py", tmp_path, "--seconds", "8", warnings="default")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"room: learned but for (\S+) of its norm, echo (\S+) dB", done.stdout)
    assert len(found) == 2, done.stdout
    for off, level in found:
        assert float(off) < 2e-3
        assert float(level) < -45
    assert "NumPy's bits" in done.stdout
    assert (tmp_path / "echo_canceller.png").read_bytes().startswith(b"\x89PNG")
