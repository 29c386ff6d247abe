#!/usr/bin/env bash
# Build a free-threaded CPython from Debian's source package and run the suite on it, and a part
# of it again with each test in four threads at the same time.
#
# usage: tools/freethreaded.sh [FOLDER [SUITE [PACKAGE]]]
#
# FOLDER (build/freethreaded) keeps the interpreter for the next time; SUITE and PACKAGE (trixie,
# python3.13) say which source. It needs apt, gcc, make and the headers of OpenSSL, zlib, bzip2,
# lzma and libffi. Debian's mirror is the system's, whose own list of sources is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
repo=$PWD
folder=$(realpath -m "${1:-build/freethreaded}")
suite=${2:-trixie}
package=${3:-python3.13}
export CCONV1D_REQUIRE_EXTENSION=1
unset PYTHONPATH PYTHON_GIL CCONV1D_BACKEND CCONV1D_ISA

interpreter() {
    local mirror
    # shellcheck disable=SC2016  # apt's own placeholder
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian')
    mkdir -p "$folder"/apt/{lists,cache,sources}
    printf '%s\n' >"$folder/apt/sources/source.sources" \
        "Types: deb-src" "URIs: ${mirror%%$'\n'*}" "Suites: $suite" "Components: main" \
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
    local options=(
        -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$folder/apt/sources"
        -o "Dir::State::Lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache"
    )
    apt-get "${options[@]}" update
    (cd "$folder" && apt-get "${options[@]}" source --download-only "$package")
    mkdir "$folder/source"
    tar -xf "$folder/$package"_*.orig.tar.xz -C "$folder/source" --strip-components=1
    cd "$folder/source"
    ./configure --quiet --disable-gil --disable-test-modules --prefix="$folder/python"
    make --silent -j"$(nproc)"
    make --silent install
    cd "$repo"
    rm -r "$folder/source" "$folder/apt"
}

if [[ ! -x $folder/python/bin/python3 ]]; then
    interpreter
fi
"$folder/python/bin/python3" -m venv --clear "$folder/environment"
# shellcheck disable=SC1091
source "$folder/environment/bin/activate"
python -VV
# Wheels only: not every release has one for this interpreter, and pip would compile a newer one.
python -m pip install --quiet --only-binary=:all: "$repo[test]" pytest-run-parallel

cd "$folder" # not from here: Python would take the source tree
echo "== the suite"
python -m pytest -q -p no:cacheprovider "$repo/tests"
echo "== four threads in every test that changes nothing for the whole process"
parallel=("$repo"/tests/test_{free_threading,threads,functional,signal,per_sample,transpose}.py)
python -m pytest -q -p no:cacheprovider --parallel-threads=4 "${parallel[@]}"
