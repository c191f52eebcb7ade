"""The verifier: valid regions have no problems, and for each rule there is a region that breaks only that one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from minijit.ir.check import RULES, SHAPE, InvalidRegion, check_region, require_valid
from minijit.ir.kinds import Kind
from minijit.ir.region import Op, Region, Value
from minijit.ir.text import parse_region
from strategies.regions import random_case, regions

VALID = """\
region f call(int, float, range_iterator)
b0(v0: int, v1: float, v2: int, v3: int, v4: int):
  v5: int = int_add v0, 1 | e0
  v6: bool = int_lt v5, 10
  branch v6 b1(v5) b2()
b1(v7: int):
  v8: float = call_pure @math.hypot, v1, 2.0 | e1
  v9: any = pack_int v7
  return (v8, None)
b2():
  v12: object = load_global @namespace, "n" | e1
  v10: int = unbox_int v12 | e1
  jump b3(v10)
b3(v11: int):
  leave e2
e0: overflow @2 [v0, entry1, unbound | range_iter.2(v2, v3, v4), (v0, None)]
e1: domain @4 [v0, v1, v5 | range(0, v5, 1), null]
e2: untaken @6 [v0, v1, v10 | v11]
"""

# rule -> the line of VALID that is changed, and what stands there instead.
MUTANTS: dict[str, list[tuple[str, str]]] = {
    "blocks": [],
    "known_ops": [],
    "targets": [("  jump b3(v10)", "  jump b9(v10)")],
    "exits": [
        ("  v5: int = int_add v0, 1 | e0", "  v5: int = int_add v0, 1 | e7"),
        ("  leave e2", "  leave e7"),
    ],
    "defined_once": [("  v9: any = pack_int v7", "  v7: int = int_invert 1")],
    "dominance": [
        ("  v9: any = pack_int v7", "  v9: any = pack_int v10"),
        ("  v6: bool = int_lt v5, 10", "  v6: bool = bool_not v6"),
        ("  jump b3(v10)", "  jump b3(v7)"),
        ("  branch v6 b1(v5) b2()", "  branch v6 b1(v11) b2()"),
        ("  return (v8, None)", "  return (v8, v10)"),
        (
            "  v10: int = unbox_int v12 | e1",
            "  v10: int = unbox_int v12 | e1\n  v13: int = int_xor v7, 1",
        ),
    ],
    "snapshots": [
        ("e0: overflow @2 [v0,", "e0: overflow @2 [v5,"),
        ("e0: overflow @2 [v0,", "e0: overflow @2 [range(v0, v5, 1),"),
        ("e1: domain @4 [v0,", "e1: domain @4 [v8,"),
        ("e2: untaken @6 [v0,", "e2: untaken @6 [v7,"),
    ],
    "operands": [
        ("int_add v0, 1", "int_add v0, 1.0"),
        ("int_add v0, 1", "int_add v0, True"),
        ("int_add v0, 1", "int_add v0, v1"),
        ("int_add v0, 1", "int_add v0, 0x8000000000000000"),
        ("int_add v0, 1", "int_add v0"),
        ("int_add v0, 1", "int_add v0, 1, 2"),
        ("@math.hypot, v1, 2.0", "@math.hypot, v1, None"),
        ('load_global @namespace, "n"', "load_global @namespace"),
    ],
    "objects": [('load_global @namespace, "n"', "load_global @namespace, v5")],
    "results": [
        ("  v9: any = pack_int v7", "  pack_int v7"),
        ("  v9: any = pack_int v7", "  v9: int = pack_int v7"),
        ("  v9: any = pack_int v7", "  v9: any = pack_int v7\n  v14: int = poll | e1"),
        ("  v9: any = pack_int v7", "  v9: any = call_pure @abs, v7 | e1"),
    ],
    "op_exits": [
        ("  v9: any = pack_int v7", "  v9: any = pack_int v7 | e1"),
        ("  v5: int = int_add v0, 1 | e0", "  v5: int = int_add v0, 1"),
    ],
    "edges": [
        ("  jump b3(v10)", "  jump b3()"),
        ("  jump b3(v10)", "  jump b3(v10, v10)"),
        ("  jump b3(v10)", "  jump b3(v1)"),
        ("  jump b3(v10)", "  jump b3(0x8000000000000000)"),
        ("  branch v6 b1(v5) b2()", "  branch v6 b1(v5) b2(v5)"),
    ],
    "conditions": [("  branch v6 b1(v5) b2()", "  branch v5 b1(v5) b2()"), ("branch v6", "branch 1")],
    "entry": [("  jump b3(v10)", "  branch v6 b3(v10) b0(v0, v1, v2, v3, v4)")],
    "inputs": [
        ("region f call(int, float, range_iterator)", "region f call(int, float, range_iterator, bool)"),
        ("region f call(int, float, range_iterator)", "region f call(float, int, range_iterator)"),
    ],
    "body": [("region f call(int, float, range_iterator)", "region f body(int, float, range_iterator)")],
    "reachable": [("  branch v6 b1(v5) b2()", "  jump b1(v5)")],
    "returns": [("f call(", "f loop("), ("  return (v8, None)", "  return null"), ("(v8, None)", "unbound")],
    "entry_slots": [
        ("entry1, unbound", "entry3, unbound"),
        ("range_iter.2", "range_iter.1"),
        ("range_iter.2", "range_iter.3"),
        ("return (v8, None)", "return ((entry5,), None)"),
    ],
    "virtuals": [
        ("(v0, None)]", "(v0, null)]"),
        ("return (v8, None)", "return (v8, (unbound,))"),
        ("range(0, v5, 1)", "range(0, v1, 1)"),
        ("range(0, v5, 1)", "range(0, v5, None)"),
        ("(v2, v3, v4)", "(v2, v3, v1)"),
    ],
    "frames": [("e2: untaken @6 [v0, v1, v10 |", "e2: untaken @6 [v0, v1, v10, v0 |")],
}


def broken_rules(region: Region) -> set[str]:
    return {problem.rule for problem in check_region(region)}


def test_the_example_is_valid() -> None:
    assert check_region(parse_region(VALID)) == ()
    require_valid(parse_region(VALID), "nothing")


def test_every_rule_has_a_mutant() -> None:
    assert set(MUTANTS) == {*SHAPE, *RULES}


CASES = [(rule, old, new) for rule, cases in MUTANTS.items() for old, new in cases]


@pytest.mark.parametrize(("rule", "old", "new"), CASES)
def test_mutant_breaks_one_rule(rule: str, old: str, new: str) -> None:
    assert VALID.count(old) == 1
    broken = broken_rules(parse_region(VALID.replace(old, new)))
    assert broken == {rule}


def test_a_region_without_blocks() -> None:
    assert broken_rules(replace(parse_region(VALID), blocks=())) == {"blocks"}


def test_an_op_that_does_not_exist() -> None:
    region = parse_region(VALID)
    odd = replace(region.blocks[3], ops=(Op("int_ad", (), None, None),))
    assert broken_rules(replace(region, blocks=(*region.blocks[:3], odd))) == {"known_ops"}


def test_a_value_that_nothing_defines() -> None:
    region = parse_region(VALID)
    odd = replace(region.blocks[3], ops=(Op("int_invert", (Value(99, Kind.INT),), Value(98, Kind.INT)),))
    assert broken_rules(replace(region, blocks=(*region.blocks[:3], odd))) == {"dominance"}


def test_two_definitions_of_different_kind() -> None:
    region = parse_region(VALID)
    odd = replace(region.blocks[3], ops=(Op("bool_not", (region.blocks[0].ops[1].result,), Value(0, Kind.BOOL)),))  # type: ignore[arg-type]
    assert broken_rules(replace(region, blocks=(*region.blocks[:3], odd))) == {"defined_once"}


def test_an_exit_that_nobody_uses_may_need_anything() -> None:
    """A pass that takes the last use of an exit away leaves it to `prune`."""
    region = parse_region(f"{VALID}e3: poll @8 [v9, v8, v11 |]")
    assert check_region(region) == ()


def test_the_message_says_where_after_what_and_why() -> None:
    with pytest.raises(InvalidRegion) as caught:
        require_valid(parse_region(VALID.replace("int_add v0, 1", "int_add v0, 1.0")), "params")
    assert str(caught.value) == "f after params: b0.0: int_add takes int, not float [operands]"
    assert len(caught.value.problems) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(region=regions())
def test_random_regions_are_valid(region: Region) -> None:
    assert check_region(region) == ()


def test_swapping_two_ops_is_noticed() -> None:
    """The verifier's own mutation test: an op moved before what it uses is always found."""
    noticed = 0
    for seed in range(100):
        region = random_case(seed).region
        for number, block in enumerate(region.blocks):
            for at in range(len(block.ops) - 1):
                first, second = block.ops[at : at + 2]
                if first.result is None or first.result not in second.args:
                    continue
                ops = (*block.ops[:at], second, first, *block.ops[at + 2 :])
                blocks = (*region.blocks[:number], replace(block, ops=ops), *region.blocks[number + 1 :])
                assert "dominance" in broken_rules(replace(region, blocks=blocks))
                noticed += 1
    assert noticed > 100


RETURNS = """
region f call(object, float)
b0(v0: float):
  v1: float = float_add v0, 1.0
  leave e0
e0: returned @0 [unbound, v1 | v1]
e1: returned @0 [unbound, v1 | {}]
"""


def test_returns_that_write_attributes() -> None:
    """One that no pass has left in use is none; each returns one value, and at the end of a block."""
    assert check_region(parse_region(RETURNS.format("v0"))) == ()
    assert check_region(parse_region(RETURNS.format("")))
    inside = RETURNS.replace("float_add v0, 1.0", "float_truediv v0, 1.0 | e1")
    assert check_region(parse_region(inside.format("v0")))
