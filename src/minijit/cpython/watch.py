"""Watchers: the ids that the interpreter hands out for dicts, functions, types and code objects, and what they watch.

The callbacks are machine code (`backend.watch_stubs`) and look into the filters kept here, so that Python is called
only for what is watched. Everything is counted: what was asked for twice is watched until it was given up twice.
Objects are known by address and never kept alive; the watchers themselves tell when one dies.

A watcher that is left registered when the interpreter ends crashes it: the owner closes this by `atexit` at the latest.
"""

from __future__ import annotations

import ctypes
import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minijit.cpython.native_map import NativeMap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FunctionType

CALLBACKS = {"on_dict": "PyDict", "on_function": "PyFunction", "on_type": "PyType", "on_code": "PyCode"}
"""The native callbacks, and the prefix of the C functions that add and clear their watchers."""


class Watched(enum.IntEnum):
    """What a report is about."""

    DICT = 0
    FUNCTION = 1
    TYPE = 2
    CODE = 3


class DictEvent(enum.IntEnum):
    """CPython's PyDict_WatchEvent. The change is about to happen."""

    ADDED = 0
    MODIFIED = 1
    DELETED = 2
    CLONED = 3
    CLEARED = 4
    DEALLOCATED = 5


class FunctionEvent(enum.IntEnum):
    """CPython's PyFunction_WatchEvent."""

    CREATE = 0
    DESTROY = 1
    MODIFY_CODE = 2
    MODIFY_DEFAULTS = 3
    MODIFY_KWDEFAULTS = 4


class CodeEvent(enum.IntEnum):
    """CPython's PyCodeEvent."""

    CREATE = 0
    DESTROY = 1


class WatcherIdsTaken(Exception):
    """Other libraries hold all ids of one sort of watcher."""


_WORD = 2**64 - 1


def dict_filter_key(address: int, name: str) -> int:
    """The filter's key for a name in a dict. Two may collide: the handler decides in the end."""
    return (address ^ hash(name) & _WORD) | 1


def _call(name: str, *arguments: object) -> int:
    function = getattr(ctypes.pythonapi, name)
    function.restype = ctypes.c_int
    result: int = function(*arguments)
    return result


@dataclass(slots=True)
class Filters:
    """What the native callbacks look into."""

    dict_keys: NativeMap = field(default_factory=NativeMap)
    functions: NativeMap = field(default_factory=NativeMap)
    codes: NativeMap = field(default_factory=NativeMap)


@dataclass(slots=True)
class Watch:
    """The watcher ids and what is watched. `callbacks` are the addresses of the native callbacks.

    Raises `WatcherIdsTaken`, having undone everything, where an id cannot be had.
    """

    filters: Filters
    callbacks: Mapping[str, int]
    _ids: dict[str, int] = field(default_factory=dict)
    _names: Counter[tuple[int, str]] = field(default_factory=Counter)
    _dicts: Counter[int] = field(default_factory=Counter)
    _types: Counter[int] = field(default_factory=Counter)
    _counts: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for callback, prefix in CALLBACKS.items():
            try:
                self._ids[callback] = _call(f"{prefix}_AddWatcher", ctypes.c_void_p(self.callbacks[callback]))
            except RuntimeError as error:
                self.close()
                raise WatcherIdsTaken(f"{prefix}_AddWatcher: {error}") from None

    def watch_dict_key(self, namespace: dict[str, object], name: str) -> None:
        """Reports of `namespace[name]`, and of whatever befalls the whole dict."""
        address = id(namespace)
        self._names[address, name] += 1
        self._dicts[address] += 1
        key = dict_filter_key(address, name)
        self.filters.dict_keys[key] = self.filters.dict_keys.get(key) + 1
        _call("PyDict_Watch", self._ids["on_dict"], ctypes.py_object(namespace))

    def unwatch_dict_key(self, address: int, name: str, *, dying: bool = False) -> None:
        """Gives up one `watch_dict_key`, of a dict known by address; a dying one is not touched any more."""
        _take_one(self._names, (address, name))
        key = dict_filter_key(address, name)
        _decrement(self.filters.dict_keys, key)
        if not _take_one(self._dicts, address) and not dying:
            _call("PyDict_Unwatch", self._ids["on_dict"], ctypes.c_void_p(address))

    def watch_function(self, function: FunctionType) -> None:
        """Reports of changes to the function, and of its end."""
        self._count("function", id(function), self.filters.functions)

    def unwatch_function(self, address: int) -> None:
        """Gives up one `watch_function`."""
        self._uncount("function", address, self.filters.functions)

    def watch_code(self, code: CodeType) -> None:
        """Reports of the code object's end, and of every new function made of it."""
        self._count("code", id(code), self.filters.codes)

    def unwatch_code(self, address: int) -> None:
        """Gives up one `watch_code`."""
        self._uncount("code", address, self.filters.codes)

    def watch_type(self, kind: type) -> None:
        """Reports of the next change to a class. A report is the last until `rearm_type`."""
        self._types[id(kind)] += 1
        _call("PyType_Watch", self._ids["on_type"], ctypes.py_object(kind))
        self.rearm_type(kind)

    def rearm_type(self, kind: type) -> None:
        """Lets a class report again: watchers fire once for each version tag."""
        _call("PyUnstable_Type_AssignVersionTag", ctypes.py_object(kind))

    def unwatch_type(self, kind: type) -> None:
        """Gives up one `watch_type`."""
        if not _take_one(self._types, id(kind)):
            _call("PyType_Unwatch", self._ids["on_type"], ctypes.py_object(kind))

    def _count(self, sort: str, address: int, filter: NativeMap) -> None:
        self._counts[sort, address] += 1
        filter[address] = self._counts[sort, address]

    def _uncount(self, sort: str, address: int, filter: NativeMap) -> None:
        _take_one(self._counts, (sort, address))
        _decrement(filter, address)

    def close(self) -> None:
        """Gives the ids back; nothing is reported any more. Safe to call twice."""
        for address in self._dicts:
            _call("PyDict_Unwatch", self._ids["on_dict"], ctypes.c_void_p(address))
        for address in self._types:
            _call("PyType_Unwatch", self._ids["on_type"], ctypes.c_void_p(address))
        for counter in (self._names, self._dicts, self._types, self._counts):
            counter.clear()
        for callback, number in self._ids.items():
            _call(f"{CALLBACKS[callback]}_ClearWatcher", number)
        self._ids = {}


def _take_one(counter: Counter[Any], key: object) -> int:
    """One less; how many are left."""
    left = counter[key] - 1
    if left > 0:
        counter[key] = left
    else:
        del counter[key]
    return max(left, 0)


def _decrement(filter: NativeMap, key: int) -> None:
    left = filter.get(key) - 1
    if left > 0:
        filter[key] = left
    else:
        del filter[key]
