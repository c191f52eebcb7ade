"""Bugs planted in minijit's source as it is imported: a module is compiled from a text in which one place is another.

In: a mutant, by its name in the catalogue, before anything of minijit is imported. Out: a process in which minijit has
that bug, whatever the place is part of: Python code, the text of a stub, a table. Nothing on disk changes, and no
compiled file is read or written.

    python mutation.py MUTANT FILE      runs a file in such a process
"""

from __future__ import annotations

import runpy
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import TYPE_CHECKING

from catalogue import CATALOGUE, STAGES, Mutant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType


class LostPlace(Exception):
    """The text of a mutant does not stand in its module exactly once."""


def mutated(mutant: Mutant, source: str) -> str:
    """The module's text with the bug."""
    if source.count(mutant.old) != 1:
        raise LostPlace(f"{mutant.name}: {mutant.module} has its text {source.count(mutant.old)} times")
    return source.replace(mutant.old, mutant.new)


class _Loader(SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname)
        assert source is not None
        return compile(mutated(self.mutant, source), self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != f"minijit.{self.mutant.module}":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.mutant = self.mutant
        spec.loader = loader
        return spec


def plant(name: str) -> None:
    """This process has the bug of that name from here on."""
    mutant = (CATALOGUE | STAGES)[name]
    assert f"minijit.{mutant.module}" not in sys.modules, "too late: it is imported"
    sys.meta_path.insert(0, _Finder(mutant))


if __name__ == "__main__":
    name, *sys.argv = sys.argv[1:]
    plant(name)
    runpy.run_path(sys.argv[0], run_name="__main__")
