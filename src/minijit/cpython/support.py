"""Whether minijit can work in this interpreter, asked in an order in which nothing fails on the way to the answer.

In: nothing. Out: the interpreter's addresses, or why not. The platform and the version are looked at first and without
`ctypes`, which may be missing, or lack what it has elsewhere, on just those interpreters that are refused; only then
`abi` is loaded, which compares layouts.
"""

from __future__ import annotations

import builtins
import enum
import platform
import sys
from dataclasses import dataclass
from functools import cache
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minijit.cpython.abi import Interpreter


class UnsupportedReason(enum.Enum):
    """Why minijit cannot work here, as a sentence."""

    IMPLEMENTATION = "it needs CPython"
    VERSION = "it needs Python 3.12"
    MACHINE = "it makes machine code for x86-64 Linux only"
    REPLACED = "the program had replaced a builtin before it imported minijit:"
    LIBRARY = "this interpreter cannot load what it needs:"
    LAYOUT = "the interpreter's structures are not laid out as expected:"
    TRAMPOLINE = "the interpreter has functions of its own between frames, for `perf` (-X perf)"
    SUBINTERPRETER = "it works in the main interpreter only"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Unsupported:
    """minijit cannot work here."""

    reason: UnsupportedReason
    detail: str = ""

    @property
    def sentence(self) -> str:
        """The reason and its detail, for the user."""
        return f"{self.reason.value} {self.detail}".strip()


_NEEDED = (
    "abs all any bool bytearray bytes callable complex dict divmod enumerate filter float frozenset getattr hasattr"
    " hash id int isinstance issubclass iter len list map max min next object pow property range repr reversed round"
    " set setattr slice sorted str sum super tuple type vars zip"
).split()
"""Builtins that our own code calls, or compiles calls of."""


def _is_genuine(name: str) -> bool:
    """Whether a builtin of ours, which is as it was when minijit was imported, is what the interpreter has made."""
    ours: Any = __builtins__  # the module where minijit was not loaded from its files
    found = vars(ours).get(name) if ours is builtins else ours.get(name)
    if type(found) is BuiltinFunctionType:
        return found.__name__ == name and found.__module__ == "builtins"
    return type(found) is type and found.__name__ == name and found.__module__ == "builtins"


@cache
def find() -> Interpreter | Unsupported:
    """The interpreter's addresses, or why minijit cannot work here."""
    refusal = wrong_platform()
    if refusal is not None:
        return refusal
    replaced = [name for name in _NEEDED if not _is_genuine(name)]
    if replaced:
        return Unsupported(UnsupportedReason.REPLACED, ", ".join(replaced))
    if sys.is_stack_trampoline_active():
        return Unsupported(UnsupportedReason.TRAMPOLINE)
    try:
        from minijit.cpython import abi

        return abi.supported()
    except ImportError as error:
        if error.name is not None and error.name.startswith("minijit"):
            raise
        return Unsupported(UnsupportedReason.LIBRARY, str(error))
    except (OSError, LookupError) as error:
        return Unsupported(UnsupportedReason.LIBRARY, str(error))


def wrong_platform() -> Unsupported | None:
    """What is wrong with the platform or the version."""
    if platform.python_implementation() != "CPython":
        return Unsupported(UnsupportedReason.IMPLEMENTATION)
    if sys.version_info[:2] != (3, 12):
        return Unsupported(UnsupportedReason.VERSION, f"this is {platform.python_version()}")
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return Unsupported(UnsupportedReason.MACHINE)
    return None
