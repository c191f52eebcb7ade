"""The stress mode `check`: what becomes of a region is compared with the region, stage by stage.

In: a region as it was built. Out: the same region after the passes, or an `OracleError` that says which stage is wrong,
and with which inputs. Of each stage the region is verified and evaluated, on the same few vectors of inputs; at last
the machine code that is made of it runs on them.

    build -> params -> ... -> prune -> machine code
         same?      same?        same?

What "the same" is says `compare`. Inputs are drawn from the seed and the number of the compilation, for the entry as
the last stage has it: passes may let more in. A run has little fuel. One that needs more is left at a poll, and if that
does not help says nothing, so that a region costs a few milliseconds on top of what LLVM takes.

Leaves out: how a region is entered and what an exit does with what it finds in the raw buffer. A loop in machine code
that never ends is not noticed here.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from minijit.backend.snapshots import RAW_WORDS, raw_words
from minijit.cpython import instances
from minijit.events import described, say
from minijit.ir.check import InvalidRegion
from minijit.ir.eval import Outcome, OutOfFuel, evaluate
from minijit.ir.kinds import ABSENT
from minijit.ir.ops import TABLE, UNBOUND, Effect, Leaves, attribute_meanings, instance_value
from minijit.ir.text import print_region
from minijit.opt import pipeline
from minijit.oracle.compare import CAREFUL, NanSign, TooWide, exact_outcome, keeps, keeps_polls
from minijit.oracle.inputs import Choices, Vector, vectors
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from minijit.ir.kinds import Field
    from minijit.ir.ops import Row
    from minijit.ir.region import Region
    from minijit.oracle.machine import Compiled

    Stage = tuple[str, Region]

VECTORS = 12
FUEL = 300
"""Ops that a region may run."""
MORE_FUEL = 4 * FUEL
"""The same for what is made of it: a pass may take ops out of a loop, or put some behind it."""
POLLS = (1, 1, 2, 5)
"""Where a run that is too long is left, as numbers of polls. Machine code can be left at the first only."""
BUILD, MACHINE = "build", "machine code"
STATUS = os.EX_SOFTWARE
"""With which the process ends."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose region it is: its function, its root's offset, the number of the compilation; and what seeds the choices,
    and LLVM's level."""

    name: str
    offset: int
    number: int
    seed: int
    level: int

    def __str__(self) -> str:
        return f"{self.name}@{self.offset}, region {self.number}"


class OracleError(Exception):
    """A stage is wrong. Its name is `stage`; `number` is that of the region."""

    def __init__(self, subject: Subject, stage: str, what: str) -> None:
        super().__init__(f"{subject}, stage {stage}: {what}")
        self.number = subject.number
        self.stage = stage


def optimised(
    region: Region,
    subject: Subject,
    *,
    passes: int | None = None,
    all_polls: bool = False,
    dump: Callable[[str, Region], None] | None = None,
) -> Region:
    """What `optimise` gives, if none of the passes is wrong, nor the lowering, as far as can be seen. Raises
    `OracleError`."""
    stages: list[Stage] = [(BUILD, region)]

    def note(name: str, made: Region) -> None:
        stages.append((name, made))
        if dump is not None:
            dump(name, made)

    try:
        result = pipeline.optimise(region, check=True, passes=passes, all_polls=all_polls, dump=note)
    except InvalidRegion as error:
        raise OracleError(subject, error.after, f"{error}\n{print_region(stages[-1][1])}") from error
    except Exception as error:
        failed = pipeline.PASSES[len(stages) - 1][0]
        raise OracleError(subject, failed, f"{described(error)}\n{print_region(stages[-1][1])}") from error
    compare_stages(stages, subject)
    return result


def compare_stages(stages: Sequence[Stage], subject: Subject) -> None:
    """Raises `OracleError` if a stage does not do what the one before it does, or machine code what the last does."""
    changes = [pair for pair in pairwise(stages) if pair[0][1] != pair[1][1]]
    last = stages[-1][1]
    choices = Choices(subject.seed * 2**32 + subject.number)
    trials = [Trial(vector, choices.of(POLLS)) for vector in vectors(last, choices, VECTORS)]
    for trial in trials:
        trial.begin(stages[0][1])
        for before, after in changes:
            _compare_pass(trial, before, after, subject)
    if raw_words(last) > RAW_WORDS:
        return  # the driver will not compile it either
    try:
        code = _machine(subject.level).compile(last)
    except Exception as error:
        raise OracleError(subject, MACHINE, f"{described(error)}\n{print_region(last)}") from error
    with code as compiled:
        for trial in trials:
            _compare_machine(trial, compiled, subject)


def _compare_pass(trial: Trial, before: Stage, after: Stage, subject: Subject) -> None:
    # What runs long since `wrap` has it go on where it left, is compared no further.
    if isinstance(trial.run(before[1]), OutOfFuel) or trial.keeps(before, after):
        return
    # A long run may just have had enough before.
    if isinstance(trial.run(after[1]), OutOfFuel) and not trial.is_short(before[1]):
        return
    # Another thread may have changed a global in between.
    again = Trial(trial.vector, trial.leave_at)
    if not again.keeps(before, after):
        found = f"{before[0]}: {again.told(before[1])}\n{after[0]}: {again.told(after[1])}"
        raise OracleError(subject, after[0], f"{again}, seed {subject.seed}\n{found}\n{_texts(before, after)}")


