"""The C interface, as other packages have it: extensions built where only the wheel is installed.

tests/consumers/ has one in C, which is compiled as C++, too, and one in Cython, that hand all of it
through to check.py, which compares with Python's functions.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from packages import REPO, install, run

import cconv1d

CONSUMERS = ("consumer_c", "consumer_cpp", "consumer_cython")
SOURCES = Path(__file__).with_name("consumers")
CHECKS = re.findall(r"^def (\w+)\((?:consumer|name)\):", (SOURCES / "check.py").read_text(), re.M)
PAGE = REPO / "docs" / "c-interface.md"
HEADER = Path(cconv1d.get_include()) / "cconv1d.h"

needs_sources = pytest.mark.skipif(
    not (REPO / "pyproject.toml").exists(), reason="the source tree is not beside the tests"
)


@pytest.fixture(scope="session")
def environment(builder: Path, wheel: Path) -> Path:
    """The Python of an environment with the wheel and what extensions are built with."""
    # The NumPy that these tests run with: of the newest pip may have no wheel for this Python.
    install(builder, wheel, f"numpy=={np.__version__}")
    return builder


def build_in_place(python: Path, folder: Path) -> None:
    run(python, "setup.py", "--quiet", "build_ext", "--inplace", cwd=folder, PYTHONPATH="")


@pytest.fixture(scope="session")
def consumers(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("consumers") / "built"
    shutil.copytree(SOURCES, folder)
    build_in_place(environment, folder)
    return folder


def python_in(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user of the wheel."""
    clean = {"PYTHONPATH": "", "CCONV1D_BACKEND": "", "CCONV1D_ISA": ""}
    return run(environment, "-W", "error", *arguments, cwd=folder, **clean)


@needs_sources
def test_the_wheel_is_what_consumers_see(environment: Path, consumers: Path) -> None:
    program = "import cconv1d; print(cconv1d.__file__, cconv1d.show_config('dicts')['backend'])"
    printed = python_in(environment, consumers, "-c", program).stdout
    assert Path(printed.split()[0]).is_relative_to(environment.parents[1])
    assert printed.split()[1] == "native"


@needs_sources
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_consumer(consumer: str, check: str, environment: Path, consumers: Path) -> None:
    python_in(environment, consumers, "check.py", consumer, check)


@needs_sources
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_without_the_extension(consumer: str, environment: Path, consumers: Path) -> None:
    """The header is there all the same, and a module that needs the kernels says so."""
    python_in(
        environment,
        consumers,
        "-c",
        f"""
import os, sys
sys.modules["cconv1d._core"] = None
import cconv1d
assert os.path.exists(os.path.join(cconv1d.get_include(), "cconv1d.h"))
try:
    import {consumer}
except ImportError as error:
    assert "C interface of cconv1d needs its compiled extension" in str(error), error
    assert "cconv1d._core" in str(error), error
else:
    raise AssertionError("imported")
""",
    )


@needs_sources
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_beside_the_reference(consumer: str, environment: Path, consumers: Path) -> None:
    """Python's functions may be the reference's; C has the kernels, with one thread."""
    program = f"""
import os
os.environ["CCONV1D_BACKEND"] = "reference"
import cconv1d, {consumer}
assert cconv1d.show_config("dicts")["backend"] == "reference"
assert {consumer}.get_num_threads() == 1
"""
    python_in(environment, consumers, "-c", program)


@needs_sources
def test_the_examples_of_the_documentation(environment: Path, tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    examples = re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in examples] == ["smooth.pyx", "smooth_c.c", "setup.py"]
    for name, text in examples:
        (tmp_path / name).write_text(text, encoding="utf-8")
    build_in_place(environment, tmp_path)
    program = """
import numpy as np, cconv1d, smooth, smooth_c
x, w = np.random.default_rng(0).standard_normal(100), np.array([0.25, 0.5, 0.125, 0.125])
expected = cconv1d.conv1d(x, w, padding="same", padding_mode="reflect")
for module in (smooth, smooth_c):
    y = np.zeros(100)
    module.smooth(x, w, y)
    assert np.array_equal(y, expected)
    try:
        module.smooth(x, w, np.zeros(99))
    except ValueError as error:
        assert "shapes" in str(error)
    else:
        raise AssertionError("a result of the wrong length")
"""
    python_in(environment, tmp_path, "-c", program)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", "-x c -std=c99 -Wall -Wextra -Wpedantic -Wc++-compat -Wconversion -Wcast-align"),
        ("g++", "-x c++ -std=c++11 -Wall -Wextra -Wpedantic -Wconversion"),
        ("clang", "-x c -std=c99 -Weverything -Wno-cast-qual -Wno-padded -Wno-unused-macros"),
        ("clang++", "-x c++ -std=c++11 -Wall -Wextra -Wpedantic -Wconversion"),
    ],
)
def test_the_header_by_itself(compiler: str, flags: str, tmp_path: Path) -> None:
    """Without Python.h, and without a warning."""
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    program = tmp_path / "program"
    program.write_text('#include "cconv1d.h"\nextern int unused;\n')
    run(
        compiler,
        *flags.split(),
        "-Werror",
        "-fsyntax-only",
        "-I",
        HEADER.parent,
        program,
        cwd=tmp_path,
    )
