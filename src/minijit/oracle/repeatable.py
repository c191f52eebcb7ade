"""Which calls can be done twice without anybody's noticing.

In: a function that has call entries (`surroundings`), and the arguments of a call (`are_plain`). Out: all else that the
call reads, or None where it may have an effect, or may read what we do not know; whether the arguments will do.

What is allowed is a closed world. Arguments, defaults and globals are numbers, strs, None and tuples of them; what is
called are functions that the compiler knows (`build.calls`), builtin exceptions, and Python functions of this sort, if
the names stand for them still; and the instructions (`_HARMLESS`) make nothing of these but more of the kind. So every
value in such a call is a function or an immutable builtin object, whose operators are the interpreter's own, and
nothing changes but frames of the call's own.

Left out, though they have no effect: methods; handlers of exceptions, in which a signal's exception may end; `is`,
which may tell one float from an equal one; `math.copysign`, which tells which of two nans an operation has given.
Containers with a nan in them are compared by identity, too: that is not looked for.
"""

from __future__ import annotations

import dis
import math
import operator
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from minijit.build.calls import is_known
from minijit.build.genuine import Genuine
from minijit.build.request import is_plain_namespace, namespaces_of
from minijit.cpython import abi, raw
from minijit.ir import codeflags
from minijit.ir.bytecode import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from minijit.ir.bytecode import Code

    Names = tuple[tuple[str, str | None], ...]
    """Of globals, each with the attribute of it that is read, if it is a module."""

EXCEPTIONS = frozenset(
    (
        *(AssertionError, IndexError, NameError, OverflowError, TypeError, UnboundLocalError, ValueError),
        *(ArithmeticError, FloatingPointError, ZeroDivisionError),
    )
)
"""What calls of this sort raise by themselves, and what they may raise on purpose."""

_HARMLESS = frozenset(
    (
        *("RESUME", "NOP", "POP_TOP", "COPY", "SWAP", "PUSH_NULL", "EXTENDED_ARG"),
        *("LOAD_CONST", "LOAD_FAST", "LOAD_FAST_CHECK", "STORE_FAST", "DELETE_FAST", "LOAD_GLOBAL", "LOAD_ATTR"),
        *("UNARY_NEGATIVE", "UNARY_NOT", "UNARY_INVERT", "BINARY_OP", "COMPARE_OP", "CONTAINS_OP", "BINARY_SUBSCR"),
        *("BUILD_TUPLE", "UNPACK_SEQUENCE", "FORMAT_VALUE", "BUILD_STRING", "KW_NAMES", "CALL", "CALL_INTRINSIC_1"),
        *("GET_ITER", "FOR_ITER", "END_FOR", "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"),
        *("POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE"),
        *("LOAD_ASSERTION_ERROR", "RAISE_VARARGS", "RETURN_VALUE", "RETURN_CONST"),
    )
)
_POSITIVE = dis._intrinsic_1_descs.index("INTRINSIC_UNARY_POSITIVE")  # type: ignore[attr-defined]
_SCALARS = frozenset((int, float, bool, str, type(None)))
_TELLING = Genuine(math).copysign
MOST = 100
"""Values of one argument, in tuples, that are looked at; functions that call each other, likewise."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a call depends on beside its arguments: functions, their parts, namespaces, and the versions of these."""

    functions: tuple[FunctionType, ...]
    parts: tuple[object, ...]
    namespaces: tuple[dict[str, object], ...]
    versions: tuple[int, ...]

    @property
    def are_as_before(self) -> bool:
        """Whether nothing of it has changed since."""
        same_parts = all(map(operator.is_, self.parts, _parts(self.functions)))
        return same_parts and _versions(self.namespaces) == self.versions

    @property
    def codes(self) -> frozenset[object]:
        """The code objects of the functions, as they were."""
        return frozenset(part for part in self.parts if isinstance(part, CodeType))


