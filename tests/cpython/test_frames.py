"""Live frames read through their layout: what they hold is what Python itself says of them.

In: frames of this thread, in the midst of calls, generators and monitoring callbacks. Out: slots, names of types,
namespaces, and whether a frame is alive. Nothing here writes, and what is read is borrowed: no reference stays.
"""

from __future__ import annotations

import builtins
import sys
import threading
import types
from collections.abc import Iterator

import pytest

from minijit.cpython import abi, frames, raw
from minijit.cpython.frames import Frame

MONITORING = sys.monitoring
TOOL = MONITORING.COVERAGE_ID


def address_of(frame: types.FrameType) -> int:
    """Where the interpreter has what a frame object shows."""
    return raw.read_u64(id(frame) + abi.FRAME_OBJECT.f_frame)


def caller() -> Frame:
    return frames.current(1)


# ---- which frame


def test_the_current_frame_is_counted_in_python_calls() -> None:
    def inner() -> list[tuple[int, Frame]]:
        # Codes are read while the frames live.
        return [(frames.current(depth).code, frames.current(depth)) for depth in range(3)]

    found = inner()
    mine = sys._getframe()
    assert mine.f_back is not None
    assert [code for code, _ in found] == [id(inner.__code__), id(mine.f_code), id(mine.f_back.f_code)]
    assert found[1][1] == caller() == Frame(address_of(mine))
    assert found[1][1] == next(map(frames.current, [0])), "C functions in between do not count"


def test_function_and_code() -> None:
    class Callable:
        def __call__(self) -> tuple[int, int]:
            frame = frames.current(0)
            return frame.function, frame.code

    assert Callable()() == (id(Callable.__call__), id(Callable.__call__.__code__))


def test_namespaces_are_the_frames_own() -> None:
    namespace: dict[str, object] = {"__builtins__": {"probe": lambda: frames.current(1).namespaces()}}
    exec("def f(): return probe()", namespace)
    globals_, builtins_ = namespace["f"]()  # type: ignore[operator]
    assert globals_ is namespace
    assert builtins_ is namespace["__builtins__"]
    globals_, builtins_ = frames.current(0).namespaces()
    assert globals_ is globals()
    assert builtins_ is vars(builtins)


# ---- slots


def test_slots_are_arguments_and_locals_in_order() -> None:
    def function(a: object, *args: object, b: object = 2, **kwargs: object) -> None:
        local = object()
        if a is None:
            never = local
        frame = frames.current(0)
        assert [frame.slot(n) for n in range(6)] == [*map(id, (a, b, args, kwargs, local)), 0]
        assert function.__code__.co_varnames[:6] == ("a", "b", "args", "kwargs", "local", "never")
        assert frames.type_name(frame.slot(2)) == "tuple"
        never = frame.slot(5)
        assert frame.slot(5) == id(never)

    function(object())
    function(1, 2, 3, b=4, c=5)


def test_cells_have_slots_of_their_own() -> None:
    free = object()

    def function(argument: object) -> None:
        cell = object()

        def inner() -> object:
            return argument, cell, free

        frame, code = frames.current(0), function.__code__
        slots = {frame.slot(n) for n in range(len({*code.co_varnames, *code.co_cellvars, *code.co_freevars}))}
        assert inner.__closure__ is not None
        assert {id(one) for one in inner.__closure__} <= slots
        assert not {id(one) for one in (argument, cell, free)} & slots

    function(object())


