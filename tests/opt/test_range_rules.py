"""The range rules hold: whatever operands are chosen from their ranges, the op's result is in the range that its rule
gives; and the test that says so notices planted bugs.

Ranges are chosen with ends near zero, powers of two and the ends of 64 bits, and operands at the ends of the ranges and
near zero, where rules go wrong.
"""

from __future__ import annotations

import inspect
import random
import types
from typing import TYPE_CHECKING, Any

import pytest

from minijit.ir.kinds import INT_MAX, INT_MIN, Kind
from minijit.ir.ops import TABLE, Leaves
from minijit.opt import range_rules
from minijit.opt.range_rules import FULL, RULES, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    type Rules = Mapping[str, Callable[..., Range]]

POWERS = (0, 1, 3, 8, 31, 32, 53, 61, 62)
ENDS = sorted(
    {sign * 2**power + step for power in POWERS for sign in (1, -1) for step in (-1, 0, 1)} | {INT_MIN, INT_MAX, 0}
)
ROUNDS = 4000


def chosen_range(chance: random.Random) -> Range:
    first, second = chance.choice(ENDS), chance.choice(ENDS)
    if chance.random() < 0.3:
        second = max(INT_MIN, min(first + chance.randrange(-9, 70), INT_MAX))
    return min(first, second), max(first, second)


def chosen_from(within: Range, chance: random.Random) -> int:
    low, high = within
    near_zero = [value for value in range(-3, 4) if low <= value <= high]
    return chance.choice([low, high, chance.randint(low, high), *near_zero])


def operands(kinds: tuple[Kind | None, ...], chance: random.Random) -> tuple[list[Range], list[Any]]:
    """Ranges, and values within them; a bool has no range."""
    ranges = [chosen_range(chance) for _ in kinds]
    return ranges, [_value(kind, within, chance) for kind, within in zip(kinds, ranges, strict=True)]


def _value(kind: Kind | None, within: Range, chance: random.Random) -> Any:
    match kind:
        case Kind.BOOL:
            return chance.random() < 0.5
        case Kind.OBJECT:
            return (None,) * chance.randrange(9)
        case _:
            return chosen_from(within, chance)


def failures(name: str, rules: Rules) -> Iterator[str]:
    """Where a rule is wrong."""
    row, chance = TABLE[name], random.Random(name)
    for _ in range(ROUNDS):
        ranges, values = operands(row.params, chance)
        try:
            result = row.meaning(*values)
        except Leaves:
            continue
        low, high = rules[name](*ranges)
        # A wrapping op whose range does not fit has no range: that is what `ranges` makes of it.
        if name.endswith("_wrap") and not INT_MIN <= low <= high <= INT_MAX:
            low, high = FULL
        if not low <= result <= high:
            yield f"{name}: {values} in {ranges} gives {result}, not in {(low, high)}"


@pytest.mark.parametrize("name", RULES)
def test_a_rule_holds(name: str) -> None:
    assert next(failures(name, RULES), None) is None


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_something(name: str) -> None:
    """For some ranges it gives less than any int."""
    chance = random.Random(1)
    kinds = TABLE[name].params
    given = [RULES[name](*operands(kinds, chance)[0]) for _ in range(200)]
    assert any(low > INT_MIN or high < INT_MAX for low, high in given)


MUTANTS = {
    "a difference of the same ends": ("return a[0] - b[1], a[1] - b[0]", "return a[0] - b[0], a[1] - b[1]"),
    "a product of two ends": ("a[0] * b[1], a[1] * b[0], ", ""),
    "a magnitude that is never zero": ("(0, size) if", "(1, size) if"),
    "shifts by the least count": ("(1 << b[0], 1 << b[1])", "(1, 1 << b[0])"),
    "a right shift of positive numbers": ("a[0] >> least, a[0] >> most, ", "a[0] >> most, "),
    "a mask that may be negative": ("for low, high in (a, b) if low >= 0", "for low, high in (a, b) if high >= 0"),
    "bits of the smaller": ("max(a[1], b[1]).bit_length()", "min(a[1], b[1]).bit_length()"),
    "or as exclusive or": ("return max(a[0], b[0]), _ones(a, b)", "return a[0] + b[0], _ones(a, b)"),
    "divisors of any sign": ("    if b[0] < 0:\n        size", "    if b[1] < 0:\n        size"),
    "quotients as positive as the dividend": ("return -size, size", "return min(a[0], 0), max(a[1], 0)"),
    "the largest divisor only": ("least, most = max(b[0], 1), max(b[1], 1)", "least = most = max(b[1], 1)"),
    "a divisor as large as it can be": ("-a[0], a[1], -b[0], b[1])", "a[1], b[1])"),
    "powers of a positive base": ("if a[0] >= 0 else FULL", "if a[1] >= 0 else FULL"),
    "a rest up to the divisor": ("return min(b[0] + 1, 0), max(b[1] - 1, 0)", "return 0, max(b[1] - 1, 0)"),
    "a rest below the dividend": ("if a[0] >= 0 else b[1] - 1", "if a[1] >= 0 else b[1] - 1"),
}


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str) -> None:
    old, new = MUTANTS[bug]
    source = inspect.getsource(range_rules)
    assert source.count(old) == 1, f"the mutant has lost its place: {old}"
    mutant = types.ModuleType("range_rules_mutant")
    exec(compile(source.replace(old, new), mutant.__name__, "exec"), vars(mutant))
    rules: Rules = vars(mutant)["RULES"]
    assert any(next(failures(name, rules), None) for name in rules)
