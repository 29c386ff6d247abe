"""The scripts in benchmarks/ that draw their layers and data; nothing here looks at a time."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.exists(), reason="benchmarks/ is not beside the tests"
)


@pytest.fixture(scope="module")
def scripts():
    """survey, accuracy and what they import, by name."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        names = "survey", "accuracy", "bounds", "methods", "compare", "peers", "report", "workloads"
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(BENCHMARKS))


def run(script, *words):
    command = [sys.executable, str(BENCHMARKS / script), *words]
    return subprocess.run(command, check=False, capture_output=True, encoding="utf-8", timeout=300)


# --- the layers of a survey ---------------------------------------------------------------------


def test_layers_are_within_the_bounds(scripts):
    survey = scripts.survey
    drawn = list(islice(survey.layers(list(survey.KINDS), 1), 350))
    assert {row.name for row in drawn} == set(survey.KINDS)
    for row in drawn:
        assert survey.PRODUCTS[0] <= row.products <= survey.PRODUCTS[1]
        assert sum(map(math.prod, row.shapes)) * 4 <= survey.BYTES
        assert row.output_length >= 1
        assert row.C % row.groups == row.K % row.groups == 0
        assert row.dilation == 1 or row.stride == 1
        assert (row.L < 65) if row.name == "short" else (row.N < 33)
    one, few, own = (
        [row for row in drawn if row.name == kind] for kind in ("single", "few-in", "depthwise")
    )
    assert {(row.C, row.K) for row in one} == {(1, 1)}
    assert {row.C for row in few} == set(range(1, 8))
    assert all(row.groups == row.C == row.K > 1 for row in own)
    assert any(row.stride > 8 for row in drawn)
    assert any(row.dilation > 8 for row in drawn)
    assert any(row.padding > row.dilation * (row.kernel_size - 1) // 2 + 1 for row in drawn)


def test_a_layer_depends_on_its_kind_number_and_seed_alone(scripts):
    layers = scripts.survey.layers
    every = [
        row for row in islice(layers(list(scripts.survey.KINDS), 3), 70) if row.name == "short"
    ]
    assert list(islice(layers(["short"], 3), 10)) == every
    assert list(islice(layers(["short"], 4), 10)) != every


def test_the_text_of_a_layer_is_read_again(scripts):
    survey = scripts.survey
    for row in islice(survey.layers(list(survey.KINDS), 0, dtype="float64", layout="NLC"), 20):
        again = survey.parse(survey.text(row), dtype="float64", layout="NLC")
        assert again == replace(row, name="row")


# --- what is made of them -----------------------------------------------------------------------

ROW = "2,3,17,4,3,2,1,1,1"


@pytest.fixture
def options():
    return SimpleNamespace(
        ops=["forward", "dx", "dw", "prepared"], threads=1, rounds=1, clock="wall"
    )


@pytest.fixture
def others(scripts, monkeypatch):
    """Ourselves, a peer that computes everything, and one that packs its weights."""
    monkeypatch.setattr("measure.SAMPLE", 1e-6)
    peers = scripts.peers

    class Packed(peers.Reference):
        name = "packed"
        prepares = True

        def prepare(self, case):
            return super().prepare(case) if case.op == "forward" else None

    return [peers.Cconv1d(1), peers.Reference(1), Packed(1)]


def test_a_layer_has_an_entry_for_every_map(scripts, options, others):
    row = scripts.survey.parse(ROW)
    found = {each["op"]: each for each in scripts.survey.entries(row, others, options)}
    assert set(found) == set(options.ops)
    for op, each in found.items():
        assert list(each["ratios"]) == ["packed" if op == "prepared" else "reference"]
        assert each["disagreeing"] == []
        assert (each["row"], each["positions"]) == (ROW, 18)
        assert each["products"] == 2 * 9 * 3 * 4 * 3
        assert each["us"] > 0
    options.ops = ["prepared", "dw"]
    assert [e["op"] for e in scripts.survey.entries(row, others, options)] == ["prepared", "dw"]


@pytest.mark.parametrize("place", [1, 2])
def test_a_wrong_result_is_told_and_not_timed(scripts, options, others, place):
    right = others[place].prepare

    def wrong(case):
        call = right(case)
        return call and (lambda: call() + case.dtype.type(1e-2))

    others[place].prepare = wrong
    name = others[place].name
    row = scripts.survey.parse(ROW)
    found = list(scripts.survey.entries(row, others, options))
    of_it = [each for each in found if (each["op"] == "prepared") == others[place].prepares]
    assert len(of_it) == (3 if place == 1 else 1)
    for each in of_it:
        assert each["disagreeing"] == [name]
        assert not each["ratios"]
    assert all(each["ratios"] for each in found if each not in of_it)
    assert f"WRONG: {name}" in scripts.survey.line(row, found)


def entry(op, kind="dense", **ratios):
    return {
        "kind": kind, "row": ROW, "op": op, "positions": 18, "products": 648, "us": 2.0,
        "ratios": ratios, "disagreeing": [],
    }  # fmt: skip


@pytest.fixture
def surveyed():
    return {
        "command": "python benchmarks/survey.py", "date": "2026-11-26", "machine": "M",
        "drawn": "seed 0", "dtype": "float32", "layout": "NCL", "threads": 1, "rounds": 1,
        "clock": "wall", "peers": ["torch", "a", "b"], "versions": {"torch": "2"}, "layers": 4,
        "config": {"instruction_set": "avx2", "compiler": "C"},
        "entries": [
            entry("forward", torch=4.0), entry("forward", torch=0.96), entry("forward", torch=0.25),
            entry("forward", "short", torch=1.0),
            entry("prepared", a=2.0, b=0.5), entry("prepared", "short", a=1.0),
            {**entry("dw"), "disagreeing": ["torch"]},
        ],
    }  # fmt: skip


def test_the_tables_of_a_survey(scripts, surveyed):
    """Shares, quantiles and means by map and peer, then means and shares by class."""
    surveyed["entries"][2]["positions"] = 1001
    by_map, by_kind, by_positions = scripts.report.survey_tables(surveyed).split("\n\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in by_map.splitlines()[2:]]
    assert cells == [
        ["forward", "4", "75.0 %", "0.25", "0.36", "0.78", "0.98", "0.99"],
        ["prepared", "2", "50.0 %", "0.50", "0.53", "0.62", "0.75", "0.71"],
        ["prepared against a", "2", "100.0 %", "1.00", "1.05", "1.25", "1.50", "1.41"],
        ["prepared against b", "1", "0.0 %", "0.50", "0.50", "0.50", "0.50", "0.50"],
    ]
    assert by_kind.splitlines()[2:] == [
        "| dense | 0.99, 66.7 % | 0.50, 0.0 % |",
        "| short | 1.00, 100.0 % | 1.00, 100.0 % |",
    ]
    assert by_positions.splitlines()[2:] == [
        "| 100 or fewer | 1.57, 100.0 % | 0.71, 50.0 % |",
        "| more | 0.25, 0.0 % |  |",
    ]


def test_the_worst_entries_are_as_the_script_takes_them(scripts, surveyed, monkeypatch):
    head, *lines = scripts.report.worst(surveyed, 1).splitlines()
    assert "2 of 7" in head
    assert len(lines) == 1
    words = head.partition("survey.py ")[2].removesuffix(" and").split()
    words += lines[0].partition("#")[0].split()
    monkeypatch.setattr(sys, "argv", ["survey.py", *words])
    options = scripts.survey.arguments()
    assert (options.row, options.ops, options.threads) == ([ROW], ["forward"], 1)
    assert "0.25 of torch: 2.0 us against 0.5;" in lines[0]


def test_a_survey_on_the_page(scripts, surveyed, tmp_path):
    pytest.importorskip("matplotlib")
    text = scripts.report.page([surveyed], "pictures")
    assert "level with torch or ahead in 75.0 % of them" in text
    assert "level with the fastest of a and b or ahead in 50.0 % of them" in text
    assert "pictures/survey-float32-1.png" in text
    scripts.report.draw_survey(surveyed, tmp_path)
    assert (tmp_path / "survey-float32-1.png").stat().st_size > 10_000


@pytest.mark.parametrize("row", ["1,2,3", "1,2,3,4,5,6,7,8,x", "1,1,4,1,9,1,1,1,0"])
def test_a_layer_that_cannot_be_is_refused(row):
    done = run("survey.py", "--row", row)
    assert done.returncode == 2
    assert "argument --row: " in done.stderr


def test_the_survey_runs(tmp_path):
    path = tmp_path / "survey.json"
    layers, what = ("--rows", "2", "--kinds", "single", "short"), ("--ops", "dx", "--rounds", "1")
    done = run("survey.py", *layers, *what, "--peers", "reference", "--json", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text("utf-8"))
    assert [(each["kind"], each["op"]) for each in found["entries"]] == [
        ("single", "dx"),
        ("short", "dx"),
    ]
    assert str(tmp_path) not in path.read_text("utf-8")
    assert all(each["row"] in done.stdout for each in found["entries"])


# --- accuracy -----------------------------------------------------------------------------------


def test_errors_are_the_distance_from_the_sum_in_float64(scripts):
    """Those of a peer that is off by as much are as much."""
    peers, parse = scripts.peers, scripts.survey.parse

    class Off(peers.Reference):
        name = "torch"

        def prepare(self, case):
            call = super().prepare(case)
            return lambda: call() + np.float32(0.5)

    ours, off = peers.Cconv1d(1), Off(1)
    for op in scripts.workloads.OPS:
        found = scripts.accuracy.errors(parse(ROW), op, "normal", 2, [ours, off])
        assert found["max"]["torch"] == pytest.approx(0.5, abs=1e-4)
        assert found["mean"]["torch"] == pytest.approx(0.5, abs=1e-4)
        assert 0 < found["mean"]["cconv1d"] <= found["max"]["cconv1d"] < 1e-4
        largest, mean = scripts.report.error_ratios(found, "cconv1d")
        assert largest == pytest.approx(2 * found["max"]["cconv1d"], rel=1e-3)
        assert mean == pytest.approx(2 * found["mean"]["cconv1d"], rel=1e-3)


def test_the_data_are_what_they_are_called(scripts):
    row = scripts.survey.parse("4,8,500,8,3,1,1,1,1")
    drawn = {name: scripts.accuracy.drawn(row, name, 0) for name in scripts.accuracy.DATA}
    for arrays in drawn.values():
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        assert [array.shape for array in arrays] == list(row.shapes)
        assert np.array_equal(arrays[1], drawn["normal"][1])
    for place in (0, 2):
        normal = drawn["normal"][place].astype(np.float64)
        assert np.array_equal(drawn["relu"][place], np.where(normal > 0, normal, 0))
        assert np.allclose(drawn["mean 100"][place] - 100, normal, atol=1e-5)
        assert np.allclose(np.log(drawn["exp(3 normal)"][place]) / 3, normal, atol=1e-6)


def test_the_table_of_errors(scripts):
    def errors(row, op, largest, mean):
        pair = [{"direct": 1.0, "fft": 3.0, "torch": 1 / of} for of in (largest, mean)]
        return {"row": row, "op": op, "data": "normal", "max": pair[0], "mean": pair[1]}

    run = {
        "machine": "M", "config": {"instruction_set": "avx2"}, "date": "2026-11-26", "draws": 1,
        "versions": {"torch": "2"}, "command": "python benchmarks/accuracy.py",
        "methods": ["direct", "fft"],
        "errors": [errors("a", "dx", 2, 1), errors("b", "dx", 0.5, 0.5), errors("c", "dx", 1, 4)],
    }  # fmt: skip
    medians, layers = scripts.report.accuracy_tables(run).split("\n\n")
    assert medians.splitlines()[2:] == [
        "| dx, direct, largest error | 1.00, 2.00 |",
        "| dx, fft, largest error | 3.00, 6.00 |",
        "| dx, direct, mean error | 1.00, 4.00 |",
        "| dx, fft, mean error | 3.00, 12.00 |",
    ]
    assert layers.splitlines()[2:4] == [
        "| a dx, direct | 2.00, 1.00 |",
        "| a dx, fft | 6.00, 3.00 |",
    ]
    text = scripts.report.page([run], None)
    assert (
        "the largest is 1.00 of PyTorch's and the mean 1.00 (medians over 3 layers; 2.00 and"
        in text
    )
    assert 'Rounding errors of dx, method "fft", float32, normal data: the largest is 3.00' in text


def test_accuracy_runs(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "accuracy.json"
    done = run("accuracy.py", "--only", "tiny*", "--draws", "1", "--json", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text("utf-8"))["errors"]
    assert len(found) == 3 * 4
    for each in found:
        assert set(each["max"]) == {"direct", "fft", "torch"}
        assert all(each["mean"].values())
        assert each["mean"]["direct"] != each["mean"]["fft"]


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fft", "fast"])
def test_bounds_hold(method, scripts, tmp_path):
    path = tmp_path / "bounds.json"
    words = "--method", method, "--layers", "60", "--placements", "30", "--seed", "1"
    done = run("bounds.py", *words, "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "beyond their bound: 0 of 180" in done.stdout
    assert "wrong: 0 of 90" in done.stdout
    found = json.loads(path.read_text("utf-8"))
    assert found["command"] == "python benchmarks/bounds.py " + " ".join(words)
    assert found["spoiled"] > 30
    parts = {(each["op"], each["data"]): each["part"] for each in found["closest"]}
    assert len(parts) == 3 * 4
    nearest = max(parts.values())
    assert 0 < min(parts.values()) < nearest < 1
    text = scripts.report.page([found], None)
    assert "of 180 results 0 are beyond the bound of their errors; the nearest" in text
    assert f"comes to {nearest:.2f} of it." in text
    assert f"| {parts['dw', 'wide']:.2f} |\n" in text


def test_what_breaks_a_bound_is_told(scripts, monkeypatch, capsys):
    """A result that is off by more, one that is not finite, and NaN where none should be."""
    bounds, right = scripts.bounds, scripts.bounds.maps

    def break_one(number):
        def maps(layer, *arrays, method):
            results = [result.copy() for result in right(layer, *arrays, method=method)]
            if method == "fft":
                results[0].reshape(-1)[0] = number
            return results

        return maps

    for number in (1e9, np.nan):
        monkeypatch.setattr(bounds, "maps", break_one(number))
        beyond, closest = bounds.hold_bounds("fft", 5, 0)
        assert beyond == 5
        assert max(each["part"] for each in closest if each["op"] == "forward") > 1
        assert bounds.hold_placements("fft", 5, 0)[0] > 0
    assert "forward is inf of its bound" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["stride", "dilation", "mode"])
def test_the_bound_is_that_of_the_block(scripts, kind):
    """A large sample raises the bounds of its own block alone, which the results need."""
    layer = {
        "stride": scripts.bounds.Layer(1, 1, 2, 3, 3000, 41, 3, 1, 20, 20, "zeros"),
        "dilation": scripts.bounds.Layer(1, 1, 2, 3, 3000, 41, 1, 7, 20, 400, "zeros"),
        "mode": scripts.bounds.Layer(1, 1, 2, 3, 3000, 41, 1, 1, 20, 20, "reflect"),
    }[kind]
    draw = np.random.default_rng(0)
    x, w, dy = scripts.bounds.numbers(draw, layer, "normal", "float32")
    quiet = scripts.bounds.bounds("fft", layer, x, w, dy)
    x[0, 1, 1500], dy[0, 2, 300] = 1e6, 1e6
    loud = scripts.bounds.bounds("fft", layer, x, w, dy)
    y, dx, _ = scripts.bounds.maps(layer, x, w, dy, "fft")
    exact = scripts.bounds.maps(layer, *(a.astype("d") for a in (x, w, dy)), "direct")
    for result, right, low, high in zip((y, dx), exact, quiet, loud, strict=False):
        raised = high > 2 * low
        off = abs(result - right)
        assert raised.any()
        assert not raised.all()
        assert (off <= high).all()
        assert (off[raised] > low[raised]).any()


# --- methods ------------------------------------------------------------------------------------


def rate(op, channels, taps, auto, **gflops):
    return {
        "taps": taps, "channels": channels, "op": op, "auto": auto,
        "gflops": gflops, "disagreeing": [],
    }  # fmt: skip


def test_the_table_of_methods(scripts, tmp_path):
    run = {
        "command": "python benchmarks/methods.py", "date": "2026-11-26", "machine": "M",
        "dtype": "float32", "length": 100, "threads": 1, "rounds": 1, "clock": "wall",
        "versions": {"torch": "2"}, "config": {"instruction_set": "avx2", "compiler": "C"},
        "rates": [
            rate("forward", 8, 3, "direct", direct=10.0, fft=5.0, torch=20.0),
            rate("forward", 8, 9, "fft", direct=10.0, fft=30.0, torch=20.0, openvino=12.0),
        ],
    }  # fmt: skip
    assert scripts.report.methods_tables(run).splitlines()[2] == (
        "| 8 channels | 0.50, 0.50 | 3.00*, 1.50 |"
    )
    text = scripts.report.page([run], "pictures")
    assert "forward: fft or fast is faster than direct in 1 of 2, by 3.0 at most" in text
    assert "ahead of all peers in 1." in text
    assert "| 8 channels, 3 taps, forward | 10 | 5 | 20 |  | torch |" in text
    assert "(pictures/methods-1.png)" in text
    assert "fft is faster than direct with 8 channels from 9 taps on." in text
    pytest.importorskip("matplotlib")
    scripts.report.draw_methods(run, tmp_path)
    assert (tmp_path / "methods-1.png").stat().st_size > 5000


@pytest.mark.parametrize("module", ["torch", "scipy"])
@pytest.mark.parametrize(("taps", "length"), [(3, 500), (31, 129), (40, 900)])
def test_transforms_as_users_write_them(scripts, module, taps, length):
    """Give what they are timed for."""
    pytest.importorskip(module)
    peer = scripts.methods.COMPARED[f"{module}.fft"](1)
    row = scripts.methods.layer(taps, 5, length)
    (case,) = scripts.workloads.cases([row], ["forward"])
    direct = scripts.peers.Cconv1d(1).prepare(case)()
    result = peer.array(peer.prepare(case)())
    assert result.shape == direct.shape
    assert abs(result - direct).max() < 1e-4
    (case,) = scripts.workloads.cases([row], ["dx"])
    assert peer.prepare(case) is None


def test_methods_runs(tmp_path):
    path = tmp_path / "methods.json"
    words = "--taps", "3", "31", "--channels", "2", "--length", "300", "--rounds", "1"
    done = run("methods.py", *words, "--json", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text("utf-8"))["rates"]
    assert len(found) == 2 * 3
    for each in found:
        assert min(each["gflops"].values()) > 0
        assert {"direct", "fft"} <= set(each["gflops"])
        assert each["auto"] == "direct"


def test_a_method_gains_from_the_least_taps_beyond_which_it_always_does(scripts):
    taps = {3: 2.0, 5: 0.9, 7: 1.1, 9: 1.0, 15: 1.5, 31: 3.0}
    found = {
        (8, k): rate("dx", 8, k, "fft", direct=1.0, fft=gain) for k, gain in taps.items()
    }  # fmt: skip
    found[16, 3] = rate("dx", 16, 3, "direct", direct=1.0, fft=0.5)
    assert scripts.report.gains_from(found, 8) == 15
    assert scripts.report.gains_from(found, 16) is None


# --- streams --------------------------------------------------------------------------------------


def test_streaming_runs(scripts, tmp_path):
    """Small pushes, whose only others are calls of conv1d; and what the page says of them."""
    path = tmp_path / "streaming.json"
    words = "--only", "1 to 8 channels, 4", "--rounds", "1"
    done = run("streaming.py", *words, "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text("utf-8"))
    (row,) = found["pushes"]
    assert row["us"].keys() == {"push", "push, out=", "conv1d"}
    ratio = row["us"]["conv1d"] / row["us"]["push, out="]
    assert row["ratios"] == {"conv1d": pytest.approx(ratio)}
    text = scripts.report.page([found], None)
    assert f'conv1d takes {ratio:.2f} times as long as "push, out=" ({ratio:.2f} to' in text
    assert f"| 1 to 8 channels, 4 | {row['us']['push']:.2f} |" in text


# --- what other pages quote -----------------------------------------------------------------------


def test_a_page_quotes_what_was_measured(scripts):
    """Below its marks, and where that was; the rest of it stays; what nobody said is refused."""
    said = [["On A.", "Fast: 1.", "Slow: 2."], ["On B.", "Fast: " + "3 " * 60 + "4."]]
    before = "head\n\n<!-- measured: Fast -->\n- Fast: 9.\n  and more\n\n- a list\n"
    after = scripts.report.quoting(before, said)
    assert after.startswith(
        "head\n\n<!-- measured: Fast -->\n- On A.\n- Fast: 1.\n- On B.\n- Fast: 3"
    )
    assert after.endswith("4.\n\n- a list\n")
    assert max(map(len, after.splitlines())) <= 100
    assert "Slow" not in after
    assert scripts.report.quoting(after, said) == after
    with pytest.raises(SystemExit, match="Slower"):
        scripts.report.quoting("<!-- measured: Slower -->\n", said)


# --- what pages tell to run -----------------------------------------------------------------------


def told_to_run():
    """{script: the options that pages give it}."""
    root = BENCHMARKS.parent
    told = {}
    for page in (*root.glob("*.md"), *root.glob("docs/*.md"), *BENCHMARKS.glob("*.md")):
        text = page.read_text("utf-8")
        for script, words in re.findall(r"python benchmarks/(\w+\.py)([^\n`#]*)", text):
            told.setdefault(script, set()).update(re.findall(r"(?<!\S)--[a-z-]+", words))
    return told


@pytest.mark.parametrize("script", sorted(told_to_run()))
def test_scripts_have_the_options_that_pages_give_them(script):
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    has = set(re.findall(r"(?<![\w-])--[a-z-]+", done.stdout))
    assert told_to_run()[script] <= has


# --- tables and peers ---------------------------------------------------------------------------


def test_tables_of_layers_are_read(scripts):
    for table in scripts.workloads.TABLES:
        rows = scripts.workloads.read_rows(["*"], table, dtype="float64", layout="NLC")
        assert len({row.name for row in rows}) == len(rows) > 15
        assert all(row.output_length > 0 and row.layout == "NLC" for row in rows)


@pytest.fixture
def pytorch(scripts):
    """The peer, and afterwards PyTorch as it was, for the tests that follow."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    peer = scripts.peers.PyTorch(1)
    yield peer
    peer.mode.__exit__(None, None, None)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_pytorch_computes_the_same(scripts, pytorch, dtype, layout):
    """In all of its ways, of which each is taken somewhere."""
    ours = scripts.peers.Cconv1d(1)
    for text in (ROW, "4,1,60,1,5,2,1,1,3", "3,6,40,6,3,1,2,6,2", "2,4,30,8,5,3,1,2,2"):
        row = scripts.survey.parse(text, dtype=dtype, layout=layout)
        for case in scripts.workloads.cases([row], scripts.workloads.OPS):
            result = pytorch.array(pytorch.prepare(case)())
            assert scripts.compare.agrees(case, result, ours.prepare(case)()), case.op


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize(
    "text",
    [
        *("2,8,50,16,3,1,1,1,1", "2,8,50,16,4,3,1,1,0", "3,4,90,5,7,1,6,1,20"),
        *("2,8,50,8,5,1,1,8,2", "2,8,50,24,4,3,1,8,2", "2,8,50,8,3,1,4,8,4"),
        *("2,8,50,12,3,2,1,2,1", "1,1,50,9,10,5,1,1,0", "2,1,50,1,3,1,1,1,0"),
    ],
)
def test_xnnpack_computes_the_same(scripts, text, layout):
    pytest.importorskip("tensorflow")
    row = scripts.survey.parse(text, layout=layout)
    ours, peer = scripts.peers.Cconv1d(1), scripts.peers.Xnnpack(1)
    for case in scripts.workloads.cases([row], scripts.workloads.OPS):
        call = peer.prepare(case)
        if case.op != "forward":
            assert call is None
            continue
        result = ours.prepare(case)()
        call()
        assert scripts.compare.agrees(case, peer.array(call()), result)
        assert not scripts.compare.agrees(case, peer.array(call()) + 0.1, result)
