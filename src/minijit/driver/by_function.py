"""A map from functions to what is known of them, which keeps none of them alive.

When a function ends, its row is taken out by C code alone. (`weakref.WeakKeyDictionary` runs a Python function there,
in the midst of whatever the program is at: at its recursion limit that fails, and says so.)
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class ByFunction[V]:
    """Functions and other objects that are compared by identity."""

    _rows: dict[weakref.ref[Any], V] = field(default_factory=dict)

    def __setitem__(self, function: Any, value: V) -> None:
        self._rows[weakref.ref(function, self._rows.__delitem__)] = value

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, function: Any) -> bool:
        return weakref.ref(function) in self._rows

    def get(self, function: Any) -> V | None:
        return self._rows.get(weakref.ref(function))

    def functions(self) -> Iterator[Any]:
        """Those that there are still."""
        for reference in list(self._rows):
            function = reference()
            if function is not None:
                yield function
