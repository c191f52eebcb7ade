"""Watchers: the ids that the interpreter hands out for dicts, functions, types and code objects, and what they watch.

The callbacks are machine code (`backend.watch_stubs`) and look into the filters kept here, so that Python is called
only for what is watched. Everything is counted: what was asked for twice is watched until it was given up twice.
Objects are known by address and never kept alive. The end of a dict, a function or a code object is reported, and
whoever watched it gives it up then, by address; a class just drops out.

Threads and collections may interrupt anything here, and their handlers come back in. So a count and what depends on it
change without a call in between (see `native_map`), and what is asked for is counted before it is asked of CPython.

A watcher that is left registered when the interpreter ends crashes it: the owner closes this by `atexit` at the latest.
"""

from __future__ import annotations

import ctypes
import enum
import weakref
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

from minijit.cpython.layouts import DICT_WATCHERS
from minijit.cpython.native_map import NativeMap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

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


@cache
def _function(name: str, *arguments: object) -> Callable[..., int]:
    prototype: Callable[[object], Callable[..., int]] = ctypes.PYFUNCTYPE(ctypes.c_int, *arguments)  # type: ignore[arg-type]
    return prototype((name, ctypes.pythonapi))


_watch_dict = _function("PyDict_Watch", ctypes.c_int, ctypes.py_object)
_unwatch_dict = _function("PyDict_Unwatch", ctypes.c_int, ctypes.c_void_p)
_watch_type = _function("PyType_Watch", ctypes.c_int, ctypes.py_object)
_unwatch_type = _function("PyType_Unwatch", ctypes.c_int, ctypes.c_void_p)
_assign_version_tag = _function("PyUnstable_Type_AssignVersionTag", ctypes.py_object)


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
    _dicts: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    _types: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    _ends: dict[int, weakref.ref[type]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for callback, prefix in CALLBACKS.items():
            add = _function(f"{prefix}_AddWatcher", ctypes.c_void_p)
            try:
                self._ids[callback] = add(self.callbacks[callback])
            except RuntimeError as error:
                self.close()
                raise WatcherIdsTaken(f"{prefix}_AddWatcher: {error}") from None

    @property
    def other_dict_watchers(self) -> int:
        """The bits that a dict's version has for watchers that are not ours."""
        return DICT_WATCHERS & ~(1 << self._ids["on_dict"])

    def watch_dict_key(self, namespace: dict[str, object], name: str) -> None:
        """Reports of `namespace[name]`, and of whatever befalls the whole dict."""
        number, address = self._ids["on_dict"], id(namespace)
        self._dicts[address] += 1
        _watch_dict(number, namespace)
        self.filters.dict_keys.add(dict_filter_key(address, name), 1)

    def unwatch_dict_key(self, address: int, name: str, *, dying: bool = False) -> None:
        """Gives up one `watch_dict_key`, of a dict known by address; a dying one is not touched any more.

        Raises `KeyError` if there was none, like all that give up.
        """
        self.filters.dict_keys.add(dict_filter_key(address, name), -1)
        self._dicts[address] -= 1
        if self._dicts[address] == 0:
            del self._dicts[address]
            if not dying:
                _unwatch_dict(self._ids["on_dict"], address)

    def watch_function(self, address: int) -> None:
        """Reports of changes to the function, and of its end."""
        self.filters.functions.add(address, 1)

    def unwatch_function(self, address: int) -> None:
        """Gives up one `watch_function`."""
        self.filters.functions.add(address, -1)

    def watch_code(self, code: CodeType) -> None:
        """Reports of the code object's end, and of every new function made of it."""
        self.filters.codes.add(id(code), 1)

    def unwatch_code(self, address: int) -> None:
        """Gives up one `watch_code`."""
        self.filters.codes.add(address, -1)

    def watch_type(self, kind: type) -> bool:
        """Reports of the next change to a class, after it was made. A report is the last until `rearm_type`.

        Whether it will be reported; if not, nobody may rely on the class.
        """
        number, address = self._ids["on_type"], id(kind)
        self._types[address] += 1
        _watch_type(number, kind)
        self._ends[address] = weakref.ref(kind, partial(self._type_ended, address))
        return self.rearm_type(kind)

    def rearm_type(self, kind: type) -> bool:
        """Lets a class report again: watchers fire once for each version tag, and the tags are finite.

        Of no use inside the report: the class loses its tag when that is over.
        """
        return bool(_assign_version_tag(kind))

    def unwatch_type(self, kind: type) -> None:
        """Gives up one `watch_type`."""
        address = id(kind)
        if address not in self._types:
            raise KeyError(kind)
        self._types[address] -= 1
        if self._types[address] == 0:
            del self._types[address], self._ends[address]
            _unwatch_type(self._ids["on_type"], address)

    def _type_ended(self, address: int, _reference: object) -> None:
        self._types.pop(address, None)
        self._ends.pop(address, None)

    def close(self) -> None:
        """Gives the ids back; nothing is reported any more. Safe to call twice.

        To be called while the handler still gets reports: a dict whose end was missed would be touched here.
        """
        for address in list(self._dicts):
            if address in self._dicts:
                del self._dicts[address]
                _unwatch_dict(self._ids["on_dict"], address)
        for address in list(self._types):
            if address in self._types:
                del self._types[address]
                _unwatch_type(self._ids["on_type"], address)
        self._ends.clear()
        while self._ids:
            callback, number = self._ids.popitem()
            _function(f"{CALLBACKS[callback]}_ClearWatcher", ctypes.c_int)(number)
