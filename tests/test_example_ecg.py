"""The example that trains on an electrocardiogram, run as a user runs it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import EXAMPLES, example

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

SCRIPT = EXAMPLES / "ecg_denoiser.py"
if not SCRIPT.is_file():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)

RATE = 250
run = partial(example, SCRIPT.name, timeout=120)


def heartbeats(seconds: int) -> np.ndarray:
    """A P wave, a QRS complex and a T wave, 70 to 90 times a minute, in millivolts."""
    rng = np.random.default_rng(0)
    time = np.arange(seconds * RATE) / RATE
    signal = np.zeros_like(time)
    for beat in np.cumsum(rng.uniform(60 / 90, 60 / 70, 2 * seconds)):
        for height, delay, width in ((0.15, -0.17, 0.02), (1.2, 0.0, 0.01), (0.3, 0.25, 0.05)):
            signal += height * np.exp(-(((time - beat - delay) / width) ** 2) / 2)
    return signal


def ratios(output: str) -> dict[str, float]:
    return {
        name: float(value) for name, value in re.findall(r"^SNR (.+?) +(-?[\d.]+) dB", output, re.M)
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg")
    np.savetxt(folder / "heart.csv", heartbeats(60))
    return folder, run(folder, "--data", "heart.csv", "--fs", f"{RATE}", "--epochs", "6")


def test_trains_prints_and_draws(trained):
    folder, done = trained
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "unseen part: 18 s"
    assert lines[-1] == "picture: ecg_denoiser.png"
    assert re.search(r"FIR band-pass +[\d.]+ dB \([\d.]+-\d+ Hz, \d+ taps\)$", done.stdout, re.M)
    found = ratios(done.stdout)
    assert list(found) == ["noisy", "FIR band-pass", "network"]
    assert found["network"] > found["noisy"] + 3
    assert "loss=" in done.stderr
    picture = (folder / "ecg_denoiser.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) > 20_000


def test_same_seed_same_figures(trained):
    folder, done = trained
    np.save(folder / "column.npy", np.loadtxt(folder / "heart.csv")[:, np.newaxis])
    options = ("--fs", f"{RATE}", "--epochs", "6", "--out", "again.png")
    again = run(folder, "--data", "column.npy", *options)
    assert again.stdout == done.stdout.replace("ecg_denoiser.png", "again.png")


def test_bundled_recording(tmp_path):
    done = run(tmp_path, "--epochs", "2", "--seed", "3", "--out", "bundled.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("unseen part: 90 s\n")
    found = ratios(done.stdout)
    assert found["network"] > found["noisy"]
    assert (tmp_path / "bundled.png").is_file()


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("ecg_denoiser", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path: Path, content: object) -> None:
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_bytes(content)


def with_sample(value: float) -> np.ndarray:
    signal = np.ones(20_000)
    signal[1234] = value
    return signal


TEN_THOUSAND = b"0.5\n" * 10_000


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        ("gone.npy", None, ["--fs", "250"], "gone.npy: no such file"),
        ("empty.npy", b"", ["--fs", "250"], "empty.npy: the file is empty"),
        ("empty.csv", b"", ["--fs", "250"], "empty.csv: the file is empty"),
        ("blank.csv", b"\n \n", ["--fs", "250"], "blank.csv: there are no samples"),
        ("none.npy", np.zeros(0), ["--fs", "250"], "none.npy: there are no samples"),
        ("nan.npy", with_sample(np.nan), ["--fs", "250"], "the first is sample 1234"),
        ("inf.npy", with_sample(-np.inf), ["--fs", "250"], "NaN or infinite"),
        ("huge.npy", with_sample(1e200), ["--fs", "250"], "NaN or infinite"),
        ("nan.csv", TEN_THOUSAND + b"nan\n", ["--fs", "250"], "the first is sample 10000"),
        ("word.csv", b"0.5\necg\n", ["--fs", "250"], "line 2: 'ecg' is not a number"),
        ("two.csv", b"1,2\n3,4\n", ["--fs", "250"], "line 1 has 2 columns"),
        ("image.csv", b"\x89PNG\xff", ["--fs", "250"], "image.csv: not a text file"),
        ("text.npy", b"0.5\n", ["--fs", "250"], "text.npy: not an array"),
        ("objects.npy", np.array([None, 1]), ["--fs", "250"], "objects.npy: not an array"),
        ("leads.npy", np.zeros((2, 20_000)), ["--fs", "250"], "not shape (2, 20000)"),
        ("number.npy", np.array(3.0), ["--fs", "250"], "not shape ()"),
        ("complex.npy", np.zeros(9, complex), ["--fs", "250"], "not complex128"),
        ("short.npy", np.zeros(100), ["--fs", "250"], "short.npy: 100 samples are too few"),
        ("heart.wav", b"RIFF", ["--fs", "250"], "heart.wav: the signal must be a .npy or .csv"),
        ("one.npy", np.ones(9), [], "needs --fs"),
        ("one.npy", np.ones(9), ["--fs", "0"], "--fs must be from 100 to 2000 Hz, not 0"),
        ("one.npy", np.ones(9), ["--fs", "-1"], "not -1"),
        ("one.npy", np.ones(9), ["--fs", "nan"], "not nan"),
        ("one.npy", np.ones(9), ["--fs", "fast"], "--fs: invalid float value: 'fast'"),
        ("one.npy", np.ones(9), ["--fs", "110"], "--mains"),
        ("", None, ["--fs", "250"], "--fs belongs to --data"),
        ("", None, ["--epochs", "-1"], "--epochs must be at least 1, not -1"),
        ("", None, ["--epochs", "0"], "--epochs must be at least 1, not 0"),
        ("", None, ["--seed", "-1"], "--seed must not be negative"),
        ("", None, ["--out", "picture.jpg"], "--out must be a .png file, not picture.jpg"),
        ("", None, ["--out", "nowhere/picture.png"], "no such folder"),
        ("", None, ["--speed"], "unrecognized arguments: --speed"),
    ],
)
def test_refusals(example, tmp_path, monkeypatch, capsys, name, content, options, reason):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, content)
    with pytest.raises(SystemExit) as refusal:
        example.main([*(["--data", name] if name else []), *options])
    out, err = capsys.readouterr()
    assert refusal.value.code == 2
    assert out == ""
    assert reason in err
    assert err.startswith("ecg_denoiser.py: error: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] in ([], [name])


def test_refusal_of_the_script(tmp_path):
    np.save(tmp_path / "flat.npy", np.ones(20_000))
    done = run(tmp_path, "--data", "flat.npy", "--fs", f"{RATE}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "ecg_denoiser.py: error: flat.npy: the signal is flat\n"


def test_names_what_to_install(tmp_path):
    block = f"import runpy, sys; sys.modules['tqdm'] = None; runpy.run_path({str(SCRIPT)!r})"
    done = subprocess.run([sys.executable, "-P", "-c", block], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "tqdm is missing: pip install cconv1d[examples]\n"
