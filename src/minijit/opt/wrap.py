"""Makes int arithmetic wrap at 64 bits where a mask throws the upper bits away.

    v1: int = int_mul v0, 1103515245 | e0      v1: int = int_mul_wrap v0, 1103515245
    v2: int = int_add v1, 12345 | e1           v2: int = int_add_wrap v1, 12345
    v3: int = int_and v2, 2147483647           v3: int = int_and v2, 2147483647

Python's ints would grow past 64 bits here and the mask would cut them; the low bits of a sum, difference,
product, left shift or bitwise op depend on the low bits of the operands only, so wrapping gives the same
after the mask. This is how hashes and random number generators run without leaving.

A value is *seen* where more than its low bits matter: by any op but the mask and those that hand low bits on,
by a branch, an edge, a return, or the snapshot of an exit that stays. An op that stays checked sees its
operands, and its exit stays. All that is never seen may wrap; so the pass starts from what is seen in any
case and follows it backwards. A snapshot whose op wraps vanishes with the exit and sees nothing: else each
step of the example would forbid the one before it. A negative mask keeps the upper bits, and only hands low
bits on.
"""

from __future__ import annotations

from minijit.ir.region import (
    Block,
    Const,
    Leave,
    Op,
    Operand,
    Region,
    Return,
    edges,
    exit_values,
    slot_operands,
)

CAN_WRAP = frozenset({"int_add", "int_sub", "int_mul", "int_neg", "int_lshift"})
HANDS_ON = CAN_WRAP | {"int_and", "int_or", "int_xor", "int_invert"}
"""Ops whose low bits depend on nothing but the low bits of their operands."""


def wrap(region: Region) -> Region:
    """The region with those ops wrapping whose upper bits nothing sees."""
    if not any(op.name == "int_and" and _masks(op) for block in region.blocks for op in block.ops):
        return region
    seen = _seen(region)
    return Region(
        region.name,
        region.point,
        region.entry_kinds,
        tuple(
            Block(block.params, tuple([_wrapped(op, seen) for op in block.ops]), block.end) for block in region.blocks
        ),
        region.exits,
    )


def _wrapped(op: Op, seen: set[Operand]) -> Op:
    if op.name in CAN_WRAP and op.result not in seen and _hands_on(op):
        return Op(f"{op.name}_wrap", op.args, op.result)
    return op


def _masks(op: Op) -> bool:
    """Whether an `int_and` cuts its operand to the bits of a constant that is not negative."""
    return any(isinstance(arg, Const) and isinstance(arg.value, int) and arg.value >= 0 for arg in op.args)


def _hands_on(op: Op) -> bool:
    """Whether the op's low bits depend only on low bits: for a left shift, if the count is known."""
    if op.name != "int_lshift":
        return op.name in HANDS_ON
    count = op.args[1]
    return isinstance(count, Const) and isinstance(count.value, int) and 0 <= count.value < 64


def _seen(region: Region) -> set[Operand]:
    """The operands whose upper bits matter to something."""
    seen: set[Operand] = set()
    exits: set[int] = set()
    hidden: list[Op] = []
    for block in region.blocks:
        for op in block.ops:
            if op.name == "int_and" and _masks(op):
                continue
            if op.result is not None and _hands_on(op):
                hidden.append(op)
            else:
                seen.update(op.args)
                _see_exit(region, op.exit, exits, seen)
        _see_end(region, block, exits, seen)
    # What hands on sees its operands once it is seen itself. Backwards, as uses come after definitions: so
    # one round does nearly all, and another finds nothing.
    hidden.reverse()
    count = 0
    while len(hidden) != count:
        count = len(hidden)
        hidden = [op for op in hidden if not _sees(op, region, exits, seen)]
    return seen


def _sees(op: Op, region: Region, exits: set[int], seen: set[Operand]) -> bool:
    """Whether an op that hands on is seen; then so are its operands, and its exit's snapshot."""
    if op.result not in seen:
        return False
    seen.update(op.args)
    _see_exit(region, op.exit, exits, seen)
    return True


def _see_end(region: Region, block: Block, exits: set[int], seen: set[Operand]) -> None:
    for edge in edges(block.end):
        seen.update(edge.args)
    if isinstance(block.end, Return):
        seen.update(slot_operands(block.end.value))
    if isinstance(block.end, Leave):
        _see_exit(region, block.end.exit, exits, seen)


def _see_exit(region: Region, exit: int | None, exits: set[int], seen: set[Operand]) -> None:
    """An exit that stays sees its snapshot; `exits` has those that did already."""
    if exit is not None and exit not in exits:
        exits.add(exit)
        seen.update(exit_values(region.exits[exit]))
