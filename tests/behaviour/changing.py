"""Globals that change without a visible effect, and the kills that this must lead to.

In: functions that multiply everything by their global `g`. Out: changes that whoever relies on the value must notice,
and how many regions went out of service meanwhile, and why: a test that changes what regions rely on shows by these
that it did.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import minijit
from minijit.events import Killed, KillReason

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGED = (KillReason.GLOBAL.label, "g")
"""The kill of a region that relies on `g`; when a namespace dies, say, the reason is the same and the detail is not."""


def change(function: Any) -> None:
    """Gives the global `g` the other one of two values that are the same factor. No watcher would be told of a store
    of the very object that is there."""
    names = function.__globals__
    names["g"] = 1 if names["g"] is True else True


@contextmanager
def kills_counted() -> Iterator[Counter[tuple[str, str]]]:
    """How many regions are killed meanwhile, for each reason with its detail. Those of `change` are `CHANGED`."""
    kills: Counter[tuple[str, str]] = Counter()

    def note(event: object) -> None:
        if isinstance(event, Killed):
            kills[event.reason.label, event.detail] += 1

    unsubscribe = minijit.subscribe(note)
    yield kills
    unsubscribe()
