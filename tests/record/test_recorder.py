"""Recordings, step by step: which offsets are silenced, and where a recording is done.

Nothing is executed. `walk` follows the control flow of a function and is told at each branch which way to go, so that a
test reads as the way that the interpreter took.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FunctionType

import pytest

from minijit.events import AbortReason
from minijit.ir.bytecode import Code, decode
from minijit.ir.kinds import EntryKind
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Profile, Root, Step, Trace
from minijit.record.recorder import OVERHEARD, Recording, Verdict

SILENCE, LISTEN, DONE = Verdict.SILENCE, Verdict.LISTEN, Verdict.DONE

LOOP = """\
def f(n):
    s = 0
    while n > 0:
        if n & 1:
            s += n
        n -= 1
    return s
"""
NESTED = """\
def f(n):
    for i in range(n):
        for j in range(i):
            n += 1
    return n
"""
BRANCH = """\
def f(a):
    if a:
        b = 1
    else:
        b = 2
    c = b
    if c:
        return 1
    return 2
"""


def code_of(source: str) -> Code:
    namespace: dict[str, object] = {}
    exec(source, namespace)
    function = namespace["f"]
    assert isinstance(function, FunctionType)
    return decode(function.__code__)


def at_line(code: Code, line: int) -> int:
    """The offset where a line begins."""
    return min(offset for offset in code.depths if code.line(offset) == line)


def offset_of(code: Code, name: str, line: int) -> int:
    return min(o for o, i in code.instructions.items() if i.name == name and code.line(o) == line)


def walk(code: Code, start: int, jumps: Iterable[bool] = ()) -> Iterator[int]:
    """The offsets that are executed from `start` on; `jumps` says of each branch whether it is taken."""
    decisions = iter(jumps)
    offset = start
    while True:
        yield offset
        instruction = code.instructions[offset]
        followers = list(code.successors(instruction))
        if not followers:
            return
        if len(followers) == 1:
            offset = followers[0]
            continue
        jump = next(decisions, None)
        if jump is None:
            return
        assert instruction.target is not None
        offset = instruction.target if jump else instruction.next


def recording(
    code: Code,
    root: Root,
    start: int | None = None,
    profile: Profile | None = None,
    *,
    max_steps: int = 1000,
    rounds: int = 2,
) -> Recording:
    return Recording(
        code=code,
        root=root,
        start=root.offset if start is None else start,
        entry_kinds=(EntryKind.INT,),
        profile=profile or Profile(),
        max_steps=max_steps,
        rounds=rounds,
        thread=1,
        frame=1,
    )


CALL = Root(EntryPoint.CALL, 0)


def loop_root(code: Code) -> Root:
    return Root(EntryPoint.LOOP, min(code.loops))


def play(under_way: Recording, offsets: Iterable[int], top: str = "int") -> list[Verdict | AbortReason]:
    """The verdicts up to the last one."""
    verdicts: list[Verdict | AbortReason] = []
    for offset in offsets:
        verdicts.append(under_way.step(offset, top))
        if verdicts[-1] not in (SILENCE, LISTEN):
            return verdicts
    return verdicts


# The profile


@pytest.mark.parametrize(
    ("steps", "news"),
    [
        ([Step(2, "int")], [True]),
        ([Step(2, "int"), Step(2, "int")], [True, False]),
        ([Step(2, "int"), Step(2, "float")], [True, True]),
        ([Step(2, "int"), Step(4, "int"), Step(2, "int")], [True, True, False]),
        ([Step(2, "int"), Step(2, "float"), Step(2, "int")], [True, True, True]),
        ([Step(2, ""), Step(2, "")], [True, False]),
    ],
)
def test_profile_tells_what_is_new(steps: list[Step], news: list[bool]) -> None:
    profile = Profile()
    assert [profile.add(step) for step in steps] == news
    assert profile.seen == {step.offset for step in steps}
    assert profile.tops == {step.offset: step.top for step in steps}, "the type last seen"


# From a function's start


def test_from_a_start_to_the_return() -> None:
    code = code_of(BRANCH)
    under_way = recording(code, CALL)
    offsets = list(walk(code, 2, [False, False]))
    verdicts = play(under_way, offsets)
    assert verdicts == [*[SILENCE] * (len(offsets) - 1), DONE]
    assert not under_way.is_bridge
    assert under_way.trace() == Trace(CALL, 0, (EntryKind.INT,), tuple(Step(offset, "int") for offset in offsets))


def test_a_loop_on_the_way_is_gone_round_until_it_ends() -> None:
    """Back edges are no end for a function's recording, however often they are taken."""
    code = code_of(LOOP)
    under_way = recording(code, CALL)
    verdicts = play(under_way, walk(code, 2, [False, *[False, False] * 50, False, True]))
    assert set(verdicts[:-1]) == {SILENCE}
    assert verdicts[-1] is DONE
    assert len(under_way.steps) == len({step.offset for step in under_way.steps})


