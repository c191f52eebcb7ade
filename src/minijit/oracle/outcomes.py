"""When two outcomes of a call are the same, and how they are told to people.

An outcome is a value, or the exception that was raised. In: outcomes of calls that can be done twice (`repeatable`).
Out: whether nothing tells them apart (exact types; the bits of floats, but for those of a nan, of which either of two
may come out; for exceptions the type, the arguments and the lines), and text from which a value can be made again.

An exception may have come from outside, from a signal handler, say: those are not compared (`is_from`).
"""

from __future__ import annotations

import math
import struct
import traceback
from typing import TYPE_CHECKING

from minijit.events import described
from minijit.oracle.repeatable import EXCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Container

WIDEST = 2000
"""Bits of an int that is written in decimal; the interpreter refuses to do it with very large ones."""
LONGEST = 2000
"""Characters of a value that are shown."""


def is_from(codes: Container[object], outcome: object) -> bool:
    """Whether it is what a call itself came to, in which no other code runs: a value, or an exception that was raised
    in a frame of these."""
    if not isinstance(outcome, BaseException):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(outcome.__traceback__)]
    return type(outcome) in EXCEPTIONS and bool(frames) and all(frame.f_code in codes for frame in frames)


def are_same(first: object, second: object) -> bool:
    """Whether nothing tells the outcomes apart."""
    return _form(first) == _form(second)


def _form(value: object) -> object:
    """Equal for what is the same."""
    match value:
        case float():
            return (type(value), "nan" if math.isnan(value) else struct.pack("<d", value))
        case complex():
            return (type(value), _form(value.real), _form(value.imag))
        case int() | str() | bytes() | None:
            return (type(value), value)
        case tuple():
            return (type(value), *map(_form, value))
        case range():
            return (type(value), value.start, value.stop, value.step)
        case BaseException():
            return (type(value), _lines(value), *map(_form, value.args))
    return (type(value), id(value))


def _lines(exception: BaseException) -> tuple[int, ...]:
    return tuple(line for _, line in traceback.walk_tb(exception.__traceback__))


def told(outcome: object) -> str:
    """The outcome in words."""
    if isinstance(outcome, BaseException):
        return f"raised {written(outcome)} at line {', '.join(map(str, _lines(outcome)))}"
    return f"{written(outcome)} ({type(outcome).__name__})"


def written(value: object) -> str:
    """A value as an expression, if it is not too long."""
    text = _written(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def _written(value: object) -> str:
    if type(value) is int and value.bit_length() > WIDEST:
        return hex(value)
    if type(value) is tuple:
        return f"({', '.join(map(_written, value))}{',' * (len(value) == 1)})"
    return described(value)
