"""Build of the compiled extension; everything else is in pyproject.toml.

Without a working C compiler the package installs all the same and computes with its NumPy
reference. ``CCONV1D_REQUIRE_EXTENSION=1`` and wheel builders make a failed build an error;
``CCONV1D_PURE=1`` leaves the extension out, for platforms that compile nothing.
"""

import os
import sys
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

MSVC = sys.platform == "win32"

# One set of flags: which instructions a function may use is decided in src/tile/tiles.c.
# Contraction is off, so that a multiply-add is fused where the source says so and nowhere else.
FLAGS = ["/O2"] if MSVC else ["-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden"]

extension = Extension(
    "cconv1d._core",
    sources=["src/_core.pyx", "src/pool/cpus.c", "src/pool/pool.c", "src/tile/tiles.c"],
    depends=[*sorted(glob("src/*/*.h")), "cconv1d/include/cconv1d.h"],
    include_dirs=["src/pool", "src/tile", "cconv1d/include"],
    extra_compile_args=FLAGS,
    extra_link_args=[] if MSVC else ["-pthread"],
)

(extension,) = cythonize(
    [extension],
    compiler_directives={
        "language_level": "3",
        "boundscheck": False,  # shapes are checked once, by the shim
        "wraparound": False,
        "initializedcheck": False,
        "nonecheck": False,
        "cdivision": True,  # floors of negative numbers are written out where they are needed
        "freethreading_compatible": True,
    },
)
pure, *required = (
    os.environ.get(name, "0") != "0"
    for name in ("CCONV1D_PURE", "CCONV1D_REQUIRE_EXTENSION", "CIBUILDWHEEL")
)
if pure and any(required):
    sys.exit("CCONV1D_PURE=1 builds no extension, but one is required")
extension.optional = not any(required)  # cythonize() does not keep it

setup(ext_modules=[] if pure else [extension])
