"""Compare every kernel: the interpreter, minijit, numba, C by gcc, PyPy, LuaJIT.

In: the kernels and whichever peers are installed. Out: a table on standard output, and with `--json` all
samples in pyperf's format. The peers of this process take turns round by round, so that a slow moment of the
machine meets all of them; PyPy and LuaJIT are timed in processes of their own. Every result is compared with
the interpreter's: a peer that computes something else gets no number, and if that peer is minijit, the exit
status is 1.
"""

import argparse
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import peers
from kernels import KERNELS, Kernel, named
from timing import AT_LEAST, loops_for, seconds_per_call, warm

WARMING = ["minijit", "numba"]
COMPILED = ["gcc", "numba", "pypy", "luajit"]


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured for one kernel: seconds per call for each peer, and why a peer has none.

    `loops` says how many calls one sample is the mean of.
    """

    kernel: Kernel
    samples: dict[str, list[float]] = field(default_factory=dict)
    loops: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    first: dict[str, list[float]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)

    def median(self, peer: str) -> float | None:
        return statistics.median(self.samples[peer]) if peer in self.samples else None

    def ratio(self, over: str, under: str) -> float | None:
        upper, lower = self.median(over), self.median(under)
        return None if upper is None or lower is None else upper / lower

    def first_ms(self, peer: str) -> float | None:
        return 1e3 * statistics.median(self.first[peer]) if peer in self.first else None

    def accept(self, peer: str, result: object) -> bool:
        """Whether the peer computes what the kernel must give; note it if not."""
        if result != self.kernel.expected:
            self.wrong.add(peer)
            self.reasons[peer] = f"gives {result!r} instead of {self.kernel.expected!r}"
        return peer not in self.wrong


def measure(kernel: Kernel, chosen: list[str], rounds: int) -> Row:
    row = Row(kernel)
    measure_here(row, [peer for peer in peers.IN_PROCESS if peer in chosen], rounds)
    for peer in (peer for peer in peers.IN_SUBPROCESS if peer in chosen):
        if peer in kernel.skips:
            row.reasons[peer] = kernel.skips[peer]
            continue
        try:
            answer = peers.IN_SUBPROCESS[peer](kernel, AT_LEAST, rounds)
        except peers.Unavailable as error:
            row.reasons[peer] = str(error)
            continue
        if row.accept(peer, answer.result):
            row.samples[peer] = answer.samples
            row.loops[peer] = answer.loops
    return row


def measure_here(row: Row, chosen: list[str], rounds: int) -> None:
    """Take the samples of the peers in this process, in turns and in alternating order."""
    ready = {peer: call for peer in chosen if (call := prepare(row, peer)) is not None}
    for call in ready.values():
        warm(call)
    row.loops.update({peer: loops_for(call) for peer, call in ready.items()})
    for turn in range(rounds):
        for peer in list(ready)[:: -1 if turn % 2 else 1]:
            row.samples.setdefault(peer, []).append(seconds_per_call(ready[peer], row.loops[peer]))


def prepare(row: Row, peer: str) -> peers.Call | None:
    """Make the call and check its result; the check is the first call, the one that compiles."""
    if peer in row.kernel.skips:
        row.reasons[peer] = row.kernel.skips[peer]
        return None
    try:
        call = peers.IN_PROCESS[peer](row.kernel)
    except peers.Unavailable as error:
        row.reasons[peer] = str(error)
        return None
    return call if row.accept(peer, call()) else None


def measure_first_calls(row: Row, chosen: list[str], rounds: int) -> None:
    wanted = [peer for peer in WARMING if peer in chosen and peer not in row.reasons]
    for _ in range(rounds):
        for peer in wanted:
            if f"{peer} warm-up" in row.reasons:
                continue
            try:
                seconds = peers.first_call(row.kernel, peer)["seconds"]
            except peers.Unavailable as error:
                row.reasons[f"{peer} warm-up"] = str(error)
            else:
                row.first.setdefault(peer, []).append(seconds)


def cell(value: float | None, form: str = "{:.2f}") -> str:
    return "-" if value is None else form.format(value)


def means(before: list[str], columns: Iterable[list[float | None]]) -> list[list[str]]:
    """Give the rows of the geometric means and of the medians, each over the kernels that have a number."""
    known = [[value for value in column if value is not None] for column in columns]
    kinds = {"geometric mean": statistics.geometric_mean, "median": statistics.median}
    return [
        [kind, *before, *(cell(mean(column) if column else None) for column in known)] for kind, mean in kinds.items()
    ]


def print_table(head: list[str], lines: list[list[str]]) -> None:
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    for line in [head, *lines]:
        cells = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells]).rstrip())
    print()


def print_speeds(rows: list[Row]) -> None:
    """Print speed-ups over the interpreter, and minijit's time over each peer's: below 1 minijit wins."""
    head = ["kernel", "interpreted ms", "speed-up", *(f"minijit/{peer}" for peer in COMPILED)]
    columns = [
        [row.ratio("interpreted", "minijit") for row in rows],
        *([row.ratio("minijit", peer) for row in rows] for peer in COMPILED),
    ]
    lines = [
        [row.kernel.name, milliseconds(row, "interpreted"), *(cell(column[place]) for column in columns)]
        for place, row in enumerate(rows)
    ]
    print_table(head, lines + means([""], columns))


def milliseconds(row: Row, peer: str) -> str:
    median = row.median(peer)
    return cell(None if median is None else 1e3 * median, "{:.4f}")


def print_times(rows: list[Row], chosen: list[str]) -> None:
    lines = [[row.kernel.name, *(milliseconds(row, peer) for peer in chosen)] for row in rows]
    print_table(["ms per call", *chosen], lines)


def print_first_calls(rows: list[Row]) -> None:
    columns = [[row.first_ms(peer) for row in rows] for peer in WARMING]
    lines = [[row.kernel.name, *(cell(column[place]) for column in columns)] for place, row in enumerate(rows)]
    print_table(["until compiled, ms", *WARMING], lines + means([], columns))


def print_remarks(rows: list[Row]) -> None:
    for row in rows:
        remarks = [f"{peer}: {reason}" for peer, reason in row.reasons.items()]
        if row.kernel.note:
            remarks.insert(0, row.kernel.note)
        if remarks:
            print(f"{row.kernel.name}: {'; '.join(remarks)}")


def write_json(rows: list[Row], path: Path) -> None:
    """Write all samples for pyperf; without its metadata, which would name the machine."""
    import pyperf

    def benchmark(name: str, samples: list[float], loops: int) -> pyperf.Benchmark:
        metadata = {"name": name, "unit": "second", "loops": loops}
        return pyperf.Benchmark([pyperf.Run(samples, metadata=metadata, collect_metadata=False)])

    benchmarks = []
    for row in rows:
        name = row.kernel.name
        for peer, samples in row.samples.items():
            benchmarks.append(benchmark(f"{name}-{peer}", samples, row.loops[peer]))
        for peer, samples in row.first.items():
            benchmarks.append(benchmark(f"{name}-first-{peer}", samples, 1))
    pyperf.BenchmarkSuite(benchmarks).dump(str(path), replace=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare minijit with its peers.")
    parser.add_argument("--kernel", action="append", metavar="NAME", help="only this kernel; may be repeated")
    parser.add_argument("--peers", default=",".join(peers.PEERS), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=9, help="samples for each peer, default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="three rounds, and no warm-up table")
    parser.add_argument("--times", action="store_true", help="a table of everybody's times as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples in pyperf's format")
    options = parser.parse_args()
    options.peers = options.peers.split(",")
    if unknown := set(options.peers) - set(peers.PEERS):
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are: {', '.join(peers.PEERS)}")
    return options


def main() -> None:
    options = parse()
    rows = []
    for kernel in [named(name) for name in options.kernel] if options.kernel else KERNELS:
        print(f"{kernel.name} ...", file=sys.stderr, flush=True)
        row = measure(kernel, options.peers, 3 if options.quick else options.rounds)
        if not options.quick:
            measure_first_calls(row, options.peers, 3)
        rows.append(row)
    print_speeds(rows)
    if options.times:
        print_times(rows, options.peers)
    if not options.quick:
        print_first_calls(rows)
    print_remarks(rows)
    if options.json:
        write_json(rows, options.json)
    if any("minijit" in row.wrong for row in rows):
        raise SystemExit("minijit gave a wrong result")


if __name__ == "__main__":
    main()
