"""examples/torch_speedup.py, for one epoch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "torch_speedup.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="the examples are not beside the tests")
def test_both_networks_learn_alike(tmp_path: Path) -> None:
    picture = tmp_path / "speedup.png"
    command = [sys.executable, str(SCRIPT), "--epochs", "2", "--out", str(picture)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ beats, \d+ of them early", done.stdout)
    found = re.findall(r": accuracy ([01]\.\d+) in", done.stdout)
    assert len(found) == 2
    assert min(map(float, found)) > 0.8
    assert picture.stat().st_size > 10_000
