"""What the other ops become: values of a kind known at run time only, guards, polls, reads of globals, calls.

In between stands how an object becomes a machine value, and a machine value an object.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from minijit.backend.emitter import name, pointer
from minijit.backend.lower_table import Rows
from minijit.backend.quiet_helpers import ENTRY_EFFORT
from minijit.backend.snapshots import REFERENCE_TAG, TAGS
from minijit.cpython import abi
from minijit.ir.kinds import EntryKind, HeldField, Kind
from minijit.ir.region import Const, EntryPoint, Operand

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op

ROWS = Rows()
lowers = ROWS.lowers


# Values of a kind known at run time only: a tag and 64 bits


def _pack(e: Emitter, op: Op, tag: str, bits: str) -> None:
    assert op.result is not None
    # Constants are named by an instruction too, so that every value has its two names.
    e.line(f"%v{op.result.number}.tag = add i64 {TAGS[tag]}, 0")
    e.line(f"%v{op.result.number}.bits = {bits}")


@lowers("pack_int")
@lowers("number_of_int")
def _pack_int(e: Emitter, op: Op) -> None:
    _pack(e, op, "int", f"add i64 {e.use(op.args[0])}, 0")


@lowers("pack_float")
@lowers("number_of_float")
def _pack_float(e: Emitter, op: Op) -> None:
    _pack(e, op, "float", f"bitcast double {e.use(op.args[0])} to i64")


@lowers("pack_bool")
@lowers("number_of_bool")
def _pack_bool(e: Emitter, op: Op) -> None:
    _pack(e, op, "bool", f"zext i1 {e.use(op.args[0])} to i64")


@lowers("pack_none")
def _pack_none(e: Emitter, op: Op) -> None:
    _pack(e, op, "none", "add i64 0, 0")


@lowers("pack_unbound")
def _pack_unbound(e: Emitter, op: Op) -> None:
    _pack(e, op, "unbound", "add i64 0, 0")


def _is(kind: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        e.define(op, f"icmp eq i64 {e.tag(op.args[0])}, {TAGS[kind]}")

    ROWS[f"is_{kind}"] = lowering


for _name in ("int", "float", "bool", "none"):
    _is(_name)


UNPACKED = {f"unpack_{kind}": kind for kind in ("int", "float", "bool")}
"""What these ops want."""
_CONVERSIONS = {"int": "add i64 {}, 0", "float": "bitcast i64 {} to double", "bool": "trunc i64 {} to i1"}


def _unpack(e: Emitter, op: Op) -> None:
    e.leave_unless(e.let(f"icmp eq i64 {e.tag(op.args[0])}, {TAGS[UNPACKED[op.name]]}"), op)
    convert(e, op)


def convert(e: Emitter, op: Op) -> None:
    """What an op unpacks, once it is known to be that."""
    e.define(op, _CONVERSIONS[UNPACKED[op.name]].format(e.bits(op.args[0])))


ROWS.update(dict.fromkeys(UNPACKED, _unpack))


@lowers("unpack_number")
def _unpack_number(e: Emitter, op: Op) -> None:
    (value,) = op.args
    place = e.let(f"sub i64 {e.tag(value)}, {min(_NUMBER_TAGS)}")
    e.leave_unless(e.let(f"icmp ult i64 {place}, {len(_NUMBER_TAGS)}"), op)
    assert op.result is not None
    e.line(f"{name(op.result)}.tag = add i64 {e.tag(value)}, 0")
    e.line(f"{name(op.result)}.bits = add i64 {e.bits(value)}, 0")


_NUMBER_TAGS = sorted(TAGS[kind] for kind in UNPACKED.values())


@lowers("unpack_object")
def _unpack_object(e: Emitter, op: Op) -> None:
    tag, none = e.tag(op.args[0]), pointer(id(None))
    is_none = e.let(f"icmp eq i64 {tag}, {TAGS['none']}")
    is_object = e.let(f"icmp eq i64 {tag}, {REFERENCE_TAG}")
    e.leave_unless(e.let(f"or i1 {is_none}, {is_object}"), op)
    e.define(op, f"select i1 {is_none}, ptr {none}, ptr {e.let(f'inttoptr i64 {e.bits(op.args[0])} to ptr')}")


# Guards, reads, calls


@lowers("guard_true")
def _guard_true(e: Emitter, op: Op) -> None:
    e.leave_unless(e.use(op.args[0]), op)


@lowers("guard_false")
def _guard_false(e: Emitter, op: Op) -> None:
    e.leave_unless(e.let(f"xor i1 {e.use(op.args[0])}, true"), op)


@lowers("guard_quiet")
def _guard_quiet(e: Emitter, op: Op) -> None:
    """The frame of a loop, or its namespace, keeps its objects as long as the region runs. Those that others hold, too,
    do not end; all the slots of the region may be overwritten in it."""
    number = op.args[0]
    assert isinstance(number, Const)
    assert isinstance(number.value, int)
    assert e.region.point is EntryPoint.LOOP, "a call's arguments are its caller's"
    object = held(e, number.value)
    if not e.target.stores:
        return
    if not e.target.sees_others:
        e.leave_unless(e.let(f"call i1 {e.helper('is_quiet')}(ptr {object}, i64 {ENTRY_EFFORT})"), op)
        return
    others = [slot for slot, kind in enumerate(e.region.entry_kinds) if kind is EntryKind.OBJECT]
    same = [e.let(f"icmp eq ptr {held(e, slot)}, {object}") for slot in others if slot != number.value]
    own = reduce(lambda sum, one: e.let(f"add i64 {sum}, {one}"), [e.let(f"zext i1 {one} to i64") for one in same], "1")
    present, judged, done = e.fresh_label(), e.fresh_label(), e.fresh_label()
    before = e.label
    e.line(f"br i1 {e.let(f'icmp eq ptr {object}, null')}, label %{done}, label %{present}")
    e.start(present)
    is_kept = e.let(f"icmp ugt i64 {load(e, object, abi.OBJECT.ob_refcnt, 'i64')}, {own}")
    e.line(f"br i1 {is_kept}, label %{done}, label %{judged}")
    e.start(judged)
    is_quiet = e.let(f"call i1 {e.helper('is_quiet')}(ptr {object}, i64 {ENTRY_EFFORT})")
    e.line(f"br label %{done}")
    e.start(done)
    ways = f"[ true, %{before} ], [ true, %{present} ], [ {is_quiet}, %{judged} ]"
    e.leave_unless(e.let(f"phi i1 {ways}"), op)
    if e.ends:
        _keep_stale(e, e.stale[number.value], object)


def _keep_stale(e: Emitter, flag: str, object: str) -> None:
    """What a slot holds is stale from its first overwriting on, which the flag remembers."""
    first, done = e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {e.let(f'load i1, ptr {flag}')}, label %{done}, label %{first}")
    e.start(first)
    e.line(f"store i1 true, ptr {flag}")
    e.line(f"call void {e.helper('keep_stale')}(ptr {object})")
    e.line(f"br label %{done}")
    e.start(done)


@lowers("poll")
@lowers("poll_strip")
def _poll(e: Emitter, op: Op) -> None:
    e.leave_unless(e.another_round(e.is_calm()), op)


@lowers("round")
def _round(e: Emitter, op: Op) -> None:
    if e.rounds:
        e.leave_unless(e.another_round("true"), op)


@lowers("count_round")
def _count_round(e: Emitter, op: Op) -> None:
    """What is asked at the end of the count may have to wait: then there is another one."""
    place, some_rounds, rounds = map(e.use, op.args)
    word = f"inttoptr (i64 {place} to ptr)"
    left = e.let(f"sub i64 {e.let(f'load i64, ptr {word}')}, {some_rounds}")
    some = e.let(f"icmp sgt i64 {left}, 0")
    e.line(f"store i64 {e.let(f'select i1 {some}, i64 {left}, i64 {rounds}')}, ptr {word}")
    e.leave_unless(some, op)


def _unbox_int(e: Emitter, address: str, fail: Callable[[str], None]) -> str:
    """The value of an exact int: one digit here, more of them by a helper."""
    tag = e.let(f"load i64, ptr {e.let(f'getelementptr i8, ptr {address}, i64 {abi.LONG.lv_tag}')}")
    digits = e.let(f"getelementptr i8, ptr {address}, i64 {abi.LONG.ob_digit}")
    digit = e.let(f"zext i32 {e.let(f'load i32, ptr {digits}')} to i64")
    sign = e.let(f"sub i64 1, {e.let(f'and i64 {tag}, 3')}")
    compact = e.let(f"icmp ult i64 {tag}, 16")
    one, more, joined = e.fresh_label(), e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {compact}, label %{one}, label %{more}")
    e.start(one)
    small = e.let(f"mul i64 {digit}, {sign}")
    e.line(f"br label %{joined}")
    e.start(more)
    pair = e.let(f"call {{i64, i1}} {e.helper('unbox_large')}(ptr {digits}, i64 {tag}, i64 {digit}, i64 {sign})")
    fail(e.let(f"extractvalue {{i64, i1}} {pair}, 1"))
    large = e.let(f"extractvalue {{i64, i1}} {pair}, 0")
    more = e.label
    e.line(f"br label %{joined}")
    e.start(joined)
    return e.let(f"phi i64 [ {small}, %{one} ], [ {large}, %{more} ]")


def unbox(e: Emitter, kind: Kind, address: str, fail: Callable[[str], None], fixed: str = "") -> str:
    """The machine value of an object; `fail` is told the conditions under which it is one. A load of its type is marked
    with `fixed`."""
    type_ = load(e, address, abi.OBJECT.ob_type, "i64", fixed)
    python_type = {Kind.INT: int, Kind.FLOAT: float, Kind.BOOL: bool}[kind]
    fail(e.let(f"icmp eq i64 {type_}, {id(python_type)}"))
    match kind:
        case Kind.FLOAT:
            place = e.let(f"getelementptr i8, ptr {address}, i64 {abi.FLOAT.ob_fval}")
            return e.let(f"load double, ptr {place}")
        case Kind.BOOL:
            return e.let(f"icmp eq ptr {address}, {pointer(id(True))}")
        case _:
            return _unbox_int(e, address, fail)


def unbox_number(e: Emitter, address: str, fail: Callable[[str], None]) -> tuple[str, str]:
    """The tag and the bits of an object that is a number; `fail` is told the conditions under which it is one."""
    type_ = load(e, address, abi.OBJECT.ob_type, "i64")
    is_float = e.let(f"icmp eq i64 {type_}, {id(float)}")
    quick, general, whole, joined = (e.fresh_label() for _ in range(4))
    e.line(f"br i1 {is_float}, label %{quick}, label %{general}")
    e.start(general)
    is_bool = e.let(f"icmp eq i64 {type_}, {id(bool)}")
    is_int = e.let(f"icmp eq i64 {type_}, {id(int)}")
    fail(e.let(f"or i1 {is_int}, {is_bool}"))
    e.line(f"br label %{whole}")
    e.start(whole)
    # A bool is an int to look at, too.
    bits = _unbox_int(e, address, fail)
    tag = e.let(f"select i1 {is_bool}, i64 {TAGS['bool']}, i64 {TAGS['int']}")
    before = e.label
    e.line(f"br label %{joined}")
    e.start(quick)
    float_bits = e.let(f"load i64, ptr {e.let(f'getelementptr i8, ptr {address}, i64 {abi.FLOAT.ob_fval}')}")
    e.line(f"br label %{joined}")
    e.start(joined)
    found = e.let(f"phi i64 [ {bits}, %{before} ], [ {float_bits}, %{quick} ]")
    return e.let(f"phi i64 [ {tag}, %{before} ], [ {TAGS['float']}, %{quick} ]"), found


def has_plain_keys(e: Emitter, namespace: str) -> str:
    """Whether all keys of a dict are plain strs."""
    keys = e.let(f"load ptr, ptr {e.let(f'getelementptr i8, ptr {namespace}, i64 {abi.DICT.ma_keys}')}")
    kind = e.let(f"load i8, ptr {e.let(f'getelementptr i8, ptr {keys}, i64 {abi.DICT_KEYS.dk_kind}')}")
    return e.let(f"icmp ne i8 {kind}, 0")


def look_up(e: Emitter, namespace: str, key: str) -> str:
    """What a dict with plain keys has under one; the key is kept alive by others."""
    find = e.c_function("_PyDict_GetItem_KnownHash")
    return e.let(f"call ptr {find}(ptr {namespace}, ptr {pointer(id(key))}, i64 {hash(key)})")


def held(e: Emitter, slot: int) -> str:
    """The object that a slot of the region holds: an argument of a call, or what a loop's frame, %a, has as its own or
    under a name in its globals; or an attribute of such an object."""
    match e.placement.outer(slot):
        case None if e.region.point is EntryPoint.CALL:
            return load(e, e.args, 8 * slot)
        case None:
            return load(e, "%a", abi.FRAME.localsplus + 8 * e.placement.slot(slot))
        case HeldField(holder, field):
            object = held(e, holder)
            return load(e, values(e, object) if field.is_value else object, field.offset)
        case name:
            return look_up(e, load(e, "%a", abi.FRAME.f_globals), name)


def load(e: Emitter, base: str, offset: int, llvm_type: str = "ptr", mark: str = "") -> str:
    """What stands at an offset behind an address. The load gets a mark."""
    return e.let(f"load {llvm_type}, ptr {e.let(f'getelementptr i8, ptr {base}, i64 {offset}')}{mark}")


def values(e: Emitter, object: str, mark: str = "") -> str:
    """The address of an object's values, if it has no dict."""
    return e.let(f"getelementptr i8, ptr {load(e, object, abi.INSTANCE.values, mark=mark)}, i64 1")


