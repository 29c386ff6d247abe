"""examples/torch_speedup.py, for two epochs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import example

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


def test_both_networks_learn_alike(tmp_path: Path) -> None:
    picture = tmp_path / "speedup.png"
    options = "--epochs", "2", "--out", picture
    done = example("torch_speedup.py", tmp_path, *options, warnings="ignore")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ beats, \d+ of them early", done.stdout)
    found = re.findall(r": accuracy ([01]\.\d+) in", done.stdout)
    assert len(found) == 2
    assert min(map(float, found)) > 0.8
    assert picture.stat().st_size > 10_000