def test_a_constant_is_returned() -> None:
    code = code_of("def f(a):\n    pass\n")
    assert play(recording(code, CALL), walk(code, 0)) == [SILENCE, DONE]


# From a loop


def test_a_loop_is_recorded_until_it_brings_no_news() -> None:
    code = code_of(LOOP)
    root = loop_root(code)
    under_way = recording(code, root, rounds=2)
    # Odd, even, then nothing new: the header is heard each time, for the rounds are counted there.
    verdicts = play(under_way, walk(code, root.offset, [False, False, True, False, *[True, False] * 9]))
    assert verdicts[-1] is DONE
    at_header = [v for v in verdicts if v is not SILENCE]
    assert at_header == [LISTEN, LISTEN, LISTEN, DONE]
    assert {step.offset for step in under_way.steps} == code.loops[root.offset].body


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_rounds(rounds: int) -> None:
    """The same way over and over: once for the news, and then so many quiet rounds."""
    code = code_of(LOOP)
    root = loop_root(code)
    verdicts = play(recording(code, root, rounds=rounds), walk(code, root.offset, [False, False] * 50))
    assert [v for v in verdicts if v is not SILENCE] == [*[LISTEN] * (rounds + 1), DONE]


def test_another_type_is_news() -> None:
    code = code_of(LOOP)
    root = loop_root(code)
    under_way = recording(code, root, rounds=1)
    one_round = list(walk(code, root.offset, [False, False]))[:-1]
    one_round = one_round[: one_round.index(root.offset, 1)] if root.offset in one_round[1:] else one_round
    assert play(under_way, one_round, "int")[-1] is SILENCE
    assert play(under_way, one_round, "float")[-1] is SILENCE
    assert play(under_way, one_round, "int")[-1] is SILENCE
    assert play(under_way, one_round, "int")[-1] is SILENCE
    assert under_way.step(root.offset, "int") is DONE


def test_leaving_the_loop_ends_the_recording() -> None:
    """The offset behind the loop is not recorded."""
    code = code_of(LOOP)
    root = loop_root(code)
    under_way = recording(code, root)
    verdicts = play(under_way, walk(code, root.offset, [False, True, True]))
    assert verdicts[-1] is DONE
    assert at_line(code, 7) not in {step.offset for step in under_way.steps}
    assert at_line(code, 7) not in under_way.profile.seen


def test_an_inner_loop_belongs_to_the_outer_one() -> None:
    code = code_of(NESTED)
    root = loop_root(code)
    inner = max(code.loops)
    under_way = recording(code, root, rounds=1)
    # The inner loop runs three times in each round: its header is silenced as any other offset is.
    one_round = [False, False, False, False, True]
    verdicts = play(under_way, walk(code, root.offset, one_round * 5))
    assert verdicts[-1] is DONE
    assert {step.offset for step in under_way.steps} == code.loops[root.offset].body
    offsets = list(walk(code, root.offset, one_round * 5))
    assert {v for o, v in zip(offsets, verdicts, strict=False) if o == inner} == {SILENCE}