@lowers("load_global")
def _load_global(e: Emitter, op: Op) -> None:
    """A lookup in the namespace's dict at each execution: for globals that change too often to be assumed.

    Leaves where a key is no plain str: its `__eq__` may be Python code, which must not run inside of a region.
    """
    namespace, key = (a.value for a in op.args if isinstance(a, Const))
    assert isinstance(key, str)
    place = pointer(id(namespace))
    e.leave_unless(has_plain_keys(e, place), op)
    found = look_up(e, place, key)
    e.leave_unless(e.let(f"icmp ne ptr {found}, null"), op)
    e.define(op, f"getelementptr i8, ptr {found}, i64 0")


@lowers("call_pure")
def _call_pure(e: Emitter, op: Op) -> None:
    """A call of a builtin function whose only effect is its result, by the C API: boxed, called, unboxed.

    Whatever goes wrong is forgotten, and the interpreter calls again: calling twice cannot be told from calling once.
    The argument array is the raw buffer, which nothing uses meanwhile.
    """
    pair_type, pair = _called(e, op)
    e.leave_unless(e.let(f"extractvalue {pair_type} {pair}, 1"), op)
    e.define(op, f"extractvalue {pair_type} {pair}, 0")


@lowers("call_stateful")
def _call_stateful(e: Emitter, op: Op) -> None:
    """The same of a function that must not be called again: where there is no memory for its result, the process
    ends."""
    if not e.target.stores:
        e.leave(op)
        return
    pair_type, pair = _called(e, op)
    well, failed = e.fresh_label(), e.fresh_label()
    is_well = e.let(f"extractvalue {pair_type} {pair}, 1")
    e.line(f"br i1 {is_well}, label %{well}, label %{failed}, !prof !0")
    e.start(failed)
    e.line(f"call void {e.c_function('abort')}()")
    e.line("unreachable")
    e.start(well)
    e.define(op, f"extractvalue {pair_type} {pair}, 0")


