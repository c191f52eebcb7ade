"""Quick regions: which count their rounds, and where."""

from __future__ import annotations

import pytest

from minijit.backend import effort
from minijit.events import ExitReason
from minijit.ir.check import require_valid
from minijit.ir.region import Const
from minijit.ir.text import parse_region

LOOP = """\
region loop loop(int)
b0(v0: int):
  jump b1(v0)
b1(v1: int):
  v2: int = int_add_wrap v1, 1
  v3: bool = int_lt v2, 10
  branch v3 b2(v2) b3()
b2(v4: int):
  poll | e0
  jump b1(v4)
b3():
  leave e1
e0: poll @2 [v4 |]
e1: left_loop @8 [v2 |]
"""


def test_rounds_are_counted_where_a_loop_polls() -> None:
    region = parse_region(LOOP)
    counting = effort.counting(region, 4096)
    require_valid(counting, "effort")
    ops = [op.name for block in counting.blocks for op in block.ops]
    assert ops == ["int_add_wrap", "int_lt", "count_round", "poll"]
    count = counting.blocks[2].ops[0]
    assert [arg.value for arg in count.args if isinstance(arg, Const)] == [4096, 1, effort.ROUNDS]
    assert count.exit == 2
    assert counting.exits[:2] == region.exits
    assert counting.exits[2].reason is ExitReason.WARM
    assert counting.exits[2].frame == region.exits[0].frame


def test_what_has_no_loop_counts_nothing() -> None:
    region = parse_region("region straight loop(int)\nb0(v0: int):\n  leave e0\ne0: left_loop @8 [v0 |]")
    assert effort.counting(region, 4096) == region


@pytest.mark.parametrize("more", range(1, 4))
def test_what_has_more_ops_has_more_lines(more: int) -> None:
    ops = "".join(f"  v{10 + k}: int = int_add_wrap v4, {k}\n" for k in range(more))
    text = LOOP.replace("  poll | e0\n", f"  poll | e0\n{ops}")
    assert effort.lines(parse_region(text)) > effort.lines(parse_region(LOOP)) > 0
