"""Clean an electrocardiogram
==========================

Train a network to clean an electrocardiogram: forward and backward by cconv1d, the rest NumPy.

::

    python ecg_denoiser.py

takes five minutes of a real electrocardiogram with extrasystoles, adds the three noises that
spoil such recordings (a wandering baseline, mains hum, muscle activity), and trains a stack of
dilated residual convolutions to take them away again.  It learns on the first 70 % and is
judged on the rest, beside a band-pass filter.  `Conv` and `Denoiser` show how a network with
gradients is built from `conv1d` and `conv1d_backward`.

What counts as the truth is the recording itself, less what it holds below 0.5 Hz: its own
wandering baseline, which nobody could tell from ours.  Its own muscle noise stays in the truth,
so no method can reach an arbitrarily high signal-to-noise ratio.

Your own signal: ``--data heart.csv --fs 500``, a .npy or .csv file with one lead.  The lengths
in samples below suit 250 to 500 Hz.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from tqdm import tqdm

    from cconv1d import conv1d, conv1d_backward
except ModuleNotFoundError as missing:
    print(f"{missing.name} is missing: pip install cconv1d[examples]", file=sys.stderr)
    raise SystemExit(2) from None

Array = NDArray[Any]
Generator = np.random.Generator

# --- the recording --------------------------------------------------------------------------
BUNDLED = Path(__file__).resolve().parent / "data" / "mitdb208_ecg.npz"
BUNDLED_RATE = 360.0  # Hz
TRAINING_SHARE = 0.7
BASELINE_EDGE = 0.5  # Hz; hearts beat faster than 30 times a minute, so no beat is lost
# Hz; below, the steep part of a beat is not in the data; above, the network sees less than a beat.
RATES = (100.0, 2000.0)

# --- the noise, each RMS as a multiple of the signal's; together they are as strong as it -------
WANDER, WANDER_BAND = 0.8, (0.05, 1.0)  # Hz; breathing and movement, past the edge of the truth
HUM = 0.4
MUSCLE, MUSCLE_BAND = 0.4, (20.0, 150.0)  # Hz; over the upper half of the QRS complex

# --- the band-pass filter -----------------------------------------------------------------------
FILTER_SECONDS = 3.0  # a Hamming window that long turns from stop to pass within 1.1 Hz
LOW_EDGES = (0.5, 0.65, 0.8, 1.0)  # Hz; the pair that does best on the training part is used
HIGH_EDGES = (25.0, 30.0, 35.0, 40.0, 45.0)  # Hz

# --- the network and its training ---------------------------------------------------------------
CHANNELS = 12  # 16 gained nothing in the same time
TAPS = 7
DILATIONS = (1, 2, 4, 8, 16, 32, 64, 128)  # one output sees 1539 samples: 4.3 s, 8 beats
WINDOW = 4096  # samples; long, so that few of them suffer from the zeros beyond its ends
BATCH = 2  # many small steps learn more in the same time than few large ones
STEPS = 10  # per epoch, with new noise for each epoch
EPOCHS = 200
LEARNING_RATE = 1e-2
WARM_UP = 30  # steps
SHORTEST = 2 * WINDOW  # samples; the training part then holds more than one window,
SHORTEST_SECONDS = 30.0  # and the unseen part a few periods of the slowest noise


class Recording(NamedTuple):
    signal: Array
    rate: float  # Hz
    unit: str


# --- reading ------------------------------------------------------------------------------------


def load_signal(path: Path, rate: float) -> Array:
    """One lead from a .npy or .csv file, checked; ValueError says what is wrong with it."""
    readers = {".npy": _read_npy, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: the signal must be a .npy or .csv file")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    signal = readers[path.suffix.lower()](path)
    if signal.size == 0:
        raise ValueError(f"{path}: there are no samples in the file")
    if signal.dtype.kind not in "iuf":
        raise ValueError(f"{path}: the samples must be real numbers, not {signal.dtype}")
    if max(signal.shape, default=0) != signal.size:
        raise ValueError(f"{path}: one row or column of samples expected, not shape {signal.shape}")
    with np.errstate(over="ignore"):  # what single precision cannot hold is refused below
        signal = signal.ravel().astype(np.float32).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(signal))
    if bad.size:
        raise ValueError(
            f"{path}: {bad.size} of {signal.size} samples are NaN or infinite, "
            f"the first is sample {bad[0]}"
        )
    needed = max(SHORTEST, round(SHORTEST_SECONDS * rate))
    if signal.size < needed:
        raise ValueError(
            f"{path}: {signal.size} samples are too few to train on; at least {needed} are "
            f"needed, {needed / rate:.0f} s"
        )
    if typical_level(without_baseline(signal, rate), rate) == 0:
        raise ValueError(f"{path}: the signal is flat")
    return signal


def _read_npy(path: Path) -> Array:
    with path.open("rb") as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except ValueError:
            raise ValueError(f"{path}: not an array of numbers in NumPy's .npy format") from None


def _read_csv(path: Path) -> Array:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    rows = [(number, line.split(",")) for number, line in enumerate(lines, 1) if line.strip()]
    samples = []
    for number, row in rows:
        if len(row) > 1 and len(rows) > 1:
            raise ValueError(f"{path}: line {number} has {len(row)} columns; one is expected")
        for field in row:
            try:
                samples.append(float(field))
            except ValueError:
                raise ValueError(
                    f"{path}: line {number}: {field.strip()[:40]!r} is not a number"
                ) from None
    return np.array(samples)


def load_bundled() -> Recording:
    """Record 208 of the MIT-BIH Arrhythmia Database, lead MLII; data/SOURCE.md says more."""
    if not BUNDLED.is_file():
        raise ValueError(f"{BUNDLED}: no such file; give a signal with --data and --fs")
    with np.load(BUNDLED) as file:
        return Recording((file["adc"].astype(np.float64) - 1024) / 200, BUNDLED_RATE, "mV")


# --- filters and noise ----------------------------------------------------------------------


def low_pass(edge: float, rate: float, seconds: float) -> Array:
    """A windowed sinc with gain 1 at 0 Hz; linear phase, odd length."""
    half = round(seconds * rate / 2)
    taps = np.sinc(2 * edge / rate * np.arange(-half, half + 1)) * np.hamming(2 * half + 1)
    return taps / taps.sum()


def band_pass(low: float, high: float, rate: float) -> Array:
    return low_pass(high, rate, FILTER_SECONDS) - low_pass(low, rate, FILTER_SECONDS)


def without_baseline(signal: Array, rate: float) -> Array:
    """The signal less what it holds below `BASELINE_EDGE`."""
    signal = signal - np.median(signal)  # or the zeros before its start would be a step
    return signal - conv1d(signal, low_pass(BASELINE_EDGE, rate, 6.0), padding="same")


def typical_level(signal: Array, rate: float) -> float:
    """The RMS of the median second: one loose electrode does not change it."""
    seconds = signal[: int(signal.size // rate * rate)]
    parts = np.array_split(seconds, int(signal.size // rate))
    return float(np.median([np.sqrt(np.mean(part**2)) for part in parts]))


def coloured(
    length: int, rate: float, band: tuple[float, float], rng: Generator, slope: float = 0.0
) -> Array:
    """Gaussian noise of RMS 1 within a band, its amplitudes proportional to f**slope."""
    frequency = np.fft.rfftfreq(length, 1 / rate)
    inside = np.flatnonzero((frequency >= band[0]) & (frequency <= band[1]))
    spectrum = np.zeros(frequency.size, np.complex128)
    parts = rng.standard_normal((2, inside.size)) * frequency[inside] ** slope
    spectrum[inside] = parts[0] + 1j * parts[1]
    noise = np.fft.irfft(spectrum, length)
    return noise / np.sqrt(np.mean(noise**2))


def make_noise(length: int, rate: float, mains: float, rng: Generator) -> Array:
    """The three noises together, in multiples of the signal's RMS."""
    wander = coloured(length, rate, WANDER_BAND, rng, slope=-0.5)
    # Bursts: the logarithm of the muscles' strength varies, so that it sometimes triples.
    effort = np.exp(0.8 * coloured(length, rate, (0.05, 0.8), rng))
    top = min(MUSCLE_BAND[1], 0.45 * rate)
    muscle = effort * coloured(length, rate, (MUSCLE_BAND[0], top), rng)
    noise = WANDER * wander + MUSCLE * muscle / np.sqrt(np.mean(muscle**2))
    if mains:
        # The grid's frequency drifts by a tenth of a hertz, and the coupling as the patient moves.
        drift = 0.1 * coloured(length, rate, (0.02, 0.2), rng)
        phase = 2 * np.pi * np.cumsum(mains + drift) / rate
        hum = np.sin(phase)
        if 2 * mains < rate / 2:
            hum += 0.25 * np.sin(2 * phase + rng.uniform(0, 2 * np.pi))
        hum *= 1 + 0.4 * coloured(length, rate, (0.02, 0.3), rng)
        noise += HUM * hum / np.sqrt(np.mean(hum**2))
    return noise.astype(np.float32)


