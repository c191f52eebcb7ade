"""Drops what nothing needs: unreachable blocks, pure ops without a use, exits without an op.

    b0(v0: int):                           b0(v0: int):
      v1: bool = int_lt v0, 10               jump b1()
      jump b2()                            b1():
    b1():                                    return v0
      leave e0
    b2():
      return v0
    e0: untaken @8 [v0 |]

An op that may leave stays, also if nobody uses its result: leaving is what it is for. Blocks and exits are
numbered anew, without gaps. Parameters that nothing uses are left to LLVM: a local variable is in the
snapshots as a rule.
"""

from __future__ import annotations

from minijit.ir.flow import reverse_postorder, successors
from minijit.ir.region import (
    Block,
    Branch,
    Edge,
    Jump,
    Leave,
    Op,
    Operand,
    Region,
    Return,
    Terminator,
    edges,
    exit_values,
    slot_operands,
)


def prune(region: Region) -> Region:
    """The region without blocks, ops and exits that nothing needs."""
    region = drop_unreachable(region)
    exits = _used_exits(region)
    place = {exit: position for position, exit in enumerate(exits)}
    needed = _needed(region, exits)
    blocks = tuple(
        Block(
            block.params,
            tuple([_moved(op, place) for op in block.ops if op.exit is not None or op.result in needed]),
            Leave(place[block.end.exit]) if isinstance(block.end, Leave) else block.end,
        )
        for block in region.blocks
    )
    kept = tuple([region.exits[exit] for exit in exits])
    return Region(region.name, region.point, region.entry_kinds, blocks, kept)


def drop_unreachable(region: Region) -> Region:
    """The region without the blocks that no path reaches."""
    reachable = sorted(reverse_postorder(successors(region)))
    if len(reachable) == len(region.blocks):
        return region
    place = {block: position for position, block in enumerate(reachable)}
    blocks = tuple(
        Block(block.params, block.ops, _retargeted(block.end, place))
        for block in (region.blocks[number] for number in reachable)
    )
    return Region(region.name, region.point, region.entry_kinds, blocks, region.exits)


def _used_exits(region: Region) -> list[int]:
    """The exits that something leaves by, in their order."""
    used = {op.exit for block in region.blocks for op in block.ops if op.exit is not None}
    used.update(block.end.exit for block in region.blocks if isinstance(block.end, Leave))
    return sorted(used)


def _needed(region: Region, exits: list[int]) -> set[Operand]:
    """All that ops which may leave, terminators and snapshots use, and what that is made from."""
    needed: set[Operand] = set()
    idle: list[Op] = []
    for block in region.blocks:
        for op in block.ops:
            if op.exit is None:
                idle.append(op)
            else:
                needed.update(op.args)
        needed.update(_end_operands(block.end))
    for exit in exits:
        needed.update(exit_values(region.exits[exit]))
    # Backwards, as uses come after definitions: so one round does nearly all, and another finds nothing.
    idle.reverse()
    count = 0
    while len(idle) != count:
        count = len(idle)
        idle = [op for op in idle if not _needs(op, needed)]
    return needed


def _needs(op: Op, needed: set[Operand]) -> bool:
    """Whether a pure op is needed; then so are its operands."""
    if op.result not in needed:
        return False
    needed.update(op.args)
    return True


def _end_operands(end: Terminator) -> list[Operand]:
    operands = [arg for edge in edges(end) for arg in edge.args]
    if isinstance(end, Branch):
        operands.append(end.condition)
    if isinstance(end, Return):
        operands += slot_operands(end.value)
    return operands


def _moved(op: Op, place: dict[int, int]) -> Op:
    if op.exit is None or place[op.exit] == op.exit:
        return op
    return Op(op.name, op.args, op.result, place[op.exit])


def _retargeted(end: Terminator, place: dict[int, int]) -> Terminator:
    match end:
        case Jump(edge):
            return Jump(Edge(place[edge.target], edge.args))
        case Branch(condition, then, otherwise):
            return Branch(
                condition,
                Edge(place[then.target], then.args),
                Edge(place[otherwise.target], otherwise.args),
            )
        case Return() | Leave():
            return end
