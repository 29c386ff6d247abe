"""Which code computes: the choice at import, the fallback and what is said about both."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import textwrap
from modulefinder import ModuleFinder

import numpy as np
import pytest
from packages import REPO

import cconv1d
from cconv1d import _backend, _kernels, _reference, conv1d, conv1d_backward, show_config

try:
    from cconv1d import _core
except ImportError:
    _core = None

needs_extension = pytest.mark.skipif(_core is None, reason="the extension cannot be loaded")

# What makes the extension fail to load, and the reason that is then given.
BROKEN = {
    "it says why": (
        """
        class Broken:
            def find_spec(self, name, path=None, target=None):
                if name == "cconv1d._core":
                    raise ImportError("libmissing.so: cannot open shared object file")

        sys.meta_path.insert(0, Broken())
        """,
        "libmissing.so: cannot open shared object file",
    ),
    "it is not there": ("sys.modules['cconv1d._core'] = None", "cconv1d._core"),
}
REPORT = "print(json.dumps(cconv1d.show_config('dicts')))"


def python(code, *options, prepare="", **environment):
    """Run code in a new interpreter, without this one's choice of a backend."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CCONV1D_")}
    code = "\n".join(["import json, sys, warnings", *map(textwrap.dedent, (prepare, code))])
    return subprocess.run(
        [sys.executable, "-P", *options, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def report(code, **how):
    """The last line that the code prints, from JSON, where nothing may go wrong."""
    done = python(code, "-W", "error", **how)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1])


# --- the choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [None, "", "auto", "native"])
@needs_extension
def test_the_extension_where_it_loads(chosen):
    environment = {} if chosen is None else {"CCONV1D_BACKEND": chosen}
    facts = report(f"import cconv1d; {REPORT}", **environment)
    assert facts["backend"] == "native"
    assert facts["reason"] is None
    assert facts["instruction_sets"] == _core.available_isas()
    assert facts["instruction_set"] == _core.available_isas()[-1]
    assert facts["compiler"]


def test_the_reference_on_request():
    """Without a word, and without a look at the extension."""
    facts = report(
        f"""
        import cconv1d
        cconv1d.conv1d([1.0, 2.0], [1.0])
        assert "cconv1d._core" not in sys.modules
        {REPORT}
        """,
        CCONV1D_BACKEND="reference",
    )
    assert facts["backend"] == "reference"
    assert facts["reason"] is None
    assert facts["instruction_set"] is None
    assert facts["instruction_sets"] == []
    assert facts["compiler"] is None


@pytest.mark.parametrize("word", ["fast", "Native", "1", " "])
def test_an_unknown_backend(word):
    done = python("import cconv1d", CCONV1D_BACKEND=word)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert (
        last == f"ImportError: CCONV1D_BACKEND must be one of auto, native, reference, not {word!r}"
    )


@needs_extension
@pytest.mark.parametrize("isa", _core.available_isas() if _core else ["any"])
def test_an_instruction_set_on_request(isa):
    facts = report(
        f"""
        import cconv1d
        assert cconv1d.conv1d([1.0, 2.0, 3.0], [1.0, 2.0]).tolist() == [5, 8]
        {REPORT}
        """,
        CCONV1D_ISA=isa,
    )
    assert facts["instruction_set"] == isa
    assert facts["instruction_sets"] == _core.available_isas()


X86 = platform.machine().lower() in ("x86_64", "amd64")


@needs_extension
@pytest.mark.parametrize("isa", ["impossible", "AVX2", " ", "neon" if X86 else "avx2"])
def test_an_impossible_instruction_set(isa):
    done = python("import cconv1d", CCONV1D_ISA=isa)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: CCONV1D_ISA: ")
    assert isa in last


@needs_extension
def test_an_instruction_set_that_is_set_to_nothing():
    facts = report(f"import cconv1d; {REPORT}", CCONV1D_ISA="")
    assert facts["instruction_set"] == _core.available_isas()[-1]


def test_instruction_sets_do_not_concern_the_reference():
    facts = report(
        f"import cconv1d; {REPORT}", CCONV1D_BACKEND="reference", CCONV1D_ISA="impossible"
    )
    assert facts["backend"] == "reference"


