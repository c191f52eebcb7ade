"""Inlining: the body of a Python function in the place of its call.

Wherever an inlined function is left, the interpreter makes the call again, and whatever of the statement came before
it: nothing that compiled code does has an effect before a region is left. So the interpreter makes the frames of the
functions itself, and there is no other way in which they come about.

Functions with loops are not inlined: a signal would have them done again from their beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build.request import is_plain_namespace, namespaces_of
from minijit.ir.region import Const, Hole, Slot

if TYPE_CHECKING:
    from types import FunctionType

    from minijit.build.builder import Builder
    from minijit.build.request import Inlined

DEEPEST = 8
"""How many inlined calls there may be within each other."""


def inline(b: Builder, function: FunctionType, arguments: list[Slot], keywords: tuple[str, ...], next: int) -> None:
    """Goes on in the body of a function that is called, or leaves where that cannot be."""
    found = b.as_it_is(function)
    slots = _bound(found, arguments, keywords) if _can_be_inlined(b, found) else None
    if slots is None or b.is_full:
        b.unsupported(f"CALL {function.__qualname__}")
        return
    slots += [Hole.UNBOUND] * (b.decoded(found.code).locals_count - len(slots))
    b.call_into(b.rely_on(found), slots, next)


def _can_be_inlined(b: Builder, function: Inlined) -> bool:
    code = b.decoded(function.code)
    around = [caller.scope.code.code for caller in b.state.callers] + [b.code.code]
    if not code.is_plain or function.code in around or len(around) > DEEPEST:
        return False
    if len(function.code.co_code) // 2 > b.request.max_inlined or code.loops:
        return False
    are_plain = all(map(is_plain_namespace, namespaces_of(function.function)))
    return are_plain and b.request.inlines(function.function)


def _bound(function: Inlined, arguments: list[Slot], keywords: tuple[str, ...]) -> list[Slot] | None:
    """The parameters' slots, in their order; None if the call would raise, or takes a default of a keyword-only
    parameter: these stand in a dict, of whose changes nobody tells."""
    code = function.code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = len(arguments) - len(keywords)
    if positional > code.co_argcount:
        return None
    given: dict[str, Slot] = dict(zip(names, arguments[:positional], strict=False))
    for name, slot in zip(keywords, arguments[positional:], strict=True):
        if name in given or name not in names[code.co_posonlyargcount :]:
            return None
        given[name] = slot
    defaults = (function.defaults or ())[-code.co_argcount :] if code.co_argcount else ()
    for name, value in zip(names[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True):
        given.setdefault(name, Const(value))
    return [given[name] for name in names] if len(given) == len(names) else None
