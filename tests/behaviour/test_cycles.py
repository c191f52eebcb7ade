"""Functions that are compiled and killed again and again leave nothing behind.

In: the program `cycles`, run here for a while and, when asked for, for a hundred thousand cycles; and the same with
leaks planted in what frees things. Out: that its figures stay, and that they do not stay where something leaks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cycles
import pytest
from isolated import isolated

import minijit
from minijit.backend.engine import Code
from minijit.backend.snapshots import Records
from minijit.driver.state import RootState

if TYPE_CHECKING:
    from collections.abc import Callable

WARM, COUNT = 600, 300
"""Cycles before the first figures, and after them."""


@isolated
def test_cycles() -> None:
    """Memory, machine code, maps, objects and references are what they were."""
    assert cycles.run(COUNT, WARM) == []


@pytest.mark.slow
def test_a_hundred_thousand_cycles(run_python: Any) -> None:
    """The same for long; the figures are printed."""
    done = run_python(Path(cycles.__file__), 100_000, timeout=1700)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def machine_code(_kept: list[object]) -> None:
    """Regions are not freed."""
    Code.close = lambda self: None  # type: ignore[method-assign]


def records(kept: list[object]) -> None:
    """Records are not freed."""
    Records.close = lambda self: kept.append(self.memory)  # type: ignore[method-assign]


def roots(kept: list[object]) -> None:
    """What is known of a function outlives it."""

    def close(self: RootState) -> None:
        kept.append(self)

    RootState.close = close  # type: ignore[method-assign]


def references(kept: list[object]) -> None:
    """Each event costs a reference to what compiled code relied on."""
    minijit.subscribe(lambda _event: kept.append(cycles.G))


LEAKS: dict[str, Callable[[list[object]], None]] = {
    "code_bytes": machine_code,
    "blocks": records,
    "objects": roots,
    "references": references,
}


@isolated
def test_leaks_are_seen() -> None:
    """The figures that should show a planted leak do show it."""
    for figure, plant in LEAKS.items():
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0, figure
            continue
        plant([])
        found = cycles.run(150, 100)
        print(figure, found)
        sys.stdout.flush()
        os._exit(not any(text.startswith(figure) for text in found))
