"""Bodies: regions that machine code calls with machine values, how they answer, and how they are called.

The prototype is `{i64, i64} (i32, ...)`: how many more calls may be in each other comes first, then a word or a double
for each argument that is a machine value. The answer is 64 bits and a tag (`snapshots.TAGS`, and what `image_stubs`
says of others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from minijit.backend.emitter import LLVM_TYPES, name, pointer
from minijit.backend.lower_objects import UNPACKED, convert
from minijit.backend.lower_table import Rows
from minijit.backend.snapshots import LEFT_TAG, OBJECT_TAG, REFERENCE_TAG, TAGS
from minijit.ir.kinds import Kind
from minijit.ir.region import Callee, Const, Operand

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op, Region, Value

ROWS = Rows()
lowers = ROWS.lowers

ANSWER = "{i64, i64}"
STACK_WORDS = ("low", "high", "floor")
"""Between `low` and `high` lies what is known to have much C stack below it. `floor` is how far calls may go down, in
what runs now: every region that the interpreter enters sets it, and none of another thread can be in between."""
MUCH, LITTLE = 3 << 20, 48 << 10
"""Bytes of C stack that calls of bodies may take there, and elsewhere: in threads that are not the main one."""
TWIN_CALLS, TWIN_OPS = 2, 40
"""How many calls of itself and how many ops a body may have that is inlined in itself."""
SPARE = 9
"""Room under the recursion limit that must be left for a call: for the callee's frame, and those of the functions that
are inlined in it (`inline.DEEPEST`)."""


def body_text(region: Region, lines: list[str]) -> list[str]:
    """The text of a body's function.

    A small one that calls itself is inlined in itself once, as C compilers do it: it calls a twin, which LLVM inlines,
    and which calls the function.
    """
    values = "".join(f", {LLVM_TYPES[value.kind]} {name(value)}" for value in region.blocks[0].params)
    head, end = f"(i32 %left{values})", "}"
    ops = [op for block in region.blocks for op in block.ops]
    calls = sum(op.name == "call_body" and _callee(op).is_self for op in ops)
    if not 0 < calls <= TWIN_CALLS or len(ops) > TWIN_OPS:
        return [f"define {ANSWER} @region{head} {{", *lines, end]
    outer = [line.replace(f"call {ANSWER} @region(", f"call {ANSWER} @twin(") for line in lines]
    twin = f"define internal {ANSWER} @twin{head} alwaysinline {{"
    return [twin, *lines, end, f"define {ANSWER} @region{head} {{", *outer, end]


# Calling


@lowers("room")
def _room(e: Emitter, op: Op) -> None:
    """A call may be made: it is not too deep, and nobody asks for anything."""
    e.leave_unless(e.let(f"icmp sge i32 %left, {SPARE}"), op)
    floor = e.let(f"load i64, ptr {pointer(e.target.stack + 16)}")
    e.leave_unless(e.let(f"icmp uge i64 {_stack_pointer(e)}, {floor}"), op)
    e.leave_unless(e.is_calm(), op)


@lowers("has_body")
def _has_body(e: Emitter, op: Op) -> None:
    entry = e.let(f"load ptr, ptr {pointer(_callee(op).cell)}")
    e.leave_unless(e.let(f"icmp ne ptr {entry}, null"), op)


@lowers("call_body")
def _call_body(e: Emitter, op: Op) -> None:
    callee = _callee(op)
    left = e.let("sub i32 %left, 1")
    arguments = "".join(f", {_typed(e, argument)}" for argument in op.args[1:])
    entry = "@region" if callee.is_self else e.let(f"load ptr, ptr {pointer(callee.cell)}")
    answer = e.let(f"call {ANSWER} {entry}(i32 {left}{arguments})")
    assert op.result is not None
    assert op.exit is not None
    bits, tag = f"{name(op.result)}.bits", f"{name(op.result)}.tag"
    e.line(f"{bits} = extractvalue {ANSWER} {answer}, 0")
    e.line(f"{tag} = extractvalue {ANSWER} {answer}, 1")
    e.waits[op.exit] = op.result
    onward = e.fresh_label()
    other = onward if e.following is None else _unpack_too(e, op.result, e.following, onward)
    is_number = e.let(f"icmp ult i64 {tag}, {OBJECT_TAG}")
    e.line(f"br i1 {is_number}, label %{other}, label %w{op.exit}, !prof !0")
    e.start(onward)
    if e.following is not None and other != onward:
        convert(e, e.following)


def _typed(e: Emitter, argument: Operand) -> str:
    return f"ptr {e.use(argument)}" if argument.kind is None else e.typed(argument)


def _unpack_too(e: Emitter, answer: Value, following: Op, onward: str) -> str:
    """Looks for what comes mostly, if the next op wants nothing else; where to go with numbers that are left."""
    kind = UNPACKED.get(following.name)
    if kind is None or following.args != (answer,) or e.target.every or following.exit is None:
        return onward
    assert following.result is not None
    e.lowered.add(following.result)
    rest = e.fresh_label()
    is_wanted = e.let(f"icmp eq i64 {e.tag(answer)}, {TAGS[kind]}")
    e.line(f"br i1 {is_wanted}, label %{onward}, label %{rest}, !prof !0")
    e.start(rest)
    return e.exit(following.exit)


def one_word(e: Emitter, answer: Value) -> str:
    """An object or an image that was answered, told from each other by the lowest bit."""
    is_object = e.let(f"icmp eq i64 {e.tag(answer)}, {OBJECT_TAG}")
    return e.let(f"or i64 {e.bits(answer)}, {e.let(f'zext i1 {is_object} to i64')}")


def _callee(op: Op) -> Callee:
    callee = op.args[0]
    assert isinstance(callee, Const)
    assert isinstance(callee.value, Callee)
    return callee.value


def define_left(e: Emitter, left: str, *, own: int) -> None:
    """In the prologue of a region that the interpreter enters: how many calls the recursion limit has room for from
    there on, of which the region itself takes `own`, and how much C stack they may take."""
    e.line(f"%left = sub i32 {left}, {own}")
    here = _stack_pointer(e)
    low, high = (e.let(f"load i64, ptr {pointer(e.target.stack + at)}") for at in (0, 8))
    is_main = e.let(f"and i1 {e.let(f'icmp ugt i64 {here}, {low}')}, {e.let(f'icmp ult i64 {here}, {high}')}")
    most = e.let(f"select i1 {is_main}, i64 {MUCH}, i64 {LITTLE}")
    e.line(f"store i64 {e.let(f'sub i64 {here}, {most}')}, ptr {pointer(e.target.stack + 16)}")


def _stack_pointer(e: Emitter) -> str:
    return e.let("call i64 @llvm.read_register.i64(metadata !1)")


# Answering


def give(e: Emitter, bits: str, tag: int | str) -> None:
    """Returns from a body."""
    one = e.let(f"insertvalue {ANSWER} undef, i64 {bits}, 0")
    e.line(f"ret {ANSWER} {e.let(f'insertvalue {ANSWER} {one}, i64 {tag}, 1')}")


def give_value(e: Emitter, value: Operand) -> None:
    """Answers with a number, or None."""
    match value.kind:
        case Kind.INT:
            give(e, e.use(value), TAGS["int"])
        case Kind.FLOAT:
            give(e, e.let(f"bitcast {e.typed(value)} to i64"), TAGS["float"])
        case Kind.BOOL:
            give(e, e.let(f"zext {e.typed(value)} to i64"), TAGS["bool"])
        case Kind.ANY | Kind.NUMBER:
            give(e, e.bits(value), e.tag(value))
        case Kind.OBJECT:
            give_reference(e, e.use(value))
        case None:
            give(e, "0", TAGS["none"])
        case _:
            assert_never(value.kind)


def give_object(e: Emitter, address: str) -> None:
    """Answers with an object, whose reference is handed on; where it is NULL, an exception is set."""
    is_object = e.let(f"icmp ne ptr {address}, null")
    tag = e.let(f"select i1 {is_object}, i64 {OBJECT_TAG}, i64 {LEFT_TAG}")
    give(e, e.let(f"ptrtoint ptr {address} to i64"), tag)


def give_reference(e: Emitter, object: str) -> None:
    """Answers with an object that something else holds."""
    give(e, e.let(f"ptrtoint ptr {object} to i64"), REFERENCE_TAG)


def give_image(e: Emitter, record: str, chain: str) -> None:
    """Leaves: answers with an image of the frame."""
    function = pointer(e.function)
    stub = f"{pointer(e.target.leave)}(ptr {function}, ptr null, i64 {record}, i64 {chain})"
    image = e.let(f"call ptr {stub}")
    give(e, e.let(f"ptrtoint ptr {image} to i64"), LEFT_TAG)
