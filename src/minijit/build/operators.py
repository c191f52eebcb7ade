"""Operators on instances: which method of which operand's class is called, as the interpreter chooses it.

In: the operands, of which one is at least an instance whose class is known. The rules are those of `binary_op1`,
`slot_nb_add` and `do_richcompare` in CPython: the left operand's method first, unless the class of the right one is
derived from that of the left and has a method of its own; then the reflected method of the right one. A method that
answers NotImplemented leaves the region: what comes next is the interpreter's to find out.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from minijit.build import numbers
from minijit.build.inline import call_function
from minijit.build.instances import is_same
from minijit.build.state import Wanted, tuple_items
from minijit.ir.ops import PYTHON_TYPES
from minijit.ir.region import Const, Slot, Value, VirtualRange, VirtualTuple

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.kinds import ClassKind

_NAMES = {
    "+": "add",
    "&": "and",
    "//": "floordiv",
    "<<": "lshift",
    "@": "matmul",
    "*": "mul",
    "%": "mod",
    "|": "or",
    "**": "pow",
    ">>": "rshift",
    "-": "sub",
    "/": "truediv",
    "^": "xor",
}
_UNARY = {"-": "__neg__", "+": "__pos__", "~": "__invert__"}


def special_names(instruction: str) -> tuple[str, ...]:
    """The methods that an instruction may call of its operands' classes."""
    return _CALLED.get(instruction, ())


_CALLED = {
    "BINARY_OP": tuple(f"__{prefix}{name}__" for name in _NAMES.values() for prefix in ("", "r", "i")),
    "COMPARE_OP": tuple(f"__{name}__" for name in numbers.COMPARE_NAMES.values()),
    "UNARY_NEGATIVE": ("__neg__",),
    "UNARY_INVERT": ("__invert__",),
    "CALL_INTRINSIC_1": ("__pos__",),
    "CONTAINS_OP": ("__contains__",),
    "CALL": ("__call__", "__abs__", "__len__"),
    "BINARY_SUBSCR": ("__getitem__",),
    "STORE_SUBSCR": ("__setitem__",),
    "DELETE_SUBSCR": ("__delitem__",),
    "UNARY_NOT": ("__bool__",),
    "BEFORE_WITH": ("__enter__", "__exit__"),
    "POP_JUMP_IF_TRUE": ("__bool__",),
    "POP_JUMP_IF_FALSE": ("__bool__",),
}


def is_instance(b: Builder, *slots: Slot) -> bool:
    """Whether one of the slots is an instance of a class that is known."""
    return any(b.class_of(slot) is not None for slot in slots)


def binary(b: Builder, left: Slot, right: Slot, i: Instruction) -> None:
    """`left sign right` and `left sign= right`."""
    sign, is_in_place = numbers.OPERATORS[i.arg], i.arg >= len(numbers.OPERATORS) // 2
    name, kind = _NAMES[sign], b.class_of(left)
    own = _method(b, kind, f"__i{name}__") if is_in_place else None
    candidates = [(own, [left, right])] if own is not None else []
    candidates += _in_order(b, f"__{name}__", f"__r{name}__", left, right)
    if not candidates or not _are_numbers(b, left, right):
        b.unsupported(f"{i.name} {sign}")
        return
    _call(b, *candidates[0], i, Wanted.OPERAND)


def _in_order(b: Builder, name: str, reflected: str, left: Slot, right: Slot) -> list[tuple[Const, list[Slot]]]:
    """The methods that a binary operator tries, with their arguments, in their order."""
    one, other = b.class_of(left), b.class_of(right)
    first, second = _method(b, one, name), _method(b, other, reflected)
    if one is not None and other is not None and one.address == other.address:
        second = None
    found = [(first, [left, right]), (second, [right, left])]
    if second is not None and _is_derived(b, other, one):
        before = _method(b, one, reflected)
        if before is None or before.value is not second.value:
            found.reverse()
    return [(method, arguments) for method, arguments in found if method is not None]


_BUILTIN = (int, float, bool, type(None), str, bytes, tuple, range)
"""Values of these types answer NotImplemented to instances of all classes that are derived from none of them."""


def _is_own(b: Builder, slot: Slot) -> bool:
    """Whether it is an instance of a class that is derived from none of these."""
    kind = b.class_of(slot)
    bases = () if kind is None else b.request.classes.bases(kind)
    return bool(bases) and not any(base is each for base in bases for each in _BUILTIN)


def _are_numbers(b: Builder, *slots: Slot) -> bool:
    """Whether each is an instance or a number, of which nobody else has to be asked for the result."""
    return all(_is_own(b, slot) or numbers.number(slot) is not None for slot in slots)


def _are_values(b: Builder, *slots: Slot) -> bool:
    """The same of comparisons, which have fewer ways to come out than arithmetic."""
    return all(
        _is_own(b, slot)
        or isinstance(slot, Value | VirtualTuple | VirtualRange)
        or (isinstance(slot, Const) and type(slot.value) in _BUILTIN)
        for slot in slots
    )


def _is_derived(b: Builder, cls: ClassKind | None, base: ClassKind | None) -> bool:
    """Whether a class is another one's, and derived from it."""
    if cls is None or base is None or cls.address == base.address:
        return False
    return base.address in map(id, b.request.classes.bases(cls))


