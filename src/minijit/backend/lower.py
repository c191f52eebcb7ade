"""Lowering: a region becomes the text of one LLVM function.

In: a valid region, and a `Target` with the addresses that machine code needs. Out: LLVM IR text that defines `@region`
with the prototype `ptr (ptr, ptr, i64, ptr)`, which is that of a vectorcall. Every function that compiled code goes
on to has the same prototype, so that it is reached by a tail call: while Python code runs on behalf of a region no
native frame of that region exists, and its memory can be freed at any moment. A body, which machine code calls, gets
and gives machine values instead; it and its callers come to an end as well before any Python code runs (see
`image_stubs`).

Blocks become LLVM blocks of the same number, block parameters phi instructions, each exit one cold block that stores
the values its snapshot needs into the raw buffer (see `snapshots`) and tail-calls the leave stub. What an op becomes
is said by one function an op in `lower_ops`; how a region is entered by `entry`.

Text rather than a builder object: it is what one reads in a dump, and several times faster to make.
"""

from __future__ import annotations

import itertools
from functools import reduce
from typing import TYPE_CHECKING, assert_never

from minijit.backend import lower_ops
from minijit.backend.bodies import body_text, give, give_image, give_object, give_reference, give_value, one_word
from minijit.backend.emitter import LLVM_TYPES, Emitter, Target, name, pointer
from minijit.backend.lower_objects import held, values
from minijit.backend.prelude import PRELUDE
from minijit.backend.snapshots import LEFT_TAG, plain_return, raw_layout, return_exit, stub_returns, writes
from minijit.events import ExitReason
from minijit.ir.kinds import HeldField, Kind
from minijit.ir.ops import RESIZING, TABLE, Effect
from minijit.ir.region import (
    Branch,
    Const,
    Entry,
    EntryPoint,
    Jump,
    Leave,
    Op,
    Operand,
    Reference,
    Region,
    Return,
    Value,
    edges,
    exit_values,
    has_op,
    slot_operands,
)
from minijit.ir.substitute import map_exit, map_op

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minijit.ir.region import Block, Edge, Exit, FrameState, Slot


METADATA = ('!0 = !{!"branch_weights", i32 100000, i32 1}', '!1 = !{!"rsp"}', "!2 = !{}")
"""How sure a branch is, the name of the stack pointer, and the mark of loads of what does not change."""


def lower(region: Region, target: Target, records: Sequence[int], prologue: Callable[[Emitter], None]) -> str:
    """The LLVM text of the region.

    `records` has the address of the native record of each of `snapshots.leave_points(region)`, in order. `prologue`
    writes the entry up to the point where all inputs are
    defined.
    """
    emitter = Emitter(region, target, records)
    emitter.late = late_ops(region)
    # What is called may do anything.
    emitter.lists_grow = has_op(region, (*RESIZING, "call_body"))
    emitter.ends = has_op(region, ("guard_may_end", "call_body"))
    emitter.keeps = has_op(region, KEEPING)
    emitter.fills = has_op(region, ("field_value",))
    emitter.return_records = {b: len(region.exits) + k for k, b in enumerate(stub_returns(region))}
    emitter.start("entry")
    prologue(emitter)
    _block_body(emitter, region.blocks[0], 0)
    entry = emitter.lines
    bodies: list[tuple[int, list[str]]] = []
    for number, block in enumerate(region.blocks[1:], 1):
        emitter.lines = []
        emitter.label = f"b{number}"
        _block_body(emitter, block, number)
        bodies.append((number, emitter.lines))
    emitter.lines = entry
    for number, lines in bodies:
        emitter.start(f"b{number}")
        _phis(emitter, number)
        emitter.lines.extend(lines)
    _exits(emitter)
    if region.point is EntryPoint.BODY:
        return "\n".join((PRELUDE, *body_text(region, emitter.lines), *METADATA, ""))
    head = "define ptr @region(ptr %a, ptr %b, i64 %c, ptr %d) {"
    return "\n".join((PRELUDE, head, *emitter.lines, "}", *METADATA, ""))


def _block_body(emitter: Emitter, block: Block, number: int) -> None:
    for op, following in itertools.zip_longest(block.ops, block.ops[1:]):
        emitter.following = following
        if op.result not in emitter.late and op.result not in emitter.lowered:
            lower_ops.LOWER[op.name](emitter, op)
    match block.end:
        case Jump(edge):
            emitter.edge(edge)
            emitter.line(f"br label %b{edge.target}")
        case Branch(condition, then, otherwise):
            _branch(emitter, emitter.use(condition), then, otherwise)
        case Return(value):
            _return(emitter, value, number)
        case Leave(exit):
            emitter.line(f"br label %{emitter.exit(exit)}")
        case _:
            assert_never(block.end)


