"""Bodies: regions that machine code calls with machine values, how they answer, and how they are called.

The prototype is `{i64, i64} (i32, ...)`: how many more calls may be in each other comes first, then a word or a double
for each argument that is a machine value. The answer is 64 bits and a tag (`snapshots.TAGS`, and what `body_stubs` says
of others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.emitter import LLVM_TYPES, name, pointer
from minijit.backend.lower_table import Rows
from minijit.backend.snapshots import LEFT_TAG, OBJECT_TAG, TAGS
from minijit.cpython import abi
from minijit.ir.region import Callee, Const, Kind, Operand

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op, Region

ROWS = Rows()
lowers = ROWS.lowers

ANSWER = "{i64, i64}"
LEVELS = 2_000
"""How many calls of bodies may be in each other: each takes some hundred bytes of C stack, seldom over a thousand."""
FEW_LEVELS = 100
"""The same in threads that are not the main one, whose stack may be small."""
SPARE = 9
"""Room under the recursion limit that must be left for a call: for the callee's frame, and those of the functions that
are inlined in it (`inline.DEEPEST`)."""


def body_head(region: Region) -> str:
    """The name and prototype of a body."""
    values = "".join(f", {LLVM_TYPES[value.kind]} {name(value)}" for value in region.blocks[0].params)
    return f"{ANSWER} @region(i32 %left{values})"


# Calling


@lowers("room")
def _room(e: Emitter, op: Op) -> None:
    """A call may be made: it is not too deep, and nobody asks for anything."""
    flag = e.let(f"load volatile i32, ptr {pointer(e.target.eval_breaker)}")
    is_shallow = e.let(f"icmp sge i32 %left, {SPARE}")
    e.leave_unless(e.let(f"and i1 {is_shallow}, {e.let(f'icmp eq i32 {flag}, 0')}"), op)


@lowers("has_body")
def _has_body(e: Emitter, op: Op) -> None:
    entry = e.let(f"load ptr, ptr {pointer(_callee(op).cell)}")
    e.leave_unless(e.let(f"icmp ne ptr {entry}, null"), op)


@lowers("call_body")
def _call_body(e: Emitter, op: Op) -> None:
    callee = _callee(op)
    left = e.let("sub i32 %left, 1")
    arguments = "".join(f", {e.typed(argument)}" for argument in op.args[1:])
    entry = "@region" if callee.is_self else e.let(f"load ptr, ptr {pointer(callee.cell)}")
    answer = e.let(f"call {ANSWER} {entry}(i32 {left}{arguments})")
    assert op.result is not None
    assert op.exit is not None
    bits, tag = f"{name(op.result)}.bits", f"{name(op.result)}.tag"
    e.line(f"{bits} = extractvalue {ANSWER} {answer}, 0")
    e.line(f"{tag} = extractvalue {ANSWER} {answer}, 1")
    # An object's address is told from an image's by its lowest bit.
    is_object = e.let(f"icmp eq i64 {tag}, {OBJECT_TAG}")
    e.waits[op.exit] = e.let(f"or i64 {bits}, {e.let(f'zext i1 {is_object} to i64')}")
    onward = e.fresh_label()
    is_number = e.let(f"icmp ult i64 {tag}, {OBJECT_TAG}")
    e.line(f"br i1 {is_number}, label %{onward}, label %w{op.exit}, !prof !0")
    e.start(onward)


def _callee(op: Op) -> Callee:
    callee = op.args[0]
    assert isinstance(callee, Const)
    assert isinstance(callee.value, Callee)
    return callee.value


def define_left(e: Emitter, *, own: int) -> None:
    """In the prologue of a region that the interpreter enters: how many calls may be in each other from there on, of
    which the region itself takes `own`."""
    thread = e.let(f"call ptr {e.c_function('PyThreadState_Get')}()")
    place = e.let(f"getelementptr i8, ptr {thread}, i64 {abi.THREAD.py_recursion_remaining}")
    remaining = e.let(f"sub i32 {e.let(f'load i32, ptr {place}')}, {own}")
    here = e.let("call ptr @llvm.frameaddress.p0(i32 0)")
    low = e.let(f"load ptr, ptr {pointer(e.target.main_stack)}")
    high = e.let(f"load ptr, ptr {pointer(e.target.main_stack + 8)}")
    is_main = e.let(f"and i1 {e.let(f'icmp ugt ptr {here}, {low}')}, {e.let(f'icmp ult ptr {here}, {high}')}")
    most = e.let(f"select i1 {is_main}, i32 {LEVELS}, i32 {FEW_LEVELS}")
    e.line(f"%left = call i32 @llvm.smin.i32(i32 {remaining}, i32 {most})")


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
        case Kind.ANY:
            give(e, e.bits(value), e.tag(value))
        case None:
            give(e, "0", TAGS["none"])


def give_object(e: Emitter, address: str) -> None:
    """Answers with an object, whose reference is handed on; where it is NULL, an exception is set."""
    is_object = e.let(f"icmp ne ptr {address}, null")
    tag = e.let(f"select i1 {is_object}, i64 {OBJECT_TAG}, i64 {LEFT_TAG}")
    give(e, e.let(f"ptrtoint ptr {address} to i64"), tag)


def give_image(e: Emitter, record: str, chain: str) -> None:
    """Leaves: answers with an image of the frame."""
    function = pointer(e.function)
    stub = f"{pointer(e.target.leave)}(ptr {function}, ptr null, i64 {record}, i64 {chain})"
    image = e.let(f"call ptr {stub}")
    give(e, e.let(f"ptrtoint ptr {image} to i64"), LEFT_TAG)
