#!/usr/bin/env python3
"""Which nest uses names of which:  python tools/arrows.py [src/_core.pyx]

The order in which `_core.pyx` includes its files is the order of floors: a file may use what files
below it define, and what stands in `_core.pyx` itself before it; what stands there behind the last
is the top floor. Prints for each file, lowest first, the files that it uses and the
names, and fails if a file uses a name of a higher one. Cython would not mind: it sees one text.

A name is one that is defined at the top level of a file. Attributes, members of structs, parameters
and local variables are not uses of it, comments and docstrings neither.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INCLUDE = re.compile(r'^include "(.+)"$', re.M)
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


class Floor(NamedTuple):
    title: str
    text: str


def floors(core: Path) -> Iterator[Floor]:
    """The files, lowest first."""
    text = core.read_text("utf-8")
    includes = list(INCLUDE.finditer(text))
    if not includes:
        sys.exit(f"{core} includes nothing")
    yield Floor(f"{core.name} (head)", text[: includes[0].start()])
    for before, include in zip([None, *includes], includes, strict=False):
        if before and text[before.end() : include.start()].strip():
            yield Floor(f"{core.name} (before {include[1]})", text[before.end() : include.start()])
        yield Floor(include[1], (core.parent / include[1]).read_text("utf-8"))
    yield Floor(core.name, text[includes[-1].end() :])


def bare(text: str) -> str:
    """The text without comments and strings."""
    text = re.sub(r'"""(?:.|\n)*?"""', '""', text)
    return re.sub(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|#.*""", r'""', text)


def blocks(text: str) -> Iterator[str]:
    """What begins at the left margin, with all that is indented below it."""
    block: list[str] = []
    for line in bare(text).splitlines():
        if line[:1].strip() and not line.startswith(")") and block:
            yield "\n".join(block)
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield "\n".join(block)


def pieces(text: str) -> Iterator[str]:
    """What commas part outside of brackets."""
    depth, start = 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def declared(declaration: str) -> str:
    """The name that `const real *name[4] = value` declares, or `int (*name)(int)`."""
    declaration = re.sub(r"\bexcept\b.*|\bnoexcept\b.*|\bnogil\b.*", "", declaration)
    if pointer := re.search(r"\(\*(\w+)\)", declaration):
        return pointer[1]
    words: list[str] = re.findall(r"\w+", re.sub(r"=.*|(?<=\w)\[[^\]]*\]\s*$", "", declaration))
    return words[-1] if words else ""


def parameters(block: str) -> tuple[str, str]:
    """Those of a function, and its body; nothing and all of it where there is none."""
    head = re.match(r"(?:cdef|cpdef|def)\b[^=\n(]*\b\w+\(", block)
    if not head:
        return "", block
    depth = 1
    for end in range(head.end(), len(block)):
        depth += (block[end] == "(") - (block[end] == ")")
        if depth == 0:
            return block[head.end() : end], block[end + 1 :]
    return "", block


def definitions(block: str) -> Iterator[str]:
    """The names that a block defines for all files."""
    first, _, rest = block.partition("\n")
    if first.startswith(("cdef extern", "from ", "import ", "cimport ")):
        if first.startswith("cdef extern"):
            rest = "\n".join(line[4:] for line in rest.splitlines())
            for inner in blocks(rest):
                name = re.sub(r"^(?:ctypedef|cdef)\s+", "", inner)
                yield from definitions("cdef " + name)
            return
        names = re.sub(r".*\bc?import\b", "", block)
        yield from (declared(piece) for piece in names.strip(" ()").split(","))
    elif found := re.match(r"(?:cdef|ctypedef)\s+(enum|struct|fused|class)\b\s*(\w*)\s*:?", first):
        if found[2]:
            yield found[2]
        if found[1] == "enum":
            members = first[found.end() :] + "," + rest.replace("\n", ",")
            yield from (name for piece in members.split(",") if (name := declared(piece)))
    elif found := re.match(r"(?:cdef|cpdef|def)\b[^=(]*?(\w+)\(", block):
        yield found[1]
    elif found := re.match(r"(?:cdef|ctypedef)\s+(.*)", first):
        yield from (declared(piece) for piece in pieces(found[1]))
    elif found := re.match(r"(\w+)\s*=", first):
        yield found[1]


def uses(block: str) -> set[str]:
    """The names in a block, but for those of its own."""
    if block.startswith("cdef extern"):
        return set()  # that is C, which knows nothing of the nests
    own = set(definitions(block))
    given, body = parameters(block)
    own |= {declared(piece) for piece in pieces(given)}
    if re.match(r"cdef struct\b", block):
        for line in body.splitlines()[1:]:
            own |= {declared(piece) for piece in pieces(line)}
    for line in re.findall(r"^\s+cdef\s+(.+(?:\n.+)*?)(?=\n\s*\S|\Z)", body, re.M):
        own |= {declared(piece) for piece in pieces(line)}
    return set(NAME.findall(block.replace("ctypedef fused", ""))) - own


def main(arguments: list[str]) -> int:
    default = Path(__file__).resolve().parents[1] / "src" / "_core.pyx"
    tree = list(floors(Path(arguments[0]) if arguments else default))
    defined = {
        name: number
        for number, floor in reversed(list(enumerate(tree)))
        for block in blocks(floor.text)
        for name in definitions(block)
    }
    upward = 0
    for number, floor in enumerate(tree):
        arrows: dict[int, set[str]] = defaultdict(set)
        for block in blocks(floor.text):
            for name in uses(block):
                if (other := defined.get(name, number)) != number:
                    arrows[other].add(name)
        print(f"{number:2} {floor.title}")
        for other, names in sorted(arrows.items()):
            up = other > number
            upward += up
            print(f"   {'UP' if up else '  '} {tree[other].title}: {', '.join(sorted(names))}")
    if upward:
        print(f"{upward} arrows run up", file=sys.stderr)
    return 1 if upward else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