def names_of(code: Code) -> Names | None:
    """The names that the code looks up; None if it has an instruction that is not harmless, a handler, or a dict of
    keywords."""
    instructions = list(code.instructions.values())
    if code.code.co_exceptiontable or code.code.co_flags & codeflags.VARKEYWORDS:
        return None
    if not all(i.name in _HARMLESS for i in instructions):
        return None
    if any(i.name == "CALL_INTRINSIC_1" and i.arg != _POSITIVE for i in instructions):
        return None
    found: list[tuple[str, str | None]] = []
    for before, here in pairwise(instructions):
        if here.name == "LOAD_ATTR":
            if before.name != "LOAD_GLOBAL":
                return None
            found[-1] = (found[-1][0], code.name(here))
        elif here.name == "LOAD_GLOBAL":
            found.append((code.name(here), None))
    return tuple(dict.fromkeys(found))


def surroundings(function: FunctionType, known: dict[CodeType, Names | None]) -> Surroundings | None:
    """Those of a call of the function; None if no call can be done twice, as things are now. `known` keeps what code
    looks up, from one time to the next."""
    functions, namespaces = [function], list[dict[str, object]]()
    for each in functions:  # there come more
        if each.__code__ not in known:
            known[each.__code__] = names_of(decode(each.__code__))
        names = known[each.__code__]
        found = None if names is None else _read(each, names)
        if found is None or len(functions) > MOST:
            return None
        namespaces += found.namespaces
        functions += [called for called in found.functions if called not in functions]
    return Surroundings(tuple(functions), _parts(functions), tuple(namespaces), _versions(namespaces))


@dataclass(frozen=True, slots=True)
class _Reads:
    """What one function reads: namespaces, and Python functions that it may call."""

    namespaces: list[dict[str, object]]
    functions: list[FunctionType]


def _read(function: FunctionType, names: Names) -> _Reads | None:
    """None if it may read something that is not allowed."""
    keyword_defaults = function.__kwdefaults__ or {}
    found = [*namespaces_of(function), keyword_defaults]
    if not all(map(is_plain_namespace, found)) or not are_plain(
        (*(function.__defaults__ or ()), *keyword_defaults.values())
    ):
        return None
    functions = []
    for name, attribute in names:
        value = _look_up(found[:2], name)
        if attribute is not None:
            if type(value) is not ModuleType or not is_plain_namespace(vars(value)):
                return None
            found.append(vars(value))
            value = _look_up(found[-1:], attribute)
        if isinstance(value, FunctionType):
            functions.append(value)
        elif not _is_allowed(value):
            return None
    return _Reads(found, functions)


def _parts(functions: Iterable[FunctionType]) -> tuple[object, ...]:
    return tuple(part for each in functions for part in (each.__code__, each.__defaults__, each.__kwdefaults__))


def are_plain(values: Iterable[object]) -> bool:
    """Whether these values, such as arguments, cannot be changed by anybody."""
    return all(map(is_plain, values))


def is_plain(value: object) -> bool:
    """Whether it is an immutable value through and through, and not a large one."""
    left, seen = [value], 0
    while left:
        seen += 1
        value = left.pop()
        if type(value) is tuple and len(value) < MOST:
            left.extend(value)
        elif type(value) not in _SCALARS or seen > MOST:
            return False
    return True


_ABSENT = object()


def _look_up(namespaces: Iterable[Mapping[str, object]], name: str) -> object:
    return next((namespace[name] for namespace in namespaces if name in namespace), _ABSENT)


def _is_allowed(value: object) -> bool:
    if isinstance(value, type) and value in EXCEPTIONS:
        return True
    return is_plain(value) or (is_known(value) and value is not _TELLING)


def _versions(namespaces: Iterable[dict[str, object]]) -> tuple[int, ...]:
    return tuple(raw.read_u64(id(namespace) + abi.DICT.ma_version_tag) >> 8 for namespace in namespaces)
