#!/usr/bin/env bash
# Build the extension for 64-bit Arm and test it in an emulator:  tools/arm.sh [WORK [pytest args]]
#
# For x86-64 with Debian, where qemu-user-static and gcc-aarch64-linux-gnu are installed. Debian's
# Python for arm64 and what it links with come by apt, with this machine's sources but a state of
# its own; NumPy and pytest come by pip. Nothing is installed outside of the folder WORK, which
# keeps both for the next run; without it, all is done in a temporary folder. What setup.py compiles
# with is what Python for arm64 says of itself: its flags, its suffix, its compiler, which is the
# cross compiler here.
#
# By default the tests of what nests and tiles compute run, with few random examples: an emulator
# takes many times as long. tests/test_bits.py compares neon with avx2 bit for bit.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if (($#)); then
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
    shift
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
tests=("$repo"/tests/test_{bits,half,kernels,complex,transpose,per_sample,threads}.py)
(($#)) || set -- -k "not reference" "${tests[@]}"
for tool in qemu-aarch64-static aarch64-linux-gnu-gcc apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || { echo "tools/arm.sh: needs $tool" >&2; exit 1; }
done
export HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-quick}
unset PYTHONPATH CCONV1D_BACKEND CCONV1D_ISA
SECONDS=0
say() { echo "== $SECONDS s: $*"; }

if [[ ! -e $work/root ]]; then
    say "Python for arm64"
    mkdir -p "$work"/apt/{lists,archives}/partial
    : >"$work/apt/status"
    cat >"$work/apt/conf" <<CONF
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures { "arm64"; };
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt";
Debug::NoLocking "true";
CONF
    export APT_CONFIG=$work/apt/conf
    apt-get -qq update
    apt-get -qq -y --no-install-recommends --download-only install python3 libpython3-dev libstdc++6
    unset APT_CONFIG
    mkdir "$work/unpacked"
    for package in "$work"/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$work/unpacked"
    done
    mv "$work/unpacked" "$work/root"
fi
data=$(echo "$work"/root/usr/lib/python3.*/_sysconfigdata__aarch64-linux-gnu.py)
version=${data#*/root/usr/lib/python}
version=${version%%/*}

# The interpreter, to be called like any other; what it starts as sys.executable is this again.
cat >"$work/python" <<RUN
#!/bin/sh
exec env PYTHONHOME="$work/root/usr" qemu-aarch64-static -L "$work/root" -0 "\$0" \
    "$work/root/usr/bin/python$version" "\$@"
RUN
chmod +x "$work/python"

if [[ ! -e $work/site ]]; then
    say "NumPy for Python $version"
    python3 -m venv "$work/host"
    pip=("$work/host/bin/pip" -q --disable-pip-version-check install)
    "${pip[@]}" -U setuptools Cython numpy # its headers are those of any 64-bit Linux
    "${pip[@]}" --target "$work/wheels" --no-compile --only-binary=:all: \
        --python-version "$version" --platform manylinux_2_28_aarch64 \
        --platform manylinux2014_aarch64 numpy hypothesis ml_dtypes pytest
    mv "$work/wheels" "$work/site"
fi

say "the extension"
rm -rf "$work/package"
mkdir -p "$work/data"
cp "$data" "$work/data"
(
    cd "$repo"
    export CCONV1D_REQUIRE_EXTENSION=1 PYTHONPATH=$work/data _PYTHON_HOST_PLATFORM=linux-aarch64
    export _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu
    "$work/host/bin/python" setup.py -q build --build-base "$work/build" \
        --build-lib "$work/package" \
        build_ext -I "$work/root/usr/include/python$version:$work/root/usr/include"
)

say "tests"
cd "$work" # not the source tree, which has no extension for arm64
export PYTHONPATH=$work/package:$work/site CCONV1D_BACKEND=native
./python -m cconv1d
./python -m pytest -q -p no:cacheprovider --durations=10 "$@"
say "done"
