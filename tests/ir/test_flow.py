"""Orders and dominators, against their definitions."""

from __future__ import annotations

import random

from minijit.ir.flow import UNREACHABLE, dominators, predecessors, reverse_postorder


def graphs(count: int) -> list[list[tuple[int, ...]]]:
    """Random graphs in which nothing leads to block 0, and not all need be reachable."""
    chance = random.Random(5)
    made = []
    for _ in range(count):
        size = chance.randrange(1, 12)
        targets = range(1, size)
        made.append([tuple(chance.choices(targets, k=chance.randrange(3))) if size > 1 else () for _ in range(size)])
    return made


def reached(after: list[tuple[int, ...]], without: int | None = None) -> set[int]:
    """The blocks on paths from the entry that avoid one block."""
    found: set[int] = set()
    work = [0]
    while work:
        block = work.pop()
        if block not in found and block != without:
            found.add(block)
            work += after[block]
    return found


def test_predecessors_count_edges() -> None:
    assert predecessors([(1, 1), (2,), (1,)]) == [[], [0, 0, 2], [1]]


def test_the_order_has_the_reachable_blocks_each_after_its_dominators() -> None:
    for after in graphs(200):
        order = reverse_postorder(after)
        assert sorted(order) == sorted(reached(after))
        tree = dominators(after)
        for block in order[1:]:
            assert order.index(tree.parent[block]) < order.index(block)


def test_a_block_dominates_what_cannot_be_reached_without_it() -> None:
    for after in graphs(200):
        tree = dominators(after)
        known = reached(after)
        for above in known:
            lost = known - reached(after, without=above)
            assert {below for below in known if tree.dominates(above, below)} == lost


def test_the_tree() -> None:
    tree = dominators([(1, 2), (3,), (3,), (4,), (3, 5), (), (5,)])
    assert tree.parent == [0, 0, 0, 0, 3, 4, UNREACHABLE]
    assert [sorted(below) for below in tree.children] == [[1, 2, 3], [], [], [4], [5], [], []]
    assert tree.depth == [0, 1, 1, 1, 2, 3, 0]
