"""The hooks: they are taken and given back, and what instrumentation leaves behind is as if nothing had happened.

In: functions with superinstructions, jumps, caches and EXTENDED_ARG. Out: their adaptive bytecode, and the events that
other tools get of them, compared with those of an untouched twin. A mutant of the repair at the end. What runs machine
code runs it in this process: the functions here are a few instructions long.
"""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from minijit.backend.engine import Engine
from minijit.cpython import abi, hooks, raw
from minijit.cpython.hooks import INSTRUCTION, JUMP, START, TOOL, Monitoring
from minijit.cpython.superinstructions import PAIRS, restore

MONITORING = sys.monitoring
EVENTS = MONITORING.events
OTHER = MONITORING.COVERAGE_ID
ADAPTIVE = dis._all_opmap  # type: ignore[attr-defined]
NAMES = {number: name for name, number in ADAPTIVE.items()}

SHORT = """
def made(a, b, c):
    x = y = z = a
    for i in range(3):
        x, y, z = z, x, y
        if i > 1:
            x = x + b if a else x * c
        y = [a, b, c, i]
        z = 1
    return x, y, z
"""
# More than 256 constants and locals, so that arguments need EXTENDED_ARG, behind which there are pairs as well.
LONG = "\n".join(
    [
        "def made(a, b, c):",
        *(f"    v{n} = {n + 1000}" for n in range(300)),
        "    v0, v299, a = v299, v298, v297",
        "    for i in range(2):",
        "        a = v299, v298, v297, a, b, v1, v296, 4711",
        "        v298 = c; v297 = b",
        "    return a, b, c, v0, v299",
    ]
)
SOURCES = pytest.mark.parametrize("source", [SHORT, LONG], ids=["short", "extended arguments"])


def made(source: str) -> types.FunctionType:
    """A new function with a code object of its own."""
    namespace: dict[str, types.FunctionType] = {}
    exec(source, namespace)
    return namespace["made"]


def adaptive(code: types.CodeType) -> bytes:
    found: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
    return found


def superinstructions(code: types.CodeType) -> list[tuple[int, str]]:
    """Where there are superinstructions. What stands in caches is none."""
    found, now = [], adaptive(code)
    for instruction in dis.get_instructions(code):
        name = NAMES.get(now[instruction.offset], "")
        if "__" in name:
            found.append((instruction.offset, name))
    return found


def nothing(*_: object) -> None:
    pass


def disable(*_: object) -> object:
    return MONITORING.DISABLE


@pytest.fixture
def monitoring() -> Iterator[Monitoring]:
    found = Monitoring(nothing)
    MONITORING.register_callback(TOOL, INSTRUCTION, disable)
    yield found
    if MONITORING.get_tool(TOOL) == hooks.NAME:
        found.close()


@pytest.fixture
def other() -> Iterator[int]:
    """A tool id of somebody else."""
    MONITORING.use_tool_id(OTHER, "somebody else")
    yield OTHER
    MONITORING.set_events(OTHER, 0)
    for event in (START, JUMP, INSTRUCTION, EVENTS.LINE):
        MONITORING.register_callback(OTHER, event, None)
    MONITORING.free_tool_id(OTHER)


# ---- monitoring


def test_the_tool_id_is_taken_and_given_back() -> None:
    assert MONITORING.get_tool(TOOL) is None
    first = Monitoring(nothing)
    assert MONITORING.get_tool(TOOL) == "minijit"
    with pytest.raises(hooks.ToolTaken, match="minijit"):
        Monitoring(nothing)
    first.close()
    assert MONITORING.get_tool(TOOL) is None
    MONITORING.use_tool_id(TOOL, "another jit")
    try:
        with pytest.raises(hooks.ToolTaken, match="another jit"):
            Monitoring(nothing)
        assert MONITORING.get_tool(TOOL) == "another jit"
    finally:
        MONITORING.free_tool_id(TOOL)


