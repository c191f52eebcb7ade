"""The shape of a region's control flow: who comes before whom, and who dominates whom.

In: a region whose edges lead to blocks that exist (nothing else about it needs to be valid). Out: lists
indexed by block number. Block 0 is the entry. Unreachable blocks have no place in the order and no dominator.

Dominators are found by the walk-up intersection over reverse postorder until nothing changes: regions have
some dozens of blocks, where that is quicker than the algorithms with better bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.ir.region import edges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minijit.ir.region import Region

UNREACHABLE = -1


def successors(region: Region) -> list[tuple[int, ...]]:
    """The targets of each block's edges: one item an edge, so a target may be there twice."""
    return [tuple([edge.target for edge in edges(block.end)]) for block in region.blocks]


def predecessors(after: Sequence[Sequence[int]]) -> list[list[int]]:
    """The blocks that jump to each block: one item an edge, so a block may be there twice."""
    before: list[list[int]] = [[] for _ in after]
    for block, targets in enumerate(after):
        for target in targets:
            before[target].append(block)
    return before


def reverse_postorder(after: Sequence[Sequence[int]]) -> list[int]:
    """The reachable blocks, each one before those that it dominates."""
    order: list[int] = []
    seen = {0}
    path = [(0, iter(after[0]))]
    while path:
        block, rest = path[-1]
        for target in rest:
            if target not in seen:
                seen.add(target)
                path.append((target, iter(after[target])))
                break
        else:
            order.append(block)
            path.pop()
    order.reverse()
    return order


@dataclass(frozen=True, slots=True)
class Dominators:
    """The dominator tree. The entry is its own parent; blocks outside of the tree have `UNREACHABLE`."""

    parent: list[int]
    children: list[list[int]]
    depth: list[int]

    def dominates(self, above: int, below: int) -> bool:
        """Whether every path from the entry to `below` goes through `above`; a block dominates itself."""
        while self.depth[below] > self.depth[above]:
            below = self.parent[below]
        return above == below


def dominators(after: Sequence[Sequence[int]]) -> Dominators:
    """The dominator tree of a graph given by its successors."""
    order = reverse_postorder(after)
    parent = _immediate(order, predecessors(after))
    children: list[list[int]] = [[] for _ in after]
    depth = [0] * len(after)
    for block in order[1:]:
        children[parent[block]].append(block)
        depth[block] = depth[parent[block]] + 1
    return Dominators(parent, children, depth)


def _immediate(order: list[int], before: list[list[int]]) -> list[int]:
    place = {block: position for position, block in enumerate(order)}
    parent = [UNREACHABLE] * len(before)
    parent[0] = 0
    changed = True
    while changed:
        changed = False
        for block in order[1:]:
            found = UNREACHABLE
            for other in before[block]:
                if parent[other] == UNREACHABLE:
                    continue
                while found not in (UNREACHABLE, other):
                    if place[found] > place[other]:
                        found = parent[found]
                    else:
                        other = parent[other]
                found = other
            if parent[block] != found:
                parent[block] = found
                changed = True
    return parent
