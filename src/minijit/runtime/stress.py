"""Stress: what is decided while the stress modes are on (see `config.Stress`).

In: a configuration with modes, and whatever policy a root has. Out: lower thresholds (`tightened`); a policy around the
root's that keeps code in service, where the root's own would lose patience with it (`Stressed`); and when a region is
killed, and which (`Strikes`). The same seed gives the same decisions.

Nothing here counts, leaves or kills: guards that fail although they hold are the backend's (`lower`), loops that are
left at each round too; that a region's end is due is noted where regions are entered (`entry`), and the driver carries
it out (`broken`). Invariant: however often code is killed or left, compiling it again comes to an end.
"""

from __future__ import annotations

import math
from _random import Random  # the program may have a module of its own that is called `random`
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minijit.config import Config, Stress
from minijit.events import ExitReason, GiveUpReason
from minijit.runtime.policy import Bridge, GiveUp, Policy, Recompile, Record, Resume, RootStats, Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minijit.events import KillReason
    from minijit.runtime.policy import ExitStats, MissStats

COMPILATIONS = 100
"""Of one root: there are no more after so many."""
ABORTS = 30
"""Of one root, likewise."""
SOON = 8
"""When to ask again where the root's own policy would give up."""
LATE = 2**20
"""When to ask again where there is to be nothing more."""

_IMPATIENCE = frozenset(GiveUpReason) - {GiveUpReason.UNSUITABLE}
_BRIDGED = frozenset({ExitReason.UNTAKEN, ExitReason.KIND})
"""Exits where a recording may see what no recording saw."""


def tightened(config: Config) -> Config:
    """The configuration with the thresholds that its stress modes ask for."""
    stress = config.stressed
    if stress.hot:
        config = replace(config, call_threshold=1, loop_threshold=1, exit_threshold=1, miss_threshold=1, threshold=1)
    return replace(config, exit_threshold=1) if stress.bridges else config


def under_stress(policy: Policy, config: Config) -> Policy:
    """The policy that decides for a root whose own policy is this one: the same, if no mode is on."""
    stress = config.stressed
    return Stressed(config, policy, stress) if stress.is_on else policy


@dataclass(frozen=True, slots=True)
class Stressed(Policy):
    """The decisions of another policy, but for those that would take code out of service for good.

    The other policy is told that nothing has been spent yet; where it gives up all the same, it is asked again later.
    What it decides to wait for after a kill, and about exits when each is to be bridged, is overridden.
    """

    inner: Policy
    stress: Stress

    def should_record(self, root: RootStats) -> Record | Wait | GiveUp:
        return Wait(LATE) if _is_spent(root) else _patient(self.inner.should_record(_rested(root)))

    def after_abort(self, root: RootStats) -> Wait | GiveUp:
        return Wait(LATE) if _is_spent(root) else _patient(self.inner.after_abort(_rested(root)))

    def after_kill(self, root: RootStats, reason: KillReason) -> Wait | GiveUp:
        if _is_spent(root):
            return Wait(LATE)
        return Wait(1) if self.stress.kill else _patient(self.inner.after_kill(_rested(root), reason))

    def after_miss(self, miss: MissStats) -> Record | Wait | GiveUp:
        if _is_spent(miss.root):
            return Wait(LATE)
        return _patient(self.inner.after_miss(replace(miss, root=_rested(miss.root))), 10 * miss.misses)

    def after_exit(self, exit: ExitStats) -> Resume | Bridge | Recompile | GiveUp:
        later = Resume(10 * exit.count)
        if _is_spent(exit.root):
            return later
        if self.stress.bridges:
            if exit.reason is ExitReason.UNTAKEN or (exit.is_new and exit.reason in _BRIDGED):
                return Bridge()
            return Recompile() if exit.is_new else later
        answer = self.inner.after_exit(replace(exit, root=_rested(exit.root)))
        return later if _is_impatient(answer) else answer

    def compile_unseen(self, root: RootStats) -> bool:
        """Never where exits are to be bridged: there would be fewer of them."""
        return not self.stress.bridges and self.inner.compile_unseen(root)


def _is_spent(root: RootStats) -> bool:
    return root.compilations >= COMPILATIONS or root.aborts >= ABORTS


def _rested(root: RootStats) -> RootStats:
    """The history of a root of which nothing was spent. Some aborts stay, since one waits longer after each."""
    aborts = min(root.aborts, Policy.ABORTS - 1)
    return replace(root, compilations=0, aborts=aborts, kills=0, is_stuck=False, compile_seconds=0.0, code_bytes=0)


def _is_impatient(answer: object) -> bool:
    return isinstance(answer, GiveUp) and answer.reason in _IMPATIENCE


def _patient[A](answer: A, times: int = SOON) -> A | Wait:
    """The answer, or to ask again instead of giving up."""
    return Wait(times) if _is_impatient(answer) else answer


class Strikes:
    """When a region is killed, and which: each entry brings it about with the same chance."""

    __slots__ = ("_chance", "_random")

    def __init__(self, chance: float, seed: int) -> None:
        self._chance = chance
        self._random = Random(seed)

    def entries(self) -> int:
        """The entry, counted from the next as 1, at which it is to be."""
        if self._chance >= 1:
            return 1
        # As many entries in vain as a geometric distribution has it.
        return 1 + int(min(math.log(1 - self._random.random()) / math.log1p(-self._chance), 2.0**62))

    def victim[R](self, regions: Sequence[R]) -> R | None:
        """One of the regions in service; None if there are none."""
        return regions[int(self._random.random() * len(regions))] if regions else None
