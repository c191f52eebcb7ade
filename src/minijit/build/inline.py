"""Inlining: the body of a Python function in the place of its call.

Wherever an inlined function is left, the interpreter does the statement of the region's own frame again, calls and all:
nothing that compiled code does has an effect before a region is left. So the interpreter makes the frames of the
functions itself, and there is no other way in which they come about.

Functions with loops are not inlined: a signal would have them done again from their beginning.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from minijit.build.request import has_plain_keys, namespaces_of
from minijit.ir import codeflags
from minijit.ir.region import Const, Hole, Slot

if TYPE_CHECKING:
    from minijit.build.builder import Builder

DEEPEST = 8
"""How many inlined calls there may be within each other."""
_UNSUITABLE = codeflags.VARARGS | codeflags.VARKEYWORDS | codeflags.SUSPENDING


def inline(b: Builder, function: FunctionType, arguments: list[Slot], keywords: tuple[str, ...], next: int) -> None:
    """Goes on in the body of a function that is called, or leaves where that cannot be."""
    code = function.__code__
    slots = _bound(function, arguments, keywords) if _can_be_inlined(b, function) else None
    if slots is None or b.is_full:
        b.unsupported(f"CALL {function.__qualname__}")
        return
    slots += [Hole.UNBOUND] * (len(b.decoded(code).slot_names) - len(slots))
    b.call_into(b.scope_of(function), slots, next)


def _can_be_inlined(b: Builder, function: FunctionType) -> bool:
    code = function.__code__
    if not code.co_flags & codeflags.OPTIMIZED or code.co_flags & _UNSUITABLE or code.co_cellvars or code.co_freevars:
        return False
    around = [caller.scope.code.code for caller in b.state.callers] + [b.code.code]
    if code in around or len(around) > DEEPEST or not b.request.inlines(function):
        return False
    if len(code.co_code) // 2 > b.request.max_inlined or b.decoded(code).loops:
        return False
    return all(type(each) is dict and has_plain_keys(each) for each in namespaces_of(function))


def _bound(function: FunctionType, arguments: list[Slot], keywords: tuple[str, ...]) -> list[Slot] | None:
    """The parameters' slots, in their order; None if the call would raise, or takes defaults of a dict, of which nobody
    says when they change."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = len(arguments) - len(keywords)
    if positional > code.co_argcount:
        return None
    given: dict[str, Slot] = dict(zip(names, arguments[:positional], strict=False))
    for name, slot in zip(keywords, arguments[positional:], strict=True):
        if name in given or name not in names[code.co_posonlyargcount :]:
            return None
        given[name] = slot
    defaults = function.__defaults__ or ()
    for name, value in zip(names[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True):
        given.setdefault(name, Const(value))
    return [given[name] for name in names] if len(given) == len(names) else None
