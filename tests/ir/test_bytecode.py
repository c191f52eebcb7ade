"""Decoded bytecode against what the interpreter and `dis` say, over a good part of the standard library.

Depths are compared with live frames too: at line events the interpreter has written its stack pointer back, and
expressions that are spread over lines have such events at all depths.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import dis
import functools
import heapq
import inspect
import random
import statistics
import sys
import textwrap
import typing
from collections.abc import Iterator
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from minijit.cpython import abi, raw
from minijit.cpython.frames import Frame
from minijit.ir.bytecode import Code, Instruction, decode

MODULES: tuple[ModuleType, ...] = (
    *(argparse, ast, dataclasses, dis, functools, heapq, inspect, random, statistics, textwrap, typing),
    sys.modules[__name__],
)


@functools.cache
def codes(module: ModuleType) -> tuple[CodeType, ...]:
    """All code objects of a module, its own included."""
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as file:
        return tuple(nested(compile(file.read(), module.__file__, "exec", dont_inherit=True)))


def nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def decoded(source: str) -> Code:
    """The first function that a source defines."""
    code = compile(textwrap.dedent(source), "<test>", "exec")
    return decode(next(constant for constant in code.co_consts if isinstance(constant, CodeType)))


each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)


# Instructions


def wanted(code: CodeType) -> list[Instruction]:
    """What `dis` has, with prefixes joined to what they belong to."""
    found = []
    start = None
    listed = list(dis.get_instructions(code))
    behind = [later.offset for later in listed[1:]] + [len(code.co_code)]
    for instruction, following in zip(listed, behind, strict=True):
        start = instruction.offset if start is None else start
        if instruction.opname == "EXTENDED_ARG":
            continue
        is_jump = instruction.opcode in dis.hasjrel
        # An exhausted iterator goes on behind the END_FOR that the jump names.
        target = instruction.argval + 2 * (instruction.opname == "FOR_ITER") if is_jump else None
        arg = code.co_code[instruction.offset + 1] if instruction.arg is None else instruction.arg
        found.append(Instruction(start, instruction.opname, instruction.opcode, arg, following, target))
        start = None
    return found


@each_module
def test_instructions(module: ModuleType) -> None:
    for code in codes(module):
        assert list(decode(code).instructions.values()) == wanted(code), code


def long_source() -> str:
    """A function with more than 256 locals and jumps over more than 256 instructions."""
    lines = [f"        x{number} = a + {number}" for number in range(300)]
    loop = ["    for i in range(3):", "        if i & 1:", *(f"    {line}" for line in lines), "        a += i"]
    return "\n".join(["def f(a):", *loop, "    return a"])


def test_prefixes_belong_to_their_instruction() -> None:
    code = decoded(long_source())
    assert list(code.instructions.values()) == wanted(code.code)
    prefixed = [i for i in code.instructions.values() if code.code.co_code[i.offset] == dis.opmap["EXTENDED_ARG"]]
    assert {"FOR_ITER", "POP_JUMP_IF_FALSE", "STORE_FAST", "JUMP_BACKWARD", "LOAD_CONST"} <= {i.name for i in prefixed}


def test_the_interpreter_executes_what_was_decoded() -> None:
    """Instruction events tell the offset of a prefix, and then that of the instruction itself."""
    namespace: dict[str, Any] = {}
    exec(long_source(), namespace)
    function = namespace["f"]
    seen: set[int] = set()
    monitoring = sys.monitoring
    tool, event = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(tool, event, lambda _code, offset: seen.add(offset))
        monitoring.set_local_events(tool, function.__code__, event)
        function(1)
    finally:
        monitoring.set_local_events(tool, function.__code__, 0)
        monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)
    reached = set(decode(function.__code__).depths)
    # RESUME is no event, as every call begins with it.
    assert reached - seen == {0}
    prefixes = {offset for offset in reached if function.__code__.co_code[offset] == dis.opmap["EXTENDED_ARG"]}
    assert seen - reached <= {offset + 2 for offset in prefixes} | {offset + 4 for offset in prefixes}


# Depths


@each_module
def test_depths_agree_with_the_compiler(module: ModuleType) -> None:
    """The deepest stack is what the compiler reserves; more only where a handler needs it."""
    for code in map(decode, codes(module)):
        reserved = code.code.co_stacksize
        assert min(code.depths.values()) >= 0
        assert max(code.depths.values()) <= reserved, code.code
        if not code.code.co_exceptiontable:
            # A jump may push what it takes away again where it leads to.
            assert max(depth_after(code, offset) for offset in code.depths) == reserved, code.code


def depth_after(code: Code, offset: int) -> int:
    instruction = code.instructions[offset]
    arg = instruction.arg if instruction.opcode >= dis.HAVE_ARGUMENT else None
    return code.depths[offset] + dis.stack_effect(instruction.opcode, arg)


@each_module
def test_all_ways_to_an_offset_agree_on_its_depth(module: ModuleType) -> None:
    for code in map(decode, codes(module)):
        for offset, depth in code.depths.items():
            instruction = code.instructions[offset]
            for follower in code.successors(instruction):
                assert code.depths[follower] == depth + effect(instruction, follower), (code.code, offset)


def effect(instruction: Instruction, follower: int) -> int:
    """By what the depth changes: `dis` knows, but for two instructions."""
    jumps = follower != instruction.next
    if instruction.name == "FOR_ITER":
        return -1 if jumps else 1
    if instruction.name == "RETURN_GENERATOR":
        return 1
    arg = instruction.arg if instruction.opcode >= dis.HAVE_ARGUMENT else None
    return dis.stack_effect(instruction.opcode, arg, jump=jumps)


# fmt: off
def spread(a: Any, b: Any, *rest: Any, **options: Any) -> Any:
    """Expressions over many lines: line events with all sorts of things on the stack."""
    total = 0
    for i in range(
        a
    ):
        for j in (
            b,
            i,
        ):
            total = (
                total
                + max(
                    i,
                    j,
                    (
                        a
                        if j
                        else b
                    ),
                )
                * (
                    i
                    or j
                )
            )
            if (
                0
                <= total
                < a
            ):
                continue
    made = [
        x
        for x in (
            a,
            b,
        )
        if x
    ]
    return {
        "total": total,
        "made": (
            made,
            f"{a}{
                b
            }",
        ),
        **options,
    }


def spread_generator(n: int) -> Iterator[int]:
    for i in range(
        n
    ):
        got = (
            i,
            (yield i),
        )
        if got[1]:
            for j in (
                got[0],
                2,
            ):
                yield from spread_generator(
                    j
                    - i
                )
# fmt: on


def observed(functions: tuple[Any, ...], work: Any) -> dict[tuple[CodeType, int], set[int]]:
    """The depths that live frames of the functions have at line events."""
    found: dict[tuple[CodeType, int], set[int]] = {}
    watched = {function.__code__ for function in functions}

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        code = frame.f_code
        if code in watched and event == "line":
            inner = Frame(raw.read_u64(id(frame) + abi.FRAME_OBJECT.f_frame))
            depth = inner.stacktop - decode(code).locals_count
            found.setdefault((code, frame.f_lasti), set()).add(depth)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return found


def test_depths_of_live_frames() -> None:
    def work() -> None:
        spread(3, 2, key=1)
        spread(0, 0)
        generator = spread_generator(3)
        next(generator)
        for _ in range(3):
            generator.send(1)

    found = observed((spread, spread_generator), work)
    assert len(found) > 40
    assert {depth for depths in found.values() for depth in depths} >= set(range(6))
    for (code, offset), depths in found.items():
        assert depths == {decode(code).depths[offset]}, (code.co_name, offset)


# Slots


@each_module
def test_slot_names(module: ModuleType) -> None:
    for code in codes(module):
        names = decode(code).slot_names
        assert names == tuple(code._varname_from_oparg(slot) for slot in range(len(names))), code  # type: ignore[attr-defined]
        with pytest.raises(IndexError):
            code._varname_from_oparg(len(names))  # type: ignore[attr-defined]
        assert decode(code).locals_count == len(names)


def test_slots_of_cells_and_free_variables() -> None:
    """A parameter that is a cell has one slot; other cells follow the locals, free variables come last."""
    outer = compile(
        "def f(a, b, *c, d, **e):\n  x = 1; y = 2\n  def g():\n    z = a, x\n    return lambda: (z, x)\n",
        "<test>",
        "exec",
    ).co_consts[0]
    inner = next(constant for constant in outer.co_consts if isinstance(constant, CodeType))
    assert decode(outer).slot_names == ("a", "b", "d", "c", "e", "y", "g", "x")
    assert decode(inner).slot_names == ("z", "a", "x")


# Lines


@each_module
def test_lines(module: ModuleType) -> None:
    for code in codes(module):
        ours = decode(code)
        positions = [position[0] for position in code.co_positions()]
        for offset in ours.instructions:
            assert ours.line(offset) == positions[offset // 2]


def test_there_is_no_line_beyond_the_code() -> None:
    assert decoded("def f():\n  pass\n").line(10_000) is None


# Liveness


def is_read_first(code: Code, start: int, slot: int) -> bool:
    """Whether some path from an offset reads a local before it is written: by walking all of them."""
    work, seen = [start], set()
    while work:
        offset = work.pop()
        if offset in seen:
            continue
        seen.add(offset)
        instruction = code.instructions[offset]
        if instruction.arg == slot and instruction.name in (
            *("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "DELETE_FAST"),
        ):
            return True
        if instruction.arg != slot or instruction.name != "STORE_FAST":
            work.extend(code.followers(offset))
        elif (handler := code.handler(offset)) is not None:
            work.append(handler.target)
    return False


@pytest.mark.parametrize("module", [heapq, textwrap, random], ids=lambda module: module.__name__)
def test_live_locals_are_those_that_some_path_reads_first(module: ModuleType) -> None:
    for code in map(decode, codes(module)):
        for offset, mask in code.live.items():
            for slot in range(len(code.code.co_varnames)):
                assert bool(mask >> slot & 1) == is_read_first(code, offset, slot), (code.code, offset, slot)


def live_at(code: Code, line: int) -> set[str]:
    """The locals that are live where a line begins."""
    offset = min(offset for offset in code.depths if code.line(offset) == line)
    return {name for slot, name in enumerate(code.slot_names) if code.live[offset] >> slot & 1}


LIVE = """\
def f(a, b):
    t = a
    s = 0
    while t > 0:
        u = t + b
        if u:
            v = u
            s = s + v
        t = t - 1
    v = 1
    del a
    return s
