"""What stands in the slots of a live frame, as the entry kinds of a root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.words import MAX_BOUND
from minijit.cpython import frames
from minijit.ir.bytecode import SUSPENDING_FLAGS
from minijit.ir.region import INT_MAX, INT_MIN, SMALL, EntryKind

if TYPE_CHECKING:
    from minijit.cpython.frames import Frame
    from minijit.ir.bytecode import Code

CO_VARARGS, CO_VARKEYWORDS = 0x4, 0x8
UNSUITABLE_FLAGS = CO_VARARGS | CO_VARKEYWORDS | SUSPENDING_FLAGS

_KINDS = {
    "": EntryKind.UNBOUND,
    "float": EntryKind.FLOAT,
    "bool": EntryKind.BOOL,
    "NoneType": EntryKind.NONE,
    "range_iterator": EntryKind.RANGE_ITERATOR,
}
_TOUCHES = {"LOAD_FAST", "LOAD_FAST_CHECK", "STORE_FAST", "DELETE_FAST", "LOAD_FAST_AND_CLEAR"}


def can_enter_by_call(code: Code) -> bool:
    """Whether the function is of a sort whose start can be a root."""
    flags = code.code.co_flags
    cells = code.code.co_cellvars or code.code.co_freevars
    return not flags & UNSUITABLE_FLAGS and not cells and parameter_count(code) <= MAX_BOUND


def parameter_count(code: Code) -> int:
    """How many parameters there are, keyword-only ones included."""
    return code.code.co_argcount + code.code.co_kwonlyargcount


def _int_kind(value: int) -> EntryKind:
    if -SMALL < value < SMALL:
        return EntryKind.SMALL_INT
    return EntryKind.INT if INT_MIN <= value <= INT_MAX else EntryKind.OBJECT


def _kind(object: int) -> EntryKind:
    name = frames.type_name(object)
    if name == "int":
        return _int_kind(frames.int_value(object))
    if name == "range_iterator" and not frames.is_unshared(object):
        return EntryKind.OBJECT
    return _KINDS.get(name, EntryKind.OBJECT)


def call_kinds(code: Code, frame: Frame) -> tuple[EntryKind, ...] | None:
    """The kinds of a function's arguments, at its start; None if its start cannot be a root."""
    if not can_enter_by_call(code):
        return None
    kinds = (_kind(frame.slot(index)) for index in range(parameter_count(code)))
    # An argument is never an iterator that the frame alone holds: the caller has it too.
    return tuple(EntryKind.OBJECT if kind is EntryKind.RANGE_ITERATOR else kind for kind in kinds)


def loop_kinds(code: Code, header: int, frame: Frame) -> tuple[EntryKind, ...] | None:
    """The kinds of all slots at a loop header, in a JUMP callback.

    Locals that the loop does not touch are not looked at. None for code that suspends: its frame is not on the stack.
    """
    if code.code.co_flags & SUSPENDING_FLAGS:
        return None
    body = code.loops[header].body
    instructions = (code.instructions[offset] for offset in body)
    touched = {i.arg for i in instructions if i.name in _TOUCHES}
    names = len(code.code.co_varnames)
    kinds = []
    for index in range(frame.stacktop):
        on_stack = index >= code.locals_count
        in_use = on_stack or (index in touched and index < names)
        kind = _kind(frame.slot(index)) if in_use else EntryKind.OBJECT
        # A variable's iterator would have two names as soon as a loop takes it.
        as_object = EntryKind.UNBOUND if on_stack else EntryKind.RANGE_ITERATOR
        kinds.append(EntryKind.OBJECT if kind is as_object else kind)
    return tuple(kinds)
