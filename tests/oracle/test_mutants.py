"""The oracle's own test: every bug of the catalogue makes one of the random programs differ."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from catalogue import CATALOGUE, STAGES, Mutant
from mutants import first_found
from mutation import mutated


@pytest.mark.parametrize("mutant", [*CATALOGUE.values(), *STAGES.values()], ids=lambda mutant: mutant.name)
def test_a_mutant_stands_where_it_should(mutant: Mutant) -> None:
    found = importlib.util.find_spec(f"minijit.{mutant.module}")
    assert found is not None
    assert found.origin is not None
    text = mutated(mutant, Path(found.origin).read_text())
    assert text != Path(found.origin).read_text()
    compile(text, mutant.name, "exec")


LATE = ("ranges-do-not-join", "left-loop-early", "boxes-kept", "iterator-not-written-back", "range-never-ends")
"""Those that take half a minute and more: hundreds of programs, or one that does not end. `make stress` tries them."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LATE)) for n in CATALOGUE])
def test_a_mutant_is_found(name: str) -> None:
    assert first_found(name) is not None, CATALOGUE[name].what