def snr(truth: Array, estimate: Array) -> float:
    """Signal-to-noise ratio in dB."""
    error = (estimate - truth).astype(np.float64)
    return float(10 * np.log10(np.sum(truth.astype(np.float64) ** 2) / np.sum(error**2)))


def best_band_pass(clean: Array, noisy: Array, rate: float) -> tuple[Array, float, float]:
    """The filter that restores the training part best, and its edges in Hz."""
    edges = [(low, high) for low in LOW_EDGES for high in HIGH_EDGES]
    bank = np.array([band_pass(low, high, rate) for low, high in edges], dtype=np.float32)
    # All candidates are one convolution: each filter is an output channel.
    restored = conv1d(noisy[np.newaxis], bank[:, np.newaxis], padding="same")
    best = int(np.argmax([snr(clean, one) for one in restored]))
    return bank[best], *edges[best]


# --- the network ----------------------------------------------------------------------------


class Conv:
    """One convolution with its parameters; it remembers its input for the way back."""

    def __init__(
        self,
        rng: Generator,
        in_channels: int,
        out_channels: int,
        taps: int,
        dilation: int = 1,
        gain: float = 1.0,
    ) -> None:
        spread = gain * np.sqrt(2 / (in_channels * taps))  # He et al.: ReLU halves the power
        shape = (out_channels, in_channels, taps)
        self.weight = (spread * rng.standard_normal(shape)).astype(np.float32)
        self.bias = np.zeros(out_channels, np.float32)
        self.dilation = dilation

    def forward(self, x: Array) -> Array:
        self.input = x
        return conv1d(x, self.weight, self.bias, padding="same", dilation=self.dilation)

    def backward(self, grad_output: Array, needs_input: bool = True) -> Any:
        """Keep the gradients of the parameters; return the input's, or None if not needed."""
        grads: Any = conv1d_backward(
            grad_output,
            self.input,
            self.weight,
            padding="same",
            dilation=self.dilation,
            needs=(needs_input, True, True),
        )
        self.grad_weight, self.grad_bias = grads.weight, grads.bias
        return grads.input


