"""What ops become that search lists and sets, make them, or change how long they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.list_helpers import NONE
from minijit.backend.lower_heap import FIXED, fill, leave_if_full, list_mark, made, object_of, store_object
from minijit.backend.lower_objects import load
from minijit.backend.lower_table import Rows
from minijit.backend.set_helpers import UNKNOWN, YES
from minijit.cpython import abi
from minijit.ir.kinds import Kind

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op

ROWS = Rows()
lowers = ROWS.lowers


@lowers("list_find")
def _list_find(e: Emitter, op: Op) -> None:
    items = load(e, e.use(op.args[0]), abi.LIST.ob_item, mark=list_mark(e))
    _find(e, op, items, load(e, e.use(op.args[0]), abi.VAR_OBJECT.ob_size, "i64", list_mark(e)))


@lowers("tuple_find")
def _tuple_find(e: Emitter, op: Op) -> None:
    items = e.let(f"getelementptr i8, ptr {e.use(op.args[0])}, i64 {abi.TUPLE.ob_item}")
    _find(e, op, items, load(e, e.use(op.args[0]), abi.VAR_OBJECT.ob_size, "i64", FIXED))


def _find(e: Emitter, op: Op, items: str, count: str) -> None:
    sought = op.args[1]
    if sought.kind is Kind.NUMBER:
        call = f"call i64 {e.helper('find_number')}(ptr {items}, i64 {count}, {e.halves(sought)})"
    else:
        call = f"call i64 {e.helper('find_object')}(ptr {items}, i64 {count}, ptr {object_of(e, sought)[0]})"
    found = e.let(call)
    e.leave_unless(e.let(f"icmp sge i64 {found}, {NONE}"), op)
    e.define(op, f"add i64 {found}, 0")


@lowers("append_item")
def _append_item(e: Emitter, op: Op) -> None:
    items, value, *_ = op.args
    store_object(e, op, f"{e.helper('append_object')}(ptr {e.use(items)}", value)


@lowers("insert_item")
def _insert_item(e: Emitter, op: Op) -> None:
    items, index, value, *_ = op.args
    store_object(e, op, f"{e.helper('insert_object')}(ptr {e.use(items)}, {e.typed(index)}", value)


@lowers("delete_item")
@lowers("add_key")
def _change(e: Emitter, op: Op) -> None:
    """The helper has the op's name."""
    owner, what, *_ = op.args
    if not e.target.stores:
        e.leave_unless("false", op)
        return
    leave_if_full(e, op, e.let(f"call i1 {e.helper(op.name)}(ptr {e.use(owner)}, {e.typed(what)})"))


@lowers("set_has")
def _set_has(e: Emitter, op: Op) -> None:
    keys, number = op.args
    found = e.let(f"call i64 {e.helper('set_has')}(ptr {e.use(keys)}, {e.typed(number)})")
    e.leave_unless(e.let(f"icmp ne i64 {found}, {UNKNOWN}"), op)
    e.define(op, f"icmp eq i64 {found}, {YES}")


@lowers("new_list")
def _new_list(e: Emitter, op: Op) -> None:
    new = made(e, op, f"call ptr {e.helper('new_list')}(i64 {len(op.args)})")
    items = load(e, new, abi.LIST.ob_item) if op.args else ""
    for position, item in enumerate(op.args):
        fill(e, op, e.let(f"getelementptr ptr, ptr {items}, i64 {position}"), item)


@lowers("list_slice")
@lowers("list_repeat")
@lowers("list_concat")
def _made_from(e: Emitter, op: Op) -> None:
    first, *rest = (f"{'i64' if arg.kind is Kind.INT else 'ptr'} {e.use(arg)}" for arg in op.args)
    made(e, op, f"call ptr {e.helper(op.name)}({', '.join([first, *rest])})")