# --- the fallback -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BROKEN)
def test_the_fallback_warns_once_at_first_use(how):
    """Not at import, not for lengths, not twice; at the caller's line."""
    prepare, reason = BROKEN[how]
    result = report(
        """
        import cconv1d
        cconv1d.conv1d_output_length(5, 3)
        cconv1d.show_config()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            y = cconv1d.conv1d([1.0, 2.0, 3.0], [1.0, 2.0])
            cconv1d.conv1d([1.0, 2.0, 3.0], [1.0, 2.0])
            cconv1d.conv1d_backward(y, [1.0, 2.0, 3.0], [1.0, 2.0])
        print(json.dumps({
            "y": y.tolist(),
            "kinds": [w.category.__name__ for w in caught],
            "text": str(caught[0].message),
            "file": caught[0].filename,
            "facts": cconv1d.show_config("dicts"),
        }))
        """,
        prepare=prepare,
    )
    assert result["y"] == [5, 8]
    assert result["kinds"] == ["RuntimeWarning"]
    assert reason in result["text"]
    assert result["file"] == "<string>"
    assert result["facts"]["backend"] == "reference"
    assert reason in result["facts"]["reason"]
    assert result["facts"]["instruction_set"] is None


@pytest.mark.parametrize(
    "call",
    [
        "conv1d_backward([1.0], [1.0], [1.0])",
        "conv1d_backward_input([1.0], [1.0], 1)",
        "conv1d_backward_weight([1.0], [1.0], 1)",
        "convolve([1.0], [1.0])",
        "correlate([[1.0]], [1.0])",
    ],
)
def test_other_functions_warn_as_well(call):
    done = python(f"from cconv1d import *\n{call}\n{call}", prepare=BROKEN["it is not there"][0])
    assert done.returncode == 0
    assert done.stderr.count("RuntimeWarning") == 1
    assert done.stderr.startswith("<string>:")


def test_a_warning_that_is_an_error_comes_once():
    result = report(
        """
        import cconv1d
        try:
            cconv1d.conv1d([1.0], [1.0])
        except RuntimeWarning as warning:
            print(json.dumps([str(warning), cconv1d.conv1d([2.0], [3.0]).tolist()]))
        """,
        prepare=BROKEN["it says why"][0],
    )
    assert BROKEN["it says why"][1] in result[0]
    assert result[1] == [6]


@pytest.mark.parametrize("how", BROKEN)
def test_no_fallback_where_native_is_insisted_on(how):
    prepare, reason = BROKEN[how]
    done = python("import cconv1d", prepare=prepare, CCONV1D_BACKEND="native")
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: CCONV1D_BACKEND=native, but")
    assert reason in last


@pytest.mark.parametrize("how", BROKEN)
def test_the_reference_does_not_mind_a_broken_extension(how):
    facts = report(
        f"import cconv1d; cconv1d.conv1d([1.0], [1.0]); {REPORT}",
        prepare=BROKEN[how][0],
        CCONV1D_BACKEND="reference",
    )
    assert facts["reason"] is None


def test_the_reason_of_an_extension_that_was_never_built(tmp_path):
    """It names what is missing, and does not speak of circular imports."""
    package = tmp_path / "cconv1d"
    package.mkdir()
    source = os.path.dirname(cconv1d.__file__)
    for name in os.listdir(source):
        if name.endswith(".py"):
            with open(os.path.join(source, name), encoding="utf-8") as file:
                (package / name).write_text(file.read(), encoding="utf-8")
    facts = report(f"import cconv1d; {REPORT}", prepare=f"sys.path.insert(0, {str(tmp_path)!r})")
    assert facts["backend"] == "reference"
    assert "_core" in facts["reason"]
    assert "circular" not in facts["reason"]


# --- show_config --------------------------------------------------------------------------------


def test_facts(backend):
    facts = show_config("dicts")
    kind, _, isa = backend.partition("-")
    assert facts["version"] == cconv1d.__version__
    assert facts["numpy"] == np.__version__
    assert facts["backend"] == kind
    assert facts["reason"] is None
    assert facts["instruction_set"] == (isa or None)
    if kind == "native":
        assert isa in facts["instruction_sets"]
        assert facts["compiler"]
    json.dumps(facts)


def test_printed_facts(backend, capsys):
    assert show_config() is None
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    kind, _, isa = backend.partition("-")
    assert lines["backend"] == kind
    assert lines["version"] == cconv1d.__version__
    assert lines["numpy"] == np.__version__
    if isa:
        assert lines["instruction set"] == isa
        assert isa in lines["instruction sets"].split(", ")
    else:
        assert "instruction set" not in lines
    assert "reason" not in lines


