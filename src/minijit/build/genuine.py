"""Modules of C functions as the interpreter made them.

minijit may be loaded at any moment, in a program that has put something of its own in the place of a function (a test's
mock, say). What is compiled for `math.sqrt` is compiled for that one function, so the tables must not be made with
another: where there is one, they have an object that nobody calls.
"""

from __future__ import annotations

from types import BuiltinFunctionType, ModuleType
from typing import Any


class Genuine:
    """The functions of a module."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = vars(self._module).get(name)
        is_it = type(found) is BuiltinFunctionType and found.__name__ == name and found.__self__ is self._module
        return found if is_it else object()
