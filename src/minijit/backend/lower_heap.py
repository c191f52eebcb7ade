"""What ops on objects become that a region has by their addresses: what they hold, and stores; see `lower_lists`, too.

What cannot change as long as a region runs is marked as such (`FIXED`): types of objects; and how long lists are and
where they have their items, if no op of the region makes lists longer. So LLVM takes these loads out of loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.emitter import pointer
from minijit.backend.lower_objects import boxed, held, load, unbox, values
from minijit.backend.lower_table import Rows
from minijit.backend.name_helpers import UNKNOWN_OWN
from minijit.cpython import abi
from minijit.ir.kinds import Field, Kind
from minijit.ir.ops import TABLE, TYPED
from minijit.ir.region import Const, EntryPoint

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op, Operand

ROWS = Rows()
lowers = ROWS.lowers

FIXED = ", !invariant.load !2"


def _fixed(e: Emitter, base: str, offset: int, llvm_type: str = "ptr") -> str:
    """What stands at an offset behind an address, and stays there."""
    return load(e, base, offset, llvm_type, FIXED)


def _define_object(e: Emitter, op: Op, address: str) -> None:
    e.define(op, f"getelementptr i8, ptr {address}, i64 0")


def _is_of(e: Emitter, operand: Operand, cls: object) -> str:
    return e.let(f"icmp eq ptr {_fixed(e, e.use(operand), abi.OBJECT.ob_type)}, {pointer(id(cls))}")


def _constant(operand: Operand) -> object:
    assert isinstance(operand, Const)
    return operand.value


@lowers("entry_object")
def _entry_object(e: Emitter, op: Op) -> None:
    slot = _constant(op.args[0])
    assert isinstance(slot, int)
    _define_object(e, op, held(e, slot))


@lowers("free_variable")
def _free_variable(e: Emitter, op: Op) -> None:
    """The cell of a variable that the function around has, of the function that is called."""
    assert e.region.point is EntryPoint.CALL, "the frame of a loop has the cells itself"
    number = _constant(op.args[0])
    assert isinstance(number, int)
    closure = _fixed(e, "%a", abi.FUNCTION.func_closure)
    _define_object(e, op, _fixed(e, closure, abi.TUPLE.ob_item + 8 * number))


@lowers("guard_type")
def _guard_type(e: Emitter, op: Op) -> None:
    e.leave_unless(_is_of(e, op.args[0], _constant(op.args[1])), op)


@lowers("is_of")
def _is_of_type(e: Emitter, op: Op) -> None:
    e.define(op, f"and i1 {_is_of(e, op.args[0], _constant(op.args[1]))}, true")


@lowers("guard_values")
def _guard_values(e: Emitter, op: Op) -> None:
    """The object has no dict of its own."""
    e.leave_unless(e.let(f"trunc i64 {_fixed(e, e.use(op.args[0]), abi.INSTANCE.values, 'i64')} to i1"), op)


@lowers("guard_number")
def _guard_number(e: Emitter, op: Op) -> None:
    kinds = [_is_of(e, op.args[0], kind) for kind in (float, int, bool)]
    e.leave_unless(e.let(f"or i1 {e.let(f'or i1 {kinds[0]}, {kinds[1]}')}, {kinds[2]}"), op)


@lowers("guard_object")
def _guard_object(e: Emitter, op: Op) -> None:
    for kind in (float, int, bool, type(None)):
        e.leave_unless(e.let(f"xor i1 {_is_of(e, op.args[0], kind)}, true"), op)


@lowers("guard_may_end")
def _guard_may_end(e: Emitter, op: Op) -> None:
    _ask(e, op, "may_end", f"ptr {e.use(op.args[0])}")


@lowers("guard_apart")
def _guard_apart(e: Emitter, op: Op) -> None:
    _ask(e, op, "are_apart", f"ptr {e.use(op.args[0])}, ptr {e.use(op.args[1])}")


def _ask(e: Emitter, op: Op, helper: str, arguments: str) -> None:
    """Leaves unless a helper allows what a store is about to do; where nothing is stored, it is not asked."""
    if e.target.stores:
        e.leave_unless(e.let(f"call i1 {e.helper(helper)}({arguments})"), op)


@lowers("field_value")
def _field_value(e: Emitter, op: Op) -> None:
    e.define(op, f"load ptr, ptr {_field_place(e, *op.args)}")


@lowers("is_same")
def _is_same(e: Emitter, op: Op) -> None:
    e.define(op, f"icmp eq ptr {e.use(op.args[0])}, {e.use(op.args[1])}")


@lowers("list_length")
@lowers("tuple_length")
def _length(e: Emitter, op: Op) -> None:
    mark = list_mark(e) if op.name == "list_length" else FIXED
    e.define(op, f"add i64 {load(e, e.use(op.args[0]), abi.VAR_OBJECT.ob_size, 'i64', mark)}, 0")


def list_mark(e: Emitter) -> str:
    return "" if e.lists_grow else FIXED


def _list_place(e: Emitter, items: Operand, index: Operand) -> str:
    """Where a list has an item."""
    first = load(e, e.use(items), abi.LIST.ob_item, mark=list_mark(e))
    return e.let(f"getelementptr ptr, ptr {first}, i64 {e.use(index)}")


@lowers("list_item")
def _list_item(e: Emitter, op: Op) -> None:
    e.define(op, f"load ptr, ptr {_list_place(e, *op.args)}")


@lowers("tuple_item")
def _tuple_item(e: Emitter, op: Op) -> None:
    first = e.let(f"getelementptr i8, ptr {e.use(op.args[0])}, i64 {abi.TUPLE.ob_item}")
    e.define(op, f"load ptr, ptr {e.let(f'getelementptr ptr, ptr {first}, i64 {e.use(op.args[1])}')}{FIXED}")


def _field_place(e: Emitter, object: Operand, field: Operand) -> str:
    """Where an object has an attribute."""
    found, address = _constant(field), e.use(object)
    assert isinstance(found, Field)
    base = values(e, address, FIXED) if found.is_value else address
    return e.let(f"getelementptr i8, ptr {base}, i64 {found.offset}")


@lowers("load_field")
def _load_field(e: Emitter, op: Op) -> None:
    found = e.let(f"load ptr, ptr {_field_place(e, *op.args)}")
    e.leave_unless(e.let(f"icmp ne ptr {found}, null"), op)
    _define_object(e, op, found)


def _named(e: Emitter, op: Op) -> str:
    """What an object has under a name; NULL for nothing. Leaves where that is not to be told."""
    found = e.let(f"call ptr {e.helper('find_named')}(ptr {e.use(op.args[0])}, ptr {e.use(op.args[1])})")
    e.leave_unless(e.let(f"icmp ne ptr {found}, {pointer(UNKNOWN_OWN)}"), op)
    return found


@lowers("named_value")
def _named_value(e: Emitter, op: Op) -> None:
    _define_object(e, op, _named(e, op))


@lowers("load_named")
def _load_named(e: Emitter, op: Op) -> None:
    found = _named(e, op)
    e.leave_unless(e.let(f"icmp ne ptr {found}, null"), op)
    _define_object(e, op, found)


@lowers("named_or")
def _named_or(e: Emitter, op: Op) -> None:
    found, default = _named(e, op), pointer(id(_constant(op.args[2])))
    _define_object(e, op, e.let(f"select i1 {e.let(f'icmp eq ptr {found}, null')}, ptr {default}, ptr {found}"))


@lowers("guard_not_named")
def _guard_not_named(e: Emitter, op: Op) -> None:
    e.leave_unless(e.let(f"icmp eq ptr {_named(e, op)}, null"), op)


@lowers("store_named")
def _store_named(e: Emitter, op: Op) -> None:
    object, name, value, *_ = op.args
    store_object(e, op, f"{e.helper('put_named')}(ptr {e.use(object)}, ptr {e.use(name)}", value)


@lowers("guard_unwatched")
def _guard_unwatched(e: Emitter, op: Op) -> None:
    _ask(e, op, "is_unwatched", _namespace_and_key(op))


@lowers("store_global")
def _store_global(e: Emitter, op: Op) -> None:
    store_object(e, op, f"{e.helper('put_global')}({_namespace_and_key(op)}", op.args[2])


def _namespace_and_key(op: Op) -> str:
    namespace, key = (a.value for a in op.args[:2] if isinstance(a, Const))
    return f"ptr {pointer(id(namespace))}, ptr {pointer(id(key))}, i64 {hash(key)}"


@lowers("unbox_int")
@lowers("unbox_float")
@lowers("unbox_bool")
def _unbox(e: Emitter, op: Op) -> None:
    assert op.result is not None
    value = unbox(e, op.result.kind, e.use(op.args[0]), lambda condition: e.leave_unless(condition, op), FIXED)
    e.define_scalar(op.result, value)


@lowers("store_item")
def _store_item(e: Emitter, op: Op) -> None:
    items, index, value, *_ = op.args
    _store(e, op, _list_place(e, items, index), value)


@lowers("store_field")
def _store_field(e: Emitter, op: Op) -> None:
    object, field, value, *_ = op.args
    place, found = _field_place(e, object, field), _constant(field)
    assert isinstance(found, Field)
    if not found.is_value or not e.fills:
        _store(e, op, place, value)
        return
    old = e.let(f"load ptr, ptr {place}")
    _store(e, op, place, value)
    first, done = e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {e.let(f'icmp eq ptr {old}, null')}, label %{first}, label %{done}")
    e.start(first)
    e.line(f"call void {e.helper('note_value')}(ptr {e.use(object)}, i64 {found.offset // 8})")
    e.line(f"br label %{done}")
    e.start(done)


def _store(e: Emitter, op: Op, place: str, value: Operand) -> None:
    """A value in the place of another one."""
    if not e.target.stores:
        e.leave_unless("false", op)
    elif value.kind in (None, Kind.OBJECT):
        leave_if_full(e, op, e.let(f"call i1 {e.helper('put_object')}(ptr {place}, ptr {e.use(value)})"))
    elif value.kind is Kind.NUMBER:
        leave_if_full(e, op, e.let(f"call i1 {e.helper('put_number')}(ptr {place}, {e.halves(value)})"))
    elif value.kind is Kind.FLOAT:
        _store_float(e, op, place, value)
    elif value.kind is Kind.INT:
        leave_if_full(e, op, e.let(f"call i1 {e.helper('put_int')}(ptr {place}, {e.typed(value)})"))
    else:
        true, false = (pointer(id(x)) for x in (True, False))
        box = e.let(f"select i1 {e.use(value)}, ptr {true}, ptr {false}")
        leave_if_full(e, op, e.let(f"call i1 {e.helper('put_object')}(ptr {place}, ptr {box})"))


def _store_float(e: Emitter, op: Op, place: str, value: Operand) -> None:
    """A float that nobody else has is written over."""
    old = e.let(f"load ptr, ptr {place}")
    if e.fills:
        leave_if_full(e, op, e.let(f"call i1 {e.helper('put_float')}(ptr {place}, {e.typed(value)})"))
        return
    is_float = e.let(f"icmp eq ptr {_fixed(e, old, abi.OBJECT.ob_type)}, {pointer(id(float))}")
    is_own = e.let(f"icmp eq i64 {load(e, old, abi.OBJECT.ob_refcnt, 'i64')}, 1")
    same, other, done = e.fresh_label(), e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {e.let(f'and i1 {is_float}, {is_own}')}, label %{same}, label %{other}")
    e.start(same)
    e.line(f"store {e.typed(value)}, ptr {e.let(f'getelementptr i8, ptr {old}, i64 {abi.FLOAT.ob_fval}')}")
    e.line(f"br label %{done}")
    e.start(other)
    leave_if_full(e, op, e.let(f"call i1 {e.helper('put_float')}(ptr {place}, {e.typed(value)})"))
    e.line(f"br label %{done}")
    e.start(done)


def store_object(e: Emitter, op: Op, called: str, value: Operand) -> None:
    """Calls a helper whose last argument, the one that `called` lacks, is a value as an object."""
    if not e.target.stores:
        e.leave_unless("false", op)
        return
    object, is_new = object_of(e, value)
    done = e.let(f"call i1 {called}, ptr {object})")
    if is_new:
        e.line(f"call void {e.c_function('Py_DecRef')}(ptr {object})")
    leave_if_full(e, op, done)


def leave_if_full(e: Emitter, op: Op, done: str) -> None:
    """Leaves where there was no memory for an object: the interpreter finds that out again. Where it is too late for
    that, the process ends: to store the first of two numbers and not the other would be worse."""
    well, full = e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {done}, label %{well}, label %{full}, !prof !0")
    e.start(full)
    # There may be a mark behind the value.
    is_too_late = len(op.args) > len(TABLE[op.name].params) + (op.name not in TYPED)
    if is_too_late:
        e.line(f"call void {e.c_function('abort')}()")
        e.line("unreachable")
    else:
        e.line(f"call void {e.c_function('PyErr_Clear')}()")
        e.leave(op)
    e.start(well)


def object_of(e: Emitter, value: Operand) -> tuple[str, bool]:
    """A value as an object, NULL with an exception set where there is no memory; and whether that is a reference of our
    own."""
    if isinstance(value, Const):
        return pointer(id(value.value)), False
    return (e.use(value), False) if value.kind is Kind.OBJECT else (boxed(e, value), True)


# Objects that are made. They are kept, so that they can be left behind as they are.


@lowers("new_tuple")
def _new_tuple(e: Emitter, op: Op) -> None:
    new = made(e, op, f"call ptr {e.helper('new_tuple')}(i64 {len(op.args)})")
    for position, item in enumerate(op.args):
        fill(e, op, e.let(f"getelementptr i8, ptr {new}, i64 {abi.TUPLE.ob_item + 8 * position}"), item)


@lowers("new_instance")
def _new_instance(e: Emitter, op: Op) -> None:
    """As the stub `make_instance` does it at exits."""
    cls, fields, *parts = op.args
    found = _constant(fields)
    assert isinstance(found, tuple)
    new = made(e, op, f"call ptr {e.helper('new_object')}(ptr {e.use(cls)})")
    base = values(e, new) if any(field.is_value for field in found) else ""
    for field, part in zip(found, parts, strict=True):
        fill(e, op, e.let(f"getelementptr i8, ptr {base if field.is_value else new}, i64 {field.offset}"), part)
    # Before its values an instance has the order in which it got them, backwards, and how many they are.
    order = [field.offset // 8 for field in found if field.is_value]
    for back, byte in enumerate((len(order), *order) if order else ()):
        e.line(f"store i8 {byte}, ptr {e.let(f'getelementptr i8, ptr {base}, i64 {-2 - back}')}")


def made(e: Emitter, op: Op, call: str) -> str:
    """A new object, or the region is left."""
    made = e.let(call)
    e.leave_unless(e.let(f"icmp ne ptr {made}, null"), op)
    _define_object(e, op, made)
    return made


def fill(e: Emitter, op: Op, place: str, value: Operand) -> None:
    """Gives a new object what it holds there."""
    object, is_new = object_of(e, value)
    if not is_new:
        e.incref(object)
    elif value.kind is not Kind.BOOL:
        well, full = e.fresh_label(), e.fresh_label()
        e.line(f"br i1 {e.let(f'icmp ne ptr {object}, null')}, label %{well}, label %{full}, !prof !0")
        e.start(full)
        e.line(f"call void {e.c_function('PyErr_Clear')}()")
        e.leave(op)
        e.start(well)
    e.line(f"store ptr {object}, ptr {place}")