def _branch(emitter: Emitter, condition: str, then: Edge, otherwise: Edge) -> None:
    emitter.edge(then)
    if then.target != otherwise.target:
        emitter.edge(otherwise)
        emitter.line(f"br i1 {condition}, label %b{then.target}, label %b{otherwise.target}")
        return
    # A phi has one value for each predecessor, so the second edge gets a block of its own.
    label = emitter.fresh_label()
    emitter.line(f"br i1 {condition}, label %b{then.target}, label %{label}")
    emitter.start(label)
    emitter.edge(otherwise)
    emitter.line(f"br label %b{otherwise.target}")


def _phis(emitter: Emitter, number: int) -> None:
    incoming = emitter.incoming.get(number, [])
    for position, param in enumerate(emitter.region.blocks[number].params):
        sources = [(label, args[position]) for label, args in incoming]
        if param.kind.is_tagged:
            for half, of in (("tag", emitter.tag), ("bits", emitter.bits)):
                text = ", ".join(f"[ {of(value)}, %{label} ]" for label, value in sources)
                emitter.line(f"{name(param)}.{half} = phi i64 {text}")
        else:
            text = ", ".join(f"[ {emitter.use(value)}, %{label} ]" for label, value in sources)
            emitter.line(f"{name(param)} = phi {LLVM_TYPES[param.kind]} {text}")


def _exits(emitter: Emitter) -> None:
    """The cold end of the function: exits that share a snapshot share its code, and differ in the record."""
    shared: dict[FrameState, list[int]] = {}
    for number in emitter.used_exits:
        shared.setdefault(emitter.region.exits[number].frame, []).append(number)
    for numbers in shared.values():
        record = str(emitter.records[numbers[0]])
        if len(numbers) > 1:
            for number in numbers:
                emitter.start(f"x{number}")
                emitter.line(f"br label %s{numbers[0]}")
            emitter.start(f"s{numbers[0]}")
            record = emitter.let("phi i64 " + ", ".join(f"[ {emitter.records[n]}, %x{n} ]" for n in numbers))
        else:
            emitter.start(f"x{numbers[0]}")
        exit = _with_late_ops(emitter, emitter.region.exits[numbers[0]])
        if exit.reason is ExitReason.RETURNED:
            _return_and_write(emitter, exit, record)
            continue
        store_raw(emitter, exit)
        _leave(emitter, record)
    for number, answer in emitter.waits.items():
        emitter.start(f"w{number}")
        store_raw(emitter, _with_late_ops(emitter, emitter.region.exits[number]))
        _wait(emitter, str(emitter.records[number]), one_word(emitter, answer))


def _leave(emitter: Emitter, record: str) -> None:
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


def _with_late_ops(emitter: Emitter, exit: Exit) -> Exit:
    """Does the ops that were left to this exit; the exit with their results."""
    done: dict[Value, Operand] = {}
    todo = exit_values(exit)
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
    return map_exit(exit, done) if done else exit


def store_raw(emitter: Emitter, exit: Exit) -> None:
    """Stores what the exit's snapshot is made of into the raw buffer.

    The buffer's address is loaded rather than written down: LLVM takes several times longer over code with many 64-bit
    constants than over small offsets from one register.
    """
    layout = list(raw_layout(exit))
    if not layout:
        return
    base = emitter.let(f"load ptr, ptr {pointer(emitter.target.raw_cell)}")
    for position, operand in layout:
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


def tail_call(emitter: Emitter, address: int, record: str, last: str = "%d") -> None:
    """Goes on to a stub, which gets the record in the third argument."""
    result = emitter.let(f"musttail call ptr {pointer(address)}(ptr %a, ptr {emitter.args}, i64 {record}, ptr {last})")
    emitter.line(f"ret ptr {result}")


def _return(emitter: Emitter, value: Slot, number: int) -> None:
    if emitter.region.point is EntryPoint.BODY:
        _give_result(emitter, value, number)
        return
    plain = plain_return(emitter.region, value)
    if plain is None:
        store_raw(emitter, return_exit(value))
        tail_call(emitter, emitter.target.leave_return, str(emitter.records[emitter.return_records[number]]))
        return
    _return_plain(emitter, plain)


def _return_and_write(emitter: Emitter, exit: Exit, record: str) -> None:
    """Returns what is on the frame's stack, when attributes have got their values."""
    (value,) = exit.frame.stack
    plain = plain_return(emitter.region, value)
    written = list(writes(emitter.region, exit, emitter.placement))
    # Where nobody knows what attributes there are, the stub finds them in the record.
    is_known = bool(emitter.placement.fields)
    if plain is None or not is_known or not _can_be_put(emitter, [slot for _, slot in written]):
        store_raw(emitter, exit)
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
    _give_back(emitter, result)
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
    _give_back(emitter, result)


KEEPING = (
    *("guard_may_end", "delete_item", "call_body"),
    *(name for name, row in TABLE.items() if row.effect is Effect.MAKE),
)
"""Ops of regions that may keep objects: to let these go may run any code, which no region must wait for."""


def _give_back(emitter: Emitter, result: str) -> None:
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
        store_raw(emitter, return_exit(value))
        record = emitter.records[emitter.return_records[number]]
        stub = f"{pointer(emitter.target.leave_return)}(ptr null, ptr null, i64 {record}, ptr null)"
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
