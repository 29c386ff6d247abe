"""examples/filter_recording.py, with a recording of a few megabytes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("dask.array")
pytest.importorskip("zarr")

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "filter_recording.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="the examples are not beside the tests")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
def test_the_recording_is_filtered_chunk_by_chunk(tmp_path):
    """The script itself compares the result with calls on parts of the recording."""
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--gigabytes",
            ".004",
            "--chunk",
            "9999",
            "--folder",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"0\.00 GB of 62500 samples in 7 chunks, 501 taps\n", done.stdout)
    assert re.search(r"at most \d+ MB", done.stdout)
    assert not list(tmp_path.iterdir())
