"""Exceptions that compiled code catches itself: what is raised goes on in the handler that the interpreter would find.

The handler may be that of an inlined function's caller, too. It is compiled as soon as recordings have seen it at work;
until then, and where there is none, the region is left before anything is raised, and the interpreter raises.

No exception is made: it is *moot* (`Moot`), as are the texts that it is made of. As long as a frame has anything that
is, whatever the code does may have to be done again, by the interpreter, from the beginning of the statement that
raised; as in an inlined call. So nobody ever gets to see what was not made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from minijit.build.handlers import Handlers
from minijit.build.state import tuple_items
from minijit.events import ExitReason
from minijit.ir.kinds import Kind, is_program_made
from minijit.ir.region import Const, Hole, Moot, Value

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Handler, Instruction
    from minijit.ir.region import Slot

HANDLERS = Handlers()
handles = HANDLERS.handles

_PLAIN = (
    *(BaseException, Exception, ArithmeticError, AssertionError, BufferError, EOFError, FloatingPointError),
    *(IndexError, KeyError, KeyboardInterrupt, LookupError, NotImplementedError, OverflowError, RecursionError),
    *(ReferenceError, RuntimeError, StopIteration, SystemExit, TypeError, ValueError, ZeroDivisionError, object),
)
"""The builtin exceptions that can be made of whatever arguments there are, and what they are derived from."""
_TOLD = ("__init__", "__new__", "__del__")
"""The methods of a class that are called when an exception is made, and when it ends."""


# Raising


class Catcher(NamedTuple):
    """What catches an exception: the frame, as it is then, and its handler. One that is not known is not compiled."""

    frame: State
    handler: Handler
    is_known: bool


def is_caught(b: Builder) -> bool:
    """Whether what the instruction at hand raises is compiled on."""
    found = _catcher(b)
    return found is not None and found.is_known


def reason(b: Builder, usual: ExitReason) -> ExitReason:
    """Why the region is left where the instruction at hand raises: if it is caught, that may be compiled some day."""
    return _reason(_catcher(b), usual)


def _reason(found: Catcher | None, usual: ExitReason) -> ExitReason:
    return usual if found is None or found.is_known else ExitReason.RAISED


def raise_unless(b: Builder, condition: Value, error: type[BaseException], usual: ExitReason) -> None:
    """Raises an exception unless a condition holds, and goes on if it does. `usual` is why the region is left where
    nobody catches it."""
    found = _catcher(b)
    if found is None or not found.is_known:
        b.effect("guard_true", condition, reason=_reason(found, usual))
        return
    good, bad = b.split(condition)
    _enter(b, bad, found, Moot(Const(error)))
    b.resume(good)


def _raise(b: Builder, i: Instruction, raised: Moot) -> None:
    """Raises; if nobody catches it, the interpreter does."""
    found = _catcher(b)
    if found is None or not found.is_known:
        b.unsupported(f"{i.name} {raised.cls.value.__name__}", _reason(found, ExitReason.UNSUPPORTED))  # type: ignore[attr-defined]
        return
    _enter(b, b.here, found, raised)
    b.postpone()


def _catcher(b: Builder) -> Catcher | None:
    """What catches the exceptions of the instruction at hand; None if nothing in the region does."""
    state, offset = b.state, b.offset
    while True:
        handler = state.scope.code.handler(offset)
        if handler is not None:
            is_known = b.is_known(state, handler.target)
            return None if b.is_outside(state, handler.target) else Catcher(state, handler, is_known)
        if not state.callers:
            return None
        *around, caller = state.callers
        locals, stack = list(caller.locals), list(caller.stack)
        state = replace(state, scope=caller.scope, locals=locals, stack=stack, callers=tuple(around))
        offset = caller.at


def _enter(b: Builder, block: int, catcher: Catcher, raised: Moot) -> None:
    """A block goes on in a handler."""
    state, handler = catcher.frame.copy(), catcher.handler
    state.statement = state.statement or b.before
    state.stack = [*state.stack[: handler.depth], *[Hole.NULL] * handler.has_place, raised]
    b.aside(block, handler.target, state)


@handles("RAISE_VARARGS")
def _raise_varargs(b: Builder, i: Instruction) -> None:
    """Of nothing: what is handled; or of an exception, and of what it comes from."""
    operands = b.state.pop_many(i.arg)
    raised = _instance(b, operands[0]) if operands else _handled(b)
    if raised is None or not all(slot == Const(None) or _instance(b, slot) for slot in operands[1:]):
        b.unsupported(i.name)
        return
    _raise(b, i, raised)


@handles("RERAISE")
def _reraise(b: Builder, i: Instruction) -> None:
    raised = b.state.pop()
    if not isinstance(raised, Moot):
        # The loop is within a handler.
        b.unsupported(i.name)
        return
    _raise(b, i, raised)


def _handled(b: Builder) -> Moot | None:
    """What the handler is for that the frame is in."""
    found = [slot for slot in b.state.stack if _is_exception(slot)]
    return found[-1] if found else None  # type: ignore[return-value]


def _is_exception(slot: Slot) -> bool:
    return isinstance(slot, Moot) and issubclass(slot.cls.value, BaseException)  # type: ignore[arg-type]


def _instance(b: Builder, slot: Slot) -> Moot | None:
    """What is raised: an exception, or one of a class."""
    if isinstance(slot, Const) and _is_class(slot.value):
        return _made(b, slot)
    return slot if isinstance(slot, Moot) and _is_exception(slot) else None


# What is raised


def make(b: Builder, i: Instruction, cls: Slot, keywords: tuple[str, ...]) -> bool:
    """Pushes an exception that is about to be raised, if a class of exceptions is called; whether that is so."""
    if not isinstance(cls, Const) or not _is_class(cls.value) or keywords or not _is_raised(b, i):
        return False
    made = _made(b, cls)
    if made is not None:
        _push(b, made)
    return made is not None


@handles("LOAD_ASSERTION_ERROR")
def _load_assertion_error(b: Builder, i: Instruction) -> None:
    b.state.push(Const(AssertionError))


@handles("FORMAT_VALUE", "BUILD_STRING")
def _text(b: Builder, i: Instruction) -> None:
    """A text that an exception is about to be made of."""
    has_format = i.name == "FORMAT_VALUE" and i.arg & 4
    parts = b.state.pop_many(1 if i.name == "FORMAT_VALUE" else i.arg)
    if has_format or not all(map(_is_text, parts)) or not _is_raised(b, i):
        b.unsupported(i.name)
        return
    _push(b, Moot(Const(str)))


def _is_text(slot: Slot) -> bool:
    """Whether it is a text, or something that turns into one and does nothing else."""
    if isinstance(slot, Const):
        return slot.kind is not None or type(slot.value) in (str, type(None))
    is_scalar = isinstance(slot, Value) and slot.kind is not Kind.ANY and slot.kind is not Kind.OBJECT
    return is_scalar or slot == Moot(Const(str))


def _push(b: Builder, made: Moot) -> None:
    b.state.statement = b.state.statement or b.before
    b.state.push(made)


def _is_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _made(b: Builder, cls: Const) -> Moot | None:
    """An exception of a class; None if making it, or its end, may do something."""
    if type(cls.value) is not type or (is_program_made(cls.value) and b.relies.on_class(cls.value) is None):
        return None
    for each in cls.value.__mro__:
        is_plain = not any(name in vars(each) for name in _TOLD) if is_program_made(each) else each in _PLAIN
        if not is_plain:
            return None
    return Moot(cls)


def _is_raised(b: Builder, i: Instruction) -> bool:
    """Whether what an instruction makes is raised, or part of what is, before anything else is done."""
    following = (each for offset, each in b.code.instructions.items() if offset > i.offset)
    for each in following:
        if each.name == "RAISE_VARARGS":
            return True
        if each.target is not None or each.name.startswith(("STORE_", "RETURN_", "POP_", "DELETE_")):
            return False
    return False


# Handling


@handles("PUSH_EXC_INFO")
def _push_exc_info(b: Builder, i: Instruction) -> None:
    """In the place of what was handled before stands what is handled from now on."""
    b.state.push(b.state.stack[-1])


@handles("CHECK_EXC_MATCH")
def _check_exc_match(b: Builder, i: Instruction) -> None:
    wanted, raised = b.state.pop(), b.state.stack[-1]
    classes = tuple_items(wanted) or (wanted,)
    values = [each.value for each in classes if isinstance(each, Const) and _is_class(each.value)]
    if len(values) < len(classes) or not isinstance(raised, Moot):
        b.unsupported(i.name)
        return
    known = raised.cls.value.__mro__  # type: ignore[attr-defined]
    b.state.push(Const(any(each is cls for each in values for cls in known)))


@handles("POP_EXCEPT")
def _pop_except(b: Builder, i: Instruction) -> None:
    if not isinstance(b.state.pop(), Moot):
        b.unsupported(i.name)
