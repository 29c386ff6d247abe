"""``python -m cconv1d``: the example of the lecture notes, other geometries, and bad calls."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from cconv1d import Gradients, __version__, _derivation
from cconv1d.__main__ import main

NOTES = ["explain", "--input", "1,2,3,4", "--weight", "1,-1"]


@pytest.fixture
def run(capsys):
    """Call main and return (exit status, what was printed, what was complained about)."""

    def call(*arguments):
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def squeezed(text):
    """Lines without what wraps them and aligns their columns."""
    unwrapped = re.sub(r"\n +(?=[+=])", " ", text)
    return [" ".join(line.split()) for line in unwrapped.splitlines()]


# --- the example of the lecture notes ---------------------------------------------------------

# By hand, with x = (1, 2, 3, 4), w = (1, -1) and dy = (1, 1, 1).
NOTES_LINES = [
    "y_i = Σ_j w_j·x_(i+j-1)",
    "y_1 = w_1·x_1 + w_2·x_2 = 1·1 + (-1)·2 = -1 ok",
    "y_2 = w_1·x_2 + w_2·x_3 = 1·2 + (-1)·3 = -1 ok",
    "y_3 = w_1·x_3 + w_2·x_4 = 1·3 + (-1)·4 = -1 ok",
    "dL/dw_1 = dy_1·x_1 + dy_2·x_2 + dy_3·x_3 = 1·1 + 1·2 + 1·3 = 6 finite difference 6.000000 ok",
    "dL/dw_2 = dy_1·x_2 + dy_2·x_3 + dy_3·x_4 = 1·2 + 1·3 + 1·4 = 9 finite difference 9.000000 ok",
    "dL/dx_1 = w_1·dy_1 = 1·1 = 1 finite difference 1.000000 ok",
    "dL/dx_2 = w_2·dy_1 + w_1·dy_2 = -1·1 + 1·1 = 0 finite difference 0.000000 ok",
    "dL/dx_3 = w_2·dy_2 + w_1·dy_3 = -1·1 + 1·1 = 0 finite difference 0.000000 ok",
    "dL/dx_4 = w_2·dy_3 = -1·1 = -1 finite difference -1.000000 ok",
    "y = (-1, -1, -1)",
    "dL/dw = (6, 9)",
    "dL/dx = (1, 0, 0, -1)",
]

NOTES_TABLES = """
       x_1  x_2  x_3  x_4
  y_1  w_1  w_2    0    0
  y_2    0  w_1  w_2    0
  y_3    0    0  w_1  w_2

Its partial derivatives ∂y_i/∂w_j

       w_1  w_2
  y_1  x_1  x_2
  y_2  x_2  x_3
  y_3  x_3  x_4
