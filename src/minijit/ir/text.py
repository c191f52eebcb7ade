"""The text form of regions: printed into dumps and bug reports, parsed from tests and `.trace` files.

In: a region, valid or not (a dump of a broken one must not break too). Out: text, one op a line; and the way
back.

    region f call(int, float)
    b0(v0: int, v1: float):
      v2: int = int_add v0, 1 | e0
      jump b1(v2)
    b1(v3: int):
      return (v3, unbound)
    e0: overflow @12 [v0, entry1 | range(v0, 10, 1)]

Printing and parsing are inverses: values are numbered in order of appearance (`renumber`), and equal literals
are one object within one parse, as identity is what makes constants equal. Objects that are no literals print
as `@name`: modules, builtins and functions of `math` by their names, others numbered by print (no addresses,
so that texts can be compared); a name that the parser cannot resolve becomes an `Opaque`, which prints as
that name again. Not kept: which of the many nans a float is, apart from the sign.
"""

from __future__ import annotations

import builtins
import functools
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from minijit.ir.kinds import INT_MAX, INT_MIN
from minijit.ir.parse import Opaque, TextError, builtin_or_opaque, parse_region
from minijit.ir.region import (
    Attribute,
    Block,
    Branch,
    Const,
    Edge,
    Entry,
    Exit,
    Hole,
    ItemIterator,
    Jump,
    Leave,
    Moot,
    Op,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Terminator,
    Value,
    VirtualInstance,
    VirtualMethod,
    VirtualRange,
    VirtualTuple,
)
from minijit.ir.substitute import substitute

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Opaque",
    "TextError",
    "builtin_or_opaque",
    "definitions",
    "parse_region",
    "print_region",
    "renumber",
]

_PLAIN_NAME = re.compile(r'[^\s"#]+')


def print_region(region: Region) -> str:
    """The region as text, with a newline at its end."""
    printer = _Printer(definitions(region), {})
    return "".join(f"{line}\n" for line in printer.region(region))


def definitions(region: Region) -> dict[Value, int]:
    """A number for each value that a parameter or an op defines, in order of appearance."""
    numbers: dict[Value, int] = {}
    for block in region.blocks:
        for value in (*block.params, *(op.result for op in block.ops)):
            if value is not None:
                numbers.setdefault(value, len(numbers))
    return numbers


def renumber(region: Region) -> Region:
    """The region with values numbered in order of appearance, as printing numbers them."""
    change = {value: Value(number, value.kind) for value, number in definitions(region).items()}
    used = substitute(region, dict(change))
    blocks = tuple(
        Block(
            tuple(change[p] for p in block.params),
            tuple(Op(op.name, op.args, op.result and change[op.result], op.exit) for op in block.ops),
            block.end,
        )
        for block in used.blocks
    )
    return Region(region.name, region.point, region.entry_kinds, blocks, used.exits)