def test_the_inner_loop_alone() -> None:
    code = code_of(NESTED)
    inner = Root(EntryPoint.LOOP, max(code.loops))
    under_way = recording(code, inner)
    verdicts = play(under_way, walk(code, inner.offset, [False, True, True]))
    assert verdicts[-1] is DONE
    assert {step.offset for step in under_way.steps} <= code.loops[inner.offset].body


def test_a_return_in_a_loop_is_outside_of_it() -> None:
    code = code_of("def f(n):\n    while n:\n        if n == 3:\n            return n\n        n -= 1\n")
    root = loop_root(code)
    verdicts = play(recording(code, root), walk(code, root.offset, [False]))
    assert verdicts[-1] is DONE


# From an exit


def bridge(code: Code, start: int, seen: Iterable[int], root: Root = CALL) -> Recording:
    profile = Profile()
    for offset in seen:
        profile.add(Step(offset, "int"))
    return recording(code, root, start, profile)


def test_a_bridge_ends_on_known_ground() -> None:
    code = code_of(BRANCH)
    start, join = at_line(code, 5), at_line(code, 6)
    under_way = bridge(code, start, walk(code, 2, [False, False]))
    verdicts = play(under_way, walk(code, start))
    assert under_way.is_bridge
    assert verdicts[-1] is DONE
    steps = {step.offset for step in under_way.steps}
    assert start in steps
    assert join not in steps, "what is known is not recorded again"


def test_a_bridge_may_start_on_known_ground() -> None:
    """The first offset is where the exit leads to, seen or not."""
    code = code_of(BRANCH)
    start = at_line(code, 5)
    under_way = bridge(code, start, [start, *walk(code, 2, [False, False])])
    assert under_way.step(start, "int") is SILENCE


def test_what_a_bridge_itself_has_seen_is_no_known_ground() -> None:
    code = code_of(NESTED)
    start, inner = at_line(code, 3), max(code.loops)
    under_way = bridge(code, start, [])
    offsets = list(walk(code, start, [False]))
    # Up to the first back edge.
    assert offsets[-1] == inner
    verdicts = play(under_way, offsets)
    assert verdicts[-1] is DONE
    assert code.instructions[offsets[len(verdicts) - 1]].name == "JUMP_BACKWARD"


def test_a_bridge_ends_at_a_back_edge() -> None:
    code = code_of(LOOP)
    root = loop_root(code)
    start = at_line(code, 5)
    under_way = bridge(code, start, [root.offset], root)
    verdicts = play(under_way, walk(code, start, [False]))
    assert verdicts[-1] is DONE
    assert code.instructions[under_way.steps[-1].offset].name == "JUMP_BACKWARD"


def test_a_bridge_ends_at_a_return() -> None:
    code = code_of(BRANCH)
    start = offset_of(code, "RETURN_CONST", 8) if any(code.line(o) == 8 for o in code.depths) else at_line(code, 9)
    assert play(bridge(code, start, [2]), walk(code, start)) == [DONE]


def test_a_bridge_out_of_the_loop_ends_at_once() -> None:
    code = code_of(LOOP)
    root = loop_root(code)
    start = at_line(code, 7)
    under_way = bridge(code, start, [], root)
    assert play(under_way, walk(code, start)) == [DONE]
    assert under_way.steps == []


# Budgets


def test_too_long() -> None:
    code = code_of(BRANCH)
    under_way = recording(code, CALL, max_steps=3)
    verdicts = play(under_way, walk(code, 2, [False, False]))
    assert verdicts == [SILENCE, SILENCE, SILENCE, AbortReason.TOO_LONG]
    assert len(under_way.steps) == 3


def test_a_long_run_is_not_too_long() -> None:
    """Only distinct steps count."""
    code = code_of(LOOP)
    root = loop_root(code)
    body = len(code.loops[root.offset].body)
    under_way = recording(code, root, max_steps=body, rounds=1000)
    verdicts = play(under_way, walk(code, root.offset, [False, False, True, False] * 100))
    assert AbortReason.TOO_LONG not in verdicts
    assert len(under_way.steps) == body


