"""Many cases in processes of their own, some at a time: what was found, and how much was done for it.

In: which seeds, under which stress mode, with which planted bug if any. Out: a `Finding` for each program that differs,
crashes, hangs or complains, and sums of what was run. A worker that found something, or died, is followed by a fresh
one that goes on behind it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKER = Path(__file__).with_name("worker.py")
SUMS = ("recordings", "compilations", "bridges", "kills", "entries", "exits")


@dataclass(frozen=True, slots=True)
class Finding:
    """A program that does not do the same: how it differs, or how its process ended."""

    seed: int
    what: str


@dataclass(slots=True)
class Outcome:
    """What a search has found and done. `programs` counts those that were compared, `values` what these logged."""

    findings: list[Finding] = field(default_factory=list)
    programs: int = 0
    values: int = 0
    too_long: int = 0
    sums: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Search:
    """Over the seeds from `first` on, up to `stop`, in `jobs` processes. `most`: how many findings are enough; `hang`:
    after how many seconds without news a worker hangs; `tell` is called with what there is after each program.
    Raises `RuntimeError` where a worker cannot begin."""

    mode: str
    first: int
    stop: int
    jobs: int = 2
    most: int = 10
    mutant: str = ""
    hang: float = 100.0
    tell: Callable[[Outcome], object] = lambda _: None
    outcome: Outcome = field(default_factory=Outcome)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Outcome:
        with ThreadPoolExecutor(self.jobs) as pool:
            for row in [pool.submit(self._row, self.first + number) for number in range(self.jobs)]:
                row.result()
        self.outcome.findings.sort(key=lambda finding: finding.seed)
        return self.outcome

    @property
    def _is_over(self) -> bool:
        return len(self.outcome.findings) >= self.most

    def _row(self, seed: int) -> None:
        """Every `jobs`-th seed, by as many workers as it takes."""
        while seed < self.stop and not self._is_over:
            seed = self._worker(seed) + self.jobs

    def _worker(self, first: int) -> int:
        """One worker, from this seed on; the last seed that it was at."""
        arguments = [self.mode, first, self.stop, self.jobs, *([self.mutant] if self.mutant else [])]
        with tempfile.TemporaryFile("w+") as errors:
            command = [sys.executable, str(WORKER), *map(str, arguments)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
                assert process.stdout is not None
                seed, is_done, hangs = self._listen(process, process.stdout, first)
                status = process.wait()
            errors.seek(0)
            said = errors.read().strip()
        if self._is_over:
            return seed
        if is_done is None:
            raise RuntimeError(f"the worker did not begin: {said}")
        if hangs:
            self._found(seed, f"hangs: no news for {self.hang:.0f} seconds")
        elif status or not is_done:
            self._found(seed, f"the process ended with status {status}: {said}")
        elif said:
            self._found(seed, f"standard error has something: {said}")
        return seed

    def _listen(self, process: subprocess.Popen[bytes], lines: IO[bytes], first: int) -> tuple[int, bool | None, bool]:
        """Follows a worker to its end; the last case that it was at, whether it was done with that (None if there
        was none), and whether it was ended since there was no news."""
        seed, is_done, hangs, stats = first, None, False, dict[str, int]()
        for line in _lines(lines, self.hang):
            if line is None:
                hangs = True
                process.kill()
            elif line.startswith("begin"):
                seed, is_done = int(line.split()[1]), False
            else:
                is_done, stats = True, self._take(json.loads(line)) or stats
            if self._is_over:
                process.kill()
        with self._lock:
            self.outcome.sums.update({name: stats.get(name, 0) for name in SUMS})
        return seed, is_done, hangs

    def _take(self, told: dict[str, Any]) -> dict[str, int]:
        with self._lock:
            self.outcome.programs += bool(told["logged"])
            self.outcome.values += told["logged"]
            self.outcome.too_long += not told["logged"] and not told["difference"]
        if told["difference"]:
            self._found(told["seed"], told["difference"])
        self.tell(self.outcome)
        return told["stats"] if told["logged"] else {}

    def _found(self, seed: int, what: str) -> None:
        with self._lock:
            self.outcome.findings.append(Finding(seed, what))


def _lines(pipe: IO[bytes], patience: float) -> Iterator[str | None]:
    """The lines that come out of a pipe, and None where for so many seconds nothing does."""
    rest = b""
    while True:
        if not select.select([pipe], [], [], patience)[0]:
            yield None
        chunk = os.read(pipe.fileno(), 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(bytes.decode, lines)
