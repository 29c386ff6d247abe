"""The example that generates a signal by streams, run as a user runs it."""

from __future__ import annotations

import pytest
from support import BACKEND, example

for module in ("matplotlib", "tqdm"):
    pytest.importorskip(module)


@pytest.mark.skipif(BACKEND != "native", reason="the sums of the reference are BLAS's")
def test_what_is_generated_has_the_bits_of_one_call(tmp_path):
    done = example("wavenet_stream.py", tmp_path, "--steps", "20", "--seconds", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("next sample: root mean square error 0.")
    assert lines[-1] == "the bits of one call on the whole signal: yes"
    assert (tmp_path / "wavenet_stream.png").read_bytes().startswith(b"\x89PNG")
