"""Removes block parameters that are always the same operand.

    b0(v0: int):                           b0(v0: int):
      jump b1(v0, 0)                         jump b1(0)
    b1(v1: int, v2: int):                  b1(v1: int):
      v3: int = int_add v2, v1 | e0          v2: int = int_add v1, v0 | e0
      jump b1(v1, v3)                        jump b1(v2)

The builder gives a parameter to every slot of a block version, most of which no path changes. A parameter
goes when all edges pass one operand, or the parameter itself; that may make others go, hence the worklist.
Constants count as the same only if they are the same object: `0.0 == -0.0` and `1 == True` say nothing here.

The operand that remains dominates the block: every path into it from outside has passed it. Parameters that
only pass each other around (in control flow with two ways into one loop) stay.
"""

from __future__ import annotations

from minijit.ir.region import (
    Block,
    Branch,
    Edge,
    Jump,
    Leave,
    Operand,
    Region,
    Return,
    Terminator,
    Value,
    edges,
)
from minijit.ir.substitute import substitute


def params(region: Region) -> Region:
    """The region without the parameters that are always the same operand."""
    change = _same(region)
    if not change:
        return region
    kept = [[i for i, p in enumerate(block.params) if p not in change] for block in region.blocks]
    blocks = tuple(
        Block(tuple([block.params[i] for i in positions]), block.ops, _fewer(block.end, kept))
        for block, positions in zip(region.blocks, kept, strict=True)
    )
    shorter = Region(region.name, region.point, region.entry_kinds, blocks, region.exits)
    return substitute(shorter, change)


def _same(region: Region) -> dict[Value, Operand]:
    """The parameters that are always one operand, with that operand.

    Parameters are numbers here: this looks at every argument of every edge, and asking for the hash of a
    value each time took most of the pipeline's time.
    """
    # The entry's parameters come from outside.
    numbered: list[Value] = []
    first = [0]
    for block in region.blocks[1:]:
        first.append(len(numbered))
        numbered += block.params
    number = {param: n for n, param in enumerate(numbered)}
    incoming: list[list[Operand | int]] = [[] for _ in numbered]
    takers: list[list[int]] = [[] for _ in numbered]
    for block in region.blocks:
        for edge in edges(block.end):
            for n, arg in enumerate(edge.args, first[edge.target]):
                passed = number.get(arg, arg) if isinstance(arg, Value) else arg
                incoming[n].append(passed)
                if isinstance(passed, int):
                    takers[passed].append(n)
    same = _fixpoint(incoming, takers)
    final = {n: _resolve(n, same) for n in same}
    return {numbered[n]: numbered[operand] if isinstance(operand, int) else operand for n, operand in final.items()}


def _fixpoint(incoming: list[list[Operand | int]], takers: list[list[int]]) -> dict[int, Operand | int]:
    """What each parameter that is always one operand is; that may be another one, to be resolved in turn."""
    same: dict[int, Operand | int] = {}
    work = list(range(len(incoming)))
    work.reverse()
    while work:
        param = work.pop()
        if param in same:
            continue
        only: Operand | int | None = None
        for arg in incoming[param]:
            arg = _resolve(arg, same)
            if arg == param:
                continue
            if only is not None and arg != only:
                break
            only = arg
        else:
            if only is not None:
                same[param] = only
                work += takers[param]
                if isinstance(only, int):
                    # They take that parameter from here on: what becomes of it matters to them as well.
                    takers[only] += takers[param]
    return same


def _resolve(operand: Operand | int, same: dict[int, Operand | int]) -> Operand | int:
    while isinstance(operand, int) and operand in same:
        operand = same[operand]
    return operand


def _fewer(end: Terminator, kept: list[list[int]]) -> Terminator:
    """The terminator without the arguments of parameters that are gone."""
    match end:
        case Jump(edge):
            return Jump(_fewer_args(edge, kept))
        case Branch(condition, then, otherwise):
            return Branch(condition, _fewer_args(then, kept), _fewer_args(otherwise, kept))
        case Return() | Leave():
            return end


def _fewer_args(edge: Edge, kept: list[list[int]]) -> Edge:
    return Edge(edge.target, tuple([edge.args[i] for i in kept[edge.target]]))
