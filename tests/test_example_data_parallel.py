"""examples/data_parallel.py, with few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "data_parallel.py"


@pytest.mark.alone
@pytest.mark.skipif(not SCRIPT.exists(), reason="the examples are not beside the tests")
def test_two_processes_take_the_steps_of_one():
    """The script fails where weights differ by more than rounding."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), "--steps", "5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.split()[-3:] == second.split()[-3:]
    assert last.startswith("weights differ by at most")
