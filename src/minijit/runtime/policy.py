"""Policies: pure decisions over plain statistics. Nothing here compiles, counts or looks at a clock.

The driver asks at thresholds, with everything that is known about the case, and carries out the action that comes
back. A policy of one's own subclasses `Policy` and overrides what it wants to decide otherwise. One that raises, or
gives an answer that is none, is reported and replaced by the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.config import Config
from minijit.events import ExitReason, GiveUpReason

if TYPE_CHECKING:
    from minijit.events import AbortReason, KillReason


# What a policy can say


@dataclass(frozen=True, slots=True)
class Record:
    """Record from the root."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave it to the interpreter for now; ask again after `times` more."""

    times: int

    def __post_init__(self) -> None:
        _require_times(self.times)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it to the interpreter for good."""

    reason: GiveUpReason


@dataclass(frozen=True, slots=True)
class Resume:
    """Keep the exit as it is; ask again after `times` more."""

    times: int

    def __post_init__(self) -> None:
        _require_times(self.times)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Compile the region anew with where the exit leads: what was seen there since the region was compiled, or, where
    that was nothing new, what is recorded from the exit on."""


@dataclass(frozen=True, slots=True)
class Recompile:
    """Compile the region anew with what is known by now."""


def _require_times(times: object) -> None:
    if type(times) is not int or times < 1:
        raise ValueError(f"times must be an int of at least 1, not {times!r}")


# What a policy is told


@dataclass(frozen=True, slots=True)
class RootStats:
    """The history of one root in this process. `is_stuck`: the last two attempts came to nothing, and for the same
    obstacle. `compile_seconds` is that of all roots since minijit was enabled, and `code_bytes` the size of all machine
    code in service."""

    compilations: int = 0
    bridges: int = 0
    aborts: int = 0
    kills: int = 0
    versions: int = 0
    last_abort: AbortReason | None = None
    is_stuck: bool = False
    compile_seconds: float = 0.0
    code_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ExitStats:
    """An exit that was taken `count` times. `seconds` passed since the region went into service (or the last question);
    `recent` counts the exit in that time. `is_new`: nobody was asked about an exit of the root there before, for that
    reason, though the region be another."""

    root: RootStats
    reason: ExitReason
    count: int
    recent: int
    seconds: float
    entries: int
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class MissStats:
    """A root that is reached with types which no version takes. `compilable` tells whether a version could."""

    root: RootStats
    misses: int
    entries: int
    compilable: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """The default: bridges for branches that were not taken before, patience with rare exits, limits on everything.

    A hot branch is bridged (as PyPy and LuaJIT do), and so is a place that finds an object of another class; after the
    second bridge of a root the rest of its branches are compiled unseen, so that a function with many branches needs
    few compilations. A region that leaves more often than every `LEAST_SECONDS` on average costs more than it gives and
    is given up; if most of its runs end so, more often than every `OFTEN_SECONDS`.
    """

    config: Config

    LEAST_SECONDS, OFTEN_SECONDS = 4e-6, 1e-5
    AFTER_BRIDGES = 2
    ABORTS = 4
    KILLS = 12

    def __post_init__(self) -> None:
        if not isinstance(self.config, Config):
            raise TypeError(f"a policy takes a minijit.Config, not {self.config!r}")

    def should_record(self, root: RootStats) -> Record | Wait | GiveUp:
        """A root is hot, and has no code for the types at hand."""
        exhausted = self._exhausted(root)
        if exhausted is not None:
            return exhausted
        if root.aborts >= self.ABORTS:
            return GiveUp(GiveUpReason.ABORTS)
        return Record()

    def after_abort(self, root: RootStats) -> Wait | GiveUp:
        """A recording came to nothing: wait longer each time, but no further time for what stands in the way still."""
        if root.aborts >= self.ABORTS or root.is_stuck:
            return GiveUp(GiveUpReason.ABORTS)
        return Wait(self.config.call_threshold * 4**root.aborts)

    def after_exit(self, exit: ExitStats) -> Resume | Bridge | Recompile | GiveUp:
        """An exit is hot."""
        spent = self._exhausted(exit.root) is not None
        # A place that was recorded already, and where nothing new was seen, has nothing to tell.
        learns = exit.reason.is_unknown and exit.is_new
        is_news = exit.reason is ExitReason.UNTAKEN or learns
        if is_news and exit.root.bridges < self.config.bridges and not spent:
            return Bridge()
        is_proven = exit.reason is ExitReason.WARM
        is_otherwise = exit.reason in (ExitReason.OVERWRITTEN, ExitReason.UNBOUND) and exit.is_new
        # What is called may not be compiled yet: now and then somebody looks, the less often the more it has cost.
        tried = min(exit.root.compilations + exit.root.aborts, 32)
        is_time = exit.is_new or exit.count > self.config.exit_threshold << tried
        is_wanted = exit.reason is ExitReason.CALLEE and is_time
        if (is_proven or is_otherwise or is_wanted or exit.reason is ExitReason.GLOBAL) and not spent:
            return Recompile()
        # Where every other run ends there, hardly anything of what it is for gets done.
        least = self.OFTEN_SECONDS if 2 * exit.count > exit.entries else self.LEAST_SECONDS
        if exit.recent and exit.seconds / exit.recent < least:
            return GiveUp(GiveUpReason.EXITS)
        return Resume(10 * exit.count)

    def after_miss(self, miss: MissStats) -> Record | Wait | GiveUp:
        """Calls come with types that no version takes."""
        if miss.compilable and miss.root.versions < self.config.versions and self._exhausted(miss.root) is None:
            return Record()
        if miss.misses > miss.entries:
            return GiveUp(GiveUpReason.MISSES)
        return Wait(10 * miss.misses)

    def after_kill(self, root: RootStats, reason: KillReason) -> Wait | GiveUp:  # noqa: ARG002 - for subclasses
        """An assumption broke and a region is gone."""
        if root.kills >= self.KILLS:
            return GiveUp(GiveUpReason.KILLS)
        return Wait(min(self.config.call_threshold * 2**root.kills, 2**20))

    def compile_unseen(self, root: RootStats) -> bool:
        """Whether branches that no recording took are compiled all the same."""
        return root.bridges >= self.AFTER_BRIDGES

    def _exhausted(self, root: RootStats) -> GiveUp | None:
        if root.compilations >= self.config.compilations:
            return GiveUp(GiveUpReason.BUDGET)
        if root.compile_seconds >= self.config.compile_seconds:
            return GiveUp(GiveUpReason.TIME)
        if root.code_bytes >= self.config.code_bytes:
            return GiveUp(GiveUpReason.MEMORY)
        return None