def test_types_that_alternate_come_to_an_end() -> None:
    """A type that is new each time makes a step each time: the budget ends that."""
    code = code_of("def f(n):\n    while True:\n        n\n")
    root = loop_root(code)
    under_way = recording(code, root, max_steps=100, rounds=3)
    types = ["int", "float"]
    for count in range(10_000):
        for offset in code.loops[root.offset].body:
            if under_way.step(offset, types[count % 2]) is AbortReason.TOO_LONG:
                assert len(under_way.steps) == 100
                return
    pytest.fail("the recording never ended")


# The trace as text


def test_text_of_a_trace() -> None:
    trace = Trace(Root(EntryPoint.LOOP, 12), 20, (EntryKind.INT, EntryKind.SMALL_INT), (Step(20, "int"), Step(22, "")))
    assert str(trace) == "trace loop@12 from 20 (int, small_int)\n     20 int\n     22 "


# Other frames of the same code


def test_what_another_frame_saw_counts_and_is_silenced() -> None:
    code = code_of(BRANCH)
    under_way = recording(code, CALL)
    overheard = list(walk(code, 2, [True, False]))
    verdicts = [under_way.overhear(offset, "int") for offset in overheard]
    returns = overheard[-1]
    assert {v for o, v in zip(overheard, verdicts, strict=True) if o not in (2, returns)} == {SILENCE}
    assert verdicts[-1] is LISTEN, "where the recorded frame may end is not silenced"
    assert under_way.profile.seen == set(overheard)
    assert under_way.step(returns, "int") is DONE


def test_other_frames_cannot_end_a_loop() -> None:
    """Neither by its header, however often they pass it, nor by leaving it."""
    code = code_of(LOOP)
    root = loop_root(code)
    under_way = recording(code, root)
    offsets = list(walk(code, root.offset, [False, True, False] * 10 + [False, True, True]))
    verdicts = [under_way.overhear(offset, "int") for offset in offsets]
    assert set(verdicts) == {SILENCE, LISTEN}
    assert verdicts[-1] is LISTEN
    assert under_way.profile.seen <= code.loops[root.offset].body


def test_a_bridge_waits_for_its_frame() -> None:
    """Its start and the ground that is known go on reporting."""
    code = code_of(BRANCH)
    start, join = at_line(code, 5), at_line(code, 6)
    under_way = bridge(code, start, walk(code, 2, [False, False]))
    assert under_way.overhear(start, "int") is LISTEN
    assert under_way.overhear(join, "int") is LISTEN
    assert play(under_way, walk(code, start))[-1] is DONE


def test_other_frames_are_listened_to_so_often_only() -> None:
    code = code_of(BRANCH)
    under_way = recording(code, CALL)
    end = list(walk(code, 2, [True, False]))[-1]
    verdicts = [under_way.overhear(end, "int") for _ in range(OVERHEARD)]
    assert verdicts == [LISTEN] * (OVERHEARD - 1) + [DONE]


def test_other_frames_have_the_same_step_budget() -> None:
    code = code_of(BRANCH)
    under_way = recording(code, CALL, max_steps=3)
    verdicts = [under_way.overhear(offset, "int") for offset in walk(code, 2, [True, False])]
    assert verdicts[3] is AbortReason.TOO_LONG


def test_a_copy_of_a_profile_learns_nothing_more() -> None:
    """A region is built from what is known at one moment, while other threads see more."""
    profile = Profile()
    profile.add(Step(2, "int", int))
    copy = profile.copy()
    assert copy == profile
    profile.add(Step(4, "float", float))
    profile.add(Step(2, "bool", bool))
    profile.overwritten.add(4)
    assert (copy.seen, copy.tops, copy.classes_at(2), copy.overwritten, copy.news) == (
        {2},
        {2: "int"},
        (int,),
        set(),
        1,
    )
