"""Everything at once, for as long as one likes: results, and what is left when all is quiet again.

    python tests/behaviour/storm.py SECONDS [--seed N] [--stress MODES] [--each SECONDS] [--plain]

In: seconds, a seed, and stress modes (see `Config.stress`; by default each weather has its own). A storm is a row of
*weathers* of some seconds each (`--each`). In each, threads call the functions of `mixture` with arguments of all types, some of
them under a trace or profile function, and compare; the main thread does the same while signals come, whose handler
does it too, raises at times, and forks; other threads release functions, change what they rely on, make and drop
others, look, collect; another tool comes and goes; minijit is disabled and enabled; finalisers call what they were made
by. Out: the figures (see `figures`) in the quiet now and then, and exit code 1 with the seed, the weather
and what went wrong: a result, lines that a trace function has not seen, a child process that failed, a word on
standard error, or a figure that has grown since a third of the way, by when every weather should have been there twice.

Which threads do what is drawn from the seed; when they do it is the system's choice. `--plain` leaves minijit out,
to see what the interpreter makes of such weather by itself.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import sys
import time
import warnings
from collections import Counter

from figures import Figures, code_bytes, figures, grown
from twin import compiled_from
from weather import TOOL, Weather, unraisable

import minijit

HANG = 120.0
"""So many seconds after a weather should have been over the stacks are printed, and the process ends."""
MODES = ("", "hot", "exits:3", "kill:0.05", "osr", "bridges", "exits:7,hot,bridges", "kill:0.02,osr,hot")
"""The stress modes of the weathers, by turns."""
TOLERATED = {"memory": 8_000_000, "blocks": 2_000, "objects": 100}
"""For a process with threads, whose allocators have pools of their own."""
REPORTED = 40
"""After so many weathers there is a line of figures."""
M_ARENA_MAX = -8
"""What `mallopt` calls the number of heaps."""


class Told:
    """Stands for standard error: whatever is written there meanwhile is a failure."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def quiet(*, plain: bool) -> Figures:
    """The figures while minijit is off; those of machine code while it is on, with nothing compiled."""
    before = figures()
    if plain:
        return before
    with minijit.enable(minijit.Config(optimise=0)):
        f = minijit.jit(compiled_from("def f():\n    return 1\n"))
        assert f() == 1
        code = code_bytes()
    return Figures(**{name: getattr(before, name) for name in Figures.__slots__} | {"code_bytes": code})


def storm(
    seconds: float, seed: int, stress: str | None, each: float | None, *, plain: bool
) -> tuple[list[str], Counter[str]]:
    """One weather after the other; what went wrong, and what there was."""
    modes = MODES if stress is None else (stress,) * len(MODES)
    each = each or min(5.0, seconds / (3 * len(MODES)))
    counts: Counter[str] = Counter()
    first = None
    started = time.perf_counter()
    until, warm = started + seconds, started + seconds / 3
    told = sys.stderr = Told()
    number = 0
    while time.perf_counter() < until:
        faulthandler.dump_traceback_later(each + HANG, exit=True, file=sys.__stderr__)
        mode = modes[number % len(modes)]
        weather = Weather(f"{seed}/{number}", mode, plain=plain)
        weather.run(each)
        # Entries are counted since the process began.
        entries = max(counts.pop("entries", 0), weather.counts.pop("entries"))
        counts += weather.counts + Counter(entries=entries)
        if told.text:
            weather.fail(told.text)
        if weather.failures:
            return [f"seed {seed}, weather {number} ({mode or 'no stress'}): {f}" for f in weather.failures], counts
        del weather
        number += 1
        is_warm = number >= 2 * len(set(modes)) and time.perf_counter() > warm
        if is_warm if first is None else number % REPORTED == 0:
            last = quiet(plain=plain)
            first = first or last
            print(f"{number} weathers: {last}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    sys.stderr = sys.__stderr__
    counts["weathers"] = number
    return [] if first is None else grown(first, quiet(plain=plain), **TOLERATED), counts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="everything at once")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stress", help="stress modes of all weathers, in place of their own")
    parser.add_argument("--each", type=float, help="seconds of a weather")
    parser.add_argument("--plain", action="store_true", help="without minijit")
    options = parser.parse_args(arguments)
    # The children of a process with threads call nothing that could have been half done, as long as we are right.
    warnings.simplefilter("ignore", DeprecationWarning)
    sys.unraisablehook = unraisable
    # One heap for all threads: otherwise memory is a matter of which thread allocated what.
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    sys.monitoring.use_tool_id(TOOL, "storm")
    print(f"seed {options.seed}", flush=True)
    found, counts = storm(options.seconds, options.seed, options.stress, options.each, plain=options.plain)
    print(dict(sorted(counts.items())))
    for failure in found:
        print(failure)
    return bool(found)


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())
