"""`make fuzz N=10000 STRESS=exits:7`: random programs, interpreted and compiled, until there are enough.

    python fuzz.py N [--stress MODES] [--first SEED] [--jobs J] [--out DIRECTORY] [--mutant NAME]

`--stress mixed` (the default) runs each program under one of `runs.MODES`. Prints how it goes, then all findings, each
with the seed that brings it back (`--first SEED` with N = 1). Of the first ones it makes short programs in `out/fuzz`,
and says which region and which stage are to blame (see `reproduce`). The exit code is 1 if anything was found.
`--mutant` plants a bug of the catalogue, to see all this.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from catalogue import CATALOGUE
from runs import MIXED
from search import Outcome, Search

from minijit.config import parse_stress

REDUCED = 3
"""How many of the findings are reduced."""
REPRODUCE = Path(__file__).with_name("reproduce.py")


def main() -> int:
    parser = argparse.ArgumentParser(description="Random programs, interpreted and compiled.")
    parser.add_argument("programs", type=_positive)
    parser.add_argument("--stress", default=MIXED, type=_modes)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=_positive, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--most", type=_positive, default=10, help="findings that are enough")
    parser.add_argument("--mutant", default="", choices=CATALOGUE, metavar="NAME")
    chosen = parser.parse_args()
    started = time.monotonic()
    search = Search(
        mode=chosen.stress,
        first=chosen.first,
        stop=chosen.first + chosen.programs,
        jobs=chosen.jobs,
        most=chosen.most,
        mutant=chosen.mutant,
        tell=Progress(started),
    )
    outcome = search.run()
    search.tell(outcome)
    print(f"seeds {search.first} to {search.stop - 1}, stress {search.mode or 'none'}: {told(outcome, started)}")
    for finding in outcome.findings[:REDUCED]:
        arguments = [str(finding.seed), chosen.stress, chosen.out, *filter(None, [chosen.mutant])]
        subprocess.run([sys.executable, REPRODUCE, *arguments], check=False)
    return bool(outcome.findings)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _modes(text: str) -> str:
    if text != MIXED:
        parse_stress(text)
    return text


class Progress:
    """Says what was found as soon as it is, and now and then how far the search is."""

    EVERY = 60.0

    def __init__(self, started: float) -> None:
        self.started, self.next, self.found = started, started + self.EVERY, 0

    def __call__(self, outcome: Outcome) -> None:
        for finding in outcome.findings[self.found :]:
            print(f"seed {finding.seed}: {finding.what}", flush=True)
        self.found = len(outcome.findings)
        if time.monotonic() > self.next:
            self.next += self.EVERY
            print(f"  {told(outcome, self.started)}", flush=True)


def told(outcome: Outcome, started: float) -> str:
    sums = ", ".join(f"{count} {name}" for name, count in outcome.sums.items())
    return (
        f"{outcome.programs} programs, {outcome.values} values, {len(outcome.findings)} differences "
        f"({outcome.too_long} programs took too long; {sums or 'still running'}) in {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
