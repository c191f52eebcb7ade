"""The table of ops: one op is one row.

A row gives the name, the signature, the effect, and the meaning: a Python function over the argument values that
returns the result or raises `Leaves` where the op leaves through its exit. Parser, printer, verifier and evaluator use
table; lowering has one small function a row (`backend/lower`). A test lists the rows that lack one of these.

Ints are 64 bits. An op that would need more leaves, unless its name ends in `_wrap`: those are made by passes where a
later mask makes the upper bits void, or where ranges say that there are none, and keep the low 64 bits. Names that end
in `_unsigned` are made where no operand is negative, in `_half` where all have 32 bits at most.
"""

from __future__ import annotations

import enum
import math
import operator
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minijit.ir import searching
from minijit.ir.kinds import INT_MAX, INT_MIN, Kind, named
from minijit.ir.region import Const

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minijit.ir.kinds import Field


class Effect(enum.Enum):
    """What else an op does."""

    PURE = "pure"  # nothing: may be removed, moved, repeated
    GUARD = "guard"  # may leave; otherwise pure
    LOAD = "load"  # reads the heap: gives something else after a store; may be removed
    READ = "read"  # may leave; reads the heap, so not repeated freely across stores, calls and polls
    STORE = "store"  # writes the heap; leaves, before it does so, where there is no memory
    MAKE = "make"  # gives another object each time; leaves where there is no memory
    POLL = "poll"  # may leave, at any time

    __hash__ = object.__hash__

    @property
    def exits(self) -> bool:
        return self not in (Effect.PURE, Effect.LOAD)


class Leaves(Exception):
    """An op leaves through its exit."""


class Unbound:
    """The evaluator's value of a variable without a value."""

    def __repr__(self) -> str:
        return "unbound"


UNBOUND = Unbound()


@dataclass(frozen=True, slots=True)
class Row:
    """One op. A kind in `params` is None for a constant; `result` None means that the op's own result value tells.
    `further` are the kinds of which any number of operands may follow. Where `slots` is set, the constants number slots
    of the entry, and the meaning gets what these held."""

    name: str
    params: tuple[Kind | None, ...]
    result: Kind | None
    has_result: bool
    effect: Effect
    meaning: Callable[..., Any]
    further: tuple[Kind, ...] = ()
    slots: bool = False


TABLE: dict[str, Row] = {}

_KINDS: dict[str, Kind | None] = {
    "int": Kind.INT,
    "float": Kind.FLOAT,
    "bool": Kind.BOOL,
    "any": Kind.ANY,
    "number": Kind.NUMBER,
    "object": Kind.OBJECT,
    "const": None,
    "slot": None,
}

_SCALARS = (Kind.INT, Kind.FLOAT, Kind.BOOL)
_FURTHER = {"*": _SCALARS, "**": (*_SCALARS, Kind.NUMBER, Kind.OBJECT)}


def op(name: str, signature: str, meaning: Callable[..., Any], effect: Effect = Effect.PURE) -> None:
    """Adds a row. The signature reads `int int -> int`; `const` is a constant, `slot` the number of a slot of the frame
    that holds any object, `*` any number of scalars, `**` of scalars and objects, `?` a result of the kind that the op
    says."""
    left, _, right = signature.partition("->")
    params, result = left.split(), right.strip()
    TABLE[name] = Row(
        name,
        tuple(_KINDS[p] for p in params if p not in _FURTHER),
        None if result in ("", "?") else _KINDS[result],
        bool(result),
        effect,
        meaning,
        further=next((_FURTHER[p] for p in params if p in _FURTHER), ()),
        slots="slot" in params,
    )


def wrap(value: int) -> int:
    """The low 64 bits as a signed int."""
    return ((value - INT_MIN) & (2**64 - 1)) + INT_MIN


def fits(value: int) -> int:
    """The value, or leaves when it needs more than 64 bits."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Leaves


def _checked(function: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: fits(function(*args))


def _wrapped(function: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: wrap(function(*args))


def _raising(function: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves wherever Python raises."""

    def meaning(*args: Any) -> Any:
        try:
            return function(*args)
        except (ArithmeticError, ValueError):
            raise Leaves from None

    return meaning