@dataclass(slots=True)
class _Printer:
    """Names given so far: to values, and to objects that have none of their own."""

    values: dict[Value, int]
    objects: dict[int, str]

    def region(self, region: Region) -> Iterator[str]:
        kinds = ", ".join(kind.value for kind in region.entry_kinds)
        name = region.name if _PLAIN_NAME.fullmatch(region.name) else json.dumps(region.name)
        yield f"region {name} {region.point.value}({kinds})"
        for number, block in enumerate(region.blocks):
            yield f"b{number}({', '.join(map(self.definition, block.params))}):"
            for op in block.ops:
                yield f"  {self.op(op)}"
            yield f"  {self.end(block.end)}"
        for number, exit in enumerate(region.exits):
            yield f"e{number}: {self.exit(exit)}"

    def definition(self, value: Value) -> str:
        return f"{self.operand(value)}: {value.kind.value}"

    def op(self, op: Op) -> str:
        left = f"{self.definition(op.result)} = " if op.result is not None else ""
        args = f" {', '.join(map(self.operand, op.args))}" if op.args else ""
        right = f" | e{op.exit}" if op.exit is not None else ""
        return f"{left}{op.name}{args}{right}"

    def end(self, end: Terminator) -> str:
        match end:
            case Jump(edge):
                return f"jump {self.edge(edge)}"
            case Branch(condition, then, otherwise):
                return f"branch {self.operand(condition)} {self.edge(then)} {self.edge(otherwise)}"
            case Return(value):
                return f"return {self.slot(value)}"
            case Leave(exit):
                return f"leave e{exit}"
            case _:
                assert_never(end)

    def edge(self, edge: Edge) -> str:
        return f"b{edge.target}({', '.join(map(self.operand, edge.args))})"

    def exit(self, exit: Exit) -> str:
        detail = f" {json.dumps(exit.detail)}" if exit.detail else ""
        left, right = (", ".join(map(self.slot, part)) for part in (exit.frame.locals, exit.frame.stack))
        slots = " ".join(part for part in (left, "|", right) if part)
        return f"{exit.reason.label} @{exit.frame.offset}{detail} [{slots}]"

    def slot(self, slot: Slot) -> str:
        match slot:
            case Value() | Const():
                return self.operand(slot)
            case Hole():
                return slot.value
            case Entry(number):
                return f"entry{number}"
            case VirtualTuple(items, identity):
                name = f"tuple.{identity}" if identity else ""
                return f"{name}({', '.join(map(self.slot, items))}{',' if len(items) == 1 else ''})"
            case VirtualInstance(cls, attributes, identity):
                name = f"instance.{identity}" if identity else "instance"
                return f"{name}({', '.join((self.operand(cls), *map(self.attribute, attributes)))})"
            case VirtualMethod(function, owner, identity):
                name = f"method.{identity}" if identity else "method"
                return f"{name}({self.operand(function)}, {self.slot(owner)})"
            case VirtualRange(start, stop, step, identity):
                name = f"range.{identity}" if identity else "range"
                return f"{name}({', '.join(map(self.operand, (start, stop, step)))})"
            case RangeIterator(start, step, length, home):
                at = "" if home is None else f".{home}"
                return f"range_iter{at}({', '.join(map(self.operand, (start, step, length)))})"
            case Reference(value, cls):
                return f"reference({self.operand(value)}, {self.operand(cls)})"
            case ItemIterator(items, index, cls, home):
                at = "" if home is None else f".{home}"
                return f"{cls.__name__}_iter{at}({self.operand(items)}, {self.operand(index)})"
            case Moot(cls):
                return f"moot({self.operand(cls)})"
            case _:
                assert_never(slot)

    def attribute(self, attribute: Attribute) -> str:
        name, offset, is_value = attribute.field
        return f"{name} {'value' if is_value else 'slot'} {offset} = {self.slot(attribute.slot)}"

    def operand(self, operand: Operand) -> str:
        if isinstance(operand, Value):
            # A broken region may use what nothing defines: that gets a number after all others.
            return f"v{self.values.setdefault(operand, len(self.values))}"
        return _literal(operand.value) or f"@{self.object(operand.value)}"

    def object(self, value: object) -> str:
        if isinstance(value, Opaque):
            return value.name
        known = _known_names().get(id(value))
        return known or self.objects.setdefault(id(value), f"object{len(self.objects)}")


def _literal(value: object) -> str | None:
    """The text of a literal; None for what is none. Exact types only: a subclass is another object."""
    if value is None or value is True or value is False:
        return str(value)
    if type(value) is int:
        # Hexadecimal beyond 64 bits: decimal has a limit of digits, and long numbers are masks as a rule.
        return str(value) if INT_MIN <= value <= INT_MAX else hex(value)
    if type(value) is float:
        return ("-nan" if math.copysign(1, value) < 0 else "nan") if math.isnan(value) else repr(value)
    return json.dumps(value) if type(value) is str else None


@functools.cache
def _known_names() -> dict[int, str]:
    """The names of builtins and of what `math` has, by identity: they live as long as we do."""
    names = {id(math): "math"}
    for prefix, module in (("", builtins), ("math.", math)):
        for name, value in vars(module).items():
            if not name.startswith("_") and _literal(value) is None:
                names.setdefault(id(value), prefix + name)
    return names