def test_events_and_callbacks_are_given_back() -> None:
    codes = [made(SHORT).__code__ for _ in range(3)]
    found = Monitoring(nothing)
    for code, events in zip(codes, (START, START | JUMP, INSTRUCTION), strict=True):
        found.set_events(code, events)
        assert MONITORING.get_local_events(TOOL, code) == events
    references = sys.getrefcount(codes[0])
    found.close()
    references -= sys.getrefcount(codes[0])
    assert references == 1
    assert [adaptive(code) for code in codes] == [adaptive(made(SHORT).__code__)] * 3
    MONITORING.use_tool_id(TOOL, "the next")
    assert [MONITORING.get_local_events(TOOL, code) for code in codes] == [0, 0, 0]
    assert [MONITORING.register_callback(TOOL, event, None) for event in (START, JUMP, INSTRUCTION)] == [None] * 3
    MONITORING.free_tool_id(TOOL)


@pytest.mark.parametrize("events", [START, JUMP, START | JUMP])
def test_the_first_event_ignites(events: int) -> None:
    """And no other: until machine code takes over nothing more is heard."""
    told: list[int] = []
    found = Monitoring(lambda: told.append(1))
    function, untouched = made(SHORT), made(SHORT)
    untouched(1, 2, 3)
    assert told == []
    found.set_events(function.__code__, events)
    for _ in range(3):
        function(1, 2, 3)
        untouched(1, 2, 3)
    assert told == [1]
    found.close()


def test_what_was_not_heard_meanwhile_comes_again() -> None:
    counts = raw.Buffer(32)
    code = Engine().compile(COUNTING.format(counts=counts.address, none=id(None)), name="count")
    found = Monitoring(lambda: None)
    function = made("def made():\n for i in range(10): pass")
    found.set_events(function.__code__, START | JUMP)
    for _ in range(3):
        function()
    found.go_native(*[code.address("count")] * 3)
    function()
    assert [raw.read_u64(counts.address + 8 * number) for number in (2, 3)] == [1, 10]
    found.close()


def test_more_may_come_while_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread's code, unheard until the first is heard of again."""
    counts = raw.Buffer(32)
    code = Engine().compile(COUNTING.format(counts=counts.address, none=id(None)), name="count")
    found = Monitoring(lambda: None)
    first, other = made("def made(): pass").__code__, made("def made(): return 1").__code__
    heard: list[object] = []

    def hear_all(self: Monitoring, code: object) -> None:
        heard.append(code)
        self._unheard.update({id(other): other} if code is first else {})

    monkeypatch.setattr(Monitoring, "hear_all", hear_all)
    for each in (first, other):
        found.set_events(each, START)
    found._unheard[id(first)] = first
    found.go_native(*[code.address("count")] * 3)
    assert heard == [first, other]
    found.close()


COUNTING = """
define ptr @count(ptr %self, ptr %arguments, i64 %number) {{
  %place = getelementptr i64, ptr inttoptr (i64 {counts} to ptr), i64 %number
  %old = load i64, ptr %place
  %new = add i64 %old, 1
  store i64 %new, ptr %place
  ret ptr inttoptr (i64 {none} to ptr)
}}
"""


def test_machine_code_takes_over(monitoring: Monitoring) -> None:
    """A start comes with two arguments, a jump with three."""
    counts = raw.Buffer(32)
    code = Engine().compile(COUNTING.format(counts=counts.address, none=id(None)), name="count")
    monitoring.go_native(*[code.address("count")] * 3)
    function = made("def made():\n for i in range(10): pass")
    monitoring.set_events(function.__code__, START | JUMP)
    function()
    function()
    assert [raw.read_u64(counts.address + 8 * n) for n in range(4)] == [0, 0, 2, 20]
    monitoring.close()
    function()
    assert raw.read_u64(counts.address + 16) == 2
    code.close()


def test_rearming_brings_back_what_was_disabled() -> None:
    seen: list[int] = []
    answers: list[object] = [MONITORING.DISABLE]

    def note(_code: types.CodeType, offset: int) -> object:
        seen.append(offset)
        return answers[0]

    found = Monitoring(nothing)
    MONITORING.register_callback(TOOL, INSTRUCTION, note)
    function = made(SHORT)
    found.set_events(function.__code__, INSTRUCTION)
    function(1, 2, 3)
    executed = set(seen)
    assert len(seen) == len(executed) > 20
    function(1, 2, 3)
    assert len(seen) == len(executed)
    found.rearm(function.__code__)
    function(1, 2, 3)
    assert set(seen[len(executed) :]) == executed
    assert MONITORING.get_local_events(TOOL, function.__code__) == INSTRUCTION
    found.close()


