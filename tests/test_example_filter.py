"""examples/filter_recording.py, with a recording of a few megabytes."""

from __future__ import annotations

import re
import sys

import pytest
from support import example

pytest.importorskip("dask.array")
pytest.importorskip("zarr")
pytest.importorskip("matplotlib")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
def test_the_recording_is_filtered_chunk_by_chunk(tmp_path):
    """The script itself compares the result with calls on parts of the recording."""
    options = "--gigabytes", ".004", "--chunk", "9999", "--folder", tmp_path
    done = example("filter_recording.py", tmp_path, *options, warnings="default")
    assert done.returncode == 0, done.stderr
    assert re.match(r"0\.00 GB of 62500 samples in 7 chunks, 501 taps\n", done.stdout)
    assert re.search(r"at most \d+ MB", done.stdout)
    (picture,) = tmp_path.iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")
