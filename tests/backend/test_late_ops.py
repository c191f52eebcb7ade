"""Ops whose results only snapshots use are done on the way out, with the same results."""

from __future__ import annotations

import itertools

import pytest

from minijit.backend import lower_exits
from minijit.backend.lower import lower
from minijit.backend.lower_exits import late_ops
from minijit.backend.snapshots import raw_layouts
from minijit.ir.eval import evaluate
from minijit.ir.kinds import INT_MAX, INT_MIN
from minijit.ir.text import parse_region
from minijit.oracle.compare import exact_outcome
from minijit.oracle.machine import Machine, raw_prologue

REGION = parse_region("""region f call(int, int)
b0(v0: int, v1: int):
  v2: int = int_sub_wrap v0, v1
  v3: int = int_sub_wrap v2, 1
  v4: int = int_add_wrap v3, v2
  v5: int = int_add_wrap v0, 5
  v6: int = int_add_wrap v5, 1
  v7: int = int_add_wrap v0, v1
  v8: int = int_mul v0, v1 | e0
  v9: int = int_add v8, v5 | e1
  v10: bool = int_lt v9, 100
  branch v10 b1(v7) b2()
b1(v11: int):
  leave e2
b2():
  return v9
e0: overflow @2 [v3, v4 | v6]
e1: overflow @2 [v3, v4 | v2, range_iter(v4, 1, v3)]
e2: untaken @4 [v11, v4 | v2]
""")
"""Late: what is left (v2), what comes of it, and v6. Not late: v5 is added to, v7 passed on."""
INTS = (0, 1, -1, 7, 2**62, INT_MAX, INT_MIN)


def agrees(level: int) -> bool:
    machine = Machine(level)
    with machine.compile(REGION) as compiled:
        return all(
            exact_outcome(compiled.run(row, row)) == exact_outcome(evaluate(REGION, row, objects=row))
            for row in itertools.product(INTS, repeat=2)
        )


def test_exits_share_their_stores() -> None:
    """Fewer than there are in all of their layouts."""
    region = parse_region("""region f call(int, int)
b0(v0: int, v1: int):
  v2: int = int_mul v0, v1 | e0
  v3: int = int_add v2, v1 | e1
  v4: int = int_sub v3, v0 | e2
  return v4
e0: overflow @2 [v0, v1 |]
e1: overflow @4 [v0, v1 | v2]
e2: overflow @6 [v0, v1 | v3]
""")
    assert [len(layout) for layout in raw_layouts(region)] == [2, 3, 3]
    machine = Machine(0)
    text = lower(region, machine.target, (1, 2, 3), raw_prologue)
    assert text.split("x0:")[1].count("  store ") == 4
    with machine.compile(region) as compiled:
        for row in itertools.product(INTS, repeat=2):
            assert exact_outcome(compiled.run(row, row)) == exact_outcome(evaluate(region, row, objects=row)), row


def test_what_is_late() -> None:
    assert {value.number for value in late_ops(REGION)} == {2, 3, 4, 6}


@pytest.mark.parametrize("level", [0, 2])
def test_late_ops_give_the_same(level: int) -> None:
    assert agrees(level)


def test_a_late_op_without_its_operand_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that takes another late op for its operand."""
    kept = lower_exits.map_op
    monkeypatch.setattr(
        lower_exits, "map_op", lambda op, done: kept(op, {old: next(iter(done.values())) for old in done})
    )
    assert not agrees(2)
