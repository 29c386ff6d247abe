"""Build the consumers of the C interface in place, with an installed cconv1d and its header."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

import cconv1d

# Warnings are errors where the compiler is GCC or Clang; Cython's C is not ours to judge.
STRICT = [] if sys.platform == "win32" else ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def consumer(name, source, flags):
    return Extension(name, [source], include_dirs=[cconv1d.get_include()], extra_compile_args=flags)


setup(
    name="consumers",
    ext_modules=[
        consumer("consumer_c", "consumer_c.c", STRICT and [*STRICT, "-Wc++-compat"]),
        consumer("consumer_cpp", "consumer_cpp.cpp", STRICT),
        *cythonize(consumer("consumer_cython", "consumer_cython.pyx", [])),
    ],
)
