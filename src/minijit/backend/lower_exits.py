"""The ways out of a region: returns, and exits, whose code is its cold end.

In: a region whose blocks are lowered, and which of its exits they use. Out: for each a block that stores what its
snapshot is made of into the raw buffer (see `snapshots`) and goes on to the leave stub.

Most exits of a region store nearly the same: what the locals are, before one statement or the next. So the code for
what they have in common is shared. What an exit stores is a sequence, in which that comes first which most exits store
(`snapshots.raw_layouts`); as paths from the root these sequences make a prefix tree (the FP-tree of Han, Pei and Yin,
SIGMOD 2000). Each exit begins at the end of its path and stores what it has alone, and where paths meet, its code
joins that of the others. In large regions that leaves a quarter of the stores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial, reduce
from typing import TYPE_CHECKING, assert_never

from minijit.backend import lower_ops
from minijit.backend.bodies import give, give_image, give_object, give_reference, give_value, one_word
from minijit.backend.emitter import pointer
from minijit.backend.lower_objects import held, values
from minijit.backend.snapshots import LEFT_TAG, plain_return, writes
from minijit.events import ExitReason
from minijit.ir.kinds import HeldField, Kind
from minijit.ir.region import (
    Branch,
    Const,
    Entry,
    EntryPoint,
    Op,
    Operand,
    Reference,
    Region,
    Return,
    Value,
    edges,
    exit_values,
    slot_operands,
)
from minijit.ir.substitute import map_exit, map_op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from minijit.backend.emitter import Emitter
    from minijit.backend.snapshots import Layout
    from minijit.ir.region import Slot


def lower_exits(emitter: Emitter) -> None:
    """Writes the cold end of the function."""
    out = emitter.lines
    paths: list[tuple[Layout, _Way]] = []
    for number in emitter.used_exits:
        emitter.lines = []
        emitter.start(f"x{number}")
        if emitter.region.exits[number].reason is ExitReason.RETURNED:
            _return_and_write(emitter, number)
            out += emitter.lines
        else:
            paths.append((emitter.layouts[number], _here(emitter, str(emitter.records[number]))))
    out += _joined(emitter, paths, partial(_leave, emitter))
    paths = []
    for number, answer in emitter.waits.items():
        emitter.lines = []
        emitter.start(f"w{number}")
        words = str(emitter.records[number]), one_word(emitter, answer)
        paths.append((emitter.layouts[number], _here(emitter, *words)))
    out += _joined(emitter, paths, partial(_wait, emitter))
    emitter.lines = out


@dataclass(frozen=True, slots=True)
class _Way:
    """Some exits on their way out: the LLVM block that they are in, its lines, words that they take along, and what is
    still to be stored there."""

    label: str
    lines: list[str]
    words: tuple[str, ...]
    pending: list[tuple[int, Operand]] = field(default_factory=list)


def _here(emitter: Emitter, *words: str) -> _Way:
    return _Way(emitter.label, emitter.lines, words)


@dataclass(slots=True, eq=False)
class _Node:
    """What is stored last on a path, the number of the node that it leads to, those of the nodes from which paths lead
    here, and who comes here."""

    stored: tuple[int, Operand] | None = None
    parent: int = 0
    children: dict[tuple[int, Operand], int] = field(default_factory=dict)
    ways: list[_Way] = field(default_factory=list)


def _joined(emitter: Emitter, paths: Iterable[tuple[Layout, _Way]], leave: Callable[..., None]) -> Iterator[str]:
    """The lines of exits that leave in the same way: by `leave`, which gets the words that they take along."""
    nodes = [_Node()]
    for layout, way in paths:
        number = 0
        for item in layout:
            children = nodes[number].children
            if item not in children:
                children[item] = len(nodes)
                nodes.append(_Node(item, number))
            number = children[item]
        nodes[number].ways.append(way)
    # Whatever leads to a node was made after it.
    for node in reversed(nodes):
        if len(node.ways) > 1:
            label = emitter.fresh_label()
            for way in node.ways:
                _stores(emitter, way)
                emitter.line(f"br label %{label}")
                yield from emitter.lines
            emitter.lines = []
            emitter.start(label)
            words = [_met(emitter, node.ways, place) for place in range(len(node.ways[0].words))]
            node.ways = [_here(emitter, *words)]
        if node.stored is not None:
            (way,) = node.ways
            way.pending.append(node.stored)
            nodes[node.parent].ways.append(way)
    for way in nodes[0].ways:
        _stores(emitter, way)
        leave(*way.words)
        yield from emitter.lines


def _stores(emitter: Emitter, way: _Way) -> None:
    """Goes on where some exits are, and stores what they have not stored yet."""
    emitter.lines, emitter.label = way.lines, way.label
    _store_raw(emitter, way.pending)


def _met(emitter: Emitter, ways: list[_Way], place: int) -> str:
    """A word that ways which meet have taken along."""
    if len({way.words[place] for way in ways}) == 1:
        return ways[0].words[place]
    return emitter.let("phi i64 " + ", ".join(f"[ {way.words[place]}, %{way.label} ]" for way in ways))


def _leave(emitter: Emitter, record: str) -> None:
    """Leaves with the address of a record."""
    if emitter.region.point is EntryPoint.BODY:
        give_image(emitter, record, "0")
        return
    tail_call(emitter, emitter.target.leave, record)


def _wait(emitter: Emitter, record: str, answer: str) -> None:
    """Leaves at a call whose callee has answered with no value: it was left, or gave an object that it made."""
    if emitter.region.point is EntryPoint.BODY:
        own, none = emitter.fresh_label(), emitter.fresh_label()
        emitter.line(f"br i1 {emitter.let(f'icmp eq i64 {answer}, 0')}, label %{none}, label %{own}")
        emitter.start(none)
        give(emitter, "0", LEFT_TAG)
        emitter.start(own)
        give_image(emitter, record, answer)
        return
    tail_call(emitter, emitter.target.leave_waiting, record, emitter.let(f"inttoptr i64 {answer} to ptr"))


# Late ops


LATE = frozenset({"int_add_wrap", "int_sub_wrap"})
"""Ops that cost less than they would save: an exit may well be without them."""


def late_ops(region: Region) -> dict[Value, Op]:
    """The ops, by their results, whose results nothing but snapshots uses: they are done on the way out.

    LLVM moves an op to where it is used only if that is one place.
    """
    late: dict[Value, Op] = {}
    used: list[Operand] = []
    for block in region.blocks:
        for op in block.ops:
            if op.name in LATE and op.result is not None:
                late[op.result] = op
            else:
                used += op.args
        used += [arg for edge in edges(block.end) for arg in edge.args]
        match block.end:
            case Branch(condition):
                used.append(condition)
            case Return(value):
                used += slot_operands(value)
    while used and late:
        operand = used.pop()
        if isinstance(operand, Value) and operand in late:
            used += late.pop(operand).args
    return late


def _done_late(emitter: Emitter, values: Iterable[Value]) -> dict[Value, Operand]:
    """Does the ops that were left to the exits and that some values are the results of, here; the new results."""
    done: dict[Value, Operand] = {}
    todo = list(values)
    while todo:
        value = todo[-1]
        op = emitter.late.get(value)
        missing = [] if op is None else [arg for arg in op.args if isinstance(arg, Value) and arg in emitter.late]
        missing = [arg for arg in missing if arg not in done]
        if missing:
            todo += missing
            continue
        todo.pop()
        if op is not None and value not in done:
            emitter.copies += 1
            copy = Value(emitter.copies, value.kind)
            lower_ops.LOWER[op.name](emitter, Op(op.name, map_op(op, done).args, copy))
            done[value] = copy
    return done


# Storing


def _store_raw(emitter: Emitter, layout: Iterable[tuple[int, Operand]]) -> None:
    """Stores what a snapshot is made of into the raw buffer.

    The buffer's address is loaded rather than written down: LLVM takes several times longer over code with many 64-bit
    constants than over small offsets from one register.
    """
    layout = list(layout)
    if not layout:
        return
    base = emitter.let(f"load ptr, ptr {pointer(emitter.target.raw_cell)}")
    done = _done_late(emitter, [operand for _, operand in layout if isinstance(operand, Value)])
    for position, stored in layout:
        operand = done.get(stored, stored) if isinstance(stored, Value) else stored
        assert operand.kind is not None
        if operand.kind.is_tagged:
            _store(emitter, base, position, f"i64 {emitter.tag(operand)}")
            _store(emitter, base, position + 1, f"i64 {emitter.bits(operand)}")
        elif operand.kind is Kind.BOOL:
            _store(emitter, base, position, f"i64 {emitter.let(f'zext i1 {emitter.use(operand)} to i64')}")
        else:
            _store(emitter, base, position, emitter.typed(operand))


def _store(emitter: Emitter, base: str, position: int, typed: str) -> None:
    place = emitter.let(f"getelementptr i64, ptr {base}, i64 {position}")
    emitter.line(f"store {typed}, ptr {place}")


# Returning


def tail_call(emitter: Emitter, address: int, record: str, last: str = "%d") -> None:
    """Goes on to a stub, which gets the record in the third argument."""
    result = emitter.let(f"musttail call ptr {pointer(address)}(ptr %a, ptr {emitter.args}, i64 {record}, ptr {last})")
    emitter.line(f"ret ptr {result}")


def leave_by_return(emitter: Emitter, value: Slot, number: int) -> None:
    if emitter.region.point is EntryPoint.BODY:
        _give_result(emitter, value, number)
        return
    plain = plain_return(emitter.region, value)
    if plain is None:
        point = emitter.return_points[number]
        _store_raw(emitter, emitter.layouts[point])
        tail_call(emitter, emitter.target.leave_return, str(emitter.records[point]))
        return
    _return_plain(emitter, plain)


def _return_and_write(emitter: Emitter, number: int) -> None:
    """Returns what is on the frame's stack, when attributes have got their values."""
    exit, record = emitter.region.exits[number], str(emitter.records[number])
    exit = map_exit(exit, _done_late(emitter, exit_values(exit)))
    (value,) = exit.frame.stack
    plain = plain_return(emitter.region, value)
    written = list(writes(emitter.region, exit, emitter.placement))
    # Where nobody knows what attributes there are, the stub finds them in the record.
    is_known = bool(emitter.placement.fields)
    if plain is None or not is_known or not _can_be_put(emitter, [slot for _, slot in written]):
        _store_raw(emitter, emitter.layouts[number])
        tail_call(emitter, emitter.target.leave_return, record)
        return
    if not written:
        _return_plain(emitter, plain)
        return
    # The result first: it may be what stands where something is written.
    result = _plain_result(emitter, plain)
    puts = [_put(emitter, index, slot, result if slot == plain else None) for index, slot in written]
    done = reduce(lambda a, b: emitter.let(f"and i1 {a}, {b}"), puts)
    emitter.end_run()
    well, failed = emitter.fresh_label(), emitter.fresh_label()
    emitter.line(f"br i1 {done}, label %{well}, label %{failed}, !prof !0")
    emitter.start(well)
    _hand_over(emitter, result)
    emitter.start(failed)
    emitter.line(f"call void {emitter.c_function('Py_DecRef')}(ptr {result})")
    emitter.line("ret ptr null")


