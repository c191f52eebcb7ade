"""The identities of virtual objects in snapshots: as few as can be, so that equal regions have equal texts.

While it builds, the builder gives each virtual object a number of its own. In: the slots of one exit, or what a region
returns. Out: the same with numbers that start at 0 among the objects of one form. Objects of one form are those that
could come to be equal, once a pass replaces values by others: ranges, tuples of as many items of the same form, and
instances of one class with the same attributes.
Others need not be told apart, so nearly all objects have number 0, which the text does not show.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from minijit.ir.region import Virtual, VirtualInstance, VirtualMethod, VirtualRange, VirtualTuple

if TYPE_CHECKING:
    from minijit.ir.region import Exit, Slot


def with_few_identities(exit: Exit) -> Exit:
    """The exit with its objects numbered anew: itself where there are none."""
    frame = exit.frame
    slots = frame.slots()
    if not any(isinstance(slot, Virtual) for slot in slots):
        return exit
    numbered, count = few_identities(slots), len(frame.locals)
    return replace(exit, frame=replace(frame, locals=numbered[:count], stack=numbered[count:]))


def few_identities(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The slots with their objects numbered anew."""
    numbers: dict[object, dict[int, int]] = {}
    return tuple(_numbered(slot, numbers) for slot in slots)


def _numbered(slot: Slot, numbers: dict[object, dict[int, int]]) -> Slot:
    """A slot with its objects numbered; `numbers` are those given so far, by the form of the object."""
    if not isinstance(slot, Virtual):
        return slot
    same = numbers.setdefault(_form(slot), {})
    identity = same.setdefault(slot.identity, len(same))
    match slot:
        case VirtualRange():
            return replace(slot, identity=identity)
        case VirtualTuple() | VirtualInstance() | VirtualMethod():
            return slot.with_parts(tuple(_numbered(part, numbers) for part in slot.parts), identity)
        case _:
            assert_never(slot)


def _form(slot: Slot) -> object:
    match slot:
        case VirtualTuple() | VirtualInstance() | VirtualMethod():
            return (slot.head, *map(_form, slot.parts))
        case VirtualRange():
            return "range"
        case _:
            return None
