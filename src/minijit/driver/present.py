"""What stands in a frame, and in the heap, at this moment: for a first build of a place that nothing has recorded.

In: a frame at a root, with the root's slots. Out: for an op that loads an object, what it would give now. Nothing here
runs code of the program's, and nothing is kept beyond the build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.build.request import is_plain_namespace
from minijit.cpython import abi, frames, instances, raw
from minijit.ir.kinds import ABSENT, Field, HeldField, named

if TYPE_CHECKING:
    from minijit.cpython.frames import Frame


@dataclass(frozen=True, slots=True)
class Present:
    """Of a frame with so many locals; `outer` are the names and attributes that stand behind these."""

    frame: Frame
    own_locals: int
    outer: tuple[str | HeldField, ...]

    def look(self, name: str, arguments: tuple[object, ...]) -> object:
        """What an op of this name gives for these objects and constants, of which each may be ABSENT; so is the answer
        where there is none. Of a list it is the first item, whatever the index."""
        match name, arguments:
            case "entry_object", (int(slot),):
                return self._slot(slot)
            case "entry_items", (int(slot),):
                return self._items_of(self._slot(slot))
            case (("list_item" | "tuple_item"), (items, *_)) if type(items) in (list, tuple):
                return items[0] if items else ABSENT  # type: ignore[index]
            case (("load_field" | "field_value"), (thing, Field() as field)) if thing is not ABSENT:
                return instances.value(thing, field)
            case (("load_named" | "named_value"), (thing, str(name))) if thing is not ABSENT:
                return instances.value(thing, named(name))
            case "named_or", (thing, str(name), default) if thing is not ABSENT:
                found = instances.value(thing, named(name))
                return default if found is ABSENT else found
            case _:
                return ABSENT

    def _slot(self, slot: int) -> object:
        """What a slot of the region holds."""
        place = slot - self.own_locals
        if not 0 <= place < len(self.outer):
            address = self.frame.slot(slot if place < 0 else slot - len(self.outer))
            return raw.borrow(address) if address else ABSENT
        match self.outer[place]:
            case HeldField(holder, field):
                thing = self._slot(holder)
                return ABSENT if thing is ABSENT else instances.value(thing, field)
            case name:
                namespace, _ = self.frame.namespaces()
                return namespace.get(name, ABSENT) if is_plain_namespace(namespace) else ABSENT

    @staticmethod
    def _items_of(iterator: object) -> object:
        """The list or tuple that an iterator runs over."""
        is_one = frames.type_name(id(iterator)) in ("list_iterator", "tuple_iterator")
        address = raw.read_u64(id(iterator) + abi.ITEM_ITERATOR.items) if is_one else 0
        return raw.borrow(address) if address else ABSENT