"""


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("arguments", [[], NOTES, [*NOTES, "--grad-output", "1,1,1"]])
def test_the_notes_example(run, arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    lines = squeezed(out)
    assert [line for line in lines if line in NOTES_LINES] == NOTES_LINES
    assert sum(line.endswith(" ok") for line in lines) == 9
    assert NOTES_TABLES in out


def test_each_number_stands_where_it_belongs(run):
    # Every product is another number: x = (1, 2, 3, 4), w = (2, 3), dy = (1, 10, 100).
    status, out, _ = run("explain", "--input=1,2,3,4", "--weight=2,3", "--grad-output=1,10,100")
    assert status == 0
    for line in (
        "y_2 = w_1·x_2 + w_2·x_3 = 2·2 + 3·3 = 13 ok",
        "dL/dw_2 = dy_1·x_2 + dy_2·x_3 + dy_3·x_4 = 1·2 + 10·3 + 100·4 = 432 "
        "finite difference 432.000000 ok",
        "dL/dx_1 = w_1·dy_1 = 2·1 = 2 finite difference 2.000000 ok",
        "dL/dx_2 = w_2·dy_1 + w_1·dy_2 = 3·1 + 2·10 = 23 finite difference 23.000000 ok",
        "dL/dx_4 = w_2·dy_3 = 3·100 = 300 finite difference 300.000000 ok",
        "y = (8, 13, 18)",
        "dL/dw = (321, 432)",
        "dL/dx = (2, 23, 230, 300)",
    ):
        assert line in squeezed(out)


def test_columns_are_aligned(run):
    _, out, _ = run(*NOTES)
    lines = [line for line in out.splitlines() if line.startswith("  dL/dx_") and "ok" in line]
    assert len(lines) == 4
    for mark in ("= 1·1", "    finite", ".", "  ok"):
        assert len({line.replace("-1·1", "1·1 ").find(mark) for line in lines}) == 1


def test_the_demonstration_says_what_was_built(run, backend):
    _, out, _ = run()
    lines = squeezed(out)
    assert lines[0] == f"cconv1d {__version__}"
    assert f"backend {backend.partition('-')[0]}" in lines
    assert f"NumPy {np.__version__}" in lines
    if backend != "reference":
        assert f"instruction set {backend.partition('-')[2]}" in lines


# --- any geometry -------------------------------------------------------------------------------

# Input length, taps, stride, padding, dilation; and the zeros left and right, counted by hand.
GEOMETRIES = [
    (5, 3, 1, "0", 1, (0, 0)),
    (5, 3, 2, "valid", 1, (0, 0)),
    (7, 2, 3, "1", 2, (1, 1)),
    (4, 3, 1, "1,2", 1, (1, 2)),
    (4, 3, 2, "0,3", 2, (0, 3)),
    (5, 4, 1, "same", 1, (1, 2)),
    (5, 4, 1, "same_lower", 1, (2, 1)),
    (6, 3, 2, "same", 1, (0, 1)),
    (6, 3, 2, "same_lower", 3, (3, 2)),
    (4, 3, 1, "causal", 2, (4, 0)),
    (3, 2, 1, "full", 2, (2, 2)),
    (2, 5, 1, "full", 1, (4, 4)),
    (5, 1, 3, "0", 7, (0, 0)),  # x_2, x_3 and x_5 are read by no output
    (1, 2, 1, "3", 1, (3, 3)),  # outputs that read zeros only
    (2, 3, 4, "4", 1, (4, 4)),  # and taps that do
    (9, 2, 1, "0", 8, (0, 0)),
]


def brute_force(x, w, stride, dilation, pads):
    padded = [0.0] * pads[0] + list(x) + [0.0] * pads[1]
    y = []
    while (start := len(y) * stride) + (len(w) - 1) * dilation < len(padded):
        y.append(sum(tap * padded[start + j * dilation] for j, tap in enumerate(w)))
    return np.array(y)


def table(out, letter):
    """The printed table of ∂y_i/∂(letter)_j, pieces joined: {y_i: [entries]}."""
    rows = {}
    section = out.split(f"∂y_i/∂{letter}_j\n\n")[1].split("\n\nThe ")[0].split("\n\nIts ")[0]
    for line in section.splitlines():
        label, *cells = line.split() or [""]
        if label.startswith("y_"):
            rows.setdefault(label, []).extend(cells)
    return rows


def sums(out):
    """{what: (sum in symbols, sum in numbers, value)} of every result line."""
    pattern = r"(y_\d+|dL/d[xw]_\d+) = (.*?) = (.*?) = (\S+) .*ok"
    matches = (re.fullmatch(pattern, line) for line in squeezed(out))
    return {m[1]: m.groups()[1:] for m in matches if m}


def value_of(symbols, known):
    terms = [term.split("·") for term in symbols.split(" + ")]
    return sum(known[first] * known[second] for first, second in terms) if symbols != "0" else 0.0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("length", "taps", "stride", "padding", "dilation", "pads"), GEOMETRIES)
def test_any_geometry(run, length, taps, stride, padding, dilation, pads):
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, length) / 4, rng.integers(1, 10, taps) / 2
    y = brute_force(x, w, stride, dilation, pads)
    dy = rng.integers(1, 10, len(y)) * 1.0
    # The convolution is linear, so unit vectors show its derivatives.
    by_sample = [brute_force(unit, w, stride, dilation, pads) for unit in np.eye(length)]
    by_tap = [brute_force(x, unit, stride, dilation, pads) for unit in np.eye(taps)]
    dx, dw = by_sample @ dy, by_tap @ dy
    status, out, err = run(
        "explain",
        *("--input", ",".join(map(str, x)), "--weight", ",".join(map(str, w))),
        *("--grad-output", ",".join(map(str, dy)), "--padding", padding),
        *("--stride", str(stride), "--dilation", str(dilation)),
    )
    assert (status, err) == (0, "")

    known = {"0": 0.0}
    for name, values in (("x", x), ("w", w), ("dy", dy)):
        known |= {f"{name}_{i}": value for i, value in enumerate(values, 1)}
    for letter, derivatives in (("x", by_sample), ("w", by_tap)):
        rows = table(out, letter)
        assert list(rows) == [f"y_{i + 1}" for i in range(len(y))]
        printed = [[known[entry] for entry in row] for row in rows.values()]
        np.testing.assert_array_equal(printed, np.transpose(derivatives))

    results = sums(out)
    expected = {f"y_{i}": value for i, value in enumerate(y, 1)}
    expected |= {f"dL/dw_{j}": value for j, value in enumerate(dw, 1)}
    expected |= {f"dL/dx_{i}": value for i, value in enumerate(dx, 1)}
    assert list(results) == list(expected)
    for name, (symbols, numbers, value) in results.items():
        assert value_of(symbols, known) == pytest.approx(expected[name], abs=1e-12)
        spelled = re.sub(r"[()]", "", numbers)
        factors = {text: float(text) for text in re.split(r"·| \+ ", spelled)}
        assert value_of(spelled, factors) == pytest.approx(expected[name], abs=1e-12)
        assert float(value) == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize(
    ("options", "subscript"),
    [
        ("", "i+j-1"),
        ("--padding 1,0", "i+j-2"),
        ("--stride 2 --padding 0,1", "2i+j-2"),
        ("--stride 2 --dilation 3 --padding same", "2i+3j-5"),
    ],
)
def test_the_general_subscript(run, options, subscript):
    _, out, _ = run(*NOTES, *options.split())
    assert f"y_i = Σ_j w_j·x_({subscript})" in out
    assert f"= Σ_i dy_i·x_({subscript})\n" in out


def test_gradients_as_convolutions_of_arrays(run):
    # What the headings say in words, done in NumPy.
    _, out, _ = run(
        *("explain", "--input", "1,2,4,8,16", "--weight", "1,3,9", "--grad-output", "1,5,25"),
        *("--stride", "2", "--dilation", "2", "--padding", "same"),
    )
    assert "padded x correlated with dy spread by 2, every 2 positions\n" in out
    assert "dy spread by 2 convolved 'full' with w spread by 2, from position 3 on\n" in out
    spread_dy, spread_w = [1, 0, 5, 0, 25], [1, 0, 3, 0, 9]
    dw = np.correlate([0, 0, 1, 2, 4, 8, 16, 0, 0], spread_dy)[::2]
    dx = np.convolve(spread_dy, spread_w)[2 : 2 + 5]
    assert f"dL/dw = ({', '.join(map(str, dw))})" in out
    assert f"dL/dx = ({', '.join(map(str, dx))})" in out


def test_rounding_is_no_disagreement(run):
    rng = np.random.default_rng(1)
    for _ in range(40):
        length, taps, stride, dilation = rng.integers(1, [30, 9, 4, 4])
        arguments = ["explain", "--stride", str(stride), "--dilation", str(dilation)]
        for name, size in (("input", length), ("weight", taps)):
            values = rng.standard_normal(size) * 10.0 ** rng.integers(-90, 90)
            values *= 10.0 ** rng.integers(-9, 9, size)
            arguments += [f"--{name}", ",".join(map(repr, values.tolist()))]
        status, out, err = run(*arguments, "--padding", "same")
        assert (status, err) == (0, ""), arguments
        assert "DISAGREE" not in out


def test_nothing_is_wider_than_a_hundred_columns(run):
    many = ",".join(str((-1) ** i * i / 7) for i in range(1, 65))
    few = ",".join(map(str, range(1, 20)))
    for x, w in ((many, many), (many, "1,-1"), (few, few)):
        status, out, _ = run("explain", "--input", x, "--weight", w, "--padding", "same")
        assert status == 0
        assert max(map(len, out.splitlines())) <= 100
        length = x.count(",") + 1
        assert {len(row) for row in table(out, "x").values()} == {length}
        assert len(sums(out)) == 2 * length + w.count(",") + 1


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("-1,2", "(-1, 2)"),
        ("-.5,+2", "(-0.5, 2)"),
        ("1e3,-2.5E-3", "(1000, -0.0025)"),
        ("1/4,-3/2", "(0.25, -1.5)"),
        (" 1, 2 ", "(1, 2)"),
        ("-0.0,0", "(0, 0)"),
        ("1e-7,123456789", "(1e-07, 123456789)"),
        ("28.00001,1", "(28.00001, 1)"),
    ],
)
@pytest.mark.parametrize("attached", [True, False])
def test_numbers_are_read_and_printed(run, text, printed, attached):
    weight = [f"--weight={text}"] if attached else ["--weight", text]
    status, out, err = run("explain", *weight, "--input", "1,2,3")
    assert (status, err) == (0, "")
    assert f"  w  = {printed}\n" in out


def test_small_differences_show_their_digits(run):
    _, out, _ = run("explain", "--input", "1e-9,2e-9", "--weight", "3e-9")
    assert "dL/dw_1 = dy_1·x_1 + dy_2·x_2 = 1·1e-09 + 1·2e-09 = 3e-09" in out
    assert "finite difference 3.000000e-09  ok" in out


# --- refusals -------------------------------------------------------------------------------------

BAD = [
    ("explain --input 1,x --weight 1", "--input: 'x' is not a number"),
    ("explain --input 1;2 --weight 1", "--input: '1;2' is not a number"),
    ("explain --input 1,2 --weight 1,1j", "--weight: '1j' is not a number"),
    ("explain --input 1,2 --weight nan", "--weight: 'nan' is not a finite number"),
    ("explain --input -inf,2 --weight 1", "--input: '-inf' is not a finite number"),
    ("explain --input 1e999 --weight 1", "--input: '1e999' is not a finite number"),
    ("explain --input 1e300 --weight 1", "--input: '1e300' is out of range"),
    ("explain --input 1e-300 --weight 1", "--input: '1e-300' is out of range"),
    ("explain --input 1/0 --weight 1", "--input: '1/0' divides by zero"),
    ("explain --input 1/2/3 --weight 1", "--input: '1/2/3' is not a number"),
    ("explain --input= --weight 1", "--input: at least one number is needed"),
    ("explain --input 1,2 --weight=", "--weight: at least one number is needed"),
    ("explain --input 1,,2 --weight 1", "--input: number 2 of 3 is missing"),
    ("explain --input 1,2, --weight 1", "--input: number 3 of 3 is missing"),
    ("explain --input - --weight 1", "--input: '-' is not a number"),
    (f"explain --input {'1,' * 64}1 --weight 1", "--input: 65 numbers are too many"),
    (f"explain --input 1 --weight {'1,' * 64}1", "--weight: 65 numbers are too many"),
    ("explain --input 1,2 --weight 1 --padding 32", "66 outputs are too many to spell out"),
    (
        "explain --input 1,2 --weight 1 --padding 99999999 --stride 99999999",
        "positions of the padded input, too many",
    ),
    (
        "explain --input 1,2 --weight 1,2,3",
        "the padded input has 2 positions but the dilated kernel spans 3",
    ),
    (
        "explain --input 1,2,3,4 --weight 1,-1 --grad-output 1,1",
        "--grad-output: 3 numbers expected, one for each output, not 2",
    ),
    ("explain --input 1,2 --weight 1 --grad-output 1,y", "--grad-output: 'y' is not a number"),
    ("explain --input 1,2 --weight 1 --stride 0", "stride must be at least 1, not 0"),
    ("explain --input 1,2 --weight 1 --stride 1.5", "--stride: '1.5' is not an integer"),
    ("explain --input 1,2 --weight 1 --dilation -1", "dilation must be at least 1, not -1"),
    ("explain --input 1,2 --weight 1 --dilation x", "--dilation: 'x' is not an integer"),
    ("explain --input 1,2 --weight 1 --padding -1", "padding must be at least 0, not -1"),
    ("explain --input 1,2 --weight 1 --padding -1,2", "padding (left) must be at least 0"),
    ("explain --input 1,2 --weight 1 --padding some", "not 'some'"),
    ("explain --input 1,2 --weight 1 --padding 1,2,3", "not 3 values: (1, 2, 3)"),
    ("explain --input 1,2 --weight 1 --padding 1,same", "--padding: 'same' is not an integer"),
    ("explain --input 1,2 --weight 1 --padding=", "--padding: '' is not an integer"),
    (f"explain --input 1 --weight 1 --stride {'9' * 30}", "stride must be at most 2**48"),
    (f"explain --input 1 --weight 1 --stride {'9' * 9999}", "is not an integer"),
    ("explain --input 1,2", "required: --weight"),
    ("explain --weight 1,2", "required: --input"),
    ("explain --input 1 --weight", "--weight: expected one argument"),
    ("explain --input 1 --weight --latex", "--weight: expected one argument"),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[line[:60] for line, _ in BAD])
def test_a_bad_call_gets_one_line_and_status_2(run, line, words):
    status, out, err = run(*line.split(" "))
    assert (status, out) == (2, "")
    assert re.fullmatch(r"cconv1d explain: [^\n]+\n", err)
    assert words in err


@pytest.mark.parametrize("line", ["explode", "--nothing", "1,2", "explain --input 1 --weight 1 -x"])
def test_an_unknown_command_or_option(run, line):
    status, out, err = run(*line.split())
    assert (status, out) == (2, "")
    assert re.fullmatch(r"cconv1d: [^\n]*(invalid choice|unrecognized)[^\n]+\n", err)


# --- a library that is wrong ----------------------------------------------------------------------


def breaking(name, change, monkeypatch):
    right = getattr(_derivation, name)
    monkeypatch.setattr(_derivation, name, lambda *args: change(right(*args)))


def with_wrong(field, value):
    def change(grads: Gradients) -> Gradients:
        array = getattr(grads, field).copy()
        array[1] = value
        return grads._replace(**{field: array})

    return change


@pytest.mark.parametrize("arguments", [[], NOTES, [*NOTES, "--latex"]])
@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("input", 5.0, "dL/dx_2"),
        ("input", 1e-9, "dL/dx_2"),
        ("input", np.nan, "dL/dx_2"),
        ("weight", 9.00001, "dL/dw_2"),
        ("weight", np.inf, "dL/dw_2"),
    ],
)
def test_a_wrong_gradient_is_noticed(run, monkeypatch, arguments, field, value, name):
    breaking("conv1d_backward", with_wrong(field, value), monkeypatch)
    status, out, err = run(*arguments)
    assert status == 1
    assert err.startswith(f"cconv1d: {name} disagrees: the library has {value:.8g}, the sum of ")
    assert err.count("\n") == 1
    assert "1 of the 9 numbers DISAGREE" in out
    if "--latex" not in arguments:
        lines = squeezed(out)
        wrong = [line for line in lines if line.endswith(" DISAGREES")]
        assert [line.split(" =")[0] for line in wrong] == [name]
        assert sum(line.endswith(" ok") for line in lines) == 8


def test_a_wrong_output_is_noticed(run, monkeypatch):
    # Twice the output doubles what the finite differences of it see, too, except 0.
    breaking("conv1d", lambda y: 2 * y, monkeypatch)
    status, _, err = run()
    assert status == 1
    names = [line.split()[1] for line in err.splitlines()]
    assert names == ["y_1", "y_2", "y_3", "dL/dw_1", "dL/dw_2", "dL/dx_1", "dL/dx_4"]
    assert "dL/dx_1 disagrees: the library has 1, the sum of its terms is 1, the finite " in err
    assert err.splitlines()[-1].endswith("the finite difference -2")


# --- LaTeX ----------------------------------------------------------------------------------------


def test_latex_of_the_notes_example(run):
    status, out, err = run(*NOTES, "--latex")
    assert (status, err) == (0, "")
    assert out.startswith("% needs \\usepackage{amsmath}\n")
    for line in (
        r"y_{1} &= w_{1} \cdot x_{1} + w_{2} \cdot x_{2} = 1 \cdot 1 + (-1) \cdot 2 = -1 \\",
        r"\frac{\partial L}{\partial x_{1}} &= w_{1} \cdot \mathrm{d}y_{1} = 1 \cdot 1 = 1 \\",
        r"\frac{\partial L}{\partial x_{4}} &= w_{2} \cdot \mathrm{d}y_{3} = -1 \cdot 1 = -1",
        r"0 & w_{1} & w_{2} & 0 \\",
        r"x_{3} & x_{4}",
    ):
        assert line in out.splitlines()


@pytest.mark.parametrize(
    "options",
    [
        "--input 1,2,3,4 --weight 1,-1",
        "--input 1,2e-7,3,4,5,6,7,8,9,10,11 --weight 1,-1,3 --padding same_lower --stride 2",
        "--input 1 --weight 1,2,3,4,5,6,7,8,9,10,11,12,13 --padding full --dilation 2",
    ],
)
def test_latex_is_well_formed(run, options):
    status, out, err = run("explain", *options.split(), "--latex")
    assert (status, err) == (0, "")
    assert out.isascii()
    assert re.search(r"(?<!\\)_(?!\{)|\de[-+]\d", out) is None
    open_groups = []
    for mark in re.findall(r"\\begin\{.*?\}|\\end\{.*?\}|[{}]", out):
        if mark.startswith(("\\begin", "{")):
            open_groups.append(mark)
        else:
            assert open_groups.pop() == mark.replace("\\end", "\\begin").replace(
                "}", "{", mark == "}"
            )
    assert not open_groups
    # amsmath numbers no more than ten columns of a matrix unless told.
    columns = max(line.count("&") for line in out.splitlines()) + 1
    assert ("MaxMatrixCols" in out) == (columns > 10)


# --- as a program ---------------------------------------------------------------------------------


def test_help_and_version(capsys):
    for arguments in (["--help"], ["explain", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        assert leaving.value.code == 0
        out = capsys.readouterr().out
        assert (f"cconv1d {__version__}\n" == out) == (arguments == ["--version"])
        assert out.isascii()


def program(*arguments, **environment):
    return {
        "args": [sys.executable, "-P", "-m", "cconv1d", *arguments],
        "env": {**os.environ, **environment},
    }


def test_python_m_in_ascii():
    done = subprocess.run(
        **program(PYTHONIOENCODING="ascii"), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = squeezed(done.stdout.decode("ascii"))
    assert "dL/dx_2 = w_2*dy_1 + w_1*dy_2 = -1*1 + 1*1 = 0 finite difference 0.000000 ok" in lines
    assert "Its partial derivatives dy_i/dx_j" in lines
    assert "y_i = sum_j w_j*x_(i+j-1)" in lines


def test_python_m_refuses():
    done = subprocess.run(
        **program("explain", "--input", "1,x", "--weight", "1"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.split() == b"cconv1d explain: --input: 'x' is not a number".split()


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8", "utf-16"])
def test_any_encoding(monkeypatch, encoding):
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding=encoding))
    assert main([]) == 0
    text = stream.getvalue().decode(encoding)
    assert ("w_1·dy_1" if "utf" in encoding else "w_1*dy_1") in text


def test_a_stream_without_an_encoding(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main([]) == 0
    assert "w_1·dy_1" in stream.getvalue()


def test_no_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main([]) == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("size", [4, 64])
def test_a_closed_pipe_is_no_error(size, unbuffered):
    # The longer one fills more than a pipe and Python's buffer hold.
    numbers = ",".join(map(str, range(size)))
    arguments = ("explain", "--input", numbers, "--weight", numbers, "--padding", "same")
    with subprocess.Popen(
        **program(*arguments, PYTHONUNBUFFERED=unbuffered),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 0, err
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


# --- other commands -----------------------------------------------------------------------------


def test_config(run):
    status, text, _ = run("config")
    assert status == 0
    assert text.startswith(f"cconv1d {__version__}\n")
    assert "backend" in text
    assert "y_1" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, where it is installed
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--padding", "same", "--stride", "2", "--dtype", "float64"],
        ["--padding", "causal", "--dilation", "3", "--groups", "2", "--threads", "1"],
        ["--padding", "2,1", "--method", "fft"],
    ],
)
def test_bench(run, options, monkeypatch):
    monkeypatch.setattr("cconv1d._bench.SECONDS", 0.0)
    channels = 2 if "--groups" in options else 4
    arguments = ["bench", "--input", "2,4,50", "--weight", f"6,{channels},3", *options]
    status, text, complaint = run(*arguments)
    assert status == 0, complaint
    rows = text.splitlines()[-3:]
    assert [row[:16].strip() for row in rows] == ["forward", "input gradient", "weight gradient"]
    assert all(float(row.split()[-1]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "2,4", "--weight", "6,3,3"], "channels"),
        (["--input", "4", "--weight", "6,4,3"], "not a shape"),
        (["--input", "2,4,50", "--weight", "6,4,3", "--stride", "0"], "stride"),
        (["--input", "2,4,50", "--weight", "6,4,3", "--threads", "0"], "must be"),
    ],
)
def test_bench_refuses(run, arguments, message):
    status, text, complaint = run("bench", *arguments)
    assert status == 2
    assert not text
    assert message in complaint


def test_plot(run, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "terms.png"
    arguments = ["explain", "--input", "1,2,3,4,5", "--weight", "1,-1,2", "--stride", "2"]
    status, text, complaint = run(*arguments, "--padding", "1", "--plot", str(file))
    assert (status, complaint) == (0, "")
    assert text == run(*arguments, "--padding", "1")[1]
    assert file.read_bytes().startswith(b"\x89PNG")
    status, text, complaint = run(*arguments, "--plot", str(tmp_path / "terms.nothing"))
    assert (status, text) == (2, "")
    assert "--plot" in complaint


def test_plot_says_what_is_missing(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, complaint = run("explain", "--input", "1,2", "--weight", "1", "--plot", "x.png")
    assert status == 2
    assert "--plot needs matplotlib" in complaint
