"""A function and its plain twin: both are called, and nothing may tell them apart.

The *plain twin* of a function is a function of the same globals, defaults and closure over a copy of its code object,
which minijit was never told of. `outcome` is everything that a caller can see of a call: the value with its exact type
and bits, or the exception with its message and the traceback's functions, lines and instructions. `Twins` calls both
alternately and fails with the first difference.

Policies for tests: `Patient` never gives up and compiles every branch at once, so that an exit under test stays what it
is however often it is taken; `Bridging` never gives up and does make bridges.
"""

from __future__ import annotations

import dis
import math
import struct
import sys
import types
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import minijit
from minijit.driver import api
from minijit.events import AbortReason
from minijit.runtime.policy import Bridge, GiveUp, Record, Resume, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from minijit.events import ExitReason

LOW = minijit.Config(
    call_threshold=3, loop_threshold=10, exit_threshold=5, miss_threshold=3, check=True, compile_seconds=1e6
)
"""Everything happens soon, and every region is verified after every pass."""
CACHE = dis.opmap["CACHE"]
SEVERAL = 30
MANY = 1000


class Patient(minijit.Policy):
    """Compiles all branches unseen and lets every exit be taken for ever."""

    def compile_unseen(self, _root: Any) -> bool:
        return True

    def after_exit(self, exit: Any) -> Resume:
        return Resume(max(exit.count, 100))

    def after_abort(self, root: Any) -> Wait:
        answer = super().after_abort(root)
        return Wait(1000) if isinstance(answer, GiveUp) else answer

    def after_miss(self, miss: Any) -> Record | Wait:
        answer = super().after_miss(miss)
        return Wait(10 * miss.misses) if isinstance(answer, GiveUp) else answer


class Bridging(Patient):
    """Makes bridges as the default policy does."""

    def compile_unseen(self, root: Any) -> bool:
        return super(Patient, self).compile_unseen(root)

    def after_exit(self, exit: Any) -> Bridge | Resume:
        answer = super(Patient, self).after_exit(exit)
        return Resume(10 * exit.count) if isinstance(answer, GiveUp) else answer


# What can be seen of a call


def exact(value: object) -> object:
    """The value in a form that is equal for values that nothing can tell apart, but for their identity."""
    match value:
        case float():
            return (type(value), "nan" if math.isnan(value) else struct.pack("<d", value))
        case complex():
            return (type(value), exact(value.real), exact(value.imag))
        case tuple() | list():
            return (type(value), *map(exact, value))
        case dict():
            return (type(value), *((exact(k), exact(v)) for k, v in value.items()))
    if type(value).__name__ in ("range_iterator", "longrange_iterator"):
        return ("range iterator", list(value.__reduce__()[1]), value.__reduce__()[2])  # type: ignore[attr-defined]
    return (type(value), value)


def trace_of(error: BaseException) -> list[tuple[str, int, int]]:
    """The traceback's functions, lines and instructions, without the caller that catches it.

    In the midst of a call `tb_lasti` is that of the CALL or that of the end of its inline cache, depending on how far
    the interpreter has specialised it: what is compared is where the instruction starts.
    """
    found = []
    tb = error.__traceback__
    while tb is not None:
        code, at = tb.tb_frame.f_code, tb.tb_lasti
        while code.co_code[at] == CACHE:
            at -= 2
        found.append((code.co_name, tb.tb_lineno, at))
        tb = tb.tb_next
    return found[1:]


def outcome(function: Callable[..., object], *args: object, **named: object) -> tuple[object, ...]:
    """Everything that a caller can see of a call."""
    try:
        value = function(*args, **named)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the outcome
        return ("raised", type(error), str(error), *trace_of(error), *locals_of(error))
    return ("returned", exact(value))


def locals_of(error: BaseException) -> list[object]:
    """The locals of the innermost frame, as a debugger sees them after the fact."""
    tb = error.__traceback__
    assert tb is not None
    while tb.tb_next is not None:
        tb = tb.tb_next
    return [] if tb.tb_frame.f_code is outcome.__code__ else [(k, exact(v)) for k, v in tb.tb_frame.f_locals.items()]


def plain_twin(function: types.FunctionType) -> types.FunctionType:
    """A function that does the same and that minijit does not know."""
    code = function.__code__.replace()
    parts = function.__globals__, function.__name__, function.__defaults__, function.__closure__
    twin = types.FunctionType(code, *parts)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


# Exits


