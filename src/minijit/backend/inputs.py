"""Inputs of regions: objects become machine values, if they are of the kinds that the region is for.

In: an object's address, of a slot. Out: code that checks it, and the values that are made of it, defined under their
names. What becomes of other kinds is for the caller to say: a *check* takes a condition, and goes elsewhere where that
does not hold.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from minijit.backend.emitter import pointer
from minijit.backend.lower_objects import load, unbox
from minijit.cpython import abi
from minijit.ir.kinds import INPUT_RANGES, ITERATED, RANGE_STEPS, EntryKind, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.emitter import Emitter
    from minijit.ir.kinds import ClassKind, FunctionKind
    from minijit.ir.region import Value

_SCALARS = {
    EntryKind.INT: Kind.INT,
    EntryKind.FLOAT: Kind.FLOAT,
    EntryKind.BOOL: Kind.BOOL,
}


def goes_to(e: Emitter, label: str) -> Callable[[str], None]:
    """A check: goes on if its condition holds, else to `label`."""

    def check(condition: str) -> None:
        onward = e.fresh_label()
        e.line(f"br i1 {condition}, label %{onward}, label %{label}, !prof !0")
        e.start(onward)

    return check


def check_input(e: Emitter, slot: int, kind: EntryKind, object: str, check: Callable[[str], None]) -> None:
    """Checks one slot's object and defines the inputs that come of it."""
    values = {field: value for number, field, value in e.region.inputs() if number == slot}
    match kind:
        case EntryKind.INT | EntryKind.FLOAT | EntryKind.BOOL:
            e.define_scalar(values["value"], unbox(e, _SCALARS[kind], object, check))
        case EntryKind.SMALL_INT | EntryKind.NATURAL | EntryKind.SHORT:
            value = unbox(e, Kind.INT, object, check)
            check(_within(e, value, INPUT_RANGES[kind]))
            e.define_scalar(values["value"], value)
        case EntryKind.NONE:
            check(e.let(f"icmp eq ptr {object}, {pointer(id(None))}"))
        case EntryKind.UNBOUND:
            check(e.let(f"icmp eq ptr {object}, null"))
        case EntryKind.RANGE_ITERATOR:
            _range_iterator(e, object, values, check)
        case EntryKind.RANGE_UP | EntryKind.RANGE_DOWN:
            _short_range(e, object, kind, values, check)
        case EntryKind.LIST_ITERATOR | EntryKind.TUPLE_ITERATOR:
            _item_iterator(e, object, type(iter(ITERATED[kind]())), values, check)
        case EntryKind.OBJECT | EntryKind.REFERENCE:
            return


def check_given(e: Emitter, kind: FunctionKind, object: str, check: Callable[[str], None]) -> None:
    """The object is a function of this kind."""
    check(e.let(f"icmp eq i64 {load(e, object, abi.OBJECT.ob_type, 'i64')}, {id(FunctionType)}"))
    layout = abi.FUNCTION
    wanted = {layout.func_code: kind.code, layout.func_globals: kind.globals, layout.func_builtins: kind.builtins}
    for offset, address in wanted.items():
        check(e.let(f"icmp eq i64 {load(e, object, offset, 'i64')}, {address}"))


def check_instance(e: Emitter, kind: ClassKind, object: str, check: Callable[[str], None]) -> None:
    """The object is an instance of this class, in the state that it is to be in, and has no dict of its own."""
    check(e.let(f"icmp eq i64 {load(e, object, abi.OBJECT.ob_type, 'i64')}, {kind.address}"))
    version = load(e, pointer(kind.address), abi.TYPE.tp_version_tag, "i32")
    check(e.let(f"icmp eq i32 {version}, {kind.version}"))
    if kind.shared >= 0:
        word = load(e, object, abi.INSTANCE.values, "i64")
        check(e.let(f"trunc i64 {word} to i1"))
        check_shared_names(e, ((kind.address, kind.shared),), check)


def check_shared_names(e: Emitter, classes: tuple[tuple[int, int], ...], check: Callable[[str], None]) -> None:
    """Instances of classes, by address, share no more than so many names: else they may have attributes that go before
    those of their classes."""
    for cls, count in classes:
        keys = load(e, pointer(cls), abi.TYPE.ht_cached_keys)
        check(e.let(f"icmp eq i64 {load(e, keys, abi.DICT_KEYS.dk_nentries, 'i64')}, {count}"))


def check_instances(
    e: Emitter, instances: tuple[tuple[int, ClassKind], ...], held: Callable[[int], str], check: Callable[[str], None]
) -> None:
    """All objects whose attributes are variables are of their classes, and none is there twice."""
    objects: list[tuple[str, ClassKind]] = []
    for slot, kind in instances:
        object = held(slot)
        check(e.let(f"icmp ne ptr {object}, null"))
        check_instance(e, kind, object, check)
        for other, same in objects:
            if same.address == kind.address:
                check(e.let(f"icmp ne ptr {object}, {other}"))
        objects.append((object, kind))


def _within(e: Emitter, value: str, ends: tuple[int, int]) -> str:
    """Whether an int is between two ends, as one unsigned comparison."""
    moved = e.let(f"sub i64 {value}, {ends[0]}")
    return e.let(f"icmp ule i64 {moved}, {ends[1] - ends[0]}")


def _short_range(
    e: Emitter, object: str, kind: EntryKind, values: dict[str, Value], check: Callable[[str], None]
) -> None:
    """An iterator whose step is known, as the start and stop of its range."""
    _check_iterator(e, object, type(iter(range(0))), check)
    layout = abi.RANGE_ITERATOR
    start, step, length = (load(e, object, at, "i64") for at in (layout.start, layout.step, layout.length))
    stop = e.let(f"{'add' if kind is EntryKind.RANGE_UP else 'sub'} i64 {start}, {length}")
    check(e.let(f"icmp eq i64 {step}, {RANGE_STEPS[kind]}"))
    for field, value in (("start", start), ("stop", stop)):
        check(_within(e, value, INPUT_RANGES[kind]))
        e.define_scalar(values[field], value)


def _check_iterator(e: Emitter, object: str, cls: type, check: Callable[[str], None]) -> None:
    check(e.let(f"icmp eq i64 {load(e, object, abi.OBJECT.ob_type, 'i64')}, {id(cls)}"))
    # Held by this frame alone: two slots cannot be the same iterator.
    check(e.let(f"icmp eq i64 {load(e, object, abi.OBJECT.ob_refcnt, 'i64')}, 1"))


def _range_iterator(e: Emitter, object: str, values: dict[str, Value], check: Callable[[str], None]) -> None:
    _check_iterator(e, object, type(iter(range(0))), check)
    for field, value in values.items():
        e.define_scalar(value, load(e, object, getattr(abi.RANGE_ITERATOR, field), "i64"))


def _item_iterator(e: Emitter, object: str, cls: type, values: dict[str, Value], check: Callable[[str], None]) -> None:
    """One that has not come to its end."""
    _check_iterator(e, object, cls, check)
    items = load(e, object, abi.ITEM_ITERATOR.items)
    check(e.let(f"icmp ne ptr {items}, null"))
    e.define_scalar(values["items"], items)
    e.define_scalar(values["index"], load(e, object, abi.ITEM_ITERATOR.index, "i64"))