def test_rearming_in_the_midst_keeps_superinstructions(monitoring: Monitoring) -> None:
    function = made(SHORT)
    before = superinstructions(function.__code__)
    monitoring.set_events(function.__code__, START | JUMP)
    monitoring.rearm(function.__code__)
    assert superinstructions(function.__code__) == before
    assert MONITORING.get_local_events(TOOL, function.__code__) == START | JUMP
    assert list(monitoring.active.values()) == [function.__code__]


# ---- superinstructions


@SOURCES
def test_instrumentation_leaves_no_trace_in_cold_code(monitoring: Monitoring, source: str) -> None:
    code, twin = made(source).__code__, made(source).__code__
    assert superinstructions(code)
    for events in (START, JUMP, START | JUMP, INSTRUCTION, START | JUMP | INSTRUCTION):
        monitoring.set_events(code, events)
        assert adaptive(code) != adaptive(twin)
        monitoring.set_events(code, 0)
        assert adaptive(code) == adaptive(twin)
        shown, expected = (
            [(i.offset, i.opname, i.arg) for i in dis.get_instructions(c, adaptive=True)] for c in (code, twin)
        )
        assert shown == expected


@SOURCES
def test_superinstructions_are_there_while_counting(monitoring: Monitoring, source: str) -> None:
    function, twin = made(source), made(source)
    for events in (START | JUMP | INSTRUCTION, START | JUMP):
        monitoring.set_events(function.__code__, events)
        for _ in range(20):  # specialised
            assert function(1, 2, 3) == twin(1, 2, 3)
        is_recording = bool(events & INSTRUCTION)
        assert superinstructions(function.__code__) == ([] if is_recording else superinstructions(twin.__code__))


def test_three_loads_in_a_row_are_two_pairs(monitoring: Monitoring) -> None:
    code = made("def made(a, b, c): return [a, b, c]").__code__
    names = [name for _, name in superinstructions(code)]
    assert names == ["LOAD_FAST__LOAD_FAST", "LOAD_FAST__LOAD_FAST"]
    monitoring.set_events(code, INSTRUCTION)
    assert superinstructions(code) == []
    monitoring.set_events(code, 0)
    assert [name for _, name in superinstructions(code)] == names


def test_each_superinstruction_comes_back(monitoring: Monitoring) -> None:
    """All that there are, so that a new Python's are noticed."""
    function = made("def made(a, b):\n x = 1; y = a\n a, b = b, a; x = y\n y = 2; a = y\n return (a, 1, b, x, y)")
    names = {name for _, name in superinstructions(function.__code__)}
    assert names == {name for name in ADAPTIVE if "__" in name}
    monitoring.set_events(function.__code__, START | JUMP)
    assert {name for _, name in superinstructions(function.__code__)} == names


def test_nothing_is_put_back_where_somebody_else_looks(monitoring: Monitoring, other: int) -> None:
    code = made(SHORT).__code__
    MONITORING.set_local_events(other, code, EVENTS.CALL)
    monitoring.set_events(code, START)
    monitoring.set_events(code, 0)
    assert superinstructions(code) == []
    MONITORING.set_local_events(other, code, 0)


# ---- what other tools see


def used(monitoring: Monitoring, source: str, arguments: tuple[int, int, int] = (1, 2, 3)) -> types.FunctionType:
    """A function that was recorded and counted, hot and specialised, and is still counted."""
    function = made(source)
    for events in (START | JUMP, START | JUMP | INSTRUCTION, START | JUMP):
        monitoring.set_events(function.__code__, events)
        for _ in range(20):
            function(*arguments)
    return function