def exits_taken(function: Callable[..., object]) -> Counter[ExitReason]:
    """How often regions in service of the function and its loops left for which reason."""
    driver = api._process.driver
    assert driver is not None
    state = driver.registry.functions[id(function)]
    taken: Counter[ExitReason] = Counter()
    for root in state.roots:
        for version in root.versions:
            for index, way in enumerate(version.exits):
                taken[way.reason] += version.records.count(index)
    return +taken


@contextmanager
def watched(function: Any) -> Iterator[list[object]]:
    """A tool of `sys.monitoring` that hears of the starts of this function alone; the code objects that it heard of."""
    seen: list[object] = []
    monitoring, tool = sys.monitoring, 3
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(tool, monitoring.events.PY_START, lambda code, _offset: seen.append(code))
        monitoring.set_local_events(tool, function.__code__, monitoring.events.PY_START)
        yield seen
        monitoring.set_local_events(tool, function.__code__, 0)
    finally:
        monitoring.free_tool_id(tool)


@contextmanager
def enabled(config: minijit.Config = LOW) -> Iterator[None]:
    """minijit in service with low thresholds, for decorated functions only (what runs the tests is a program, too), and
    loud about its own failures."""
    failures: list[str] = []

    def note(event: object) -> None:
        if getattr(event, "reason", None) is AbortReason.COMPILER:
            failures.append(repr(event))

    with minijit.enable(replace(config, deny="*")):
        unsubscribe = minijit.subscribe(note)
        yield
        unsubscribe()
    assert not failures, failures


class Differs(AssertionError):
    """The two did not do the same."""


@dataclass(slots=True)
class Twins:
    """A function under minijit and its plain twin."""

    function: Any
    policy: minijit.Policy | None = None
    plain: Any = field(init=False)

    def __post_init__(self) -> None:
        self.plain = plain_twin(self.function)
        minijit.jit(policy=self.policy)(self.function)

    def __call__(self, *args: object, **named: object) -> tuple[object, ...]:
        """Calls both; the outcome, if it is the same."""
        wanted = outcome(self.plain, *args, **named)
        found = outcome(self.function, *args, **named)
        if wanted != found:
            raise Differs(
                f"{self.function.__name__}{args}{named or ''}\n  plain:    {wanted}\n  compiled: {found}\n"
                f"{minijit.explain(self.function)}"
            )
        return wanted

    def times(self, count: int, *args: object) -> None:
        """Calls both `count` times."""
        for turn in range(1, count + 1):
            try:
                self(*args)
            except Differs as error:
                raise Differs(f"at occurrence {turn}: {error}") from None

    @property
    def entries(self) -> int:
        return minijit.stats(self.function).entries

    def require_compiled(self) -> None:
        """Insists that machine code really ran."""
        if not self.entries:
            raise Differs(f"{self.function.__name__} was never entered\n{minijit.explain(self.function)}")


def check(
    function: Any,
    ordinary: Sequence[object],
    special: Iterable[Sequence[object]],
    *,
    times: int = SEVERAL,
    warm: int = 20,
    expect: ExitReason | None = None,
    policy: minijit.Policy | None = None,
    entered: bool = True,
) -> Twins:
    """Makes a function hot with ordinary arguments, then calls it and its twin with special ones, in turn with
    ordinary ones.

    `expect` is the reason of an exit that must have been taken by then.
    """
    twins = Twins(function, policy if policy is not None else Patient(LOW))
    twins.times(warm, *ordinary)
    if entered:
        twins.require_compiled()
    for arguments in special:
        twins(*arguments)
        twins(*ordinary)
        twins.times(times, *arguments)
    if expect is not None and not exits_taken(function)[expect]:
        raise Differs(
            f"{function.__name__}: no exit {expect.name}, only {exits_taken(function)}\n{minijit.explain(function)}"
        )
    return twins


def together(checks: Iterable[Callable[[], object]]) -> None:
    """Runs all checks and then fails with what all of them had to say."""
    failures = []
    for one in checks:
        try:
            one()
        except AssertionError as error:
            failures.append(f"{type(error).__name__}: {error}")
    assert not failures, f"{len(failures)} failures\n" + "\n\n".join(failures)


def compiled_from(source: str, name: str = "f", **namespace: object) -> Any:
    """The function `name` of a piece of source text, in a namespace of its own."""
    scope: dict[str, Any] = dict(namespace)
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), scope)
    return scope[name]
