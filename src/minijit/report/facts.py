"""What explanations are made of: the driver's state of a function as plain, immutable data.

The driver fills these in (`driver/state.facts`); so explanations can be tested with facts made by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set

    from minijit.events import Event, ExitReason, GiveUpReason
    from minijit.ir.kinds import Kinds
    from minijit.ir.trace import Root


@dataclass(frozen=True, slots=True)
class ExitFacts:
    """An exit of a region in service, and how often it was taken."""

    reason: ExitReason
    offset: int
    detail: str
    count: int


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A region in service. `kinds` are those of its entry slots, `size` is in bytes, `offsets` are the instructions
    that it was made from, `assumed` the names in namespaces that it relies on."""

    kinds: Kinds
    size: int
    entries: int
    exits: tuple[ExitFacts, ...]
    offsets: Set[int]
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFacts:
    """What the driver knows of one root.

    `history` are the events it kept. `count` is how often the root was reached, which is looked at when it meets
    `hot_at`; `misses` how often it was reached with types that no version takes. A function is parked while another
    tool watches it, or while it is called too deep for the C stack.
    """

    root: Root
    versions: tuple[VersionFacts, ...]
    history: tuple[Event, ...]
    given_up: GiveUpReason | None
    suppressed: bool
    count: int
    hot_at: int
    misses: int = 0
    is_recorded: bool = False
    is_parked: bool = False
