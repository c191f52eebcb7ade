"""Instances of classes: where their attributes are, and what their classes say.

In: classes and objects. Out: what the interpreter would find, and where. Nothing here runs code of the program's:
classes are looked through as the interpreter does it, their own namespaces first, then those of their bases.

An attribute is in the object itself, if the class has it in `__slots__`, or among the object's *values*, in the place
that its name has among the names that all instances of the class share. An object that has got a dict of its own
(because somebody asked for its `__dict__`, say) is none of ours.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from minijit.cpython import abi, raw
from minijit.ir.kinds import ABSENT, Field, is_program_made

if TYPE_CHECKING:
    from collections.abc import Mapping

_DESCRIBING = ("__get__", "__set__", "__delete__")
"""What makes a descriptor."""
_MANAGED_DICT = 1 << 4
"""Of `__flags__`: a class whose instances have a word for values, or a dict, before their header."""
_ABSTRACT = 1 << 20
"""Of `__flags__`: a class of which nothing can be made."""
_OBJECT = 16
"""Of a member: a reference to an object, or NULL."""
_flags = type.__dict__["__flags__"].__get__
_name = type.__dict__["__qualname__"].__get__
_mro = type.__dict__["__mro__"].__get__
_namespace = type.__dict__["__dict__"].__get__
_get = object.__getattribute__
_dict_offset = type.__dict__["__dictoffset__"].__get__
_assign_version = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(
    ("PyUnstable_Type_AssignVersionTag", ctypes.pythonapi)
)


def version(cls: type) -> int:
    """The number of the state that a class is in, which no other class, and no other state, has. 0 if it has none."""
    _assign_version(cls)
    return raw.read_u32(id(cls) + abi.TYPE.tp_version_tag)


def name(cls: type) -> str:
    """What a class is called."""
    found: str = _name(cls)
    return found


def look_up(cls: type, name: str) -> Any:
    """What a class or one of its bases has under a name, as it stands there; ABSENT if none has it."""
    for base in _mro(cls):
        found = _namespace(base).get(name, ABSENT)
        if found is not ABSENT:
            return found
    return ABSENT


def all_under(cls: type, name: str) -> list[Any]:
    """What a class and all its bases have under a name, each of them."""
    found = (_namespace(base).get(name, ABSENT) for base in _mro(cls))
    return [each for each in found if each is not ABSENT]


def look_behind(cls: type, base: type, name: str) -> Any:
    """What the classes behind one of those that a class is derived from have under a name, as `super` finds it."""
    line = _mro(cls)
    places = [place for place, each in enumerate(line) if each is base]
    for each in line[places[0] + 1 :] if places else ():
        found = _namespace(each).get(name, ABSENT)
        if found is not ABSENT:
            return found
    return ABSENT


def is_transparent(cls: type) -> bool:
    """Whether it is a class made by a program whose instances' attributes are read as `object` has them read."""
    if not is_program_made(cls) or (_dict_offset(cls) and not _has_names(cls)):
        return False
    is_own = look_up(cls, "__getattribute__") is not object.__dict__["__getattribute__"]
    return not is_own and look_up(cls, "__getattr__") is ABSENT


def is_made_plainly(cls: type) -> bool:
    """Whether a call of the class makes an instance as `object` makes it, for `__init__` to get; and nobody is told of
    the instance's end."""
    if type(cls) is not type or not all(map(is_program_made, _mro(cls)[:-1])):
        return False
    if _flags(cls) & _ABSTRACT or look_up(cls, "__del__") is not ABSENT:
        return False
    makers = [raw.read_u64(id(each) + abi.TYPE.tp_new) for each in (cls, object)]
    return makers[0] == makers[1] and raw.read_u64(id(cls) + abi.TYPE.tp_alloc) == raw.symbol("PyType_GenericAlloc")


def bases(cls: type) -> tuple[type, ...]:
    """A class and all that it is derived from, in the order in which attributes are looked up."""
    found: tuple[type, ...] = _mro(cls)
    return found


def is_writable(cls: type) -> bool:
    """Whether they are written as `object` has them written."""
    return look_up(cls, "__setattr__") is object.__dict__["__setattr__"]


@dataclass(frozen=True, slots=True)
class Names:
    """The names that the instances of a class share, with their places; None where these have no dict."""

    places: Mapping[str, int] | None

    @property
    def count(self) -> int:
        return -1 if self.places is None else len(self.places)


def shared_names(cls: type) -> Names:
    """Those of now: more may come, and none goes."""
    if not _has_names(cls):
        return Names(None)
    keys = raw.read_u64(id(cls) + abi.TYPE.ht_cached_keys)
    at = abi.DICT_KEYS
    first = keys + at.dk_indices + (1 << raw.read_u8(keys + at.dk_log2_index_bytes))
    count = raw.read_i64(keys + at.dk_nentries)
    return Names({raw.borrow(raw.read_u64(first + 16 * place)): place for place in range(count)})


def has_values(instance: object) -> bool:
    """Whether the object has its attributes in slots or among values."""
    return not _has_names(type(instance)) or bool(raw.read_u64(id(instance) + abi.INSTANCE.values) & 1)


def _has_names(cls: type) -> bool:
    """Whether its instances have a word for values, or a dict, before their header."""
    is_so = is_program_made(cls) and _flags(cls) & _MANAGED_DICT
    return bool(is_so and raw.read_u64(id(cls) + abi.TYPE.ht_cached_keys))


def field(cls: type, names: Names, name: str) -> Field | None:
    """Where instances of a transparent class have an attribute; None if it is no variable of theirs."""
    found = look_up(cls, name)
    if type(found) is MemberDescriptorType:
        # That of another class would raise; of one under two names there would be two variables.
        if not any(found.__objclass__ is base for base in _mro(cls)) or found.__name__ != name:
            return None
        member = raw.read_u64(id(found) + abi.MEMBER_DESCRIPTOR.d_member)
        if raw.read_i32(member + abi.MEMBER.type) != _OBJECT or raw.read_i32(member + abi.MEMBER.flags):
            return None
        return Field(name, raw.read_i64(member + abi.MEMBER.offset), is_value=False)
    if names.places is None or name not in names.places or _has_its_way(found):
        return None
    return Field(name, 8 * names.places[name], is_value=True)


def _has_its_way(found: object) -> bool:
    """Whether what a class has under a name goes before what an instance has, or is asked where that has nothing."""
    if type(found) is FunctionType:
        return False
    return found is not ABSENT and any(look_up(type(found), name) is not ABSENT for name in _DESCRIBING)


def value(instance: object, field: Field) -> object:
    """What an instance itself has in a field; ABSENT for nothing. It gets no dict of its own by being asked."""
    if not field.is_value:
        try:
            return _get(instance, field.name)
        except AttributeError:
            return ABSENT
    places = shared_names(type(instance)).places
    own = 0 if places is None else raw.read_u64(id(instance) + abi.INSTANCE.values)
    if not own & 1:
        return raw.borrow(own).get(field.name, ABSENT) if own else ABSENT
    place = (places or {}).get(field.name)
    address = 0 if place is None else raw.read_u64(own + 1 + 8 * place)
    return raw.borrow(address) if address else ABSENT