class Denoiser:
    """Residual blocks whose reach doubles; what they find is subtracted from the input.

    It is easier to learn the noise than the signal: the last convolution starts at zero, so
    that the untrained network changes nothing, and every step from there is an improvement.
    """

    def __init__(self, rng: Generator) -> None:
        self.first = Conv(rng, 1, CHANNELS, 9)
        self.blocks = [
            (
                Conv(rng, CHANNELS, CHANNELS, TAPS, dilation, gain=0.5),
                Conv(rng, CHANNELS, CHANNELS, 1, gain=0.5),
            )
            for dilation in DILATIONS
        ]
        self.last = Conv(rng, CHANNELS, 1, 1, gain=0.0)
        self.layers = [self.first, *(conv for block in self.blocks for conv in block), self.last]

    def forward(self, noisy: Array) -> Array:
        """(batch, 1, samples) in, the same out, of any length."""
        h = self.first.forward(noisy)
        for dilated, mix in self.blocks:
            h = h + mix.forward(relu(dilated.forward(h)))
        return noisy - self.last.forward(relu(h))

    def backward(self, grad_output: Array) -> None:
        """Leave in each layer the gradients of its parameters."""
        grad = relu_backward(self.last.backward(-grad_output), self.last.input)
        for dilated, mix in reversed(self.blocks):
            grad += dilated.backward(relu_backward(mix.backward(grad), mix.input))
        self.first.backward(grad, needs_input=False)


def relu(x: Array) -> Array:
    return np.maximum(x, 0, out=x)


def relu_backward(grad: Array, output: Array) -> Array:
    grad *= output > 0
    return grad