def _can_be_put(emitter: Emitter, written: list[Slot]) -> bool:
    """Whether attributes can get these values without the stub: numbers, each in one place, and arguments."""
    machine = [slot for slot in written if isinstance(slot, Value)]
    is_once = len(set(machine)) == len(machine)
    return is_once and all(_is_number(slot) or _is_argument(emitter, slot) for slot in written)


def _is_number(slot: Slot) -> bool:
    return isinstance(slot, Value | Const) and slot.kind is not None and not slot.kind.is_tagged


def _is_argument(emitter: Emitter, slot: Slot) -> bool:
    return isinstance(slot, Entry) and emitter.placement.outer(slot.slot) is None


def _put(emitter: Emitter, index: int, slot: Slot, made: str | None) -> str:
    """Gives an attribute another value, which may have been `made` an object already; whether that was done."""
    outer = emitter.placement.outer(index)
    assert isinstance(outer, HeldField)
    object = held(emitter, outer.holder)
    base = values(emitter, object) if outer.field.is_value else object
    place = emitter.let(f"getelementptr i8, ptr {base}, i64 {outer.field.offset}")
    if made is None and isinstance(slot, Value) and slot.kind in (Kind.INT, Kind.FLOAT):
        return emitter.let(f"call i1 {emitter.helper(f'put_{slot.kind.value}')}(ptr {place}, {emitter.typed(slot)})")
    return emitter.let(
        f"call i1 {emitter.helper('put_object')}(ptr {place}, ptr {made or _plain_object(emitter, slot)})"
    )


