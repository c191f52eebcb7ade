"""Programs to try in every way in which compiled code is entered and left, a group of them for each test file.

In: functions with ordinary arguments and other arguments, registered with `case`, or their text with `add`. Out: four
ways with all thresholds low and one with the defaults, each of which fails with everything that differs from what a
plain twin does. Each program is tried as it is, and in a second form with `*rest` added to its parameters, in which
only its loops are compiled, entered on the stack. The programs that may stay interpreted are named, so that no other
does by accident.
"""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twin import LOW, Bridging, Patient, Twins, check, compiled_from, enabled, together

import minijit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Arguments = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A function's text, and what it is called with."""

    name: str
    source: str
    ordinary: Arguments
    special: tuple[Arguments, ...]
    names: dict[str, object]

    def fresh(self) -> Any:
        """The function made anew, since minijit knows functions for good."""
        return compiled_from(self.source, self.name, **self.names)

    def with_rest(self) -> Any:
        """The function with `*rest` as its last parameter: calls cannot enter it, loops can."""
        head, *body = self.source.splitlines()
        return compiled_from("\n".join((head.replace("):", ", *rest):"), *body)), self.name, **self.names)


class Programs:
    """A group of programs.

    `interpreted` names those that may never be entered, `called` those whose loops need not be entered on the stack;
    `names` are the globals that the programs find beside the builtins.
    """

    def __init__(self, *, interpreted: str = "", called: str = "", **names: object) -> None:
        self.programs: list[Program] = []
        self.interpreted = set(interpreted.split())
        self.called = set(called.split())
        self.names = names

    def case(self, ordinary: Arguments, *special: Arguments) -> Callable[[Any], Any]:
        """Adds a function."""

        def register(function: Any) -> Any:
            lines = textwrap.dedent(inspect.getsource(function)).splitlines()
            start = next(k for k, line in enumerate(lines) if line.startswith("def "))
            self.add(function.__name__, "\n".join(lines[start:]), ordinary, *special)
            return function

        return register

    def add(self, name: str, source: str, ordinary: Arguments, *special: Arguments) -> None:
        """Adds a function that is given as text, which starts with its `def`."""
        self.programs.append(Program(name, source, ordinary, special, self.names))

    def entered_by_calls(self) -> None:
        """All branches compiled at once."""
        self._all_entered(Program.fresh, self.interpreted)

    def entered_by_calls_with_bridges(self) -> None:
        """Branches compiled when they are hot; every second program."""
        with enabled():
            check_all(self.programs[::2], Program.fresh, Bridging(LOW), times=20)

    def entered_on_the_stack(self) -> None:
        """All branches compiled at once."""
        self._all_entered(Program.with_rest, self.interpreted | self.called)

    def entered_on_the_stack_with_bridges(self) -> None:
        """Branches compiled when they are hot; the other half."""
        with enabled():
            check_all(self.programs[1::2], Program.with_rest, Bridging(LOW), times=20)

    def by_default(self) -> None:
        """Default thresholds and decisions."""
        with minijit.enable():
            together(partial(_by_default, program) for program in self.programs)

    def _all_entered(self, make: Callable[[Program], Any], but: set[str]) -> None:
        with enabled():
            entered = check_all(self.programs, make, Patient(LOW), times=10)
        never = {name for name, count in entered.items() if not count}
        assert never <= but, never - but


def check_all(
    programs: Sequence[Program], make: Callable[[Program], Any], policy: minijit.Policy, *, times: int
) -> dict[str, int]:
    """Checks some programs; how often each was entered."""
    entered: dict[str, int] = {}

    def one(program: Program) -> None:
        twins = check(make(program), program.ordinary, program.special, times=times, policy=policy, entered=False)
        entered[program.name] = twins.entries

    together(partial(one, program) for program in programs)
    return entered


def _by_default(program: Program) -> None:
    twins = Twins(program.fresh())
    for arguments in [program.ordinary, *program.special, program.ordinary]:
        twins.times(60, *arguments)
