"""Watchers with a handler that takes notes: what the tests of watchers, and their programs, are made of.

In: nothing, or a function to call at each report. Out: a `Watching`, whose `reports` are what reached Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from minijit.backend.engine import Code, Engine
from minijit.backend.watch_stubs import WatchAddresses, watcher_text
from minijit.cpython import raw
from minijit.cpython.watch import CALLBACKS, Filters, Watch

Report = tuple[int, int, int, object, object]
Handler = Callable[[int, int, int, object, object], object]


def note(reports: list[Report]) -> Handler:
    """A handler that appends to a list."""
    return lambda kind, event, subject, key, new: reports.append((kind, event, subject, key, new))


@dataclass(slots=True)
class Watching:
    """Everything that watching takes, from the machine code to the ids."""

    filters: Filters
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

    def taken(self) -> list[tuple[int, int, object, object]]:
        """The reports since the last time, without their subjects."""
        reports, self.reports[:] = list(self.reports), ()
        return [(kind, event, key, new) for kind, event, _, key, new in reports]

    def close(self) -> None:
        self.watch.close()
        self.handle(None)
        self.code.close()


def start(engine: Engine, handler: Handler | None = None) -> Watching:
    """Registers watchers. The handler takes notes unless another is given."""
    cell, filters = raw.Buffer(8), Filters()
    addresses = WatchAddresses(
        handler=cell.address,
        dict_keys=filters.dict_keys.address,
        functions=filters.functions.address,
        codes=filters.codes.address,
        symbol=raw.symbol,
    )
    code = engine.compile(watcher_text(addresses), name="watchers")
    watch = Watch(filters, {name: code.address(name) for name in CALLBACKS})
    watching = Watching(filters, watch, code, cell)
    watching.handle(handler or note(watching.reports))
    return watching
