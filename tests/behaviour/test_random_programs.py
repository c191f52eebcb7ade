"""Whole modules of random functions (`strategies.programs`): interpreted and compiled they do the same.

Compared is what they log, in its order: values with exact type and bits, exceptions with message, lines and
instructions; and the references to a probe that was handed through. Each program runs under one of three policies: the
default, one that compiles all branches at once and never gives up, and one that makes bridges as long as it may.

A planted bug must be found by so many programs.
"""

from __future__ import annotations

import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from isolated import isolated
from twin import LOW, Bridging, Patient, enabled, exact, trace_of

import minijit
from minijit.backend.lower_ops import LOWER

sys.path.insert(0, str(Path(__file__).parents[1]))
from strategies.programs import program

SECONDS = 3
"""What an interpreted program may take: of the few that need longer nothing is learnt."""
POLICIES: tuple[Callable[[], minijit.Policy | None], ...] = (
    lambda: None,
    lambda: Patient(LOW),
    lambda: Bridging(LOW),
)


class TooLong(BaseException):
    """The time is up."""


def stop(*_: object) -> None:
    raise TooLong


def run(text: str, decorate: Any) -> tuple[list[object], int]:
    """What a program logs, and how many references to its probe there are in the end."""
    logged: list[object] = []

    def log(*values: object) -> None:
        for value in values:
            is_error = isinstance(value, BaseException)
            logged.append((type(value), str(value), trace_of(value)) if is_error else exact(value))

    probe = object()
    scope: dict[str, Any] = {"jit": decorate, "log": log, "probe": probe}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant where a variable might stand
        exec(compile(text, "<program>", "exec"), scope)
    scope["main"]()
    return logged, sys.getrefcount(probe)


def difference(seed: int) -> str:
    """How the two runs of a program differ; nothing if they do not, or if the program takes too long."""
    text = program(random.Random(seed))
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        wanted, references = run(text, lambda function: function)
    except TooLong:
        return ""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    found, references_too = run(text, minijit.jit(policy=POLICIES[seed % len(POLICIES)]()))
    if references != references_too:
        return f"seed {seed}: {references_too} references instead of {references}\n{text}"
    for index, (one, other) in enumerate(zip(wanted, found, strict=False)):
        if one != other:
            return f"seed {seed}: the value logged at {index} is {other} instead of {one}\n{text}"
    return "" if len(wanted) == len(found) else f"seed {seed}: {len(found)} values instead of {len(wanted)}\n{text}"


def differences(seeds: Iterable[int]) -> tuple[list[str], minijit.Stats]:
    with enabled():
        found = [found for seed in seeds if (found := difference(seed))]
        return found, minijit.stats()


@isolated
def test_compiled_programs_do_what_interpreted_ones_do() -> None:
    found, counters = differences(range(150))
    assert not found, "\n".join(found)
    assert counters.compilations > 150, counters
    assert counters.entries > 5000, counters


@pytest.mark.slow
@isolated(timeout=1700)
def test_many_programs() -> None:
    found, _ = differences(range(1000, 8000))
    assert not found, "\n".join(found)


@isolated
def test_a_planted_bug_is_found() -> None:
    """Products that wrap. (It takes some 40 programs.)"""
    checked = LOWER["int_mul"]
    LOWER["int_mul"] = LOWER["int_mul_wrap"]
    try:
        found, _ = differences(range(150))
    finally:
        LOWER["int_mul"] = checked
    assert found
