"""``python -m cconv1d``: what was built here, and the gradients of a convolution spelled out."""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import sys
from collections.abc import Sequence
from reprlib import repr as shortened
from typing import NoReturn, cast

import numpy as np

from . import __version__, show_config
from ._bench import bench
from ._derivation import MAX_NUMBERS, BadCall, Derivation, Vector, derive
from ._explain import aligned, as_latex, as_text
from ._geometry import Padding, PaddingWord
from ._plot import draw

#: Within these, no product of three numbers and no finite difference leaves the floats.
SMALLEST, LARGEST = 1e-100, 1e100

#: For streams that cannot carry the signs of the notes.
ASCII = str.maketrans({"·": "*", "∂": "d", "Σ": "sum"})


def _parse_number(text: str) -> float:
    """A decimal number or a fraction of two."""
    try:
        numerator, *denominator = map(float, text.split("/", 1))
        value = numerator / denominator[0] if denominator else numerator
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a number") from None
    except ZeroDivisionError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} divides by zero") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a finite number")
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise argparse.ArgumentTypeError(
            f"{shortened(text)} is out of range: numbers other than 0 must have a magnitude "
            f"from {SMALLEST:g} to {LARGEST:g}"
        )
    return value


def _parse_numbers(text: str) -> Vector:
    if not text.strip():
        raise argparse.ArgumentTypeError("at least one number is needed")
    parts = text.split(",")
    if len(parts) > MAX_NUMBERS:
        raise argparse.ArgumentTypeError(
            f"{len(parts)} numbers are too many to spell out, {MAX_NUMBERS} are the most"
        )
    for position, part in enumerate(parts, 1):
        if not part.strip():
            raise argparse.ArgumentTypeError(f"number {position} of {len(parts)} is missing")
    return np.array([_parse_number(part.strip()) for part in parts])


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not an integer") from None


def _parse_shape(text: str) -> tuple[int, ...]:
    shape = tuple(map(_parse_integer, text.split(",")))
    if not 2 <= len(shape) <= 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a shape of two or three sizes")
    return shape


def _parse_padding(text: str) -> Padding:
    if re.fullmatch("[A-Za-z_]+", text):
        return cast(PaddingWord, text)  # other words are for `resolve` to refuse
    numbers = tuple(map(_parse_integer, text.split(",")))
    return numbers if len(numbers) > 1 else numbers[0]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        program = self.prog.removeprefix("python -m ")
        raise BadCall(f"{program}: {message.removeprefix('argument ')}")


def _add_geometry(command: argparse.ArgumentParser) -> None:
    geometry = command.add_argument_group("geometry")
    geometry.add_argument(
        "--stride",
        type=_parse_integer,
        default=1,
        metavar="S",
        help="samples between neighbouring outputs (default: 1)",
    )
    geometry.add_argument(
        "--padding",
        type=_parse_padding,
        default=0,
        metavar="P",
        help="zeros on each side, or LEFT,RIGHT, or one of valid, same, same_lower, causal, "
        "full (default: 0)",
    )
    geometry.add_argument(
        "--dilation",
        type=_parse_integer,
        default=1,
        metavar="D",
        help="samples between neighbouring taps (default: 1)",
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m cconv1d",
        usage="%(prog)s [-h] [--version] [COMMAND ...]",
        description="Without a command: what was built here, and the example of the lecture "
        "notes worked through, each number compared with a finite difference. "
        "The exit status is 0 only if all agree.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cconv1d {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", prog=parser.prog
    )
    explain = commands.add_parser(
        "explain",
        help="the same derivation for numbers of your own",
        description="The output of a convolution, its partial derivatives, and the gradients "
        "of the weight and of the input: every term in symbols and in numbers.",
        epilog="LIST is numbers with commas between: 1,-2.5,1e-3,1/3. The exit status is 0 if "
        "the numbers of the library agree with their sums and with finite differences, 1 if "
        "one does not, 2 if the call is wrong.",
        allow_abbrev=False,
    )
    numbers = explain.add_argument_group("numbers")
    numbers.add_argument(
        "--input", type=_parse_numbers, metavar="LIST", required=True, help="the samples of x"
    )
    numbers.add_argument(
        "--weight", type=_parse_numbers, metavar="LIST", required=True, help="the taps of w"
    )
    numbers.add_argument(
        "--grad-output",
        type=_parse_numbers,
        metavar="LIST",
        help="dL/dy, one number for each output (default: ones)",
    )
    _add_geometry(explain)
    explain.add_argument(
        "--latex", action="store_true", help="print LaTeX, to be used with amsmath"
    )
    explain.add_argument(
        "--plot",
        metavar="FILE",
        help="draw what goes into what, from x to y and from dL/dy to dL/dx, by matplotlib",
    )
    timed = commands.add_parser(
        "bench",
        help="the times of one layer, beside PyTorch's and JAX's where these are installed",
        description="The least of rounds in which they take turns, in microseconds, for the "
        "output and for the gradients of input and weight; the ratio is theirs over ours.",
        allow_abbrev=False,
    )
    timed.add_argument(
        "--input", type=_parse_shape, metavar="N,C,L", required=True, help="the shape of the input"
    )
    timed.add_argument(
        "--weight", type=_parse_shape, metavar="K,C,k", required=True, help="that of the weight"
    )
    timed.add_argument("--groups", type=_parse_integer, default=1, metavar="G", help="(default: 1)")
    timed.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    timed.add_argument("--method", choices=("direct", "fft", "fast", "auto"), default="direct")
    timed.add_argument("--threads", type=_parse_integer, metavar="T", help="(default: as set)")
    _add_geometry(timed)
    commands.add_parser(
        "config", help="what was built here", description="What was built here.", allow_abbrev=False
    )
    return parser


