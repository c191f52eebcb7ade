"""Passes with planted bugs: a test that a property holds must notice when it does not.

In: the module of a pass, and one place in its source with what stands there instead. Out: the pass of that other
module, which lives as long as the test does.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable

import pytest

from minijit.ir.region import Region

type Pass = Callable[[Region], Region]


def planted(
    module: types.ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch, name: str | None = None
) -> Pass:
    """The pass of a module, which has the module's name, or another function of it, with a bug in it."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"the mutant has lost its place in {module.__name__}: {old}"
    mutant = types.ModuleType(f"{module.__name__}_mutant")
    monkeypatch.setitem(sys.modules, mutant.__name__, mutant)
    exec(compile(source.replace(old, new), mutant.__name__, "exec"), vars(mutant))
    made: Pass = vars(mutant)[name or module.__name__.rpartition(".")[2]]
    return made
