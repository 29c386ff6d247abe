#!/usr/bin/env bash
# Run every tile with AVX-512 in an emulator, where no processor has it:  tools/avx512.sh
#
# Boots tests/tile_driver.c with src/tile/tiles.c, and nothing else, in Bochs as a Skylake-X; that
# takes a few seconds after some for compiling. Needs gcc and Debian's packages bochs, bochs-term.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for tool in gcc bochs script; do
    command -v "$tool" >/dev/null || { echo "tools/avx512.sh: needs $tool" >&2; exit 1; }
done

flags=(-O3 -ffp-contract=off -ffreestanding -fno-pic -fno-stack-protector -Isrc/tile)
# There is room for 512 KiB: without the tiles of avx2, which most processors can test themselves,
# and those of the baseline, of which the driver takes the halves only.
sed 's/LEVEL_ROW(baseline, always)/{"baseline", always, 0, 0, \&baseline_f32_float16, \&baseline_f32_bfloat16}/
/^#define LEVEL avx2/,/^#include "level.h"/d; /LEVEL_ROW(avx2,/d; /define NARROWER/d' src/tile/tiles.c \
    >"$work/tiles.c"
gcc "${flags[@]}" -c "$work/tiles.c" -o "$work/tiles.o"
gcc "${flags[@]}" -O1 -mfma -fno-strict-aliasing -DBARE -c tests/tile_driver.c -o "$work/driver.o"
gcc -c tools/avx512.S -o "$work/start.o"
cat >"$work/layout" <<'LAYOUT'
SECTIONS
{
    .boot 0x7c00 : { *(.boot) }
    .image 0x100000 : { *(.text*) *(.rodata*) *(.data*) }
    .bss : { *(.bss*) *(COMMON) }
    /DISCARD/ : { *(.eh_frame) *(.comment) *(.note*) }
}
LAYOUT
ld --no-warn-rwx-segments -T "$work/layout" -o "$work/all" "$work"/{start,driver,tiles}.o
objcopy -O binary -j .boot "$work/all" "$work/floppy"
objcopy -O binary -j .image "$work/all" "$work/image"
truncate -s 1440K "$work/floppy"

# Bochs puts four files into memory, each within a block of 128 KiB.
split -b 128K -d -a 1 "$work/image" "$work/part"
[[ ! -e $work/part4 ]] || { echo "tools/avx512.sh: the tiles take more than 512 KiB" >&2; exit 1; }
{
    cat <<CONFIGURATION
megs: 64
cpu: model=corei7_skylake_x
romimage: file=/usr/share/bochs/BIOS-bochs-legacy
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=$work/floppy, status=inserted
boot: floppy
port_e9_hack: enabled=1
display_library: term
sound: driver=dummy
speaker: enabled=0
panic: action=fatal
log: $work/log
CONFIGURATION
    for part in "$work"/part?; do
        number=${part: -1}
        echo "optramimage$((number + 1)): file=$part, address=$((0x100000 + number * 0x20000))"
    done
} >"$work/configuration"
echo c >"$work/commands" # the debugger in Debian's build should go ahead

# The display needs a terminal, which script makes. That Bochs was told to end is an error for it.
TERM=vt100 timeout 600 script -qc "bochs -q -f '$work/configuration' -rc '$work/commands'" \
    "$work/output" </dev/null >/dev/null || true
tr -d '\r' <"$work/output" | grep -aE "compared|supported|all tiles right|FAILED" || {
    tail -n 20 "$work/log" >&2
    exit 1
}
grep -aq "^avx512 float64: .*, 0 wrong" "$work/output" && grep -aq "all tiles right" "$work/output"
