#!/usr/bin/env bash
# What the tests run, of the Python and of the Cython and C code:  tools/coverage.sh [pytest args]
#
# Builds the extension in a temporary copy of this tree with GCC's --coverage, runs the suite there
# under coverage.py (7.10 or later), and prints a table of files with the lines that have code, how
# many of them ran, and which did not. A wheel that tests build from the copy counts, too: it is what
# calls the C interface. Needs gcc with its gcov, coverage.py, and what CONTRIBUTING.md sets up.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for tool in gcc gcov; do
    command -v "$tool" >/dev/null || { echo "tools/coverage.sh: needs $tool" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
cp -r "$repo"/. "$work/tree"
cd "$work/tree"
rm -rf build src/_core.c cconv1d/*.so

export CC=gcc CFLAGS=--coverage LDFLAGS=--coverage CCONV1D_REQUIRE_EXTENSION=1 CCONV1D_DEBUG=1
unset CCONV1D_BACKEND CCONV1D_ISA
python setup.py -q build_ext --inplace

cat >"$work/rc" <<RC
[run]
source_pkgs = cconv1d
data_file = $work/data
parallel = true
patch = subprocess
RC
# These ask what a package that is installed, and built as usual, consists of.
aside="not (installed_package_is_tested or wheel_holds or only_the_init or check_wheel_passes)"
status=0
PYTHONPATH=$work/tree python -m coverage run --rcfile="$work/rc" -m pytest -q -p no:cacheprovider \
    --basetemp="$work/tests" -k "$aside" "$@" || status=$?
python -m coverage combine -q --rcfile="$work/rc"
python -m coverage json -q --rcfile="$work/rc" -o "$work/python.json"

python - "$work" <<'PYTHON'
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

work = Path(sys.argv[1])
tree = work / "tree"
lines = defaultdict(lambda: defaultdict(int))  # of a file: how often each line ran

for path, file in json.loads((work / "python.json").read_text())["files"].items():
    name = f"cconv1d/{Path(path).name}"
    lines[name] |= dict.fromkeys(file["executed_lines"], 1)
    lines[name] |= {number: lines[name][number] for number in file["missing_lines"]}


def cython_lines(source):
    """Which line of Cython each line of the C that was made of it belongs to."""
    place, places = None, {}
    for number, text in enumerate(source.read_text("utf-8").splitlines(), 1):
        if mark := re.match(r'\s*/\* "(src/[\w/]+\.p(?:yx|xi))":(\d+)$', text):
            place = mark[1], int(mark[2])
        elif text == "}":  # a function ends
            place = None
        elif place:
            places[number] = place
    return places


for data in work.rglob("*.gcda"):
    gcov = ["gcov", "--json-format", "--stdout", str(data)]
    report = json.loads(subprocess.run(gcov, capture_output=True, check=True).stdout)
    for file in report["files"]:
        name = file["file"]
        generated = name.endswith("src/_core.c")
        if not generated and not name.startswith("src/"):
            continue
        places = {}
        if generated:
            places = cython_lines(Path(report["current_working_directory"], name))
        for line in file["lines"]:
            number = line["line_number"]
            place = places.get(number) if generated else (name, number)
            if place:
                lines[place[0]][place[1]] += line["count"]


def missing(counts):
    """Runs of lines that did not run, with what lies between: 1-3, 7"""
    runs, before = [], 1
    for number, count in sorted(counts.items()):
        if not count and before:
            runs.append([number, number])
        elif not count:
            runs[-1][1] = number
        before = count
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def row(name, counts, rest):
    ran = sum(count > 0 for count in counts)
    print(f"| {name} | {len(counts)} | {ran} | {100 * ran / max(len(counts), 1):.1f} % | {rest} |")


print("| file | lines | run | | not run |\n| --- | ---: | ---: | ---: | --- |")
for name in sorted(lines):
    row(name, lines[name].values(), missing(lines[name]))
for title, folder in ("Python", "cconv1d/"), ("Cython and C", "src/"):
    counts = [n for name in lines if name.startswith(folder) for n in lines[name].values()]
    row(f"**{title}**", counts, "")
PYTHON
exit "$status"