def lines_and_opcodes(function: types.FunctionType) -> list[tuple[str, int, int]]:
    """What a debugger sees that looks at every instruction."""
    seen: list[tuple[str, int, int]] = []

    def trace(frame: types.FrameType, event: str, _argument: object) -> object:
        if frame.f_code is not function.__code__:
            return None
        frame.f_trace_opcodes = True
        seen.append((event, frame.f_lineno, frame.f_lasti))
        return trace

    before = sys.gettrace()
    for _ in range(2):
        # 3.12 learns at the first time that instructions are wanted, and minds it from the second on.
        seen.clear()
        sys.settrace(trace)
        try:
            function(1, 2, 3)
        finally:
            sys.settrace(before)
    return seen


def monitored(function: types.FunctionType, tool: int, events: int, *, local: bool) -> list[tuple[object, ...]]:
    """What a tool sees that has asked for these events."""
    seen: list[tuple[object, ...]] = []
    code = function.__code__

    def note(where: types.CodeType, *rest: object) -> None:
        if where is code:
            seen.append(rest)

    for event in (EVENTS.LINE, INSTRUCTION, JUMP):
        MONITORING.register_callback(tool, event, note)
    MONITORING.set_local_events(tool, code, events if local else 0)
    MONITORING.set_events(tool, 0 if local else events)
    function(1, 2, 3)
    MONITORING.set_local_events(tool, code, 0)
    MONITORING.set_events(tool, 0)
    return seen


SEEN = pytest.mark.parametrize(
    "events", [EVENTS.LINE, INSTRUCTION, EVENTS.LINE | INSTRUCTION, EVENTS.LINE | INSTRUCTION | JUMP]
)


@SOURCES
def test_a_debugger_sees_every_line_and_instruction(monitoring: Monitoring, source: str) -> None:
    function, twin = used(monitoring, source), made(source)
    for _ in range(2):
        found = lines_and_opcodes(function)
        assert found == lines_and_opcodes(twin)
        assert len(found) > 30
        monitoring.set_events(function.__code__, 0)
        monitoring.set_events(function.__code__, START | JUMP)
        assert superinstructions(function.__code__) == superinstructions(made(source).__code__)


@SOURCES
@SEEN
@pytest.mark.parametrize("local", [True, False], ids=["local", "global"])
def test_another_tool_sees_everything(
    monitoring: Monitoring, other: int, source: str, events: int, local: bool
) -> None:
    function, twin = used(monitoring, source), made(source)
    twin(1, 2, 3)
    found = monitored(function, other, events, local=local)
    assert found == monitored(twin, other, events, local=local)
    assert found
    monitoring.set_events(function.__code__, 0)
    assert monitored(function, other, events, local=local) == found


@SOURCES
@SEEN
def test_our_events_hide_nothing_from_another_tool(
    monitoring: Monitoring, other: int, source: str, events: int
) -> None:
    """Ours come and go, silenced one by one, while the other tool looks."""
    function, twin = used(monitoring, source), made(source)
    expected = monitored(twin, other, events, local=True)
    seen: list[tuple[object, ...]] = []
    for event in (EVENTS.LINE, INSTRUCTION, JUMP):
        MONITORING.register_callback(other, event, lambda _code, *rest: seen.append(rest))
    MONITORING.set_local_events(other, function.__code__, events)
    for ours in (START | JUMP, START | JUMP | INSTRUCTION, START, 0, INSTRUCTION, START):
        if ours & events & INSTRUCTION:
            # The first of two tools that want instructions gets none in 3.12.1, without us as well; so nothing is
            # recorded where somebody else looks.
            continue
        monitoring.set_events(function.__code__, ours)
        monitoring.rearm(function.__code__)
        for _ in range(2):
            seen.clear()
            function(1, 2, 3)
            assert seen == expected, ours
    MONITORING.set_local_events(other, function.__code__, 0)