# --- dispatch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_dtypes(native, dtype):
    kernels = _backend.kernels_for(np.dtype(dtype))
    suffix = {4: "f32", 8: "f64"}[np.dtype(dtype).itemsize]
    for name in _kernels.Kernels._fields:
        assert getattr(kernels, name) is getattr(_core, f"{name}_{suffix}")


@pytest.mark.parametrize("dtype", [np.int32, np.longdouble, np.clongdouble])
def test_other_dtypes_are_computed_by_the_reference(native, dtype):
    if np.dtype(dtype) in (np.float64, np.complex128):
        pytest.skip("longdouble is float64 here")
    kernels = _backend.kernels_for(np.dtype(dtype))
    for name in _kernels.Kernels._fields:
        assert getattr(kernels, name) is getattr(_reference, name)
    y = conv1d(np.array([1, 2, 3], dtype), np.array([1, 2], dtype))
    assert y.tolist() == [5, 8]


def test_the_public_functions_use_the_selected_backend(backend, monkeypatch):
    """Each of the four maps once, by what the backend has for the dtype."""
    calls = []

    def spy(name, function):
        def call(*arguments):
            calls.append(name)
            return function(*arguments)

        return call

    kernels = _backend.kernels_for(np.dtype(np.float64))
    expected = _reference if backend == "reference" else _core
    for name in _kernels.Kernels._fields:
        source = getattr(expected, name if expected is _reference else f"{name}_f64")
        assert getattr(kernels, name) is source
    spied = _kernels.Kernels(*(spy(n, f) for n, f in zip(kernels._fields, kernels, strict=True)))
    monkeypatch.setattr("cconv1d._execute.kernels_for", lambda dtype: spied)
    monkeypatch.setattr("cconv1d._plans.USUAL_PRODUCTS", 0)
    x, w = np.ones((1, 2, 30)), np.ones((2, 2, 7))  # a shape that no other test has used
    conv1d_backward(conv1d(x, w), x, w)
    assert sorted(calls) == sorted(_kernels.MAPS)


def test_levels_are_listed_from_low_to_high(native):
    levels = _core.available_isas()
    order = ["baseline", "avx2", "avx512"] if X86 else levels
    assert levels == [level for level in order if level in levels]
    assert len(set(levels)) == len(levels)


def test_set_isa_refuses_what_there_is_not(native):
    before = _core.isa()
    for name in ("impossible", "Baseline", "neon" if X86 else "avx2"):
        with pytest.raises(ValueError, match=name):
            _core.set_isa(name)
    assert _core.isa() == before


# --- import -------------------------------------------------------------------------------------


def test_import_brings_in_numpy_and_nothing_else():
    """Neither SciPy nor a framework nor a part of NumPy that is slow to load."""
    modules = report(
        """
        import numpy, numpy.typing
        before = set(sys.modules)
        import cconv1d
        print(json.dumps(sorted(set(sys.modules) - before)))
        """
    )
    known = {"cconv1d", "cython_runtime", *sys.stdlib_module_names}
    others = [
        name
        for name in modules
        if name.partition(".")[0] not in known and not name.startswith("_cython_")
    ]
    assert others == []
    assert "cconv1d._execute" in modules
    slow = {"asyncio", "ctypes", "email", "inspect", "multiprocessing", "subprocess", "unittest"}
    assert slow.isdisjoint(modules)


@needs_extension
def test_the_extension_is_seen_where_applications_are_frozen(tmp_path):
    """Those follow import statements without running them, and see none of the extension's own."""
    program = tmp_path / "program.py"
    program.write_text("import cconv1d")
    folder = os.path.dirname(os.path.dirname(cconv1d.__file__))
    finder = ModuleFinder(path=[folder], excludes=["numpy"])  # which may be in that folder, too
    finder.run_script(str(program))
    assert "cconv1d._core" in finder.modules
    seen = {*finder.modules, *finder.badmodules}  # the standard library is on no path here
    sources = [*(REPO / "src").rglob("*.pyx"), *(REPO / "src").rglob("*.pxi")]
    texts = [source.read_text("utf-8") for source in sources]
    needed = {name for text in texts for name in re.findall(r"^import (\w+)$", text, re.MULTILINE)}
    assert not sources or "os" in needed
    assert needed <= seen


def test_import_says_nothing():
    done = python("import cconv1d", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