def _method(b: Builder, kind: ClassKind | None, name: str) -> Const | None:
    return None if kind is None else b.request.classes.attribute(kind, name)


def _call(b: Builder, method: Const, arguments: list[Slot], i: Instruction, wanted: Wanted) -> None:
    """Calls what a class has under a special name."""
    if type(method.value) is not FunctionType:
        b.unsupported(i.name)
        return
    call_function(b, method.value, arguments, (), i, wanted)


def compare(b: Builder, left: Slot, right: Slot, i: Instruction) -> None:
    """`left < right` and the like."""
    sign = numbers.COMPARISONS[i.arg >> 4]
    name, swapped = numbers.COMPARE_NAMES[sign], numbers.COMPARE_NAMES[numbers.SWAPPED[sign]]
    if not _are_values(b, left, right):
        b.unsupported(i.name)
        return
    one, other = b.class_of(left), b.class_of(right)
    tried = [(one, name, [left, right]), (other, swapped, [right, left])]
    if _is_derived(b, other, one):
        tried.reverse()
    for kind, each, arguments in tried:
        found = _own_comparison(b, kind, each)
        if found is not None:
            _call(b, found, arguments, i, Wanted.OPERAND)
            return
        if each == "ne" and (equals := _own_comparison(b, kind, "eq")) is not None:
            _call(b, equals, arguments, i, Wanted.INVERSE)
            return
    same = is_same(b, left, right)
    if name not in ("eq", "ne") or same is None:
        b.unsupported(i.name)
        return
    b.state.push(numbers.inverse(b, same) if name == "ne" else same)


def _own_comparison(b: Builder, kind: ClassKind | None, name: str) -> Const | None:
    """A comparison that a class has of its own; None for `object`'s, which knows nothing but identity."""
    found = _method(b, kind, f"__{name}__")
    return None if found is None or found.value is object.__dict__[f"__{name}__"] else found


def unary(b: Builder, sign: str, operand: Slot, i: Instruction) -> None:
    """`-x`, `+x` and `~x`."""
    call_special(b, operand, _UNARY[sign], [], i)


def call_special(
    b: Builder,
    receiver: Slot,
    name: str,
    arguments: list[Slot],
    i: Instruction,
    keywords: tuple[str, ...] = (),
    wanted: Wanted = Wanted.RESULT,
    next: int | None = None,
) -> None:
    """Calls the method that an instance's class has under a special name, or leaves if there is none."""
    method = special(b, receiver, name)
    if method is None:
        b.unsupported(f"{i.name} {name}")
        return
    call_function(b, method, [receiver, *arguments], keywords, i, wanted, next)


def special(b: Builder, receiver: Slot, name: str) -> FunctionType | None:
    """The method that an instance's class has under a special name, if it is a function."""
    method = _method(b, b.class_of(receiver), name)
    return method.value if method is not None and isinstance(method.value, FunctionType) else None


def call_builtin(
    b: Builder, function: object, arguments: list[Slot], keywords: tuple[str, ...], i: Instruction
) -> bool:
    """Calls `abs`, `len`, `isinstance` or `type`, where they are about instances; whether they are."""
    if keywords or not arguments:
        return False
    found: Slot | None = None
    if function is abs and len(arguments) == 1 and is_instance(b, arguments[0]):
        call_special(b, arguments[0], "__abs__", [], i)
        return True
    if function is len and len(arguments) == 1 and is_instance(b, arguments[0]):
        call_special(b, arguments[0], "__len__", [], i, wanted=Wanted.LENGTH)
        return True
    if function is isinstance and len(arguments) == 2:
        found = isinstance_of(b, *arguments)
    elif function is type and len(arguments) == 1:
        kind = b.class_of(arguments[0])
        cls = None if kind is None else kind.cls()
        found = None if cls is None else Const(cls)
    if found is not None:
        b.state.push(found)
    return found is not None


def has_truth(b: Builder, slot: Slot) -> bool:
    """Whether somebody is asked for an instance's truth value; all others are true."""
    kind = b.class_of(slot)
    return any(_method(b, kind, name) is not None for name in ("__bool__", "__len__"))


def isinstance_of(b: Builder, slot: Slot, wanted: Slot) -> Slot | None:
    """`isinstance(slot, wanted)`, where all classes are known: None where they are not."""
    items = tuple_items(wanted)
    asked = [each.value for each in ((wanted,) if items is None else items) if isinstance(each, Const)]
    if len(asked) < (1 if items is None else len(items)) or not all(type(each) is type for each in asked):
        return None
    kind, number = b.class_of(slot), numbers.scalar(slot)
    bases: tuple[type, ...] = ()
    if kind is not None and class_of(b, slot) is not None:
        bases = b.request.classes.bases(kind)
    elif number is not None and number.kind is not None:
        bases = PYTHON_TYPES[number.kind].__mro__
    elif isinstance(slot, Const) and slot.value is None:
        bases = type(None).__mro__
    return Const(any(each is base for each in asked for base in bases)) if bases else None


def class_of(b: Builder, slot: Slot) -> Const | None:
    """The class of an instance, as `type` gives it, where its `__class__` gives the same."""
    kind = b.class_of(slot)
    cls, found = (None, None) if kind is None else (kind.cls(), _method(b, kind, "__class__"))
    if cls is None or found is None or found.value is not object.__dict__["__class__"]:
        return None
    return Const(cls)
