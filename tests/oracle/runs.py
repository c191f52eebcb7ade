"""Random programs run twice, interpreted and compiled: what differs.

In: a *case*, all of which follows from a seed and a stress mode: the program, the policy and the settings under which it
runs compiled. Out: the first difference, in words.

Compared is what the program logs, in its order: values with exact type and bits, exceptions with their message and the
functions, lines and instructions of the traceback; its globals in the end; the references to a probe that was handed
through; and the blocks of memory that are left over when both runs have been thrown away.
"""

from __future__ import annotations

import builtins
import gc
import random
import signal
import sys
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import minijit
from minijit.config import from_environment

sys.path.insert(0, str(Path(__file__).parents[1]))
from behaviour.twin import Bridging, Patient, enabled, exact, trace_of
from strategies.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 0.5
"""What an interpreted program may take of the processor: of the few that need longer nothing is learnt."""
SOON = {"CALL_THRESHOLD": 3, "LOOP_THRESHOLD": 10, "EXIT_THRESHOLD": 5, "MISS_THRESHOLD": 3, "COMPILE_SECONDS": 10**6}
MODES = ("", "exits:7", "kill:0.01", "", "osr,exits:3", "hot,bridges", "", "hot,osr,kill:0.01", "check", "exits:1")
"""The stress modes that a row of programs is run under in turn."""
MIXED = "mixed"
BUDGET = 800
"""The programs of a run of the tests; mutants must be found by so many."""
LEFT_OVER = 200
"""How many blocks of memory a program may leave behind, twice: caches of the interpreter's grow now and then."""


class TooLong(BaseException):
    """The time is up."""


def stop(*_: object) -> None:
    raise TooLong


@dataclass(frozen=True, slots=True)
class Case:
    """`mode` is a setting of stress modes, or `mixed` for one that the seed chooses. `text` is the program, if it is not
    the random one of that seed."""

    seed: int
    mode: str = MIXED
    text: str = ""

    @property
    def program(self) -> str:
        return self.text or program(random.Random(self.seed))

    @property
    def stress(self) -> str:
        return MODES[self.seed % len(MODES)] if self.mode == MIXED else self.mode

    @property
    def environment(self) -> dict[str, str]:
        """The settings. Most are compiled without LLVM's passes, which take most of the time. Some have a sample of their
        calls done both ways, which must not be noticed; what that finds is a complaint."""
        choices = random.Random(f"settings of {self.seed}")
        settings = SOON | {
            "OPTIMISE": choices.choice((2, *[0] * 9)),
            "CHECK": choices.choice((1, *[0] * 9)),
            "COMPARE": choices.choice((1, 0, 0, 0)),
            "STRESS": self.stress,
            "SEED": self.seed,
        }
        return {f"MINIJIT_{name}": str(value) for name, value in settings.items()}

    def policy(self, config: minijit.Config) -> minijit.Policy | None:
        """The default policy, or one that compiles all at once, or one that bridges, and both never give up."""
        make: Callable[[minijit.Config], minijit.Policy | None]
        make = ((lambda _: None), Patient, Bridging)[self.seed % 3]
        return make(config)


WARM_UP = """
@jit
def f(n, x):
    for i in range(n):
        x += i * 0.5 if i & 3 else abs(x) * 2
    return n, round(x, 2)

def main():
    for k in range(40):
        log(f(k, k * 0.5))
"""


@cache
def warm_up(stress: str) -> None:
    """To be called before anything is compared under a stress mode: what is made once a process is no leak."""
    result, _ = _compared(Case(0, stress, WARM_UP))
    if result.difference:
        raise AssertionError(f"the warm-up under {stress or 'no stress'}: {result.difference}")
    # What is there by now need not be looked at by each collection.
    gc.freeze()


@dataclass(slots=True)
class Run:
    """What was seen of a program."""

    logged: list[object]
    references: int
    globals: object


def run(text: str, decorate: Callable[[Any], Any]) -> Run:
    """Runs a program with this decorator, which its module gets as well: in the form of a function."""
    logged: list[object] = []

    def log(*values: object) -> None:
        for value in values:
            is_error = isinstance(value, BaseException)
            logged.append((type(value), str(value), trace_of(value)) if is_error else exact(value))

    probe = object()
    scope: dict[str, Any] = {"__builtins__": builtins, "jit": decorate, "log": log, "probe": probe}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant where a variable might stand
        module = FunctionType(compile(text, "<program>", "exec"), scope)
    decorate(module)()
    scope["main"]()
    numbers = [(name, exact(value)) for name, value in scope.items() if type(value) in (int, float, bool, tuple)]
    references = sys.getrefcount(probe)
    # Functions and their globals refer to each other: not to be left to the collector.
    scope.clear()
    return Run(logged, references, numbers)


def interpreted(text: str) -> Run | None:
    """A program's run in the interpreter; None if it takes too long."""
    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        return run(text, lambda function: function)
    except TooLong:
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def compiled(case: Case, text: str) -> tuple[Run, minijit.Stats]:
    """A program's run under minijit, which is enabled for it and disabled afterwards; and all that it did so far."""
    config = from_environment(case.environment)
    with enabled(config):
        found = run(text, minijit.jit(policy=case.policy(config)))
        return found, minijit.stats()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case. `difference` is empty if there is none; `logged` counts values, and is 0 for a program that took
    too long."""

    difference: str
    logged: int
    stats: minijit.Stats


def compare(case: Case) -> Result:
    """Runs a case both ways. Where blocks of memory are left over, once more: caches keep them once, leaks each time."""
    result, more = _compared(case)
    if more > LEFT_OVER and not result.difference:
        result, more = _compared(case)
        if more > LEFT_OVER and not result.difference:
            return replace(result, difference=f"{more} blocks of memory are left over")
    return result


def _compared(case: Case) -> tuple[Result, int]:
    """What came of a case, and how many blocks of memory there are more."""
    text = case.program
    wanted = interpreted(text)
    if wanted is None:
        return Result("", 0, minijit.Stats()), 0
    gc.collect()
    before = sys.getallocatedblocks()
    try:
        found, stats = compiled(case, text)
    except AssertionError as error:
        return Result(f"minijit itself failed: {error}", 0, minijit.Stats()), 0
    result = Result(_difference(wanted, found), len(wanted.logged), stats)
    del wanted, found, stats
    gc.collect()
    return result, sys.getallocatedblocks() - before


def _difference(wanted: Run, found: Run) -> str:
    for index, (one, other) in enumerate(zip(wanted.logged, found.logged, strict=False)):
        if one != other:
            return f"logged at {index}: {other} instead of {one}"
    if len(wanted.logged) != len(found.logged):
        return f"{len(found.logged)} values logged instead of {len(wanted.logged)}"
    if wanted.globals != found.globals:
        return f"globals: {found.globals} instead of {wanted.globals}"
    if wanted.references != found.references:
        return f"{found.references} references to the probe instead of {wanted.references}"
    return ""