def _unsigned(function: Callable[[int, int], int], bits: int = 64) -> Callable[[int, int], int]:
    """On the operands' low bits taken as numbers without a sign; leaves on a zero divisor."""
    return _raising(lambda a, b: wrap(function(a % 2**bits, b % 2**bits)))


def _div(a: int, b: int) -> float:
    if b == 0 or max(abs(a), abs(b)) > 2**53:
        raise Leaves
    return a / b


def _shift_left(a: int, b: int) -> int:
    if not 0 <= b < 64:
        raise Leaves
    return fits(a << b)


def _shift_right(a: int, b: int) -> int:
    if b < 0:
        raise Leaves
    return a >> b


def _int_pow(a: int, b: int) -> int:
    if b < 0:
        raise Leaves
    if abs(a) > 1 and b > 63:
        raise Leaves
    return fits(a**b)


def _float_pow(a: float, b: float) -> float:
    if not math.isfinite(a) or not math.isfinite(b):
        raise Leaves
    result = _raising(operator.pow)(a, b)
    if not isinstance(result, float):  # a complex number
        raise Leaves
    return result


def _ordinary(function: Callable[..., float]) -> Callable[..., float]:
    """Leaves wherever Python raises, and where the result is nan or infinite."""

    def meaning(*args: float) -> float:
        result: float = _raising(function)(*args)
        if not math.isfinite(result):
            raise Leaves
        return result

    return meaning


def _sqrt(x: float) -> float:
    if not x >= 0:
        raise Leaves
    return math.sqrt(x)


def _math_pow(a: float, b: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b)):
        raise Leaves
    return _ordinary(math.pow)(a, b)


def _number(function: Callable[..., float]) -> Callable[..., float]:
    """On ints and floats; leaves where an int needs more than 64 bits."""

    def meaning(*args: float) -> float:
        result = function(*args)
        return result if isinstance(result, float) else fits(result)

    return meaning


def _number_div(a: float, b: float) -> float:
    if isinstance(a, float) or isinstance(b, float):
        quotient: float = _raising(operator.truediv)(a, b)
        return quotient
    return _div(a, b)


def _guard(holds: bool) -> None:
    if not holds:
        raise Leaves


def _unpack(*kinds: type) -> Callable[[object], object]:
    def meaning(value: object) -> object:
        if type(value) not in kinds:
            raise Leaves
        return value

    return meaning


GUARD, PURE = Effect.GUARD, Effect.PURE

# Ints: checked, then wrapping.
for _name, _function in (("add", operator.add), ("sub", operator.sub), ("mul", operator.mul)):
    op(f"int_{_name}", "int int -> int", _checked(_function), GUARD)
    op(f"int_{_name}_wrap", "int int -> int", _wrapped(_function))
