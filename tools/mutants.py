#!/usr/bin/env python3
"""Do the tests catch mistakes?  python tools/mutants.py [part of a description ...]

Seeds one fault after another in a copy of this tree, builds where it is in src/, and runs the test
files that should notice until the first failure. Prints a table and fails if fewer than 50 of the
71 faults are caught. The faults are such as a developer makes, chosen without a look at the tests;
one that no test could see would not belong here. Takes some twenty-five minutes, in the environment
that CONTRIBUTING.md sets up.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[1]
REQUIRED = 50
SECONDS = 900  # for the tests of one fault; a test that hangs has noticed it, too


class Fault(NamedTuple):
    what: str
    path: str
    old: str  # occurs once
    new: str
    tests: str


FAULTS = [
    # geometry
    Fault(
        "the odd zero of 'same' on the other side",
        "cconv1d/_geometry.py",
        'left = shorter if padding == "same" else total - shorter',
        'left = total - shorter if padding == "same" else shorter',
        "geometry functional",
    ),
    Fault(
        "outputs of 'same' rounded down",
        "cconv1d/_geometry.py",
        "positions = -(-input_length // stride)",
        "positions = input_length // stride",
        "geometry functional",
    ),
    Fault(
        "reflect pads as much as circular",
        "cconv1d/_geometry.py",
        '"reflect": (length - 1, ',
        '"reflect": (length, ',
        "geometry functional",
    ),
    Fault(
        "a class's distance rounded towards zero",
        "src/nest/geometry.pxi",
        "return quotient - (quotient * g.stride > distance)",
        "return quotient",
        "kernels",
    ),
    # nests and methods that came later
    Fault(
        "the last channels take weights of others",
        "src/nest/channels_last.pxi",
        "weights + (total * lanes - first % lanes)",
        "weights + total * lanes",
        "channels_last",
    ),
    Fault(
        "strips at an end read a sample too few",
        "src/nest/channels_last.pxi",
        "job.end_samples - (job.strip - count) * phase.terms.in_step,",
        "job.end_samples - (job.strip - count) * phase.terms.in_step - 1,",
        "channels_last",
    ),
    Fault(
        "the last columns are not exchanged",
        "src/tile/tile.h",
        "c = c + PIECE <= columns ? c : columns - PIECE;",
        "c = c + PIECE <= columns ? c : c - PIECE;",
        "drivers channels_last",
    ),
    Fault(
        "groups of a part share their sums",
        "src/nest/backward_weight.pxi",
        "sums + (group - first_group) * job.sums_size)",
        "sums)",
        "channels_last",
    ),
    Fault(
        "lines of a second channel are those of the first",
        "src/nest/few_positions_weight.pxi",
        "lines + c * job.lines * job.line_pitch, job.tap_step",
        "lines, job.tap_step",
        "channels_last",
    ),
    Fault(
        "half of the lanes take more channels than they hold",
        "src/nest/few_positions.pxi",
        "2 * job.outs <= job.lanes else",
        "2 * job.outs <= job.lanes + 2 else",
        "few_positions",
    ),
    Fault(
        "a stretch of a long row begins its blocks where the one before ended",
        "src/nest/correlate.pxi",
        "sums = chain if t > 0 else out + begin",
        "sums = chain if i > 0 else out + begin",
        "long_rows",
    ),
    Fault(
        "terms of few are placed as if each channel had one tap",
        "src/nest/channels_last_weight.pxi",
        "own.in_place[i] = <int32_t> (i % job.g.taps * job.g.dilation * row + i // job.g.taps)",
        "own.in_place[i] = <int32_t> (i % job.g.taps * job.g.dilation * row)",
        "channels_last",
    ),
    Fault(
        "halves of a depthwise layer are read as float32",
        "src/nest/channels_last_weight.pxi",
        "elif inside and (whole or job.spread) and job.x.half == NULL:",
        "elif inside and (whole or job.spread):",
        "channels_last",
    ),
    Fault(
        "an order of taps is taken for that of all channels",
        "src/nest/phases.pxi",
        "if sum.ordered and sum.channels > 1:",
        "if sum.ordered and sum.channels > 1000:",
        "channels_last",
    ),
    Fault(
        "results of two tiles are summed twice, of terms that come in chunks",
        "src/nest/correlate.pxi",
        "if inside < width <= last and whole:",
        "if inside < width <= last:",
        "last_tiles",
    ),
    Fault(
        "a chunk of terms that are read in place ends within a block",
        "src/nest/correlate.pxi",
        "max(job.most // CC_BLOCK, 1) * CC_BLOCK",
        "job.most",
        "last_tiles",
    ),
    Fault(
        "a number of the vector before is taken for one of a stride's",
        "src/tile/simd.h",
        "LANES + (I) * (S) % LANES : (I))",
        "LANES + (I) * (S) % LANES : ((I) + 1) % LANES)",
        "drivers",
    ),
    Fault(
        "runs of more samples than are copied at once lose some",
        "src/nest/panel.pxi",
        "elif run <= COPIED_AT_ONCE:",
        "elif run <= COPIED_AT_ONCE + 1:",
        "short_signals",
    ),
    Fault(
        "weights of depthwise layers are read as those of groups",
        "src/nest/few_positions.pxi",
        "if not along_lanes.depthwise:",
        "if along_lanes.groups > 0:",
        "prepared",
    ),
    Fault(
        "the last tap that meets a sample is left out",
        "src/nest/living_taps.pxi",
        "min(ceiling(length - first, g.dilation), g.taps)",
        "min(ceiling(length - 1 - first, g.dilation), g.taps)",
        "few_positions",
    ),
    Fault(
        "a gradient along short signals begins a tap late",
        "src/nest/living_taps.pxi",
        "length - 1 - last, length - 1 - first",
        "length - 1 - last, length - 2 - first",
        "few_positions",
    ),
    Fault(
        "a window has another sample's signals",
        "src/nest/blocks.pxi",
        "window.filled and window.n == n and",
        "window.filled and",
        "transforms",
    ),
    Fault(
        "summands that are lanes end a lane early",
        "src/fft/transform.h",
        "as->step - (LANES - 1)",
        "as->step - LANES",
        "drivers",
    ),
    Fault(
        "a chain goes on where its block has no living terms before",
        "src/nest/living_taps.pxi",
        "resume = t0 > taps.first",
        "resume = t0 > 0",
        "few_positions",
    ),
    Fault(
        "what no tap meets at a stride keeps what was there, by transforms",
        "src/nest/overlap_save.pxi",
        "transposed and g.residues < g.stride:",
        "transposed and g.residues < 1:",
        "transforms",
    ),
    Fault(
        "a state is moved on by all but its last sample",
        "src/update.pxi",
        "last = (width - 1) * step, x_step",
        "last = max(width - 2, 0) * step, x_step",
        "causal",
    ),
    # minimal filtering
    Fault(
        "a pair of which one result is the last is left out",
        "src/nest/minimal_filtering.pxi",
        "pairs = ceiling(used, 2 * job.apart) * job.apart",
        "pairs = used // (2 * job.apart) * job.apart",
        "transforms",
    ),
    Fault(
        "the gradient of the input by taps that are not reversed",
        "src/nest/minimal_filtering.pxi",
        "first, step = first + (taps - 1) * step, -step",
        "pass",
        "transforms",
    ),
    Fault(
        "the last product with the wrong sign",
        "src/fft/minimal.h",
        "V_SUB(x3, x1)",
        "V_SUB(x1, x3)",
        "transforms",
    ),
    Fault(
        "short signals share a line without room between them",
        "src/nest/minimal_filtering.pxi",
        "job.length = 2 * (pairs + job.apart)",
        "job.length = 2 * pairs",
        "transforms",
    ),
    Fault(
        "a state comes back from lanes with its first sample",
        "src/update.pxi",
        "tiles.lanes_to_rows(row + lanes,",
        "tiles.lanes_to_rows(row,",
        "causal",
    ),
    # streams that read two pieces of a row
    Fault(
        "a window reads the history a sample too early",
        "src/nest/panel.pxi",
        "holder, sample, move = array.before, first + array.before.shape[2], step",
        "holder, sample, move = array.before, first + array.before.shape[2] - 1, step",
        "stream",
    ),
    Fault(
        "the history of channels that lie side by side is that of the chunk",
        "src/nest/panel.pxi",
        "row = at(array.before, n, channel, place + array.before.shape[2])",
        "row = at(array, n, channel, 0)",
        "stream usual",
    ),
    # streams by transforms
    Fault(
        "a stream's oldest block is taken for the next but one",
        "src/nest/partitions.pxi",
        "floor_division(job.number, p.delay) + 1, p.parts)",
        "floor_division(job.number, p.delay) + 2, p.parts)",
        "stream_hops",
    ),
    Fault(
        "a block is stored once where lines end",
        "src/nest/partitions.pxi",
        "memcpy(spectrum + p.parts * p.channels * p.packet, spectrum,",
        "memcpy(spectrum, spectrum,",
        "stream_hops",
    ),
    Fault(
        "a part takes the first tap of the next, too",
        "src/nest/partitions.pxi",
        "tap * p.g.dilation < first + p.part:",
        "tap * p.g.dilation <= first + p.part:",
        "stream_hops",
    ),
    Fault(
        "blocks hold what was there behind the end of the signal",
        "src/nest/partitions.pxi",
        "    memset(to + (stop - inside), 0, (end - stop) * sizeof(real))\n",
        "",
        "stream_hops stream",
    ),
    Fault(
        "the oldest block that a hop needs is not made again",
        "src/nest/partitions.pxi",
        "job.number - (p.parts - 1) * p.delay)",
        "job.number - (p.parts - 2) * p.delay)",
        "stream_hops stream",
    ),
    Fault(
        "a stream of hops keeps what outputs read, not what blocks hold",
        "cconv1d/_geometry.py",
        "read = self.partition.part * self.partition.parts",
        "read = self.span",
        "stream_hops stream",
    ),
    Fault(
        "a hop less is waited for",
        "cconv1d/_geometry.py",
        "latency = self.span + self.hop - 2 - self.left",
        "latency = self.span - 1 - self.left",
        "stream_hops stream",
    ),
    Fault(
        "samples that are taken back stay transformed",
        "cconv1d/_stream.py",
        "self._way.forget(np.flatnonzero(steps).tolist())",
        "self._way.forget([])",
        "stream_hops stream",
    ),
    Fault(
        "memory for the next chunk is asked for once this one is taken",
        "cconv1d/_stream_samples.py",
        "if count and 2 * self.kept + count <= self.width < self.end + count:",
        "if count and self.width < self.end + count:",
        "stream",
    ),
    # what idle lanes read
    Fault(
        "between short signals the panel stays as it is",
        "src/nest/panel.pxi",
        "length - i * signal_pitch, panel + (used + i * signal_pitch), pitch)",
        "length - width + 1, panel + (used + i * signal_pitch), pitch)",
        "scratch",
    ),
    Fault(
        "idle lanes of a gradient keep what was there",
        "src/nest/few_positions_weight.pxi",
        "        memset(panel, 0, (width - used) * sizeof(real))",
        "        pass",
        "scratch",
    ),
    # what is remembered, and where results go
    Fault(
        "a plan for another dilation",
        "src/usual_calls.pxi",
        "            if not same_option(call.options[i], options[i]):",
        "            if i != 2 and not same_option(call.options[i], options[i]):",
        "usual functional options",
    ),
    Fault(
        "accumulate adds out's own result to it",
        "cconv1d/_execute.py",
        "if accumulate or by_a_copy or",
        "if by_a_copy or",
        "results options",
    ),
    Fault(
        "out written before all that may fail is done",
        "cconv1d/_execute.py",
        "return plan.per_sample or (which_map == BACKWARD_INPUT and plan.geometry.mode != 0)",
        "return plan.per_sample",
        "results options",
    ),
    Fault(
        "a strided batch joined with its channels",
        "cconv1d/_execute.py",
        "bool(far == inner * near)",
        "bool(far >= inner * near)",
        "per_sample results",
    ),
    Fault(
        "packed weights taken for finite ones",
        "src/nest/correlate.pxi",
        "job.packed, finite = <void *> prepacked.numbers, prepacked.finite",
        "job.packed, finite = <void *> prepacked.numbers, True",
        "prepared",
    ),
    Fault(
        "'same' of correlate turned round for equal lengths, too",
        "cconv1d/_signal.py",
        'if function == "correlate" and taps > samples:',
        'if function == "correlate" and taps >= samples:',
        "signal",
    ),
    # conjugation
    Fault(
        "a transposed convolution with conjugated weights",
        "cconv1d/_execute.py",
        '{"conjugate": True} if transposed and',
        '{"conjugate": True} if not transposed and',
        "transpose complex",
    ),
    Fault(
        "the sign of a complex weight's gradient",
        "src/nest/backward_weight.pxi",
        "result[1] = g[tap + row] - g[tap + taps]",
        "result[1] = g[tap + row] + g[tap + taps]",
        "complex",
    ),
    # padding modes
    Fault(
        "reflect repeats the last sample",
        "src/nest/geometry.pxi",
        "else 2 * (length - 1) - position",
        "else 2 * length - 1 - position",
        "kernels functional",
    ),
    Fault(
        "a sample too many beyond the right end",
        "src/nest/panel.pxi",
        "right = count - 1 - (length - 1 - first) // step",
        "right = count - (length - 1 - first) // step",
        "kernels functional",
    ),
    Fault(
        "the last copy of a block is not folded back",
        "src/nest/padding_adjoint.pxi",
        "copies.end = min(copies.end, shift - first + 1)",
        "copies.end = min(copies.end, shift - first)",
        "kernels functional",
    ),
    Fault(
        "copies on the right forgotten where there are none on the left",
        "src/nest/padding_adjoint.pxi",
        "width = max(g.pad_left, end_of_reads(g) - length)",
        "width = g.pad_left",
        "kernels functional",
    ),
    # packing
    Fault(
        "weights of a class with a tap fewer begin too late",
        "src/nest/phases.pxi",
        "+ min(g.taps % g.period, phase.residue))",
        "+ phase.residue)",
        "kernels transpose",
    ),
    Fault(
        "rows that are no multiple of four packed beyond their end",
        "src/nest/pack_weights.pxi",
        "first = min(row, max(run.rows - 4, 0))",
        "first = row",
        "kernels",
    ),
    Fault(
        "not finite weights that the calling thread packs go unnoticed",
        "src/nest/pack_weights.pxi",
        "    for worker in range(workers):\n        finite &=",
        "    for worker in range(1, workers):\n        finite &=",
        "prepared threads",
    ),
    Fault(
        "halves gathered into the front of a row",
        "src/nest/view.pxi",
        "half.widen(halves, some, row + first)",
        "half.widen(halves, some, row)",
        "half",
    ),
    # edges and tiles
    Fault(
        "no bias where terms are taken in chunks",
        "src/nest/correlate.pxi",
        "if job.biases != NULL and t1 == terms:",
        "if job.biases != NULL and t0 == 0 and t1 == terms:",
        "kernels functional",
    ),
    Fault(
        "merged phases stored beyond the end",
        "src/nest/correlate.pxi",
        "max(0, -place), min(count, results_of(&job.sum, residue) - place)",
        "max(0, -place), count",
        "kernels transpose",
    ),
    Fault(
        "dilation forgotten at the end of what is read in place",
        "src/nest/correlate.pxi",
        "- (phase.terms.per_channel - 1) * job.sum.g.step)",
        "- (phase.terms.per_channel - 1))",
        "kernels",
    ),
    Fault(
        "a result at the end of a signal that a zero has spoiled",
        "src/nest/zero_padding.pxi",
        "(in_step - 1 - lowest) // in_step)",
        "-lowest // in_step)",
        "kernels zero_padding",
    ),
    Fault(
        "what is not finite at the ends of dy meets zeros",
        "src/nest/zero_padding.pxi",
        "if not (ends.first <= p < ends.last or isfinite(numbers[p])):",
        "if not (ends.first <= p <= ends.last or isfinite(numbers[p])):",
        "kernels zero_padding",
    ),
    Fault(
        "samples beyond the end multiplied by zero",
        "src/tile/tile.h",
        "V_STORE(sum, V_FMA(dy, V_LOAD_FIRST(panel + offset[b] + p + v * LANES, left),",
        "V_STORE(sum, V_FMA(dy, V_LOAD(panel + offset[b] + p + v * LANES),",
        "kernels",
    ),
    Fault(
        "sums of the second part of a skewed run go to the first",
        "src/nest/backward_weight.pxi",
        "sums + (t + longer) * CC_LANES, terms_per_shift)",
        "sums + t * CC_LANES, terms_per_shift)",
        "kernels",
    ),
    Fault(
        "ties of float16 rounded up",
        "src/tile/half.h",
        "+ 0xfff + (bits >> 13 & 1)) >> 13",
        "+ 0x1000) >> 13",
        "half",
    ),
    # threads
    Fault(
        "workers beyond the limit of a job take part",
        "src/pool/pool.c",
        "return ticket_next(ticket) < ticket_runs(ticket) && (uint32_t)me <= ticket_limit(ticket);",
        "return (void)me, ticket_next(ticket) < ticket_runs(ticket);",
        "threads drivers",
    ),
    Fault(
        "a last run as long as the others",
        "src/pool/pool.c",
        "pool.chunks - chunk > pool.run ? chunk + pool.run : pool.chunks;",
        "chunk + pool.run;",
        "threads drivers",
    ),
    Fault(
        "the pool never free again",
        "src/pool/pool.c",
        "            store(&pool.busy, 0);\n",
        "",
        "threads drivers",
    ),
]


def run(tree: Path, *arguments: str) -> tuple[int | None, str]:
    """What Python returns and prints, in the tree; None if it had to be ended."""
    environment = {
        **os.environ,
        "CCONV1D_REQUIRE_EXTENSION": "1",
        "CCONV1D_DEBUG": "1",  # builds take half the time
        "PYTHONPATH": str(tree),
    }
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, output


def build(tree: Path) -> None:
    code, output = run(tree, "setup.py", "-q", "build_ext", "--inplace")
    if code != 0:
        sys.exit(output)


def test(tree: Path, names: str) -> str:
    """What noticed: a test, or how it ended; nothing if all tests passed."""
    files = [f"tests/test_{name}.py" for name in names.split()]
    code, output = run(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files)
    if code == 0:
        return ""
    if code is None:
        return f"no end in {SECONDS} s"
    if code < 0:
        return signal.Signals(-code).name
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(.+?)(?: - .*)?$", output, re.M)
    if not failed:
        sys.exit(output)
    return failed[0]


def main(words: list[str]) -> None:
    faults = [fault for fault in FAULTS if not words or any(word in fault.what for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "cconv1d")
        hidden = shutil.ignore_patterns(".git", "build", "*.so", "*.pyd", "_core.c", "__pycache__")
        shutil.copytree(REPO, tree, ignore=hidden)
        for fault in faults:
            text = (tree / fault.path).read_text("utf-8")
            if text.count(fault.old) != 1:
                sys.exit(
                    f"{fault.path} has not one place, but {text.count(fault.old)}: {fault.old}"
                )
        build(tree)
        names = sorted({name for fault in faults for name in fault.tests.split()})
        if noticed := test(tree, " ".join(names)):
            sys.exit(f"without any fault: {noticed}")

        print("| fault | in | noticed by | s |\n| --- | --- | --- | --- |")
        caught = 0
        built = True
        for fault in faults:
            path = tree / fault.path
            text = path.read_text("utf-8")
            compiled = fault.path.startswith("src/")
            start = time.monotonic()
            path.write_text(text.replace(fault.old, fault.new), "utf-8")
            if compiled or not built:
                build(tree)
            noticed = test(tree, fault.tests)
            path.write_text(text, "utf-8")
            built = not compiled
            caught += bool(noticed)
            seconds = time.monotonic() - start
            verdict = noticed or "**nothing**"
            print(f"| {fault.what} | {fault.path} | {verdict} | {seconds:.0f} |", flush=True)
    print(f"\n{caught} of {len(faults)} faults caught")
    if not words and caught < REQUIRED:
        sys.exit(f"at least {REQUIRED} should be")


if __name__ == "__main__":
    main(sys.argv[1:])
