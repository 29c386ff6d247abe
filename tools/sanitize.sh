#!/usr/bin/env bash
# Run tests on an extension built for a checker:  tools/sanitize.sh asan|tsan|memcheck [pytest args]
#
#   asan      AddressSanitizer and UndefinedBehaviorSanitizer; all tests that compute
#   tsan      ThreadSanitizer; the tests of threads and, built with it by itself, the pool's driver
#   memcheck  valgrind at the avx2 level; few random examples of the tests of kernels
#
# Needs gcc, for memcheck valgrind, and a Python ($PYTHON, or python3) that has what the package is
# built and tested with; for memcheck 3.12 or later, because earlier ones read what was never set
# (https://github.com/python/cpython/issues/119022). Builds in a copy, so that an extension in the
# tree stays as it is. Paths among the arguments are taken from the root of the tree, and take the
# place of the tests above.
set -euo pipefail
usage() { sed -n '2,6s/^# \?//p' "$0" >&2; exit 2; }
checker=${1:-}
shift || usage
python=$(command -v "${PYTHON:-python3}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r cconv1d src tests setup.py pyproject.toml README.md LICENSE "$work"
cd "$work"
rm -f cconv1d/*.so src/_core.c

# Python's own allocator would hide where a block ends from all three.
export PYTHONMALLOC=malloc PYTHONPATH=$work CCONV1D_REQUIRE_EXTENSION=1
quick() { export HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-quick}; }
run=() default=()
case $checker in
asan)
    flags="-fsanitize=address,undefined -fno-sanitize-recover=all"
    # At exit Python leaves much behind on purpose; tests/test_faults.py counts what calls leave.
    run=(env "LD_PRELOAD=$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1)
    # Not those of files and the installed package, nor those that bring an allocator of their own.
    for test in tests/test_*.py; do
        case $test in
        */test_docs.py | */test_example_ecg.py | */test_packaging.py | */test_typing.py) ;;
        */test_c_interface.py | */test_faults.py | */test_drivers.py | */test_tools.py) ;;
        *) default+=("$test") ;;
        esac
    done
    ;;
tsan)
    flags="-fsanitize=thread -DCC_POOL_TEST_DELAY"
    quick
    # Addresses at random may lie where the runtime wants its own.
    run=(setarch -R env "LD_PRELOAD=$(gcc -print-file-name=libtsan.so)"
        "TSAN_OPTIONS=die_after_fork=0 atexit_sleep_ms=0")
    default=(tests/test_threads.py)
    ;;
memcheck)
    flags=""
    quick
    export CCONV1D_ISA=avx2
    # memcheck mistakes glibc's comparisons of wide characters with AVX2, which CPython makes, for
    # errors (https://github.com/ValeevGroup/SeQuant/issues/113). Our choice is not changed by it.
    export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12) and "memcheck needs Python 3.12")'
    run=(valgrind --quiet --error-exitcode=1 --exit-on-first-error=yes --num-callers=30)
    default=(tests/test_kernels.py tests/test_transpose.py tests/test_half.py tests/test_complex.py
        tests/test_per_sample.py -k avx2)
    ;;
*) usage ;;
esac

CCONV1D_DEBUG=1 CC=gcc CFLAGS=$flags LDFLAGS=$flags "$python" setup.py -q build_ext --inplace
paths=0
for argument in "$@"; do
    if [[ -e ${argument%%::*} ]]; then paths=1; fi
done
if ((paths)); then default=(); fi
# Not captured, or the report of what ends the process would be lost.
pytest=("$python" -m pytest -q -s -p no:cacheprovider)
if [[ $checker == tsan ]] && ((!paths)); then "${pytest[@]}" tests/test_drivers.py -k pool; fi
"${run[@]}" "${pytest[@]}" "${default[@]}" "$@"
