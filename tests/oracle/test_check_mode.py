"""The stress mode `check`: it says nothing about what is right, and names the stage that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from catalogue import STAGES

from conftest import RunPython
from minijit.backend.lower_ops import LOWER
from minijit.ir.check import check_region
from minijit.ir.eval import ItemState
from minijit.ir.kinds import INPUT_RANGES, ITERATED, EntryKind
from minijit.ir.region import Region
from minijit.ir.text import parse_region
from minijit.opt import count, iterators, pipeline, ranges
from minijit.oracle.check import MACHINE, STATUS, OracleError, Subject, optimised
from minijit.oracle.compare import exact
from minijit.oracle.inputs import Choices, vectors
from opt import test_count, test_iterators, test_pass_properties, test_ranges
from strategies.mutants import planted
from strategies.regions import random_case, reset_namespace
from strategies.traces import trace_cases

MUTATION = Path(__file__).with_name("mutation.py")
PROGRAM = Path(__file__).with_name("programs").joinpath("stages.txt").read_text()


def subject(seed: int = 0, level: int = 0) -> Subject:
    return Subject("f", 16, 3, seed, level)


def random_regions(count: int) -> Iterator[Region]:
    """Such as a builder might make: a slot without a value is not returned."""
    for seed in range(count):
        region = random_case(seed).region
        kinds = tuple(EntryKind.OBJECT if kind is EntryKind.UNBOUND else kind for kind in region.entry_kinds)
        yield replace(region, entry_kinds=kinds)


def traced_regions() -> Iterator[Region]:
    for name, _ in pipeline.PASSES:
        yield from {id(case.region): case.region for case in trace_cases(name)}.values()


def check(region: Region, seed: int = 0, level: int = 0) -> Region:
    reset_namespace()
    return optimised(region, subject(seed, level))


# Nothing is said of what is right


def test_iterators_over_what_a_region_made_are_compared_by_their_items() -> None:
    """Each run makes another tuple, or list."""
    for make in (tuple, list):
        once, again, other = (ItemState(make(items), 1) for items in ("ab", "ab", "ac"))
        assert exact(once) == exact(again) != exact(other)
    assert exact(ItemState(("a",), 0)) != exact(ItemState(("a",), 1))


@pytest.mark.parametrize("level", [0, 2])
def test_random_regions_pass(level: int) -> None:
    for region in random_regions(60):
        assert check(region, level=level) == pipeline.optimise(region)


def test_the_regions_of_traces_pass() -> None:
    for region in traced_regions():
        check(region)


def test_a_program_does_what_it_did(run_python: RunPython, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    settings = {"MINIJIT_CALL_THRESHOLD": "5", "MINIJIT_STRESS": "check"}
    plain, checked = run_python(path), run_python(path, env=settings)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, plain.stdout, "")


def test_no_object_of_the_program_is_changed(run_python: RunPython) -> None:
    """Whoever asks an object for its `__dict__` gives it one, and regions know no such object."""
    program = """
import minijit
class Point:
    def __init__(self, x):
        self.x = x
p = Point(1.5)
@minijit.jit
def f(n):
    s = 0.0
    for _ in range(n):
        s += p.x
    return s
for _ in range(20):
    f(100)
exits = minijit.stats(f).exits
f(100)
print(minijit.stats(f).entries > 0, minijit.stats(f).exits - exits)
"""
    settings = {"MINIJIT_CALL_THRESHOLD": "5", "MINIJIT_STRESS": "check"}
    plain, checked = run_python(program), run_python(program, env=settings)
    assert (checked.returncode, checked.stdout) == (plain.returncode, plain.stdout) == (0, "True 0\n"), checked.stderr


def test_each_run_makes_lists_of_its_own() -> None:
    assert exact([1, [2.0, None]]) == exact([1, [2.0, None]])
    assert exact([1, [2.0]]) != exact([1, [2]])
    around: list[object] = [1]
    around.append(around)
    assert exact(around) == exact(around)
    assert exact(list(range(1000))) != exact(list(range(1001)))


# What is wrong is found, at its stage


def regions_for(name: str) -> Iterator[Region]:
    yield from {id(case.region): case.region for case in trace_cases(name)}.values()
    yield from random_regions(250)


def stage_blamed(region: Region) -> str:
    for seed in range(3):
        try:
            check(region, seed)
        except OracleError as error:
            return error.stage
    return ""


# Of the bugs that the passes' own tests know, some of each sort.
BUGS_IN_PASSES = {
    "params looks at one edge only": test_pass_properties.MUTANTS["params looks at one edge only"],
    "imply turns branches round": test_pass_properties.MUTANTS["imply turns branches round"],
    "imply forgets the snapshots": test_pass_properties.MUTANTS["imply forgets the snapshots"],
    "count: starts of any size": (count, *test_count.MUTANTS["starts of any size"]),
    "ranges: turns branches round": (ranges, *test_ranges.MUTANTS["turns branches round"]),
    "ranges: takes what wraps": (ranges, *test_ranges.MUTANTS["takes what wraps for what does not"]),
    "iterators: adds the end": (iterators, *test_iterators.MUTANTS["adds the end of what falls"]),
    "wrap ignores exits": test_pass_properties.MUTANTS["wrap ignores exits"],
    "wrap takes variable shifts": test_pass_properties.MUTANTS["wrap takes variable shifts"],
    "prune drops guards": test_pass_properties.MUTANTS["prune drops guards"],
    "prune mixes up exits": test_pass_properties.MUTANTS["prune mixes up exits"],
}


@pytest.mark.parametrize("bug", BUGS_IN_PASSES)
def test_a_bug_in_a_pass(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in some region, and blamed on no other pass."""
    module, old, new = BUGS_IN_PASSES[bug]
    name = module.__name__.rpartition(".")[2]
    mutant = planted(module, old, new, monkeypatch)
    passes = tuple((known, mutant if known == name else run) for known, run in pipeline.PASSES)
    monkeypatch.setattr(pipeline, "PASSES", passes)
    assert next(stage for region in regions_for(name) if (stage := stage_blamed(region))) == name


