"""Check what a wheel holds: python tools/check_wheel.py WHEEL...

Under 1 MB, under 2.5 MB unpacked, one compiled module and no source of one, and of the module
nothing exported but its init function (read with nm, so not on Windows).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL_LIMIT, UNPACKED_LIMIT = 1_000_000, 2_500_000
SOURCES = (".c", ".cpp", ".pyx", ".pxi")


def faults(wheel: Path) -> list[str]:
    """What is wrong with the wheel, in words."""
    found = []
    size = wheel.stat().st_size
    if size >= WHEEL_LIMIT:
        found.append(f"{size} bytes, the limit is {WHEEL_LIMIT}")
    with zipfile.ZipFile(wheel) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked >= UNPACKED_LIMIT:
            found.append(f"{unpacked} bytes unpacked, the limit is {UNPACKED_LIMIT}")
        names = archive.namelist()
        found += [f"holds the source {name}" for name in names if name.endswith(SOURCES)]
        modules = [name for name in names if name.endswith((".so", ".pyd", ".dylib", ".dll"))]
        if len(modules) != 1 or not modules[0].startswith("cconv1d/_core."):
            found.append(f"should hold the compiled module cconv1d/_core alone, holds {modules}")
        elif modules[0].endswith(".so"):
            exported = exports(archive.read(modules[0]))
            if exported != ["PyInit__core"]:
                found.append(f"should export PyInit__core alone, exports {exported}")
    return found


def exports(module: bytes) -> list[str]:
    """The symbols that a shared object defines for others, as nm sees them."""
    macos = sys.platform == "darwin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.so"
        path.write_bytes(module)
        options = ["-gU"] if macos else ["-D", "--defined-only"]
        listing = subprocess.run(["nm", *options, path], check=True, capture_output=True, text=True)
    names = [line.split()[-1] for line in listing.stdout.splitlines()]
    return [name.removeprefix("_") if macos else name for name in names]


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    wrong = [f"{name}: {fault}" for name in sys.argv[1:] for fault in faults(Path(name))]
    print(*(wrong or [f"{len(sys.argv) - 1} wheels checked"]), sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