def _with_negatives_attached(arguments: Sequence[str]) -> list[str]:
    """``--weight -1,2`` as ``--weight=-1,2``: argparse takes -1,2 for an option otherwise."""
    attached: list[str] = []
    for argument in arguments:
        if (
            re.match(r"-[^-h]", argument)
            and attached
            and re.fullmatch(r"--(input|weight|grad-output|stride|padding|dilation)", attached[-1])
        ):
            attached[-1] += f"={argument}"
        else:
            attached.append(argument)
    return attached


def _build() -> str:
    """What `show_config` knows, in two columns."""
    facts = {
        name.replace("_", " ").replace("numpy", "NumPy"): (
            ", ".join(value) if isinstance(value, list) else value
        )
        for name, value in show_config("dicts").items()
        if value and name != "version"
    }
    rows = zip(aligned([*facts]), facts.values(), strict=True)
    return "\n".join([f"cconv1d {__version__}", *(f"  {name}  {value}" for name, value in rows)])


def _plot(d: Derivation, path: str) -> None:
    try:
        draw(d, path)
    except ModuleNotFoundError as error:
        raise BadCall(f"cconv1d explain: --plot needs {error.name}, which is missing") from None
    except (OSError, ValueError) as error:
        raise BadCall(f"cconv1d explain: --plot: {error}") from None


def _bench(options: argparse.Namespace) -> str:
    geometry = {
        name: getattr(options, name) for name in ("stride", "padding", "dilation", "groups")
    }
    try:
        return bench(
            options.input,
            options.weight,
            options.dtype,
            options.threads,
            options.method,
            geometry,
        )
    except (TypeError, ValueError) as error:
        raise BadCall(f"cconv1d bench: {error}") from None


def _carry_out(arguments: Sequence[str]) -> tuple[Sequence[str], str]:
    """What is wrong, if anything, and what to print."""
    options = _parser().parse_args(_with_negatives_attached(arguments))
    if options.command == "config":
        return (), _build()
    if options.command == "bench":
        return (), f"{_build()}\n\n{_bench(options)}"
    if options.command is None:
        d = derive(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, -1.0]))
        return d.complaints, f"{_build()}\n\nThe example of the lecture notes\n\n{as_text(d)}"
    d = derive(
        options.input,
        options.weight,
        options.grad_output,
        options.stride,
        options.padding,
        options.dilation,
    )
    if options.plot:
        _plot(d, options.plot)
    return d.complaints, as_latex(d) if options.latex else as_text(d)


def _print(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
    print(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command line and return the exit status."""
    status = 0
    try:
        try:
            complaints, text = _carry_out(sys.argv[1:] if argv is None else argv)
            for complaint in complaints:
                print(f"cconv1d: {complaint}", file=sys.stderr)
                status = 1
            _print(text)
        except BadCall as error:
            print(error, file=sys.stderr)
            status = 2
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # Whoever read has seen enough, which is no failure (Windows calls it EINVAL), but
        # Python flushes once more at its exit, and that must not meet the closed pipe.
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    raise SystemExit(main())
