"""What is decided under stress, as tables: numbers in, decision out.

In: histories of roots, and policies that always say the same. Out: what `Stressed` makes of it; thresholds; and how
`Strikes` are spread.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from minijit.config import Config
from minijit.events import AbortReason, ExitReason, GiveUpReason, KillReason
from minijit.runtime.policy import (
    Bridge,
    ExitStats,
    GiveUp,
    MissStats,
    Policy,
    Recompile,
    Record,
    Resume,
    RootStats,
    Wait,
)
from minijit.runtime.stress import ABORTS, COMPILATIONS, LATE, SOON, Strikes, tightened, under_stress

ALL = "exits:3,kill:0.5,hot,osr,bridges"
DONE = RootStats(compilations=COMPILATIONS, versions=2)
FAILED = RootStats(aborts=ABORTS, last_abort=AbortReason.NOTHING)
TRIED = RootStats(compilations=COMPILATIONS - 1, aborts=ABORTS - 1, kills=1000, bridges=3, compile_seconds=1e9)
REASONS = sorted(set(GiveUpReason) - {GiveUpReason.UNSUITABLE}, key=lambda reason: reason.name)


def judged(stress: str, **settings: Any) -> Policy:
    config = Config(stress=stress, **settings)
    return under_stress(Policy(config), config)


@dataclass(frozen=True, slots=True)
class Always(Policy):
    """One answer to every question."""

    answer: Any

    def should_record(self, _root: Any) -> Any:
        return self.answer

    def after_abort(self, _root: Any) -> Any:
        return self.answer

    def after_exit(self, _exit: Any) -> Any:
        return self.answer

    def after_miss(self, _miss: Any) -> Any:
        return self.answer

    def after_kill(self, _root: Any, _reason: Any) -> Any:
        return self.answer

    def compile_unseen(self, _root: Any) -> bool:
        return True


def left(reason: ExitReason, root: RootStats = TRIED, **more: Any) -> ExitStats:
    return ExitStats(root=root, reason=reason, count=60, recent=60, seconds=1e-9, entries=100, **more)


def answers(policy: Policy, root: RootStats) -> list[object]:
    return [
        policy.should_record(root),
        policy.after_abort(root),
        policy.after_kill(root, KillReason.GLOBAL),
        policy.after_miss(MissStats(root, misses=50, entries=3, compilable=True)),
        policy.after_exit(left(ExitReason.OVERFLOW, root, is_new=False)),
    ]


def test_without_stress_the_policy_itself_decides() -> None:
    policy = Policy(Config())
    assert under_stress(policy, policy.config) is policy
    assert tightened(policy.config) is policy.config


@pytest.mark.parametrize("stress", ["exits:1", "kill:0.1", "hot", "osr", "bridges", ALL])
def test_nothing_is_given_up(stress: str) -> None:
    """However much was tried, and whatever the default says of it; and it ends all the same."""
    policy = judged(stress, call_threshold=2)
    assert any(isinstance(answer, GiveUp) for answer in answers(Policy(Config()), TRIED))
    wait = Wait(1) if "kill" in stress else Wait(2)
    assert answers(policy, TRIED) == [Record(), Wait(2 * 4 ** (Policy.ABORTS - 1)), wait, Record(), Resume(600)]
    for root in (DONE, FAILED):
        assert answers(policy, root) == [Wait(LATE)] * 4 + [Resume(600)]


@pytest.mark.parametrize("reason", REASONS)
def test_a_policy_that_gives_up_is_asked_again(reason: GiveUpReason) -> None:
    config = Config(stress="exits:1")
    policy = under_stress(Always(config, GiveUp(reason)), config)
    assert answers(policy, RootStats()) == [Wait(SOON)] * 3 + [Wait(500), Resume(600)]


@pytest.mark.parametrize("answer", [Wait(7), Resume(7), Bridge(), GiveUp(GiveUpReason.UNSUITABLE)])
def test_what_else_a_policy_says_is_done(answer: object) -> None:
    config = Config(stress="exits:1")
    policy = under_stress(Always(config, answer), config)
    assert answers(policy, TRIED) == [answer] * 5
    assert policy.compile_unseen(TRIED)


@pytest.mark.parametrize("reason", ExitReason)
@pytest.mark.parametrize("is_new", [False, True])
def test_exits_that_are_to_be_bridged(reason: ExitReason, is_new: bool) -> None:
    """A branch each time, others once: what a recording may help is recorded, the rest compiled anew."""
    wanted: object = Resume(600)
    if reason is ExitReason.UNTAKEN or (reason is ExitReason.KIND and is_new):
        wanted = Bridge()
    elif is_new:
        wanted = Recompile()
    policy = judged("bridges")
    assert policy.after_exit(left(reason, is_new=is_new)) == wanted
    assert not policy.compile_unseen(TRIED)


def test_thresholds() -> None:
    def lowered(stress: str) -> set[str]:
        before = Config(stress=stress)
        after = tightened(before)
        changed = {f.name for f in fields(Config) if getattr(before, f.name) != getattr(after, f.name)}
        assert after == replace(before, **dict.fromkeys(changed, 1))
        return changed

    assert lowered("exits:1,kill:0.5,osr") == set()
    assert lowered("bridges") == {"exit_threshold"}
    assert lowered("hot") == {"call_threshold", "loop_threshold", "exit_threshold", "miss_threshold", "threshold"}


@pytest.mark.parametrize("chance", [0.01, 0.3, 0.9])
def test_strikes_come_with_their_chance(chance: float) -> None:
    """The mean distance is 1/chance, and so many are at once."""
    strikes = Strikes(chance, 5)
    drawn = [strikes.entries() for _ in range(20_000)]
    assert min(drawn) == 1
    assert sum(drawn) / len(drawn) == pytest.approx(1 / chance, rel=0.05)
    assert drawn.count(1) / len(drawn) == pytest.approx(chance, rel=0.15)


def test_strikes_at_the_ends() -> None:
    assert {Strikes(1.0, seed).entries() for seed in range(50)} == {1}
    assert 1 <= Strikes(5e-324, 1).entries() <= 2**62 + 1


def test_victims() -> None:
    """Each as likely; none where there is none; the seed says which."""
    strikes = Strikes(0.5, 0)
    counts = Counter(strikes.victim("abc") for _ in range(3000))
    assert all(900 < counts[name] < 1100 for name in "abc")
    assert strikes.victim([]) is None

    def drawn(seed: int) -> list[object]:
        strikes = Strikes(0.2, seed)
        return [(strikes.entries(), strikes.victim(range(9))) for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)
