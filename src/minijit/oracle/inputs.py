"""What a region is tried with: inputs that its entry lets in.

In: a region, and a source of random choices. Out: `Vector`s: a value for each input, an object for each entry slot.
Some are calm, small numbers with which loops are short and most guards hold. Some are calm but for one slot, and some
are anything between: what is not calm is from where things break: the ends of what the kinds admit, powers of two and
their neighbours, the region's own constants and theirs, special floats, any bits. Iterators are such as
`iter(range(...))` gives, with few numbers left for the most part.

Nothing here knows what a region does with its inputs.
"""

from __future__ import annotations

import math
import struct
from _random import Random  # the program may have a module of its own that is called `random`
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.ir.kinds import INPUT_RANGES, INT_MAX, INT_MIN, ITERATED, RANGE_STEPS, EntryKind
from minijit.ir.ops import UNBOUND
from minijit.ir.region import Const, Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CALM_FLOATS = (0.0, 1.0, -1.0, 0.5, 2.0, -2.5, 3.0, 0.1, 10.0, 7.25)
FLOATS = (
    *(-0.0, math.inf, -math.inf, math.nan, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
    *(2.0**31, 2.0**53, 2.0**63, -(2.0**63), math.nextafter(2.0**63, 0.0), 1e22, 1e-9, 4503599627370497.5),
)
STEPS = (1, 1, 1, -1, 2, -3, 1000)
OBJECTS: tuple[object, ...] = (None, "text", 2**70, (1, 2.0), 1.5, True, object())
"""What may stand where nothing is asked of it. The last can have a weak reference, so its end can be noticed."""


class Choices(Random):
    """Random choices, seeded by an int."""

    def of[T](self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def below(self, limit: int) -> int:
        return self.between(0, limit - 1)

    def between(self, low: int, high: int) -> int:
        """Both ends inclusive."""
        return low + self.getrandbits(80) % (high - low + 1)

    def chance(self, share: float) -> bool:
        return self.random() < share


@dataclass(frozen=True, slots=True)
class Vector:
    """The values of the entry block's parameters, and what the entry slots hold."""

    inputs: tuple[object, ...]
    objects: tuple[object, ...]


def vectors(region: Region, choices: Choices, count: int) -> Iterator[Vector]:
    """So many vectors for a region."""
    constants, kinds = _constants(region), region.entry_kinds
    with_inputs = list(dict.fromkeys(slot for slot, _, _ in region.inputs()))
    for number in range(count):
        if number % 3 and with_inputs:
            wild = choices.of(with_inputs)
            shares = [float(slot == wild) for slot in range(len(kinds))]
        else:
            shares = [number / count] * len(kinds)
        made = [_Maker(choices, constants, share).slot(kind) for kind, share in zip(kinds, shares, strict=True)]
        yield Vector(tuple(value for inputs, _ in made for value in inputs), tuple(held for _, held in made))


def _constants(region: Region) -> tuple[int | float, ...]:
    """The numbers that the region compares with, adds, and so on."""
    args = (arg for block in region.blocks for op in block.ops for arg in op.args)
    values = (arg.value for arg in args if isinstance(arg, Const))
    # Types as well, since 1 and 1.0 are one key.
    known = {(type(value), value): value for value in values if isinstance(value, int | float)}
    return tuple(known.values())


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes what belongs to one slot; `wildness` is the share of numbers that are not calm."""

    choices: Choices
    constants: tuple[int | float, ...]
    wildness: float

    def slot(self, kind: EntryKind) -> tuple[tuple[object, ...], object]:
        """The inputs that come of one slot, and what it holds."""
        match kind:
            case EntryKind.INT | EntryKind.SMALL_INT | EntryKind.NATURAL | EntryKind.SHORT:
                value = self.whole(*INPUT_RANGES[kind])
                return (value,), value
            case EntryKind.FLOAT:
                number = self.real()
                return (number,), number
            case EntryKind.BOOL:
                flag = self.choices.chance(0.5)
                return (flag,), flag
            case EntryKind.RANGE_ITERATOR:
                return self.iterator(), object()
            case EntryKind.RANGE_UP | EntryKind.RANGE_DOWN:
                return self.short_range(kind), object()
            case EntryKind.LIST_ITERATOR | EntryKind.TUPLE_ITERATOR:
                items = ITERATED[kind](self.real() for _ in range(self.choices.below(4)))
                return (items, self.choices.below(5)), object()
            case EntryKind.REFERENCE:
                found = object()
                return (found,), found
            case EntryKind.NONE:
                return (), None
            case EntryKind.UNBOUND:
                return (), UNBOUND
            case EntryKind.OBJECT:
                return (), self.choices.of(OBJECTS)

    @property
    def is_wild(self) -> bool:
        return self.choices.chance(self.wildness)

    def whole(self, low: int, high: int) -> int:
        """An int between both ends. What is beyond is folded back, so that both ends remain as likely as others."""
        value = self.wild_whole(low, high) if self.is_wild else self.choices.between(max(-3, low), 12)
        return value if low <= value <= high else low + (value - low) % (high - low + 1)

    def wild_whole(self, low: int, high: int) -> int:
        near = self.choices.between(-2, 2)
        match self.choices.below(5):
            case 0:
                return low + abs(near)
            case 1:
                return high - abs(near)
            case 2:
                return self.choices.of((1, -1)) * (1 << self.choices.below(64)) + near
            case 3 if known := [value for value in self.constants if isinstance(value, int)]:
                return self.choices.of(known) + near
            case _:
                return self.choices.getrandbits(self.choices.between(1, 64)) * self.choices.of((1, -1))

    def real(self) -> float:
        if not self.is_wild:
            return self.choices.of(CALM_FLOATS)
        match self.choices.below(4):
            case 0 if known := [value for value in self.constants if isinstance(value, float)]:
                return math.nextafter(self.choices.of(known), self.choices.of((0.0, math.inf, -math.inf)))
            case 1:
                value: float = struct.unpack("<d", struct.pack("<Q", self.choices.getrandbits(64)))[0]
                return value
            case 2:
                return float(self.whole(INT_MIN, INT_MAX))
            case _:
                return self.choices.of(FLOATS)

    def length(self) -> int:
        """How many numbers an iterator has left."""
        return self.choices.below(2**31 if self.is_wild and self.choices.chance(0.2) else 6)

    def iterator(self) -> tuple[int, int, int]:
        """Start, step and length. The number behind the last fits 64 bits, too: iterators of others are of another
        type."""
        step, length = self.choices.of(STEPS), self.length()
        span = step * length
        return self.whole(max(INT_MIN, INT_MIN - span), min(INT_MAX, INT_MAX - span)), step, length

    def short_range(self, kind: EntryKind) -> tuple[int, int]:
        """Start and stop."""
        low, high = INPUT_RANGES[kind]
        start = self.whole(low, high)
        return start, min(max(start + RANGE_STEPS[kind] * self.length(), low), high)
