"""The text form of regions: printing and parsing are inverses, and errors say where and what."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import HealthCheck, given, settings

from minijit.ir.kinds import Kind
from minijit.ir.parse import Opaque
from minijit.ir.region import (
    Block,
    Const,
    Edge,
    EntryPoint,
    Exit,
    Jump,
    Op,
    RangeIterator,
    Region,
    Return,
    Value,
    VirtualRange,
    VirtualTuple,
)
from minijit.ir.text import TextError, parse_region, print_region, renumber
from strategies.regions import NAMESPACE, regions

EXAMPLE = """\
region mandel call(int, float)
b0(v0: int, v1: float):
  v2: int = int_add v0, 1 | e0
  v3: bool = int_lt v2, 10
  branch v3 b1(v2) b2()
b1(v4: int):
  return (v4, v1)
b2():
  leave e1
e0: overflow @12 [v0, unbound | v0, 1]
e1: unsupported @20 "LOAD_DEREF" [entry0, null | range_iter(v0, 1, v2), range_iter.3(v0, 1, v2), range(0, v2, 1), (v0,)]
"""


def returning(text: str) -> str:
    return f"region f call()\nb0():\n  return {text}\n"


def returned(text: str) -> object:
    """The slot that a region returns."""
    end = parse_region(returning(text)).blocks[0].end
    assert isinstance(end, Return)
    return end.value


def constant(text: str) -> object:
    slot = returned(text)
    assert isinstance(slot, Const)
    return slot.value


def test_the_example_prints_as_it_was() -> None:
    assert print_region(parse_region(EXAMPLE)) == EXAMPLE


def test_what_is_parsed() -> None:
    region = parse_region(EXAMPLE)
    v0, v2 = Value(0, Kind.INT), Value(2, Kind.INT)
    assert region.point is EntryPoint.CALL
    assert region.blocks[0].ops[0] == Op("int_add", (v0, Const(1)), v2, 0)
    frame = region.exits[1].frame
    assert region.exits[1].detail == "LOAD_DEREF"
    assert frame.stack == (
        RangeIterator(v0, Const(1), v2),
        RangeIterator(v0, Const(1), v2, 3),
        VirtualRange(Const(0), v2, Const(1)),
        VirtualTuple((v0,)),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(region=regions())
def test_printing_and_parsing_are_inverses(region: Region) -> None:
    text = print_region(region)
    parsed = parse_region(text)
    assert print_region(parsed) == text
    assert print_region(renumber(region)) == text
    assert renumber(parsed) == parsed


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(region=regions())
def test_parsing_gives_the_region_back(region: Region) -> None:
    """All but the identity of constants: those are compared as text."""
    parsed, expected = parse_region(print_region(region)), renumber(region)
    assert (parsed.name, parsed.point, parsed.entry_kinds) == (expected.name, expected.point, expected.entry_kinds)
    for left, right in zip(parsed.blocks, expected.blocks, strict=True):
        assert left.params == right.params
        assert [(op.name, op.result, op.exit) for op in left.ops] == [(op.name, op.result, op.exit) for op in right.ops]
    for made, exit in zip(parsed.exits, expected.exits, strict=True):
        assert (made.reason, made.detail, made.frame.offset) == (exit.reason, exit.detail, exit.frame.offset)


LITERALS = [0, -1, 2**63 - 1, -(2**63), 2**63, -(2**100), 10**5000, True, False, None, "", 'a "b" # \n é', "\ud800"]


@pytest.mark.parametrize("value", LITERALS, ids=lambda value: str(type(value)))
def test_literal_round_trip(value: object) -> None:
    region = Region("f", EntryPoint.CALL, (), (Block((), (), Return(Const(value))),), ())
    made = constant(print_region(region).split("return ")[1])
    assert type(made) is type(value)
    assert made == value


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 0.1, 1e22, 5e-324, 1.7976931348623157e308, 1e16, math.inf, -math.inf, math.nan, -math.nan]
)
def test_float_round_trip(value: float) -> None:
    region = Region("f", EntryPoint.CALL, (), (Block((), (), Return(Const(value))),), ())
    made = constant(print_region(region).split("return ")[1])
    assert isinstance(made, float)
    assert struct.pack("d", made) == struct.pack("d", value)


def test_names_of_objects() -> None:
    for text, value in [("@math", math), ("@math.sin", math.sin), ("@abs", abs), ("@Ellipsis", ...)]:
        assert constant(text) is value
        assert print_region(parse_region(returning(text))) == returning(text)


def test_objects_without_a_name_are_numbered() -> None:
    one, two = object(), [1]
    items = tuple(Const(x) for x in (one, two, one, math.pi))
    region = Region("f", EntryPoint.CALL, (), (Block((), (), Return(VirtualTuple(items))),), ())
    assert "return (@object0, @object1, @object0, 3.141592653589793)" in print_region(region)


def test_subclasses_are_no_literals() -> None:
    class Number(int):
        pass

    region = Region("f", EntryPoint.CALL, (), (Block((), (), Return(Const(Number(3)))),), ())
    assert "return @object0" in print_region(region)


def test_what_cannot_be_resolved_keeps_its_name() -> None:
    assert constant("@some.thing") == Opaque("some.thing")
    assert print_region(parse_region(returning("(@x, @math.nothing)"))) == returning("(@x, @math.nothing)")


def test_resolve_says_what_a_name_is() -> None:
    region = parse_region(returning("@namespace"), {"namespace": NAMESPACE}.__getitem__)
    end = region.blocks[0].end
    assert isinstance(end, Return)
    assert end.value == Const(NAMESPACE)


def test_equal_literals_are_one_object() -> None:
    slot = returned("(1000000, 1000000, 0.5, 0.5, 0.0, -0.0, 1, True, 1.0, nan, nan, @x, @x)")
    assert isinstance(slot, VirtualTuple)
    million, million2, half, half2, zero, minus, one, true, real, nan, nan2, x, x2 = slot.items
    assert (million, half, nan, x) == (million2, half2, nan2, x2)
    assert len({zero, minus, one, true, real}) == 5


@pytest.mark.parametrize("name", ["f", "f.<locals>.<lambda>", "a b", 'quo"te', "has#mark", "", "é"])
def test_region_names(name: str) -> None:
    region = Region(name, EntryPoint.LOOP, (), (Block((), (), Return(Const(None))),), ())
    assert parse_region(print_region(region)).name == name


def test_comments_blank_lines_and_layout() -> None:
    loose = "\n# top\nregion   f call( ) # c\n\nb0( ) :\nreturn ( 1 ,2, )   # end\n"
    assert print_region(parse_region(loose)) == returning("(1, 2)")


def test_values_may_be_used_above_their_definitions() -> None:
    text = (
        "region f call(bool)\nb0(v0: bool):\n  jump b2()\nb1():\n  return v1\n"
        "b2():\n  v1: int = bool_to_int v0\n  jump b1()\n"
    )
    region = parse_region(text)
    end = region.blocks[1].end
    assert isinstance(end, Return)
    assert end.value == region.blocks[2].ops[0].result
    assert parse_region(text.replace("v1", "v7").replace("v0", "v3")) != region
    assert renumber(parse_region(text.replace("v1", "v7").replace("v0", "v3"))) == region


def test_a_broken_region_can_be_printed() -> None:
    lost, known = Value(7, Kind.INT), Value(3, Kind.INT)
    block = Block((known,), (Op("int_neg", (lost,), known, 5),), Jump(Edge(9, (lost,))))
    region = Region("f", EntryPoint.CALL, (), (block,), ())
    assert "  v0: int = int_neg v1 | e5\n  jump b9(v1)" in print_region(region)


WRONG = [
    ("", 1, "`region`"),
    ("jump b0()", 1, "`region`"),
    ("region f", 1, "`call` or `loop`"),
    ("region f call(int", 1, "`,`"),
    ("region f call(integer)", 1, "an entry kind"),
    ("region f call()\nb1():\n  return 1", 2, "block b0"),
    ("region f call()\nb0(v0):\n  return 1", 2, "a value that is defined somewhere"),
    ("region f call()\nb0(v0: real):\n  return 1", 2, "a kind"),
    ("region f call()\nb0()\n  return 1", 2, "`:`"),
    ("region f call()\nb0():\n", 3, "an op, `jump`, `branch`, `return` or `leave`"),
    ("region f call()\nb0():\n  integer_add 1, 2", 3, "an op, `jump`, `branch`, `return` or `leave`"),
    ("region f call()\nb0():\n  v0: int = int_neg v1\n", 3, "a value that is defined somewhere"),
    ("region f call()\nb0():\n  v0: int int_neg 1\n", 3, "`=`"),
    ("region f call()\nb0():\n  v0: int = int_neg 1 2\n", 3, "`,`"),
    ("region f call()\nb0():\n  v0: int = int_neg 1 | 2\n", 3, "an exit"),
    ("region f call()\nb0():\n  v0: int = int_neg one\n", 3, "a value or a constant"),
    ("region f call()\nb0(v0: int):\n  v0: float = int_neg 1\n  return 1", 3, "one kind for each value"),
    ("region f call()\nb0():\n  jump 1()", 3, "a block"),
    ("region f call()\nb0():\n  jump b0(", 3, "a value or a constant"),
    ("region f call()\nb0():\n  return 1 2", 3, "the end of the line"),
    ('region f call()\nb0():\n  return "open', 3, "a string"),
    ("region f call()\nb0():\n  leave 0", 3, "an exit"),
    ("region f call()\nb0():\n  leave e0\ne1: poll @0 [|]", 4, "a block, or exit e0"),
    ("region f call()\nb0():\n  leave e0\ne0: tired @0 [|]", 4, "an exit reason"),
    ("region f call()\nb0():\n  leave e0\ne0: poll 0 [|]", 4, "`@` and a bytecode offset"),
    ("region f call()\nb0():\n  leave e0\ne0: poll @0 []", 4, "a value or a constant"),
    ("region f call()\nb0():\n  leave e0\ne0: poll @0 x [|]", 4, "`[` or a detail in quotes"),
    ("region f call()\nb0():\n  leave e0\ne0: poll @0 [range(1, 2) |]", 4, "`,`"),
]


@pytest.mark.parametrize(("text", "line", "expected"), WRONG)
def test_error(text: str, line: int, expected: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_region(text)
    assert (caught.value.line, caught.value.expected) == (line, expected)
    assert str(caught.value).startswith(f"line {line}: expected {expected}, found ")


def test_exits_print_their_parts() -> None:
    region = parse_region(EXAMPLE)
    assert isinstance(region.exits[0], Exit)
    assert region.exits[0].detail == ""
    assert 'unsupported @20 "LOAD_DEREF" [entry0' in print_region(region)