"""


def test_live_locals_of_an_example() -> None:
    code = decoded(LIVE)
    assert live_at(code, 2) == {"a", "b"}
    assert live_at(code, 3) == {"a", "b", "t"}
    assert live_at(code, 4) == {"a", "b", "s", "t"}
    assert live_at(code, 5) == {"a", "b", "s", "t"}
    assert live_at(code, 6) == {"a", "b", "s", "t", "u"}
    assert live_at(code, 7) == {"a", "b", "s", "t", "u"}
    assert live_at(code, 8) == {"a", "b", "s", "t", "v"}
    assert live_at(code, 9) == {"a", "b", "s", "t"}
    assert live_at(code, 10) == {"a", "s"}
    assert live_at(code, 11) == {"a", "s"}
    assert live_at(code, 12) == {"s"}


# Loops


def loop_lines(source: str) -> dict[int, set[int]]:
    """For each loop by the line of its header: the lines of its body that hold more than a jump out of it."""
    code = decoded(source)
    found: dict[int, set[int]] = {}
    for header, loop in code.loops.items():
        assert loop.header == header
        assert header in loop.body
        line = code.line(header)
        assert line is not None
        found[line] = {code.line(offset) or 0 for offset in loop.body}
    return found


def test_a_for_loop() -> None:
    assert loop_lines("def f(n):\n  s = 0\n  for i in range(n):\n    s += i\n  return s\n") == {3: {3, 4}}


def test_a_while_loop_begins_with_its_body() -> None:
    """The test stands before the loop and again at its end."""
    assert loop_lines("def f(n):\n  while n:\n    n -= 1\n  return n\n") == {3: {2, 3}}


def test_an_endless_loop() -> None:
    assert loop_lines("def f(n):\n  while True:\n    n += 1\n") == {3: {2, 3}}


def test_nested_loops() -> None:
    source = """\
    def f(n):
      for i in range(n):
        a = i
        for j in range(i):
          b = j
          for k in range(j):
            c = k
        d = i
      return n
    """
    assert loop_lines(source) == {2: {2, 3, 4, 5, 6, 7, 8}, 4: {4, 5, 6, 7}, 6: {6, 7}}


def test_continue_and_break() -> None:
    source = """\
    def f(n):
      for i in range(n):
        if i == 1:
          continue
        if i == 2:
          a = 1
          break
        if i == 3:
          return i
        b = i
      else:
        c = 1
      return n
    """
    assert loop_lines(source) == {2: {2, 3, 4, 5, 8, 10}}


def test_loops_in_a_row_are_two() -> None:
    assert loop_lines("def f(n):\n  for i in n:\n    a = 1\n  for j in n:\n    b = 1\n") == {2: {2, 3}, 4: {4, 5}}


def test_a_loop_left_only_by_an_exception_is_one() -> None:
    source = "def f(n):\n  while True:\n    try:\n      n()\n    except ValueError:\n      break\n"
    assert set(loop_lines(source)) == {3}


def test_a_loop_in_a_handler() -> None:
    source = "def f(n):\n  try:\n    n()\n  except ValueError:\n    for i in n:\n      n()\n"
    assert loop_lines(source) == {5: {5, 6}}


def test_a_loop_that_only_a_handler_goes_round() -> None:
    source = "def f(n):\n  while True:\n    try:\n      return n()\n    except ValueError:\n      n = n + 1\n"
    ((line, lines),) = loop_lines(source).items()
    assert line == 3
    assert {4, 5, 6} <= lines


def test_a_handler_that_jumps_backward_is_no_loop() -> None:
    """It stands behind all else, and goes on behind its `try`."""
    source = "def f(n):\n  try:\n    n()\n  except ValueError:\n    n = 1\n  n = n + n * n - n\n  return n(n, n)\n"
    code = decoded(source)
    assert any(each.name == "JUMP_BACKWARD" for each in code.instructions.values())
    assert not code.loops


def test_handlers() -> None:
    code = decoded("def f(n):\n  for i in n:\n    try:\n      n()\n    except ValueError:\n      n = 1\n")
    begins = {each.offset for each in code.instructions.values() if each.name == "PUSH_EXC_INFO"}
    calls = [each.offset for each in code.instructions.values() if each.name == "CALL"]
    (handler,) = {code.handler(offset) for offset in calls}
    assert handler is not None
    assert (handler.target in begins, handler.depth, handler.has_place) == (True, 1, False)
    assert code.depths[handler.target] == 2
    cleaning = code.handler(handler.target)
    assert cleaning is not None
    assert (cleaning.depth, cleaning.has_place) == (2, True)
    assert code.handler(0) is None


@each_module
def test_loops_are_entered_at_their_header(module: ModuleType) -> None:
    for code in map(decode, codes(module)):
        for header, loop in code.loops.items():
            for offset in loop.body - {header}:
                assert set(code.predecessors[offset]) <= loop.body
            for offset in loop.body:
                followers = set(code.followers(offset))
                assert followers & loop.body, "a dead end is no part of a loop"


@each_module
def test_joins_are_what_more_than_one_way_leads_to(module: ModuleType) -> None:
    for code in map(decode, codes(module)):
        for offset in code.depths:
            before = code.predecessors[offset]
            assert (offset in code.joins) == (len(before) > 1 or offset in code.loops)
