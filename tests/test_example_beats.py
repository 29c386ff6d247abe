"""The example of an extension, built and run as a user runs it."""

from __future__ import annotations

import pytest
from support import BACKEND, example

for module in ("Cython", "matplotlib", "setuptools"):
    pytest.importorskip(module)


@pytest.mark.skipif(BACKEND != "native", reason="an extension needs the compiled one")
def test_the_extension_finds_what_numpy_finds(tmp_path):
    """Which the script asserts itself; and as many beats as five minutes have."""
    done = example("beat_finder.py", tmp_path, "--recordings", "3", warnings="default")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if " beats: " in line)
    beats, normal, others = (int(word) for word in line.split() if word.isdigit())
    assert beats == normal + others
    assert 250 < beats < 700
    assert min(normal, others) > 50
    assert (tmp_path / "beat_finder.png").read_bytes().startswith(b"\x89PNG")