class Adam:
    """Kingma and Ba's optimizer: steps scaled by the recent size of each gradient."""

    def __init__(self, layers: list[Conv]) -> None:
        self.layers = layers
        self.count = 0
        parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
        self.means = [np.zeros_like(p) for p in parameters]
        self.squares = [np.zeros_like(p) for p in parameters]

    def step(self, learning_rate: float, decay: float = 0.9, decay_squares: float = 0.99) -> None:
        # 0.99 rather than the usual 0.999, which would remember half of so short a training.
        self.count += 1
        size = learning_rate / (1 - decay**self.count)
        scale = 1 / (1 - decay_squares**self.count)
        pairs = [
            pair
            for layer in self.layers
            for pair in ((layer.weight, layer.grad_weight), (layer.bias, layer.grad_bias))
        ]
        for (value, grad), mean, square in zip(pairs, self.means, self.squares, strict=True):
            mean += (1 - decay) * (grad - mean)
            square += (1 - decay_squares) * (grad * grad - square)
            value -= size * mean / (np.sqrt(scale * square) + 1e-8)


def train(
    network: Denoiser, clean: Array, rate: float, mains: float, epochs: int, rng: Generator
) -> None:
    adam = Adam(network.layers)
    total = epochs * STEPS
    warm_up = min(WARM_UP, total // 4 + 1)
    with tqdm(total=total, unit="step") as bar:
        for _ in range(epochs):
            noisy = clean + make_noise(clean.size, rate, mains, rng)
            losses = []
            for _ in range(STEPS):
                starts = rng.integers(clean.size - WINDOW + 1, size=BATCH)
                taken = starts[:, np.newaxis, np.newaxis] + np.arange(WINDOW)
                error = network.forward(noisy[taken]) - clean[taken]
                # Huber's loss: squares, but straight beyond 1, or the loose electrodes of the
                # recording would outweigh its heartbeats.
                slope = np.clip(error, -1, 1)
                losses.append(np.mean(slope * (error - slope / 2)))
                network.backward(slope / error.size)
                cosine = 0.5 + 0.5 * np.cos(np.pi * adam.count / total)
                adam.step(LEARNING_RATE * cosine * min(1.0, (adam.count + 1) / warm_up))
                bar.update()
            bar.set_postfix(loss=f"{np.mean(losses):.4f}")


# --- the picture ----------------------------------------------------------------------------


def find_extrasystole(truth: Array, rate: float) -> int:
    """The sample about which the beat lies that is least like the others.

    Only the truth is looked at, not how well it was restored.  Of the beats the 90th
    percentile is taken: the very strangest is often no beat at all.
    """
    steepness = np.gradient(truth) ** 2
    around = round(0.12 * rate) | 1
    energy = conv1d(steepness, np.ones(around, truth.dtype), padding="same")
    reach = round(0.25 * rate)
    padded = np.pad(energy, reach)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    margin = min(round(5 * rate), truth.size // 3)
    beats = np.flatnonzero((energy == highest) & (energy > 0.1 * np.quantile(energy, 0.98)))
    beats = beats[(beats >= margin) & (beats < truth.size - margin)]
    if beats.size == 0:
        return truth.size // 2
    shapes = truth[beats[:, np.newaxis] + np.arange(-reach, reach + 1)]
    strangeness = np.mean((shapes - np.median(shapes, axis=0)) ** 2, axis=1)
    return int(beats[np.argsort(strangeness)[int(0.9 * (beats.size - 1))]])


def draw(
    path: Path, curves: dict[str, Array], ratios: dict[str, float], recording: Recording
) -> None:
    """Ten seconds of the unseen part, and two of them closer, about an extrasystole."""
    truth, rate = curves["true"], recording.rate
    start = (recording.signal.size - truth.size) / rate
    centre = find_extrasystole(truth, rate)
    styles: dict[str, dict[str, Any]] = {
        "noisy": {"color": "0.7", "linewidth": 0.7},
        "FIR band-pass": {"color": "#e08a1e", "linewidth": 1.3},
        "network": {"color": "#2b83c6", "linewidth": 2.4},
        "true": {"color": "black", "linewidth": 0.9},
    }
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    overview, close_up = figure.subplots(2, 1, height_ratios=(1, 1.4))

    def show(axes: Axes, seconds: float, names: tuple[str, ...]) -> None:
        first = max(centre - round(seconds / 2 * rate), 0)
        shown = slice(first, first + round(seconds * rate) + 1)
        time = start + np.arange(truth.size)[shown] / rate
        for name in names:
            axes.plot(time, curves[name][shown], label=name, **styles[name])
        axes.set_xlim(time[0], time[-1])
        axes.set_ylabel(f"ECG ({recording.unit})")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.93")
        axes.set_axisbelow(True)

    show(overview, 10.0, ("noisy", "network", "true"))
    show(close_up, 2.0, ("noisy", "FIR band-pass", "network", "true"))
    overview.axvspan(*close_up.get_xlim(), color="#faf1da", zorder=0, linewidth=0)
    peak = truth[max(centre - round(0.25 * rate), 0) : centre + round(0.25 * rate)].max()
    close_up.annotate(
        "extrasystole" if recording.unit == "mV" else "the beat least like the others",
        (start + centre / rate, peak),
        xytext=(0, 14),
        textcoords="offset points",
        ha="center",
    )
    close_up.set_xlabel("time in the recording (s)")
    unseen = f"{truth.size / rate:.0f} s"
    overview.set_title(f"A stretch of the {unseen} that the network never saw", loc="left")
    close_up.set_title("The shaded part of it", loc="left")
    handles, names = close_up.get_legend_handles_labels()
    texts = [f"{name}: {ratios[name]:.1f} dB" if name in ratios else name for name in names]
    figure.legend(handles, texts, loc="outside upper center", ncols=len(texts), frameon=False)
    figure.savefig(path, dpi=100)


# --- the command ----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, Recording]:
    parser = Parser(
        prog="ecg_denoiser.py",
        description="Train a network to restore a noisy electrocardiogram.",
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help=".npy or .csv file, one lead")
    parser.add_argument("--fs", type=float, metavar="HZ", help="sampling rate of --data")
    parser.add_argument(
        "--mains", type=float, metavar="HZ", default=60.0, help="frequency of the hum; 0: no hum"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"{STEPS} steps each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="PNG", default=Path("ecg_denoiser.png"))
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, not {options.epochs}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative, but is {options.seed}")
    if options.out.suffix.lower() != ".png":
        parser.error(f"--out must be a .png file, not {options.out}")
    if not options.out.absolute().parent.is_dir():
        parser.error(f"--out {options.out}: no such folder")
    if options.data is None and options.fs is not None:
        parser.error("--fs belongs to --data; the bundled recording has its own")
    if options.data is not None and options.fs is None:
        parser.error(f"--data {options.data} needs --fs, its sampling rate in Hz")
    rate = BUNDLED_RATE if options.fs is None else options.fs
    if not RATES[0] <= rate <= RATES[1]:
        parser.error(f"--fs must be from {RATES[0]:g} to {RATES[1]:g} Hz, not {rate:g}")
    if not 0 <= options.mains < rate / 2:
        parser.error(f"--mains must be from 0 to half of the {rate:g} Hz, not {options.mains:g}")
    try:
        if options.data is None:
            recording = load_bundled()
        else:
            recording = Recording(load_signal(options.data, rate), rate, "units of the file")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return options, recording


def main(arguments: list[str] | None = None) -> None:
    options, recording = parse(arguments)
    rate, mains = recording.rate, options.mains
    # Training, the noise of the unseen part and the initial weights each have their own stream.
    training, unseen, initial = np.random.default_rng(options.seed).spawn(3)
    clean = without_baseline(recording.signal, rate)
    split = round(TRAINING_SHARE * clean.size)
    level = typical_level(clean[:split], rate)
    clean = (clean / level).astype(np.float32)
    learn, truth = clean[:split], clean[split:]
    noisy = truth + make_noise(truth.size, rate, mains, unseen)

    trial = learn + make_noise(learn.size, rate, mains, training)
    kernel, low, high = best_band_pass(learn, trial, rate)
    filtered = conv1d(noisy, kernel, padding="same")

    network = Denoiser(initial)
    train(network, learn, rate, mains, options.epochs, training)
    # Trained on windows, applied in one go: a convolution does not mind the length.
    restored = network.forward(noisy[np.newaxis, np.newaxis])[0, 0]

    curves = {"noisy": noisy, "FIR band-pass": filtered, "network": restored}
    ratios = {name: snr(truth, curve) for name, curve in curves.items()}
    remarks = {"FIR band-pass": f" ({low:g}-{high:g} Hz, {kernel.size} taps)"}
    print(f"unseen part: {truth.size / rate:.0f} s")
    for name, ratio in ratios.items():
        print(f"SNR {name:<13} {ratio:4.1f} dB{remarks.get(name, '')}")
    curves["true"] = truth
    try:
        draw(options.out, {n: level * c for n, c in curves.items()}, ratios, recording)
    except OSError as error:
        print(f"ecg_denoiser.py: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"picture: {options.out}")


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/ecg_denoiser.png"

# %%
# .. image:: /pictures/ecg_denoiser.png