@SOURCES
@SEEN
def test_a_tool_that_comes_while_we_record_sees_everything(
    monitoring: Monitoring, other: int, source: str, events: int
) -> None:
    function, twin = used(monitoring, source), made(source)
    expected = monitored(twin, other, events, local=True)
    monitoring.set_events(function.__code__, START | JUMP | INSTRUCTION)
    seen: list[tuple[object, ...]] = []
    for event in (EVENTS.LINE, INSTRUCTION, JUMP):
        MONITORING.register_callback(other, event, lambda _code, *rest: seen.append(rest))
    MONITORING.set_local_events(other, function.__code__, events)
    for ours in (None, START | JUMP, 0):
        if ours is not None:
            monitoring.set_events(function.__code__, ours)
        seen.clear()
        function(1, 2, 3)
        assert seen == expected, ours
    MONITORING.set_local_events(other, function.__code__, 0)


def test_lines_that_another_tool_has_silenced_stay_silent(monitoring: Monitoring, other: int) -> None:
    seen: list[object] = []
    MONITORING.register_callback(other, EVENTS.LINE, lambda _code, line: seen.append(line) or MONITORING.DISABLE)
    function = made(SHORT)
    MONITORING.set_local_events(other, function.__code__, EVENTS.LINE)
    function(1, 2, 3)
    assert seen
    seen.clear()
    for ours in (START | JUMP, START | JUMP | INSTRUCTION, START, 0):
        monitoring.set_events(function.__code__, ours)
        monitoring.rearm(function.__code__)
        function(1, 2, 3)
    assert seen == []
    MONITORING.set_local_events(other, function.__code__, 0)


def interrupted(work: Callable[[], None], moment: int, interrupt: Callable[[], None]) -> None:
    """Does the work, with something else in between: after so many calls have come back."""
    passed = 0

    def profile(_frame: types.FrameType, event: str, _argument: object) -> None:
        nonlocal passed
        passed += event in {"c_return", "return"}
        if passed == moment:
            interrupt()

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)


def hidden(restore: Callable[[types.CodeType], None], other: int, events: int) -> int:
    """How often a tool misses something that comes while superinstructions are put back, at each call in turn."""
    expected = monitored(made(SHORT), other, events, local=True)
    missed = 0
    for moment in range(1, 1000):
        function = made(SHORT)
        code = function.__code__
        MONITORING.set_local_events(other, code, EVENTS.PY_START)
        MONITORING.set_local_events(other, code, 0)
        seen: list[tuple[object, ...]] = []
        for event in (EVENTS.LINE, INSTRUCTION):
            MONITORING.register_callback(other, event, lambda _code, *rest, seen=seen: seen.append(rest))
        interrupted(partial(restore, code), moment, partial(MONITORING.set_local_events, other, code, events))
        if not MONITORING.get_local_events(other, code):
            assert moment > 20
            return missed
        function(1, 2, 3)
        MONITORING.set_local_events(other, code, 0)
        missed += seen != expected
    raise AssertionError("it never ends")


def restore_in_two_steps(code: types.CodeType, looks: tuple[int, ...] = ()) -> None:
    """A mutant: looks at everything first; then at what is said, again."""
    start = id(code) + abi.CODE.co_code_adaptive
    plain, present = code.co_code, adaptive(code)
    for position in range(0, len(plain) - 2, 2):
        pair = plain[position : position + 4 : 2]
        both = PAIRS.get(pair)
        if both is None or present[position : position + 4 : 2] != pair:
            continue
        now = adaptive(code)
        if all(now[position + look] == plain[position + look] for look in looks):
            raw.write_u8(start + position, both)


EVENTS_OF_LOOKERS = pytest.mark.parametrize("events", [EVENTS.LINE, INSTRUCTION])


@EVENTS_OF_LOOKERS
def test_a_tool_that_comes_in_the_midst_of_it_is_respected(other: int, events: int) -> None:
    assert hidden(restore, other, events) == 0


@EVENTS_OF_LOOKERS
def test_that_finds_mutants(other: int, events: int) -> None:
    assert hidden(restore_in_two_steps, other, events) > 0


@pytest.mark.parametrize("look", [0, 2])
def test_looking_at_one_of_the_two_is_not_enough(other: int, look: int) -> None:
    assert hidden(partial(restore_in_two_steps, looks=(look,)), other, EVENTS.LINE) > 0


