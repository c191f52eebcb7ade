"""Random functions: their regions are valid, and do what the interpreter does.

The interpreter runs the function under a tracer that notes the locals before each instruction. The region, evaluated
with the same arguments, must return the same value; or it leaves, and then the interpreter has been at that offset with
those very locals. Regions are built with what random recordings have seen, with small budgets too. Loops are entered in
the middle of a run, with the locals of that time.

Not compared: the value stack at exits, which the tracer does not see. `tests/behaviour` does so by going on from there.
"""

from __future__ import annotations

import random
import sys
import warnings
from dataclasses import dataclass, field
from types import FrameType, FunctionType
from typing import Any

import pytest
from builder_tools import BLOCKS, VERSIONS, build, function_of
from random_functions import PARAMETERS, random_function

from minijit.build import bytecodes, numbers, sequences
from minijit.build.builder import Builder
from minijit.build.state import State
from minijit.events import ExitReason
from minijit.ir.bytecode import decode
from minijit.ir.eval import Left, Outcome, Returned, evaluate
from minijit.ir.ops import UNBOUND
from minijit.ir.region import Const, Region
from strategies.regions import canonical

ARGUMENTS = (0, 1, 5, -3, 0.5, -1.0, 2.0, True, False, None, 2**62)
KINDS = {int: "int", float: "float", bool: "bool", type(None): "none", type(UNBOUND): "unbound"}
LARGE = 2**600


class TooMuch(Exception):
    """The run is stopped: too many steps, or ints that grow."""


@dataclass(slots=True)
class Run:
    """What the interpreter did: the locals at each offset, as often as it came there, and how it ended.

    `first` are the locals of the first time, as they are.
    """

    function: FunctionType
    states: dict[int, list[tuple[object, ...]]] = field(default_factory=dict)
    first: dict[int, tuple[object, ...]] = field(default_factory=dict)
    steps: int = 0
    value: object = None
    error: BaseException | None = None

    def run(self, arguments: tuple[object, ...]) -> Run:
        before = sys.gettrace()
        # 3.12 asks for such events at `settrace` only if some frame has wanted them before.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self.on_call)
        try:
            self.value = self.function(*arguments)
        except (ArithmeticError, TypeError, ValueError, NameError, TooMuch) as error:
            self.error = error
        finally:
            sys.settrace(before)
        return self

    def on_call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_code is not self.function.__code__:
            return None
        frame.f_trace_opcodes = True
        return self.on_step

    def on_step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            self.steps += 1
            values = frame.f_locals
            if self.steps > 2000 or any(type(v) is int and abs(v) > LARGE for v in values.values()):
                raise TooMuch
            now = tuple(values.get(name, UNBOUND) for name in frame.f_code.co_varnames)
            self.first.setdefault(frame.f_lasti, now)
            self.states.setdefault(frame.f_lasti, []).append(tuple(map(canonical, now)))
        return self.on_step


@dataclass(frozen=True, slots=True)
class Trial:
    """A function, what it is called with, and how it is built."""

    source: str
    arguments: tuple[object, ...]
    seen: set[int] | None
    blocks: int
    versions: int
    leave_at: int

    @classmethod
    def of(cls, seed: int) -> Trial:
        choices = random.Random(-seed)
        source = random_function(seed)
        arguments = tuple(choices.choice(ARGUMENTS) for _ in PARAMETERS)
        seen = None
        if choices.random() < 0.5:
            seen = set(range(1, 30)) - {choices.randrange(30)}
        blocks = choices.choice((BLOCKS, BLOCKS, 5, 12, 30))
        return cls(source, arguments, seen, blocks, choices.choice((VERSIONS, 1, 2)), choices.choice((0, 0, 1, 3, 7)))

    def function(self) -> FunctionType:
        return function_of(self.source)

    def region(self, function: FunctionType, arguments: tuple[object, ...], header: int | None = None) -> Region:
        kinds = [KINDS.get(type(argument), "object") for argument in arguments]
        return build(function, *kinds, header=header, seen=self.seen, blocks=self.blocks, versions=self.versions).region

    def outcome(self, region: Region, arguments: tuple[object, ...]) -> Outcome:
        inputs = [arguments[slot] for slot, _, _ in region.inputs()]
        polls = 0

        def poll(_exit: int) -> bool:
            nonlocal polls
            polls += 1
            return polls == self.leave_at

        return evaluate(region, inputs, fuel=100_000, should_leave=poll, objects=arguments)


