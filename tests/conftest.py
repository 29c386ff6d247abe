"""The backends that the tests run on, and how many random examples they draw.

``HYPOTHESIS_PROFILE=thorough`` draws many more, and other ones in every run; ``quick`` draws few,
for emulators and checkers of memory.
"""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings
from packages import REPO, build, unpack, virtual_environment

from cconv1d import _backend

# The fixtures below hold while all examples of a test run, which is what is wanted.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("ci", max_examples=50, derandomize=True, **COMMON)
settings.register_profile("thorough", max_examples=2500, print_blob=True, **COMMON)
settings.register_profile("quick", max_examples=5, derandomize=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def _native_backends():
    try:
        from cconv1d import _core
    except ImportError:
        return []
    return [f"native-{isa}" for isa in _core.available_isas()]


NATIVE = _native_backends()
BACKENDS = ["reference", *NATIVE]


@contextmanager
def selected(name):
    """Compute with "reference" or "native-<instruction set>", then as before."""
    kind, _, isa = name.partition("-")
    before = "native" if _backend.core else "auto" if _backend.load_error else "reference"
    try:
        _backend.select(kind)
        if not isa:
            yield name
            return
        core = _backend.core
        isa_before = core.isa()
        try:
            core.set_isa(isa)
            assert core.isa() == isa
            yield name
        finally:
            core.set_isa(isa_before)
    finally:
        _backend.select(before)


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The test runs once on each backend; this is its name."""
    with selected(request.param) as name:
        yield name


@pytest.fixture(
    params=NATIVE
    or [pytest.param("", marks=pytest.mark.skip(reason="the extension cannot be loaded"))]
)
def native(request):
    """The test runs once on each instruction set of the compiled extension."""
    with selected(request.param) as name:
        yield name


@pytest.fixture
def each_native():
    """A function that calls its argument on each instruction set: {name: what it returned}."""

    def run(function):
        results = {}
        for name in NATIVE:
            with selected(name):
                results[name] = function()
        return results

    return run


@pytest.fixture(scope="session")
def compiler():
    """The command of a C compiler."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    for command in map(shlex.split, filter(None, names)):
        if shutil.which(command[0]):
            return command
    pytest.skip("there is no C compiler")


@pytest.fixture(scope="session")
def builder(tmp_path_factory):
    """The Python of an environment in which the package and what uses it can be built."""
    return virtual_environment(tmp_path_factory.mktemp("builder"))


@pytest.fixture(scope="session")
def sdist(builder, tmp_path_factory):
    return build("sdist", REPO, tmp_path_factory.mktemp("sdist"), builder)


@pytest.fixture(scope="session")
def built(sdist, tmp_path_factory):
    """The wheel that is built from the sdist, and where; without an extension it is an error."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = unpack(sdist, tmp_path_factory.mktemp("tree"))
    return build("wheel", tree, folder, CCONV1D_REQUIRE_EXTENSION="1"), tree


@pytest.fixture(scope="session")
def wheel(built):
    return built[0]


@pytest.fixture(scope="session")
def torch():
    """PyTorch, with one thread: a team of its own only waits in calls as small as those here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says on import is not ours to judge
        module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "each_native" in getattr(item, "fixturenames", ()):  # it selects in the test itself
            item.add_marker(pytest.mark.thread_unsafe)
    if hasattr(config, "workerinput"):  # of pytest-xdist, which deals out a run of tests to each
        # What needs the builds comes first: one worker makes them, the others take on the rest.
        items.sort(key=lambda item: "builder" not in getattr(item, "fixturenames", ()))


def pytest_report_header():
    return f"cconv1d backends: {', '.join(BACKENDS)}"
