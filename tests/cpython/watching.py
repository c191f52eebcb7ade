"""Watchers with a handler that takes notes: what the tests of watchers, and their programs, are made of.

In: nothing, or a function to call at each report. Out: a `Watching`. Changes of dicts are in its `changes`, as machine
code noted them; its `reports` are what reached Python.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable
from dataclasses import dataclass, field

from minijit.backend.engine import Code, Engine
from minijit.backend.watch_stubs import WatchAddresses, watcher_text
from minijit.cpython import raw
from minijit.cpython.changes import Change, Changes
from minijit.cpython.watch import CALLBACKS, DictEvent, Filters, Watch

Report = tuple[int, int, int, object]
Handler = Callable[[int, int, int, object], object]

ABSENT = 0
"""The address of no value."""


put_known_hash: Callable[[object, object, object, int], int] = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_ssize_t
)(("_PyDict_SetItem_KnownHash", ctypes.pythonapi))
"""`put_known_hash(dict, key, value, hash)`: a store whose key need not know its own hash."""


def note(reports: list[Report]) -> Handler:
    """A handler that appends to a list."""
    return lambda kind, event, subject, new: reports.append((kind, event, subject, new))


def change(event: DictEvent, namespace: object, key: str | None, new: object = ABSENT) -> Change:
    """What is to be noted of a change: `key` is None where it may be any, and `new` ABSENT where there is no value."""
    return Change(event, id(namespace), None if key is None else hash(key), ABSENT if new is ABSENT else id(new))


def make_function() -> types.FunctionType:
    """A new function with a code object of its own."""
    namespace: dict[str, types.FunctionType] = {}
    exec("def made(x=1): return x", namespace)
    return namespace.pop("made")


@dataclass(slots=True)
class Watching:
    """Everything that watching takes, from the machine code to the ids."""

    filters: Filters
    changes: Changes
    watch: Watch
    code: Code
    cell: raw.Buffer
    reports: list[Report] = field(default_factory=list)

    def handle(self, handler: Handler | None) -> None:
        """From now on reports go to this handler."""
        old = raw.read_u64(self.cell.address)
        raw.write_u64(self.cell.address, 0 if handler is None else raw.own(handler))
        if old:
            raw.give_back(old)

    def noted(self) -> list[Change]:
        """The changes since the last time. Fails where there were too many to tell."""
        noted = self.changes.noted()
        assert noted.are_all
        self.changes.settle(noted.until)
        return list(noted.changes)

    def taken(self) -> list[Change | Report]:
        """Everything since the last time: what was noted, then what was reported."""
        noted = self.noted()
        reports, self.reports[:] = list(self.reports), ()
        return [*noted, *reports]

    def close(self) -> None:
        self.watch.close()
        self.handle(None)
        self.code.close()


def start(engine: Engine, handler: Handler | None = None) -> Watching:
    """Registers watchers. The handler takes notes unless another is given."""
    cell, filters, changes = raw.Buffer(8), Filters(), Changes()
    addresses = WatchAddresses(
        handler=cell.address,
        changes=changes,
        dict_keys=filters.dict_keys.address,
        functions=filters.functions.address,
        codes=filters.codes.address,
        symbol=raw.symbol,
    )
    code = engine.compile(watcher_text(addresses), name="watchers")
    watch = Watch(filters, {name: code.address(name) for name in CALLBACKS})
    watching = Watching(filters, changes, watch, code, cell)
    watching.handle(handler or note(watching.reports))
    return watching