def difference(region: Region, outcome: Outcome, run: Run) -> str | None:
    """What the interpreter did otherwise."""
    match outcome:
        case Returned(value):
            if run.error is not None:
                return f"returned {value!r}, where the interpreter raises {run.error!r}"
            if canonical(value) != canonical(run.value):
                return f"returned {value!r}, not {run.value!r}"
        case Left(exit, values, _):
            way = region.exits[exit]
            if tuple(map(canonical, values)) not in run.states.get(way.frame.offset, []):
                return f"left by {way.reason.label} at {way.frame.offset} with {values}"
        case _:
            return "did not come to an end"
    return None


def loops_of(function: FunctionType, run: Run) -> list[int]:
    """The loops that the run came to and that can be entered without an iterator."""
    code = decode(function.__code__)
    return [header for header in code.loops if code.depths[header] == 0 and header in run.first]


def trial_difference(seed: int) -> str | None:
    trial = Trial.of(seed)
    function = trial.function()
    run = Run(function).run(trial.arguments)
    if isinstance(run.error, TooMuch):
        return None
    for header in (None, *loops_of(function, run)):
        arguments = trial.arguments if header is None else run.first[header]
        region = trial.region(function, arguments, header)
        found = difference(region, trial.outcome(region, arguments), run)
        if found is not None:
            return f"seed {seed}{trial.arguments} from {header}: {found}\n{trial.source}"
    return None


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """`~True` and `1 is None` stand in random sources."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("block", range(2))
def test_regions_do_what_the_interpreter_does(block: int) -> None:
    for seed in range(100 * block, 100 * (block + 1)):
        found = trial_difference(seed)
        assert found is None, found


@pytest.mark.slow
@pytest.mark.parametrize("block", range(100))
def test_many_regions_do_what_the_interpreter_does(block: int) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        found = trial_difference(seed)
        assert found is None, found


def test_regions_end_in_all_sorts_of_ways() -> None:
    """A comparison of nothing would say nothing."""
    ends: dict[object, int] = {}
    for seed in range(100):
        trial = Trial.of(seed)
        region = trial.region(trial.function(), trial.arguments)
        outcome = trial.outcome(region, trial.arguments)
        end = region.exits[outcome.exit].reason if isinstance(outcome, Left) else type(outcome)
        ends[end] = ends.get(end, 0) + 1
    wanted = {Returned, ExitReason.UNSUPPORTED, ExitReason.UNTAKEN, ExitReason.POLL, ExitReason.TOO_MANY_BLOCKS}
    assert all(ends.get(end, 0) >= 2 for end in wanted), ends


# Planted bugs


def _jump_wrong(b: Any, i: Any) -> None:
    truth = numbers.truth(b, b.state.pop())
    if truth is None:
        b.unsupported(i.name)
    else:
        bytecodes._jump_on(b, i, truth, jumps_if=False)


def _leave_behind(b: Builder, offset: int) -> None:
    """The snapshot is that of the instruction before."""
    _SNAPSHOT(b, offset - 2)


_SNAPSHOT = Builder._snapshot


MUTANTS = {
    "subtraction adds": (numbers._INT_OPS, "-", numbers._INT_OPS["+"]),
    "float floor division divides": (numbers._FLOAT_OPS, "//", numbers._FLOAT_OPS["/"]),
    "comparison turned round": (numbers.SWAPPED, "<", "<="),
    "jumps turned round": (bytecodes.HANDLERS, "POP_JUMP_IF_TRUE", _jump_wrong),
    "COPY takes the top": (bytecodes.HANDLERS, "COPY", lambda b, _i: b.state.push(b.state.stack[-1])),
    "SWAP does nothing": (bytecodes.HANDLERS, "SWAP", bytecodes.HANDLERS["NOP"]),
    "unpacking turned round": (
        bytecodes.HANDLERS,
        "UNPACK_SEQUENCE",
        lambda b, i: b.state.stack.extend(sequences.tuple_items(b.state.pop()) or [Const(0)] * i.arg),
    ),
    "DELETE_FAST forgets": (bytecodes.HANDLERS, "DELETE_FAST", lambda _b, _i: None),
    "the iterator stands still": (
        vars(sequences),
        "_next_value",
        lambda _b, iterator, done: State(done.locals, [*done.stack, iterator, iterator.start]),
    ),
}


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, key, wrong = MUTANTS[bug]
    monkeypatch.setitem(table, key, wrong)  # type: ignore[arg-type]
    assert any(is_killed(seed) for seed in range(300)), "the mutant lives"


def test_wrong_snapshot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Builder, "_snapshot", _leave_behind)
    assert any(is_killed(seed) for seed in range(300)), "the mutant lives"


def is_killed(seed: int) -> bool:
    try:
        return trial_difference(seed) is not None
    except (AssertionError, IndexError, TypeError, AttributeError):
        return True