def _compare_machine(trial: Trial, compiled: Compiled, subject: Subject) -> None:
    if trial.is_same(compiled) or trial.is_same(compiled):  # again, as above
        return
    found = f"evaluated: {trial.told(compiled.region)}\nmachine code: {described(trial.machine(compiled))}"
    text = f"{trial}, seed {subject.seed}\n{found}\n{print_region(compiled.region)}"
    raise OracleError(subject, MACHINE, text)


def _texts(before: Stage, after: Stage) -> str:
    return "\n".join(f"{name}:\n{print_region(region)}" for name, region in (before, after))


@cache
def _machine(level: int) -> Machine:
    """One a process: it costs as much as some regions. Lists of the program's are not to be written."""
    return Machine(level, stores=False)


def _leaves(*_: object) -> object:
    raise Leaves


def _guard_values(instance: object) -> None:
    if not instances.has_values(instance):
        raise Leaves


def _field_value(instance: object, field: Field) -> object:
    if not field.is_value:
        return instance_value(instance, field)
    found = instances.value(instance, field)
    return UNBOUND if found is ABSENT else found


_NOTICED = (*(name for name, row in TABLE.items() if row.effect is Effect.STORE), "call_stateful")
UNTOUCHED = {name: replace(TABLE[name], meaning=_leaves) for name in _NOTICED} | {
    name: replace(TABLE[name], meaning=meaning)
    for name, meaning in {"guard_values": _guard_values, **attribute_meanings(_field_value)}.items()
}
"""The ops that could be noticed by the program whose objects they are run on: stores, calls that move something on, and
whatever would give an object a dict of its own."""


@dataclass(slots=True)
class Trial:
    """One vector on which stages are run. `leave_at` is the poll at which a run is left; 0 for none."""

    vector: Vector
    leave_at: int
    _runs: dict[int, Outcome] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"inputs {self.vector.inputs}, polls {f'leave at number {self.leave_at}' if self.leave_at else 'stay'}"

    def begin(self, region: Region) -> None:
        """Lets runs stay at polls if they are short enough."""
        poll, self.leave_at = self.leave_at, 0
        if not self.is_short(region):
            self.leave_at = poll

    def is_short(self, region: Region) -> bool:
        """Whether a run ends in good time."""
        return not isinstance(self._evaluate(region, TABLE, self.leave_at, FUEL), OutOfFuel)

    def keeps(self, before: Stage, after: Stage) -> bool:
        """Whether a pass keeps what the region before does."""
        if after[0] == "polls":
            return keeps_polls(before[1], after[1], self._run_to, self.leave_at)
        try:
            return keeps(after[0], before[1], after[1], self.run)
        except TooWide:
            return False

    def _run_to(self, region: Region, number: int) -> Outcome:
        return self._evaluate(region, TABLE, number, MORE_FUEL)

    def run(self, region: Region, table: Mapping[str, Row] = TABLE) -> Outcome:
        """What the evaluator says."""
        if table is not TABLE:
            return self._evaluate(region, table, self.leave_at, MORE_FUEL)
        # The trial's regions outlive it.
        if id(region) not in self._runs:
            self._runs[id(region)] = self._evaluate(region, table, self.leave_at, MORE_FUEL)
        return self._runs[id(region)]

    def told(self, region: Region) -> str:
        """What the evaluator says, in words."""
        return described(self.run(region))

    def is_same(self, compiled: Compiled) -> bool:
        """Whether machine code does what the evaluator says, if it can be asked to."""
        if self.leave_at > 1:
            return True
        try:
            wanted = self._evaluate(compiled.region, CAREFUL, self.leave_at, MORE_FUEL)
        except NanSign:
            return True
        return isinstance(wanted, OutOfFuel) or exact_outcome(wanted) == exact_outcome(self.machine(compiled))

    def machine(self, compiled: Compiled) -> Outcome:
        """What machine code does."""
        compiled.machine.set_breaker(self.leave_at)
        return compiled.run(self.vector.inputs, self.vector.objects)

    def _evaluate(self, region: Region, table: Mapping[str, Row], leave_at: int, fuel: int) -> Outcome:
        polls = iter(range(1, fuel + 1))
        return evaluate(
            region,
            self.vector.inputs,
            objects=self.vector.objects,
            fuel=fuel,
            should_leave=lambda _exit: next(polls) == leave_at,
            table={**table, **UNTOUCHED},
        )


def end_process(error: Exception) -> NoReturn:
    """Ends the process with what was wrong on standard error. The driver works in the midst of anything, where an
    exception would be the program's to catch, or nobody's."""
    say("minijit: " + "".join(traceback.format_exception(error)).rstrip())
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # whatever a stream of the program's may raise
            stream.flush()
    os._exit(STATUS)