op("int_neg", "int -> int", _checked(operator.neg), GUARD)
op("int_neg_wrap", "int -> int", _wrapped(operator.neg))
op("int_abs", "int -> int", _checked(abs), GUARD)
op("int_floordiv", "int int -> int", _raising(lambda a, b: fits(a // b)), GUARD)
op("int_mod", "int int -> int", _raising(lambda a, b: a % b if (a, b) != (INT_MIN, -1) else fits(2**63)), GUARD)
op("int_floordiv_unsigned", "int int -> int", _unsigned(operator.floordiv), GUARD)
op("int_mod_unsigned", "int int -> int", _unsigned(operator.mod), GUARD)
op("int_floordiv_half", "int int -> int", _unsigned(operator.floordiv, bits=32), GUARD)
op("int_mod_half", "int int -> int", _unsigned(operator.mod, bits=32), GUARD)
op("int_truediv", "int int -> float", _div, GUARD)
op("int_pow", "int int -> int", _int_pow, GUARD)
op("int_lshift", "int int -> int", _shift_left, GUARD)
op("int_lshift_wrap", "int int -> int", lambda a, b: wrap(a << (b & 63)))
op("int_rshift", "int int -> int", _shift_right, GUARD)
op("int_and", "int int -> int", operator.and_)
op("int_or", "int int -> int", operator.or_)
op("int_xor", "int int -> int", operator.xor)
op("int_invert", "int -> int", operator.invert)
op("int_min", "int int -> int", min)
op("int_max", "int int -> int", max)
op("int_gcd", "int int -> int", _checked(math.gcd), GUARD)

# Bools.
op("bool_and", "bool bool -> bool", operator.and_)
op("bool_or", "bool bool -> bool", operator.or_)
op("bool_xor", "bool bool -> bool", operator.xor)
op("bool_not", "bool -> bool", operator.not_)

# Floats.
for _name, _function in (("add", operator.add), ("sub", operator.sub), ("mul", operator.mul)):
    op(f"float_{_name}", "float float -> float", _function)
op("float_neg", "float -> float", operator.neg)
op("float_abs", "float -> float", abs)
op("float_truediv", "float float -> float", _raising(operator.truediv), GUARD)
op("float_floordiv", "float float -> float", _raising(operator.floordiv), GUARD)
op("float_mod", "float float -> float", _raising(operator.mod), GUARD)
op("float_pow", "float float -> float", _float_pow, GUARD)
op("float_select", "bool float float -> float", lambda c, a, b: a if c else b)
op("int_select", "bool int int -> int", lambda c, a, b: a if c else b)

# Comparisons. Between int and float they are exact, as in Python.
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    op(f"int_{_name}", "int int -> bool", getattr(operator, _name))
    op(f"float_{_name}", "float float -> bool", getattr(operator, _name))
    op(f"int_float_{_name}", "int float -> bool", getattr(operator, _name))

# Conversions.
op("int_to_float", "int -> float", float)
op("float_to_int", "float -> int", _raising(lambda x: fits(int(x))), GUARD)
op("float_floor", "float -> int", _raising(lambda x: fits(math.floor(x))), GUARD)
op("float_ceil", "float -> int", _raising(lambda x: fits(math.ceil(x))), GUARD)
op("float_round", "float -> int", _raising(lambda x: fits(round(x))), GUARD)
op("bool_to_int", "bool -> int", int)
op("int_to_bool", "int -> bool", bool)
op("float_to_bool", "float -> bool", bool)
op("float_is_nan", "float -> bool", math.isnan)
op("float_is_inf", "float -> bool", math.isinf)
op("float_is_finite", "float -> bool", math.isfinite)
op("float_copysign", "float float -> float", math.copysign)

# The C library's functions as the math module calls them: whatever is not an ordinary result leaves.
LIBM_1 = "acos acosh asin asinh atan atanh cbrt cos cosh erf erfc exp exp2 expm1 log1p sin sinh sqrt tan tanh".split()
"""Functions of one float that the math module takes from libm as they are, apart from the check of the result."""
for _name in (*LIBM_1, "log", "log2", "log10"):
    op(f"math_{_name}", "float -> float", _ordinary(getattr(math, _name)), GUARD)
op("math_sqrt", "float -> float", _sqrt, GUARD)
op("math_fmod", "float float -> float", _ordinary(math.fmod), GUARD)
op("math_atan2", "float float -> float", math.atan2)
op("math_pow", "float float -> float", _math_pow, GUARD)

# Values of a kind known at run time only.
op("pack_int", "int -> any", lambda x: x)
op("pack_float", "float -> any", lambda x: x)
op("pack_bool", "bool -> any", lambda x: x)
op("pack_none", "-> any", lambda: None)
op("pack_unbound", "-> any", lambda: UNBOUND)
op("is_int", "any -> bool", lambda x: type(x) is int)
op("is_float", "any -> bool", lambda x: type(x) is float)
op("is_bool", "any -> bool", lambda x: type(x) is bool)
op("is_none", "any -> bool", lambda x: x is None)
op("unpack_int", "any -> int", _unpack(int), GUARD)
op("unpack_float", "any -> float", _unpack(float), GUARD)
op("unpack_bool", "any -> bool", _unpack(bool), GUARD)
op("unpack_number", "any -> number", _unpack(int, float, bool), GUARD)

# Numbers whose sort is known at run time only.
for _name, _type in (("int", int), ("float", float), ("bool", bool)):
    op(f"number_of_{_name}", f"{_name} -> number", lambda x: x)
for _name, _function in (("add", operator.add), ("sub", operator.sub), ("mul", operator.mul)):
    op(f"number_{_name}", "number number -> number", _number(_function), GUARD)
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    op(f"number_{_name}", "number number -> bool", getattr(operator, _name))
op("number_neg", "number -> number", _number(operator.neg), GUARD)
op("number_truediv", "number number -> float", _number_div, GUARD)
op("number_to_float", "number -> float", float)
op("number_to_bool", "number -> bool", bool)

# Guards, reads, calls.
op("guard_true", "bool ->", _guard, GUARD)
op("guard_false", "bool ->", lambda x: _guard(not x), GUARD)


def _load_global(namespace: dict[str, object], name: str) -> object:
    if name not in namespace:
        raise Leaves
    return namespace[name]


def _call_pure(function: Callable[..., object], *args: object) -> object:
    try:
        return function(*args)
    except (ArithmeticError, ValueError, TypeError):
        raise Leaves from None


QUIET_TYPES = (int, float, bool, type(None), str, bytes, complex, range)
"""Of these types nobody can notice when an object ends."""

# Machine code leaves where somebody would notice the end of what a slot holds.
op("guard_quiet", "slot ->", lambda _: None, Effect.READ)
op("load_global", "const const -> object", _load_global, Effect.READ)
# Machine code leaves where somebody relies on what a namespace has under a name, or is told of what it gets.
op("guard_unwatched", "const const ->", lambda _namespace, _name: None, Effect.READ)
op("call_pure", "const * -> ?", _call_pure, GUARD)
# Not done twice: it gives something else each time. The kind of its result is sure.
op("call_stateful", "const * -> ?", lambda function, *args: function(*args), Effect.MAKE)
op("poll", "->", lambda: None, Effect.POLL)
# The poll between two strips of so many rounds; and what is left of one that is not needed, for those who count rounds.
op("poll_strip", "int ->", lambda _rounds: None, Effect.POLL)
op("round", "->", lambda: None, Effect.GUARD)
op("count_round", "const int const ->", lambda _place, _some, _rounds: None, Effect.POLL)


# Objects by their addresses. Who asks for an item has made sure that the index is within; who stores, that a number is
# overwritten, or something that may end.


def instance_value(instance: object, field: Field) -> object:
    """What an object itself has under an attribute's name; UNBOUND for nothing."""
    own = getattr(instance, "__dict__", {}) if field.is_value else {}
    if field.is_value:
        return own.get(field.name, UNBOUND)
    try:
        return getattr(instance, field.name, UNBOUND)
    except ValueError:  # of an empty cell
        return UNBOUND


def attribute_meanings(value: Callable[[object, Field], object]) -> dict[str, Callable[..., object]]:
    """What the ops on attributes mean, where `value` gives what an object itself has in a field, or UNBOUND."""

    def found(x: object, field: Field) -> object:
        _guard((held := value(x, field)) is not UNBOUND)
        return held

    def named_or(x: object, name: str, default: object) -> object:
        return default if (held := value(x, named(name))) is UNBOUND else held

    return {
        "load_field": found,
        "field_value": value,
        "load_named": lambda x, name: found(x, named(name)),
        "named_value": lambda x, name: value(x, named(name)),
        "named_or": named_or,
        "guard_not_named": lambda x, name: _guard(value(x, named(name)) is UNBOUND),
    }


op("entry_object", "slot -> object", lambda held: held)
FREE_VARIABLES = tuple(types.CellType(0.5) for _ in range(256))
"""The evaluator's cells of the function around."""
op("free_variable", "const -> object", lambda number: FREE_VARIABLES[number], Effect.LOAD)
op("guard_type", "object const ->", lambda x, cls: _guard(type(x) is cls), GUARD)
op("guard_values", "object ->", lambda _: None, GUARD)
op("guard_object", "object ->", lambda x: _guard(x is not None and type(x) not in (int, float, bool)), Effect.GUARD)
op("guard_number", "object ->", lambda x: _guard(type(x) in (int, float, bool)), Effect.READ)
# Machine code leaves where somebody would notice the end of an object.
op("guard_may_end", "object ->", lambda _: None, Effect.READ)
# Two that end at once, though neither would alone.
op("guard_apart", "object object ->", lambda _x, _y: None, Effect.READ)
op("is_of", "object const -> bool", lambda x, cls: type(x) is cls)
op("is_same", "object object -> bool", operator.is_)
op("list_length", "object -> int", len, Effect.LOAD)
op("list_item", "object int -> object", operator.getitem, Effect.LOAD)
op("tuple_length", "object -> int", len)
op("tuple_item", "object int -> object", operator.getitem)
_ATTRIBUTES = attribute_meanings(instance_value)
op("load_field", "object const -> object", _ATTRIBUTES["load_field"], Effect.READ)
# What machine code has as NULL where there is nothing, and nobody but guards and stores look at.
op("field_value", "object const -> object", _ATTRIBUTES["field_value"], Effect.LOAD)
# Of instances that may have dicts of their own. Machine code leaves as well where it cannot tell.
op("named_value", "object const -> object", _ATTRIBUTES["named_value"], Effect.READ)
op("load_named", "object const -> object", _ATTRIBUTES["load_named"], Effect.READ)
op("named_or", "object const const -> object", _ATTRIBUTES["named_or"], Effect.READ)
op("guard_not_named", "object const ->", _ATTRIBUTES["guard_not_named"], Effect.READ)
for _name, _type in (("int", int), ("float", float), ("bool", bool)):
    op(f"unbox_{_name}", f"object -> {_name}", lambda x, t=_type: _unboxed(x, t), Effect.READ)
op("unbox_number", "object -> number", lambda x: _unboxed(x, type(x)), Effect.READ)
# The value comes last; or `True` behind it, where it is too late to leave.
op("store_item", "object int ** ->", lambda x, index, value, *_: operator.setitem(x, index, value), Effect.STORE)
op("store_field", "object const ** ->", lambda x, field, value, *_: setattr(x, field.name, value), Effect.STORE)
op("store_global", "const const ** ->", lambda x, name, value, *_: operator.setitem(x, name, value), Effect.STORE)
op("store_named", "object const ** ->", lambda x, name, value, *_: setattr(x, name, value), Effect.STORE)
op("append_item", "object ** ->", lambda x, value, *_: x.append(value), Effect.STORE)
op("insert_item", "object int ** ->", lambda x, index, value, *_: x.insert(index, value), Effect.STORE)
op("delete_item", "object int ** ->", lambda x, index, *_: operator.delitem(x, index), Effect.STORE)
op("add_key", "object int ** ->", lambda keys, key, *_: keys.add(key), Effect.STORE)
TYPED = ("delete_item", "add_key")
"""Stores that take no value of any sort."""
RESIZING = ("append_item", "insert_item", "delete_item")
"""The ops behind which a list has another length."""


def _find(items: Sequence[object], value: object) -> int:
    found = searching.find(items, value)
    if found is None:
        raise Leaves
    return found


# A number is given as one of any sort.
op("list_find", "object ** -> int", _find, Effect.READ)
op("tuple_find", "object ** -> int", _find, Effect.READ)
# Machine code leaves where a key that is no int has the same hash.
op("set_has", "object int -> bool", lambda keys, number: number in keys, Effect.READ)


def _new_instance(cls: type, fields: tuple[Field, ...], *values: object) -> object:
    made: object = object.__new__(cls)
    for field, value in zip(fields, values, strict=True):
        object.__setattr__(made, field.name, value)
    return made


op("new_instance", "const const ** -> object", _new_instance, Effect.MAKE)
op("new_tuple", "** -> object", lambda *items: items, Effect.MAKE)
op("new_list", "** -> object", lambda *items: list(items), Effect.MAKE)
op("list_slice", "object int int -> object", lambda x, start, stop: x[max(start, 0) : max(stop, 0)], Effect.MAKE)
op("list_repeat", "object int -> object", operator.mul, Effect.MAKE)
op("list_concat", "object object -> object", operator.add, Effect.MAKE)


def _unboxed(value: object, kind: type) -> object:
    if type(value) is not kind or Const(value).kind is None:
        raise Leaves
    return value


def _unpack_object(value: object) -> object:
    if value is UNBOUND or type(value) in PYTHON_TYPES.values():
        raise Leaves
    return value


def _unknown(*_: object) -> object:
    """Only machine code can say: to the evaluator there is never room."""
    raise Leaves


op("room", "->", _unknown, Effect.POLL)
op("has_body", "const ->", _unknown, Effect.READ)
op("call_body", "const ** -> any", _unknown, Effect.POLL)
# None is an object to it.
op("unpack_object", "any -> object", _unpack_object, Effect.GUARD)

PYTHON_TYPES = {Kind.INT: int, Kind.FLOAT: float, Kind.BOOL: bool}


def result_fits(kind: Kind, value: object) -> bool:
    """Whether a Python object is of the machine kind: what `call_pure` checks of its result."""
    return Const(value).kind is kind
