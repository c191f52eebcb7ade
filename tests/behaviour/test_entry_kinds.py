"""Entry kinds: a region is made for the ints at hand, and what is larger or negative must not get into it.

In: functions whose checks and divisions the passes weaken where ints are short, not negative or small, and loops that
are entered while they run. Each is made hot with one sort of int and called with all others: at the ends of all kinds,
with bools, and in turn. Out: what the plain twin gives, and no more versions than one for each type and sort.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from isolated import isolated
from twin import LOW, Differs, Patient, Twins, enabled, together

import minijit
from minijit.backend import inputs
from minijit.driver import api

POWERS = (31, 32, 61, 62, 63, 64)
BORDERS = (
    *(0, 1, -1, 2, 7, -7, True, False, 10**6),
    *(sign * 2**power + step for power in POWERS for sign in (1, -1) for step in (-1, 0, 1)),
)
"""Where the kinds end, and what is no int or none that fits."""


def product(a: int, b: int) -> int:
    return a * b


def shifted_digits(a: int, b: int) -> tuple[int, int]:
    return a // 10 + b % 7, a % 10


def mean(a: int, b: int) -> int:
    return (a + b) // 2


def quotient(a: int, b: int) -> int:
    return a // b if b else -1


def rest(a: int, b: int) -> int:
    return a % b if b else -1


def mixed(a: int, b: int) -> int:
    return (a * a - b * b) // 3 + (a >> 3) * (b & 15)


def gcd(a: int, b: int) -> int:
    rounds = 0
    while b and rounds < 200:
        a, b = b, a % b
        rounds += 1
    return a


def power(a: int, b: int) -> int:
    result = 1
    while b > 0:
        if b & 1:
            result = result * a % 998244353
        a = a * a % 998244353
        b >>= 1
    return result


def squares(a: int, b: int) -> int:
    total = 0
    for i in range(a, a + 3):
        total += i * i - i // 3
    return total + b % 3


def downwards(a: int, b: int) -> int:
    total = 0
    for i in range(a, a - 3, -1):
        total ^= i * i + i % 5
    return total * b


def by_sevens(a: int, b: int) -> int:
    total = 0
    for i in range(a, a + 30, 7):
        total += i % 11
    return total - b


def newton(a: int, b: int) -> int:
    x, y = a, (a + 1) // 2
    while y < x and y > 0 and b > 0:
        x, y = y, (y + a // y) // 2
        b -= 1
    return x


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(product, shifted_digits, mean, quotient, rest, mixed, gcd, power),
    *(squares, downwards, by_sevens, newton),
)


def at_the_borders(function: Callable[..., Any], ordinary: tuple[int, int]) -> None:
    twins = Twins(function, Patient(LOW))
    twins.times(10, *ordinary)
    twins.require_compiled()
    for arguments in itertools.product(BORDERS, BORDERS[::3]):
        twins(*arguments)
        twins(*arguments[::-1])


@isolated(timeout=400)
def test_short_ints_first() -> None:
    with enabled():
        together(lambda f=function: at_the_borders(f, (40, 9)) for function in FUNCTIONS)


@isolated(timeout=400)
def test_natural_ints_first() -> None:
    with enabled():
        together(lambda f=function: at_the_borders(f, (2**40, 2**33)) for function in FUNCTIONS)


@isolated(timeout=400)
def test_negative_ints_first() -> None:
    with enabled():
        together(lambda f=function: at_the_borders(f, (-40, -9)) for function in FUNCTIONS)


# Loops that are entered while they run


def summed(start: int, stop: int, step: int) -> tuple[int, int]:
    total = last = 0
    for i in range(start, stop, step):
        total += i * i - i // 7 + i % 3
        last = i
    return total, last


def nested(start: int, stop: int, step: int) -> tuple[int, int]:
    total = 0
    i = j = start
    for i in range(start, stop, step):
        for j in range(i, i + 5 * step, step):
            total ^= i * j
    return total, i - j


def while_up(start: int, stop: int, step: int) -> int:
    total, i = 0, start
    while (i < stop) if step > 0 else (i > stop):
        total += i * 3 // 2 - i % 5
        i += step
    return total


RANGES = (
    *((0, 40, 1), (40, -1, -1), (-20, 20, 1), (20, -20, -1), (0, 90, 3), (90, -1, -3), (5, 5, 1)),
    *((2**31 - 20, 2**31, 1), (2**31 - 20, 2**31 + 20, 1), (2**31 - 1, 2**31 - 30, -1), (2**31, 2**31 - 30, -1)),
    *((2**62 - 20, 2**62 + 20, 1), (2**63 - 30, 2**63 - 1, 1), (2**63 - 30, 2**63 + 5, 1)),
    *((-(2**63) + 30, -(2**63), -1), (-(2**63) + 30, -(2**63) - 3, -1), (2**63 - 90, 2**63 - 1, 7), (True, 40, 1)),
)


def all_ranges(function: Callable[..., Any], first: tuple[int, int, int]) -> None:
    twins = Twins(function, Patient(LOW))
    twins.times(10, *first)
    twins.require_compiled()
    for arguments in (*RANGES, *RANGES[::-1]):
        twins.times(4, *arguments)


@isolated(timeout=400)
def test_running_loops() -> None:
    with enabled(ONLY_LOOPS):
        together(
            lambda f=function, r=first: all_ranges(f, r)
            for function in (summed, nested, while_up)
            for first in RANGES[:6]
        )


@isolated(timeout=400)
def test_loops_from_their_functions() -> None:
    with enabled():
        together(lambda f=function: all_ranges(f, RANGES[0]) for function in (summed, nested, while_up))


ONLY_LOOPS = minijit.Config(
    call_threshold=10**6, loop_threshold=10, exit_threshold=5, miss_threshold=3, check=True, compile_seconds=1e6
)


# Entries that let in too much


def is_noticed(check: Callable[..., None], *arguments: Any) -> bool:
    try:
        check(*arguments)
    except Differs:
        return True
    return False


@isolated(timeout=400)
def test_planted_bug_is_noticed() -> None:
    """Entries that take any int for one of the kind, or any iterator."""
    with patch.object(inputs, "_within", lambda _e, _value, _ends: "true"), enabled():
        assert is_noticed(at_the_borders, product, (40, 9))
        assert is_noticed(at_the_borders, shifted_digits, (40, 9))
        assert is_noticed(at_the_borders, mean, (2**40, 2**33))
    with patch.object(inputs, "_within", lambda _e, _value, _ends: "true"), enabled(ONLY_LOOPS):
        assert is_noticed(all_ranges, summed, RANGES[0])


# How many versions


def compilations(function: Callable[..., Any]) -> int:
    return minijit.stats(function).compilations


def versions(function: Callable[..., Any]) -> list[int]:
    """How many versions each root of the function has."""
    driver = api._process.driver
    assert driver is not None
    state = driver.registry.functions[id(function)]
    return [len(root.versions) for root in state.roots]


@isolated(timeout=400)
def test_one_version_more_for_ints_of_all_sorts() -> None:
    """However calls alternate: one for the ints that came first, one for small ones, one for any; and no end of
    compilations."""
    with enabled():
        for function in FUNCTIONS:
            twins = Twins(function, Patient(LOW))
            sorts = list(itertools.product((5, 2**33, -5, 2**62), repeat=2))
            for _ in range(30):
                for arguments in sorts:
                    twins(*arguments)
            before = compilations(twins.function)
            for _ in range(30):
                for arguments in sorts:
                    twins(*arguments)
            assert compilations(twins.function) == before, minijit.explain(twins.function)
            assert max(versions(twins.function)) <= MOST, minijit.explain(twins.function)


MOST = 3


@isolated(timeout=400)
def test_ints_that_are_refused() -> None:
    """Where negative ints raise, and so cannot be recorded, the code for the others stays."""
    with enabled():
        twins = Twins(refusing, Patient(LOW))
        twins.times(10, 9, 4)
        for _ in range(60):
            twins.times(5, -9, 4)
            twins(9, 4)
        assert max(versions(twins.function)) == 2, minijit.explain(twins.function)


def refusing(a: int, b: int) -> int:
    c = a // b
    if c < 0:
        raise ValueError(a)
    return c + a % 7


@isolated(timeout=400)
def test_what_needs_nothing_takes_all() -> None:
    """Where no pass made anything of the kinds there is one version, whatever comes."""
    with enabled():
        twins = Twins(bits, Patient(LOW))
        twins.times(10, 3, 4)
        for value in (5, -5, 2**40, 2**61, -(2**62)):
            twins.times(20, value, 1)
        assert max(versions(twins.function)) == 1, minijit.explain(twins.function)


def bits(a: int, b: int) -> int:
    return a ^ b & 255