def _plain_object(emitter: Emitter, slot: Slot) -> str:
    """The object that a slot is, which lives as long as the region runs."""
    match slot:
        case Const(constant):
            return pointer(id(constant))
        case Entry(number):
            return held(emitter, number)
        case Reference(value):
            return emitter.use(value)
        case Value(_, Kind.BOOL):
            return _box(emitter, slot)
        case _:
            raise AssertionError(slot)


def _return_plain(emitter: Emitter, value: Slot) -> None:
    """Returns what needs no stub (see `plain_return`)."""
    result = _plain_result(emitter, value)
    emitter.end_run()
    _hand_over(emitter, result)


def _hand_over(emitter: Emitter, result: str) -> None:
    """Returns an object to the interpreter, when what is kept has been let go."""
    if emitter.keeps:
        words = f"ptr {result}, ptr {emitter.args}, i64 0, ptr %d"
        result = emitter.let(f"musttail call ptr {emitter.helper('let_go_first')}({words})")
    emitter.line(f"ret ptr {result}")


def _plain_result(emitter: Emitter, value: Slot) -> str:
    if isinstance(value, Value):
        return _box(emitter, value)
    result = _plain_object(emitter, value)
    emitter.incref(result)
    return result


def _give_result(emitter: Emitter, value: Slot, number: int) -> None:
    """A body's answer."""
    if isinstance(value, Value) or (isinstance(value, Const) and (value.kind is not None or value.value is None)):
        give_value(emitter, value)
    elif isinstance(value, Const | Reference):
        give_reference(emitter, _plain_object(emitter, value))
    else:
        point = emitter.return_points[number]
        _store_raw(emitter, emitter.layouts[point])
        stub = f"{pointer(emitter.target.leave_return)}(ptr null, ptr null, i64 {emitter.records[point]}, ptr null)"
        give_object(emitter, emitter.let(f"call ptr {stub}"))


def _box(emitter: Emitter, value: Value) -> str:
    match value.kind:
        case Kind.INT:
            return emitter.let(f"call ptr {emitter.c_function('PyLong_FromLongLong')}({emitter.typed(value)})")
        case Kind.FLOAT:
            return emitter.let(f"call ptr {emitter.c_function('PyFloat_FromDouble')}({emitter.typed(value)})")
        case Kind.BOOL:
            return emitter.let(f"select i1 {emitter.use(value)}, ptr {pointer(id(True))}, ptr {pointer(id(False))}")
        case Kind.ANY | Kind.NUMBER | Kind.OBJECT:
            raise AssertionError(value)
        case _:
            assert_never(value.kind)