def test_events_are_compared_well_enough_to_find_a_mutant(monitoring: Monitoring, other: int) -> None:
    """A superinstruction in code that another tool looks at hides an instruction of it."""
    function, twin = made(SHORT), made(SHORT)
    expected = monitored(twin, other, INSTRUCTION, local=True)
    place, name = superinstructions(function.__code__)[0]
    MONITORING.set_local_events(other, function.__code__, INSTRUCTION)
    raw.write_u8(id(function.__code__) + abi.CODE.co_code_adaptive + place, ADAPTIVE[name])
    seen: list[object] = []
    MONITORING.register_callback(other, INSTRUCTION, lambda _code, offset: seen.append((offset,)))
    function(1, 2, 3)
    MONITORING.set_local_events(other, function.__code__, 0)
    assert set(expected) - set(seen) == {(place,), (place + 2,)}


# ---- who else looks


def test_other_tools_are_noticed(monitoring: Monitoring, other: int) -> None:
    function = made(SHORT)
    code = function.__code__
    assert not hooks.is_watched(code)
    monitoring.set_events(code, START | JUMP)
    assert not hooks.is_watched(code)
    for event in (EVENTS.LINE, EVENTS.PY_RETURN, EVENTS.CALL, EVENTS.STOP_ITERATION):
        MONITORING.set_local_events(other, code, event)
        assert hooks.is_watched(code)
        MONITORING.set_local_events(other, code, 0)
        assert not hooks.is_watched(code)
    for event in (EVENTS.LINE, EVENTS.PY_RETURN, EVENTS.RAISE, EVENTS.PY_UNWIND):
        MONITORING.set_events(other, event)
        function(1, 2, 3)  # code learns of global events when it runs, or is asked for events
        assert hooks.is_watched(code)
        MONITORING.set_events(other, 0)
        function(1, 2, 3)
        assert not hooks.is_watched(code)


def test_code_that_nobody_ever_looked_at_is_not_watched() -> None:
    assert not hooks.is_watched(made(SHORT).__code__)


@pytest.mark.parametrize("name", ["trace", "profile"])
def test_debuggers_and_profilers_are_noticed(monitoring: Monitoring, name: str) -> None:
    function = made(SHORT)
    monitoring.set_events(function.__code__, START)
    before = getattr(sys, f"get{name}")()
    register = getattr(sys, f"set{name}")
    register(nothing)
    try:
        function(1, 2, 3)
        assert hooks.is_watched(function.__code__)
    finally:
        register(before)
    function(1, 2, 3)
    assert hooks.is_watched(function.__code__) == (before is not None)


# ---- vectorcall

ANSWER = """
define ptr @answer(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  call void inttoptr (i64 {incref} to ptr)(ptr inttoptr (i64 {value} to ptr))
  ret ptr inttoptr (i64 {value} to ptr)
}}
"""


def test_calls_go_to_machine_code_and_back() -> None:
    value = object()
    code = Engine().compile(ANSWER.format(incref=raw.symbol("Py_IncRef"), value=id(value)), name="answer")
    function, calling = made("def made(x): return x"), made("def made(f):\n for i in range(20): r = f(5)\n return r")
    plain, answer = hooks.PLAIN_VECTORCALL, code.address("answer")
    assert hooks.vectorcall_of(id(function)) == plain
    for _ in range(2):
        # The call is specialised for the plain function, which must not keep it from going the new way.
        assert calling(function) == 5
        assert "CALL_PY_EXACT_ARGS" in {i.opname for i in dis.get_instructions(calling, adaptive=True)}
        references = sys.getrefcount(function)
        assert hooks.set_vectorcall(id(function), plain, answer)
        assert hooks.vectorcall_of(id(function)) == answer
        assert not hooks.set_vectorcall(id(function), plain, answer + 1), "they do not go there any more"
        assert calling(function) is function(1, 2, 3, x=4) is value
        assert hooks.set_vectorcall(id(function), answer, plain)
        assert hooks.vectorcall_of(id(function)) == plain
        assert sys.getrefcount(function) == references
        for _ in range(20):
            assert calling(function) == 5
    code.close()
