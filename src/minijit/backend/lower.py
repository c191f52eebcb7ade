"""Lowering: a region becomes the text of one LLVM function.

In: a valid region, and a `Target` with the addresses that machine code needs. Out: LLVM IR text that defines `@region`
with the prototype `ptr (ptr, ptr, i64, ptr)`, which is that of a vectorcall. Every function that compiled code goes
on to has the same prototype, so that it is reached by a tail call: while Python code runs on behalf of a region no
native frame of that region exists, and its memory can be freed at any moment. A body, which machine code calls, gets
and gives machine values instead; it and its callers come to an end as well before any Python code runs (see
`image_stubs`).

Blocks become LLVM blocks of the same number, block parameters phi instructions. What an op becomes is said by one
function an op in `lower_ops`, how a region is entered by `entry`, and how it is left by `lower_exits`.

Text rather than a builder object: it is what one reads in a dump, and several times faster to make.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, assert_never

from minijit.backend import lower_ops
from minijit.backend.bodies import body_text
from minijit.backend.emitter import LLVM_TYPES, Emitter, Target, name
from minijit.backend.lower_exits import late_ops, leave_by_return, lower_exits
from minijit.backend.prelude import PRELUDE
from minijit.backend.snapshots import raw_layouts, stub_returns
from minijit.ir.ops import RESIZING, TABLE, Effect
from minijit.ir.region import (
    Branch,
    EntryPoint,
    Jump,
    Leave,
    Region,
    Return,
    has_op,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minijit.ir.region import Block, Edge


METADATA = ('!0 = !{!"branch_weights", i32 100000, i32 1}', '!1 = !{!"rsp"}', "!2 = !{}")
"""How sure a branch is, the name of the stack pointer, and the mark of loads of what does not change."""


KEEPING = (
    *("guard_may_end", "delete_item", "call_body"),
    *(name for name, row in TABLE.items() if row.effect is Effect.MAKE),
)
"""Ops of regions that may keep objects: to let these go may run any code, which no region must wait for."""


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
    emitter.layouts = raw_layouts(region)
    emitter.return_points = {b: len(region.exits) + k for k, b in enumerate(stub_returns(region))}
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
    lower_exits(emitter)
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
            leave_by_return(emitter, value, number)
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