def test_the_stack_follows_the_locals_in_a_jump_callback() -> None:
    """There the interpreter has written back how many slots are in use."""
    seen: list[tuple[int, int, str, int]] = []

    def function(n: int) -> int:
        total = 0
        for i in range(n):
            total += i
        return total

    locals_count = len(function.__code__.co_varnames)

    def on_jump(code: types.CodeType, _source: int, target: int) -> None:
        frame = frames.current(1)
        top = frame.slot(frame.stacktop - 1)
        seen.append((frame.stacktop, frame.code, frames.type_name(top), frames.int_value(frame.slot(1))))

    MONITORING.use_tool_id(TOOL, "a test")
    MONITORING.register_callback(TOOL, MONITORING.events.JUMP, on_jump)
    MONITORING.set_local_events(TOOL, function.__code__, MONITORING.events.JUMP)
    try:
        assert function(4) == 6
    finally:
        MONITORING.set_local_events(TOOL, function.__code__, 0)
        MONITORING.register_callback(TOOL, MONITORING.events.JUMP, None)
        MONITORING.free_tool_id(TOOL)
    back = seen[:4]
    assert {entry[:3] for entry in back} == {(locals_count + 1, id(function.__code__), "range_iterator")}
    assert [entry[3] for entry in back] == [0, 1, 3, 6]


# ---- objects


class Number(int):
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "int"),
        (1 << 100, "int"),
        (True, "bool"),
        (1.5, "float"),
        (None, "NoneType"),
        ((), "tuple"),
        ("", "str"),
        ([], "list"),
        (iter(range(3)), "range_iterator"),
        (Number(1), "?"),
        (iter(range(2**70)), "?"),
        ({}, "?"),
        (object(), "?"),
    ],
)
def test_types_have_names(value: object, name: str) -> None:
    assert frames.type_name(id(value)) == name
    assert frames.type_address(id(value)) == id(type(value))


def test_no_object_has_no_type() -> None:
    assert frames.type_name(0) == ""


def test_values_are_borrowed() -> None:
    number, thing = 10**30, object()
    before = sys.getrefcount(number), sys.getrefcount(thing)
    for _ in range(100):
        assert frames.int_value(id(number)) == 10**30
        frames.type_name(id(thing))
        caller().slot(0)
    assert (sys.getrefcount(number), sys.getrefcount(thing)) == before


def test_what_is_shared() -> None:
    things = [object()]
    address = id(things[0])
    alone = frames.is_unshared(address)
    other = things[0]
    shared = not frames.is_unshared(address)
    del other
    assert (alone, shared, frames.is_unshared(address)) == (True, True, True)
    assert not frames.is_unshared(id(None))


# ---- alive or dead


def test_frames_that_run_are_alive_and_those_that_are_done_are_not() -> None:
    dead: list[int] = []

    def returns() -> bool:
        dead.append(frames.current(0).address)
        return frames.is_alive(dead[-1], returns.__code__)

    def raises() -> None:
        dead.append(frames.current(0).address)
        raise ValueError

    mine = sys._getframe()
    assert mine.f_back is not None
    assert returns()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - it is ours
        raises()
    assert caught.tb.tb_next is not None
    dead.append(address_of(caught.tb.tb_next.tb_frame))  # the frame object has a copy of its own by now
    assert dead[1] != dead[2]
    assert [frames.is_alive(address, mine.f_code) for address in (*dead, 0, id(mine))] == [False] * 5
    assert [frames.is_alive(address_of(frame), frame.f_code) for frame in (mine, mine.f_back)] == [True, True]
    assert not frames.is_alive(address_of(mine), raises.__code__), "another code has its place"


def test_a_generator_is_alive_while_it_runs() -> None:
    def generate() -> Iterator[bool]:
        while True:
            yield frames.is_alive(frames.current(0).address, generate.__code__)

    generator = generate()
    assert next(generator)
    address = address_of(generator.gi_frame)  # type: ignore[attr-defined]
    assert not frames.is_alive(address, generate.__code__)
    assert next(generator)


def test_frames_of_other_threads_do_not_count() -> None:
    found: list[tuple[int, bool]] = []
    asked, answered = threading.Event(), threading.Event()

    def work() -> None:
        address = frames.current(0).address
        found.append((address, frames.is_alive(address, work.__code__)))
        asked.set()
        answered.wait()

    thread = threading.Thread(target=work)
    thread.start()
    asked.wait()
    ((address, alive),) = found
    try:
        assert alive
        assert not frames.is_alive(address, work.__code__)
    finally:
        answered.set()
        thread.join()