REGION = """region f call(int, float)
b0(v0: int, v1: float):
  v2: int = int_mul v0, 3 | e0
  v3: bool = float_lt v1, 0.5
  branch v3 b1() b2()
b1():
  return (v2, v1)
b2():
  leave e1
e0: overflow @2 [v0, v1 |]
e1: untaken @8 [v2, v1 |]
"""


def test_a_bug_in_the_lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    region = parse_region(REGION)
    check(region)
    monkeypatch.setitem(LOWER, "int_mul", LOWER["int_mul_wrap"])
    with pytest.raises(OracleError) as caught:
        check(region)
    assert caught.value.stage == MACHINE
    message = str(caught.value)
    assert message.startswith("f@16, region 3, stage machine code: inputs (")
    assert ", seed 0\nevaluated: Left(exit=0," in message
    assert "\nmachine code: Returned(" in message or "\nmachine code: Left(exit=" in message
    assert "region f call(int, float)\n" in message


def test_an_invalid_region(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = parse_region(REGION.replace("v0, 3", "v0, 3.0"))
    assert check_region(broken)
    monkeypatch.setattr(pipeline, "PASSES", (("params", lambda region: region), ("breaks", lambda _: broken)))
    with pytest.raises(OracleError, match=r"stage breaks: f after breaks: b0\.0: ") as caught:
        check(parse_region(REGION))
    assert caught.value.stage == "breaks"
    with pytest.raises(OracleError, match="stage build: "):
        check(broken)


def test_a_pass_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_region: Region) -> Region:
        raise ArithmeticError("a bug")

    monkeypatch.setattr(pipeline, "PASSES", (("params", lambda region: region), ("fails", fails)))
    with pytest.raises(OracleError, match=r"stage fails: ArithmeticError\('a bug'\)"):
        check(parse_region(REGION))


def test_a_lowering_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LOWER, "int_mul")
    with pytest.raises(OracleError, match=r"stage machine code: KeyError\('int_mul'\)"):
        check(parse_region(REGION))


@pytest.mark.parametrize("bug", ["pass-wraps-products", "products-wrap", "overflow-denied"])
def test_a_program_is_ended(bug: str, run_python: RunPython, tmp_path: Path) -> None:
    """Though it catches whatever is raised, and though the driver is at work where nobody would see an exception."""
    path = tmp_path / "program.py"
    path.write_text("print('begun')\ntry:\n" + re.sub("^", "    ", PROGRAM, flags=re.MULTILINE) + "\nexcept: pass")
    settings = {"MINIJIT_CALL_THRESHOLD": "5", "MINIJIT_STRESS": "check"}
    done = run_python(MUTATION, bug, path, env=settings)
    assert (done.returncode, done.stdout) == (STATUS, "begun\n")
    stage = MACHINE if STAGES[bug].stage == "lower" else STAGES[bug].stage
    assert re.search(rf"OracleError: \w+@\d+, region \d+, stage {stage}: inputs \(", done.stderr), done.stderr


# Inputs


def test_inputs_are_such_as_the_entry_lets_in() -> None:
    all_kinds = ", ".join(kind.value for kind in EntryKind)
    values = "v0: int, v1: int, v2: int, v3: int, v4: float, v5: bool, v6: int, v7: int, v8: int, v9: int, v10: int, v11: int, v12: int, v13: object, v14: int, v15: object, v16: int, v17: object"
    region = parse_region(f"region f loop({all_kinds})\nb0({values}):\n  leave e0\ne0: untaken @2 [v0 |]\n")
    seen: dict[str, set[object]] = {}
    for vector in vectors(region, Choices(7), 400):
        assert len(vector.objects) == len(EntryKind)
        for (slot, field, _), value in zip(region.inputs(), vector.inputs, strict=True):
            kind = region.entry_kinds[slot]
            if kind in ITERATED and field == "items":
                assert type(value) is ITERATED[kind]
                continue
            seen.setdefault(f"{kind.value}.{field}", set()).add(value)
            if kind in INPUT_RANGES and field != "length":
                low, high = INPUT_RANGES[kind]
                assert low <= value <= high
        start, step, length = vector.inputs[6:9]
        assert len(range(start, start + step * length, step)) == length
        assert -(2**63) <= start + step * length < 2**63
        assert vector.inputs[10] - vector.inputs[9] >= 0
        assert vector.inputs[11] - vector.inputs[12] >= 0
    assert len(seen.pop("bool.value")) == 2
    steps, lengths = seen.pop("range_iterator.step"), seen.pop("range_iterator.length")
    assert {1, -1} <= steps
    assert {0, 1, 2} <= lengths
    assert len(seen.pop("list_iterator.index")) > 3
    assert len(seen.pop("tuple_iterator.index")) > 3
    assert len(seen.pop("reference.value")) > 3
    assert min(map(len, seen.values())) > 50, seen
    assert {-(2**63), 2**63 - 1, 0, 1} <= seen["int.value"]
    assert {0, 2**31 - 1} <= seen["short.value"]


def test_the_same_seed_gives_the_same_inputs() -> None:
    region = parse_region(REGION)
    one, same, other = ([v.inputs for v in vectors(region, Choices(seed), 12)] for seed in (1, 1, 2))
    assert repr(one) == repr(same) != repr(other)