def _called(e: Emitter, op: Op) -> tuple[str, str]:
    """A call by the C API: the type of a pair, and the pair of the result and whether it is one of its kind."""
    function, *arguments = op.args
    assert isinstance(function, Const)
    assert op.result is not None
    boxes = [boxed(e, argument) for argument in arguments]
    for position, box in enumerate(boxes):
        e.line(f"store ptr {box}, ptr {pointer(e.target.raw + 8 * position)}")
    array = pointer(e.target.raw)
    call = f"{e.c_function('PyObject_Vectorcall')}(ptr {pointer(id(function.value))}, ptr {array}"
    result = e.let(f"call ptr {call}, i64 {len(boxes)}, ptr null)")
    for box in boxes:
        e.line(f"call void {e.c_function('Py_DecRef')}(ptr {box})")
    kind = op.result.kind
    pair_type = {Kind.INT: "{i64, i1}", Kind.FLOAT: "{double, i1}", Kind.BOOL: "{i1, i1}"}[kind]
    return pair_type, e.let(f"call {pair_type} {e.helper(f'take_{kind.value}')}(ptr {result})")


def boxed(e: Emitter, operand: Operand) -> str:
    """A new reference to the operand as an object."""
    if isinstance(operand, Const):
        address = pointer(id(operand.value))
        e.incref(address)
        return address
    match operand.kind:
        case Kind.INT:
            return e.let(f"call ptr {e.c_function('PyLong_FromLongLong')}({e.typed(operand)})")
        case Kind.FLOAT:
            return e.let(f"call ptr {e.c_function('PyFloat_FromDouble')}({e.typed(operand)})")
        case Kind.BOOL:
            true, false = (pointer(id(x)) for x in (True, False))
            return e.let(f"select i1 {e.use(operand)}, ptr {true}, ptr {false}")
        case Kind.NUMBER:
            return e.let(f"call ptr {e.helper('box_number')}({e.halves(operand)})")
        case _:
            raise AssertionError(operand)
