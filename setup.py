"""Build of the compiled extension; everything else is in pyproject.toml.

Without a working C compiler the package installs all the same and computes with its NumPy
reference. ``CCONV1D_REQUIRE_EXTENSION=1`` and wheel builders make a failed build an error;
``CCONV1D_PURE=1`` leaves the extension out, for platforms that compile nothing.
``CCONV1D_DEBUG=1`` is for those who work on it: half optimized, with the lines that debuggers and
sanitizers name, with a check of every index, and without mercy on warnings in our own C files.
After it, ``build_ext --force`` makes an ordinary extension again.
"""

import gzip
import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.sdist import sdist

MSVC = sys.platform == "win32"


def asked(name):
    return os.environ.get(name) not in (None, "", "0")


DEBUG = asked("CCONV1D_DEBUG")


def is_gcc() -> bool:
    """Whether the compiler says that it is GNU's, which has flags that Clang refuses."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    try:
        said = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    except (OSError, ValueError):
        return False
    return "Free Software Foundation" in said


# One set of flags: which instructions a function may use is decided in src/tile/tiles.c.
# Contraction is off, so that a multiply-add is fused where the source says so and nowhere else.
# src/debug.h makes errors of the warnings of a debug build, but not in what Cython generates, which
# passes with some versions of Cython and of the compiler and need not do so with the next.
FLAGS = ["/O2"] if MSVC else ["-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden"]
if is_gcc():
    # What -O3 copies for some values of arguments, and pads, makes 50 KB of nests, and no call
    # faster: 900 random ones took 1.006 of the time. But without -fpeel-loops, -fsplit-loops or
    # versions for strides, rows that are stored at a stride took 2.5 times as long.
    FLAGS += ["-fno-ipa-cp-clone", "-fno-unswitch-loops"]
    FLAGS += ["-fno-tree-partial-pre", "-fno-gcse-after-reload", "-fno-split-paths"]
    FLAGS += ["-fno-align-jumps", "-fno-align-labels"]
    # Nor is any for the larger ones of the functions that ask to be put into their callers: 20 KB.
    # Those that do not ask are another matter: without what -O3 puts into its callers by itself,
    # rows that are copied number by number take 1.1 to 1.3 times as long.
    FLAGS += ["--param", "max-inline-insns-single=100", "--param", "max-inline-insns-auto=15"]
if DEBUG:
    FLAGS += ["-DCC_DEBUG"]
    FLAGS += ["/Od"] if MSVC else ["-O1", "-g", "-UNDEBUG", "-Wall", "-Wextra"]

# Names of functions that nobody outside can call are a twentieth of the file, and so are the tables
# that a debugger or a C++ exception needs to pass through them. Who asks for -g wants both. Threads
# that Python ends at its exit do without: the C library leaves a stack that it cannot read.
LINK_FLAGS = [] if MSVC else ["-pthread"]
if sys.platform == "linux" and not DEBUG and "-g" not in os.environ.get("CFLAGS", "").split():
    FLAGS += ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
    LINK_FLAGS += ["-s", "-Wl,-z,noseparate-code"]  # code and constants share pages: 8 KB

extension = Extension(
    "cconv1d._core",
    sources=[
        "src/_core.pyx",
        "src/fft/roots.c",
        "src/pool/cpus.c",
        "src/pool/pool.c",
        "src/silu.c",
        "src/tile/tiles.c",
    ],
    depends=[*sorted(glob("src/**/*.h", recursive=True)), "cconv1d/include/cconv1d.h"],
    include_dirs=["src", "src/pool", "src/tile", "cconv1d/include", numpy.get_include()],
    # Built with any NumPy, it runs with all from 2.0 on.
    define_macros=[
        (name, "NPY_2_0_API_VERSION") for name in ("NPY_NO_DEPRECATED_API", "NPY_TARGET_VERSION")
    ],
    extra_compile_args=FLAGS,
    extra_link_args=LINK_FLAGS,
)

(extension,) = cythonize(
    [extension],
    compiler_directives={
        "language_level": "3",
        "boundscheck": DEBUG,  # shapes are checked once, by the shim
        "wraparound": False,
        "initializedcheck": DEBUG,
        "nonecheck": False,
        "cdivision": True,  # floors of negative numbers are written out where they are needed
        "freethreading_compatible": True,
        "auto_pickle": False,  # of classes that nobody pickles
    },
    build_dir="build/debug" if DEBUG else None,  # no other build should compile that C
)
pure = asked("CCONV1D_PURE")
required = asked("CCONV1D_REQUIRE_EXTENSION") or asked("CIBUILDWHEEL")
if pure and required:
    sys.exit("CCONV1D_PURE=1 builds no extension, but one is required")
extension.optional = not required  # cythonize() does not keep it


class ReproducibleSdist(sdist):
    """The same bytes for the same sources, whoever builds it, where and when.

    Times are SOURCE_DATE_EPOCH, or those of the first ZIP archives; owners have no names.
    """

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **owners):
        when = int(os.environ.get("SOURCE_DATE_EPOCH") or 315532800)

        def anonymous(entry):
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime, entry.mode = when, 0o755 if entry.isdir() else 0o644
            return entry

        archive = Path(f"{base_name}.tar.gz")
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (
            archive.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=when) as packed,
            tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted([Path(base_dir), *Path(base_dir).rglob("*")]):
                tar.add(path, recursive=False, filter=anonymous)
        return str(archive)


setup(
    cmdclass={"sdist": ReproducibleSdist},
    ext_modules=[] if pure else [extension],
    options={"build_ext": {"force": True}} if DEBUG else {},  # the objects may be another build's
)
