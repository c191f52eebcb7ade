"""Which region makes a program differ from its interpreted self, and which stage of that region.

In: the command that runs a program. Out: a `Culprit`, or None where there is no difference. The program is run again
and again, as a process of its own: first interpreted, then with all regions, then with fewer by the setting `limit`,
until the first region is found without which nothing differs, and then the first pass.

    MINIJIT_LIMIT=0      as it should be
    MINIJIT_LIMIT=5      the first five regions: still as it should be
    MINIJIT_LIMIT=6      wrong: region 6 it is
    MINIJIT_LIMIT=6:2    region 6 with its first two passes only: as it should be
    MINIJIT_LIMIT=6:3    wrong: the third pass

The first pass with which it is wrong need not be wrong itself: it may let in what goes wrong behind it, in the
lowering say. So the stress mode `check` has the last word, if it finds a stage of that region wrong. Where even the
region without passes is wrong, the builder or the lowering is to blame, which `check` and LLVM's level decide.

The idea of counting what a compiler does, and of letting it do only so much, is that of LLVM's `-opt-bisect-limit`;
searching by halves for the step that broke something is older than both.

Regions come up in the same order in each run as far as the program, and its threads and clocks, do the same in each: a
program that prints something else when it is interpreted again is refused.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.config import from_environment
from minijit.opt.pipeline import PASSES
from minijit.oracle.check import MACHINE
from minijit.oracle.runs import INTERPRETED, Run, difference, run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE = 30.0
SLOWER = 10.0
"""A compiled run may take so many times as long as the interpreted one, and `PATIENCE` seconds more."""
MOST = 2**20
"""More regions than any program has."""
SEEDS = 3
"""How many sets of inputs `check` is to try."""
BUILD, LOWER = "build", "lower"
_LEFT_OUT = re.compile(r"^minijit: aborted +(.*)@(\d+) reason=limit .*detail=region (\d+), (.*)$", re.MULTILINE)


class NotDeterministic(Exception):
    """The program does not do the same each time: nothing can be said."""


class NothingCompiled(Exception):
    """The program has no region: whether it would differ cannot be said."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """What was found. `what` is the difference; `stage` a pass, `build` or `lower`; `limits` the settings of `limit`
    with which it is not there yet, and with which it is; `needs_llvm` whether it is gone without LLVM's passes;
    `is_proven` whether that stage was seen to be wrong."""

    what: str
    number: int
    function: str
    offset: int
    place: str
    stage: str
    limits: tuple[str, str]
    needs_llvm: bool
    is_proven: bool

    def lines(self, command: Sequence[str]) -> list[str]:
        """The report, with commands that show it."""
        run = shlex.join(command)
        right, wrong = (f"MINIJIT_LIMIT={limit} {run}" for limit in self.limits)
        dump = "llvm,llvm-opt" if self.stage == LOWER else "region,passes"
        return [
            f"different: {self.what}",
            f"region {self.number}: {self.function}@{self.offset}, {self.place}",
            f"stage: {self._stage()}",
            f"without LLVM's passes (MINIJIT_OPTIMISE=0): {'no difference' if self.needs_llvm else 'different, too'}",
            f"as it should be: {right}",
            f"different:       {wrong}",
            f"what is made:    MINIJIT_DUMP={dump} {wrong}",
        ]

    def _stage(self) -> str:
        doubt = "" if self.is_proven else f" (or {LOWER}, with inputs that `check` has not tried)"
        names = [name for name, _ in PASSES]
        place = f", pass {names.index(self.stage) + 1} of {len(names)}" if self.stage in names else ""
        return f"{self.stage}{place}{doubt}"


def bisect(command: Sequence[str], *, patience: float = PATIENCE) -> Culprit | None:
    """Finds what makes the program of a command differ; None if nothing does. Raises `NotDeterministic` and
    `NothingCompiled`."""
    wanted = run_command(command, INTERPRETED)
    search = _Search(command, wanted, SLOWER * wanted.seconds + patience)
    again = search.run("0", MINIJIT_LOG="trace")
    if difference(wanted, again):
        raise NotDeterministic("interpreted twice, it does not do the same")
    what = search.difference("")
    if not what:
        if _LEFT_OUT.search(again.errors) is None:
            raise NothingCompiled("nothing of it was compiled")
        return None
    if search.difference("0"):
        raise NotDeterministic("interpreted three times, it does not do the same")
    some = _some(search.differs)
    number = _first(search.differs, some // 2, some)
    function, offset, place = search.root(number)
    stage, limits, is_proven = search.stage(number)
    needs_llvm = not search.difference(limits[1], MINIJIT_OPTIMISE="0")
    if needs_llvm and not is_proven:
        stage = LOWER
    return Culprit(what, number, function, offset, place, stage, limits, needs_llvm, is_proven)


def _some(differs: Callable[[int], bool]) -> int:
    """A number that differs: the first power of two."""
    number = 1
    while not differs(number):
        number *= 2
        if number > MOST:
            raise NotDeterministic("it differs at times only")
    return number


def _first(differs: Callable[[int], bool], low: int, high: int) -> int:
    """The first number above `low`, which does not differ, up to `high`, which does."""
    while high - low > 1:
        middle = (low + high) // 2
        if differs(middle):
            high = middle
        else:
            low = middle
    return high


@dataclass(frozen=True, slots=True)
class _Search:
    """Runs of one program, which are compared with what is wanted."""

    command: Sequence[str]
    wanted: Run
    timeout: float

    def run(self, limit: str, **settings: str) -> Run:
        return run_command(self.command, {"MINIJIT_LIMIT": limit, **settings}, self.timeout)

    def difference(self, limit: str, **settings: str) -> str:
        return difference(self.wanted, self.run(limit, **settings))

    def differs(self, number: int) -> bool:
        return bool(self.difference(str(number)))

    def root(self, number: int) -> tuple[str, int, str]:
        """Function, offset and place of a region: the first that is left out if those before it are compiled."""
        errors = self.run(str(number - 1), MINIJIT_LOG="trace").errors
        for function, offset, other, place in _LEFT_OUT.findall(errors):
            if int(other) == number:
                return function, int(offset), place
        raise NotDeterministic(f"with region {number} it differs, but there is no such region each time")

    def stage(self, number: int) -> tuple[str, tuple[str, str], bool]:
        """The stage of a region that is to blame, the limits before it and behind it, and whether that is certain."""

        def differs(passes: int) -> bool:
            return bool(self.difference(f"{number}:{passes}"))

        if differs(0):
            limits = str(number - 1), f"{number}:0"
            said = self.checked(number, limits[1])
            return LOWER if said == MACHINE else BUILD, limits, said == MACHINE
        count = _first(differs, 0, len(PASSES))
        limits = f"{number}:{count - 1}", f"{number}:{count}"
        said = self.checked(number, limits[1])
        # The pass may be right, and let in what goes wrong behind it.
        return LOWER if said == MACHINE else said or PASSES[count - 1][0], limits, bool(said)

    def checked(self, number: int, limit: str) -> str:
        """The stage of a region that `check` finds wrong; empty if it finds nothing."""
        config = from_environment()
        stress = f"{config.stress},check".removeprefix(",")
        for seed in range(config.seed, config.seed + SEEDS):
            errors = self.run(limit, MINIJIT_STRESS=stress, MINIJIT_SEED=str(seed)).errors
            found = re.search(rf", region {number}, stage ([^:\n]+): ", errors)
            if found is not None:
                return found[1]
        return ""
