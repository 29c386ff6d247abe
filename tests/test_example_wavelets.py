"""The example of a filter bank, run as a user runs it."""

from __future__ import annotations

import pytest
from support import example

for module in ("matplotlib", "scipy", "tqdm"):
    pytest.importorskip(module)


def test_magnitudes_are_scipys(tmp_path):
    done = example("wavelet_bank.py", tmp_path, "--minutes", "1", "--bands", "12")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "15360 samples, 12 bands, wavelets of 735 samples"
    assert float(lines[2].split()[2]) < 1e-5
    assert float(lines[3].split()[-4]) > 3  # the rhythm is found
    assert (tmp_path / "wavelet_bank.png").read_bytes().startswith(b"\x89PNG")
