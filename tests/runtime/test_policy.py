"""The default policy: numbers in, decision out; and that no program can make it compile for ever.

The simulation at the end plays a root in the hands of an adversary who chooses what becomes of every attempt: the
decisions must come to an end, whatever happens.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from conftest import Completed, RunPython
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

CONFIG = Config()
POLICY = Policy(CONFIG)
BUDGET = GiveUp(GiveUpReason.BUDGET)
TIME = GiveUp(GiveUpReason.TIME)
MEMORY = GiveUp(GiveUpReason.MEMORY)
ABORTS = GiveUp(GiveUpReason.ABORTS)


# Whether to record


@pytest.mark.parametrize(
    ("root", "wanted"),
    [
        (RootStats(), Record()),
        (RootStats(compilations=CONFIG.compilations - 1), Record()),
        (RootStats(compilations=CONFIG.compilations), BUDGET),
        (RootStats(compile_seconds=CONFIG.compile_seconds - 0.1), Record()),
        (RootStats(compile_seconds=CONFIG.compile_seconds), TIME),
        (RootStats(code_bytes=CONFIG.code_bytes - 1), Record()),
        (RootStats(code_bytes=CONFIG.code_bytes), MEMORY),
        (RootStats(aborts=3, last_abort=AbortReason.LEFT), Record()),
        (RootStats(aborts=4, last_abort=AbortReason.LEFT), ABORTS),
        (RootStats(kills=11, compilations=11), Record()),
        (RootStats(bridges=CONFIG.bridges), Record()),
    ],
)
def test_should_record(root: RootStats, wanted: object) -> None:
    assert POLICY.should_record(root) == wanted


@pytest.mark.parametrize(
    ("aborts", "wanted"),
    [(1, Wait(120)), (2, Wait(480)), (3, Wait(1920)), (4, ABORTS), (100, ABORTS)],
)
def test_after_abort(aborts: int, wanted: object) -> None:
    assert POLICY.after_abort(RootStats(aborts=aborts)) == wanted


def test_what_stands_in_the_way_twice_is_not_tried_again() -> None:
    assert POLICY.after_abort(RootStats(aborts=2, is_stuck=True)) == ABORTS


# Exits

SLOW = {"count": 60, "recent": 60, "seconds": 1.0}
FAST = {"count": 60, "recent": 60, "seconds": 60 * 3e-6}
SPENT = RootStats(compilations=CONFIG.compilations)
BRIDGED = RootStats(bridges=CONFIG.bridges)


@pytest.mark.parametrize(
    ("root", "reason", "how_often", "wanted"),
    [
        # A branch is worth a bridge, however fast it is taken, as long as there is a budget.
        (RootStats(), ExitReason.UNTAKEN, SLOW, Bridge()),
        (RootStats(), ExitReason.UNTAKEN, FAST, Bridge()),
        (RootStats(bridges=CONFIG.bridges - 1), ExitReason.UNTAKEN, FAST, Bridge()),
        (BRIDGED, ExitReason.UNTAKEN, SLOW, Resume(600)),
        (BRIDGED, ExitReason.UNTAKEN, FAST, GiveUp(GiveUpReason.EXITS)),
        (SPENT, ExitReason.UNTAKEN, SLOW, Resume(600)),
        (SPENT, ExitReason.UNTAKEN, FAST, GiveUp(GiveUpReason.EXITS)),
        # Another class, or one that nobody has seen: recorded, if that has not been done since.
        *((RootStats(), reason, FAST, Bridge()) for reason in ExitReason if reason.is_unknown),
        # The same of a handler.
        (BRIDGED, ExitReason.RAISED, SLOW, Resume(600)),
        (RootStats(), ExitReason.RAISED, SLOW | {"is_new": False}, Resume(600)),
        (BRIDGED, ExitReason.KIND, SLOW, Resume(600)),
        (RootStats(), ExitReason.KIND, SLOW | {"is_new": False}, Resume(600)),
        (RootStats(), ExitReason.UNSEEN, FAST | {"is_new": False}, GiveUp(GiveUpReason.EXITS)),
        # A global of another type now: compiled for that.
        (RootStats(), ExitReason.GLOBAL, FAST, Recompile()),
        (BRIDGED, ExitReason.GLOBAL, SLOW, Recompile()),
        (RootStats(), ExitReason.CALLEE, FAST, Recompile()),
        (RootStats(), ExitReason.WARM, FAST, Recompile()),
        (SPENT, ExitReason.WARM, SLOW, Resume(600)),
        (SPENT, ExitReason.GLOBAL, SLOW, Resume(600)),
        (SPENT, ExitReason.GLOBAL, FAST, GiveUp(GiveUpReason.EXITS)),
        # Whatever else: patience, unless it is often.
        *(
            (RootStats(), reason, SLOW, Resume(600))
            for reason in ExitReason
            if reason.name
            not in ("UNTAKEN", "GLOBAL", "CALLEE", "WARM", "KIND", "UNSEEN", "RAISED", "OVERWRITTEN", "UNBOUND")
        ),
        (RootStats(), ExitReason.OVERFLOW, FAST, GiveUp(GiveUpReason.EXITS)),
        (RootStats(), ExitReason.UNSUPPORTED, FAST, GiveUp(GiveUpReason.EXITS)),
        (RootStats(), ExitReason.LEFT_LOOP, FAST, GiveUp(GiveUpReason.EXITS)),
        (RootStats(), ExitReason.OVERFLOW, {"count": 500, "recent": 100, "seconds": 100 * 5e-6}, Resume(5000)),
        # Where most runs end so, more patience is lost.
        (RootStats(), ExitReason.OVERFLOW, {"count": 501, "recent": 100, "seconds": 9e-4}, GiveUp(GiveUpReason.EXITS)),
        (RootStats(), ExitReason.OVERFLOW, {"count": 501, "recent": 100, "seconds": 11e-4}, Resume(5010)),
        # Something else than a number is overwritten, or nothing: compiled for that, once.
        (RootStats(), ExitReason.OVERWRITTEN, SLOW, Recompile()),
        (RootStats(), ExitReason.UNBOUND, SLOW, Recompile()),
        (RootStats(), ExitReason.OVERWRITTEN, SLOW | {"is_new": False}, Resume(600)),
        (SPENT, ExitReason.UNBOUND, SLOW, Resume(600)),
        (RootStats(), ExitReason.OVERFLOW, {"count": 60, "recent": 0, "seconds": 0.0}, Resume(600)),
    ],
)
def test_after_exit(root: RootStats, reason: ExitReason, how_often: dict[str, float], wanted: object) -> None:
    stats = ExitStats(root=root, reason=reason, entries=1000, **how_often)  # type: ignore[arg-type]
    assert POLICY.after_exit(stats) == wanted


# Misses


@pytest.mark.parametrize(
    ("root", "misses", "entries", "compilable", "wanted"),
    [
        (RootStats(versions=1), 20, 1000, True, Record()),
        (RootStats(versions=3), 20, 0, True, Record()),
        (RootStats(versions=4), 20, 1000, True, Wait(200)),
        (RootStats(versions=4), 1001, 1000, True, GiveUp(GiveUpReason.MISSES)),
        (RootStats(versions=1), 20, 1000, False, Wait(200)),
        (RootStats(versions=1), 20, 19, False, GiveUp(GiveUpReason.MISSES)),
        (RootStats(versions=1), 20, 20, False, Wait(200)),
        (replace(SPENT, versions=1), 20, 1000, True, Wait(200)),
        (replace(SPENT, versions=1), 20, 10, True, GiveUp(GiveUpReason.MISSES)),
    ],
)
def test_after_miss(root: RootStats, misses: int, entries: int, compilable: bool, wanted: object) -> None:
    assert POLICY.after_miss(MissStats(root, misses, entries, compilable)) == wanted


# Kills


@pytest.mark.parametrize(
    ("kills", "wanted"),
    [(1, Wait(60)), (2, Wait(120)), (11, Wait(61_440)), (12, GiveUp(GiveUpReason.KILLS))],
)
@pytest.mark.parametrize("reason", KillReason)
def test_after_kill(kills: int, wanted: object, reason: KillReason) -> None:
    assert POLICY.after_kill(RootStats(kills=kills), reason) == wanted


def test_the_wait_after_a_kill_has_an_end() -> None:
    patient = Policy(Config(call_threshold=10**6))
    assert patient.after_kill(RootStats(kills=11), KillReason.GLOBAL) == Wait(2**20)


@pytest.mark.parametrize(("bridges", "wanted"), [(0, False), (1, False), (2, True), (8, True)])
def test_compile_unseen(bridges: int, wanted: bool) -> None:
    assert POLICY.compile_unseen(RootStats(bridges=bridges)) is wanted


def test_thresholds_come_from_the_configuration() -> None:
    policy = Policy(Config(call_threshold=7, bridges=0, compilations=1, versions=1, compile_seconds=0))
    assert policy.should_record(RootStats()) == TIME
    assert policy.after_abort(RootStats(aborts=1)) == Wait(28)
    policy = Policy(Config(bridges=0))
    assert policy.after_exit(ExitStats(RootStats(), ExitReason.UNTAKEN, 60, 60, 1.0, 10)) == Resume(600)


def test_a_policy_of_ones_own_overrides_what_it_likes() -> None:
    class Widening(Policy):
        KILLS = 2

        def compile_unseen(self, _root: RootStats) -> bool:
            return True

    policy = Widening(CONFIG)
    assert policy.compile_unseen(RootStats())
    assert policy.after_kill(RootStats(kills=2), KillReason.GLOBAL) == GiveUp(GiveUpReason.KILLS)
    assert policy.should_record(RootStats()) == Record()


# In the hands of an adversary

QUESTIONS = 3000


class Adversary:
    """One root. What is asked, and what becomes of an attempt, is chosen at random from what could happen."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.policy = policy
        self.choices = random.Random(seed)
        # Some programs always fail in the same way.
        self.fails = self.choices.choice((0.0, 0.1, 0.5, 1.0))
        self.dies = self.choices.choice((0.0, 0.0, 0.1, 0.9))
        self.missing = self.choices.choice((0.0, 0.3))
        self.pace = self.choices.choice(((100.0,), (100.0,), (1e-6, 1.0, 100.0)))
        self.reasons = self.choices.choice(((*ExitReason,), (ExitReason.UNTAKEN, ExitReason.GLOBAL)))
        self.root = RootStats()
        self.work = 0
        self.exits = 10
        self.misses = 10

    def play(self) -> GiveUpReason | None:
        """Why the root was given up; None if it was still there after all questions."""
        for _ in range(QUESTIONS):
            answer = self.ask()
            if isinstance(answer, GiveUp):
                return answer.reason
        return None

    def ask(self) -> object:
        if not self.root.versions:
            return self.carry_out(self.policy.should_record(self.root))
        if self.choices.random() < self.dies:
            self.change(kills=1, versions=-1)
            return self.policy.after_kill(self.root, KillReason.GLOBAL)
        if self.choices.random() < self.missing:
            self.misses += self.choices.randrange(100)
            miss = MissStats(
                self.root, self.misses, self.choices.randrange(2 * self.misses), self.choices.random() < 0.9
            )
            return self.carry_out(self.policy.after_miss(miss))
        self.exits += self.choices.randrange(100)
        exit = ExitStats(
            root=self.root,
            reason=self.choices.choice(self.reasons),
            count=self.exits,
            recent=self.choices.randrange(1, self.exits),
            seconds=self.choices.choice(self.pace),
            entries=1000,
        )
        return self.carry_out(self.policy.after_exit(exit))

    def carry_out(self, answer: object) -> object:
        match answer:
            case Record() | Recompile() | Bridge():
                return self.attempt(answer)
        return answer

    def attempt(self, answer: Record | Recompile | Bridge) -> object:
        self.work += 1
        if isinstance(answer, Bridge) and self.choices.random() < 0.7:
            self.change(bridges=1)
        if self.choices.random() < self.fails:
            self.change(aborts=1)
            return self.policy.after_abort(self.root)
        self.change(compilations=1, versions=isinstance(answer, Record))
        return answer

    def change(self, **more: int) -> None:
        self.root = replace(self.root, **{name: getattr(self.root, name) + by for name, by in more.items()})


@pytest.mark.parametrize("seed", range(200))
def test_no_program_makes_it_compile_for_ever(seed: int) -> None:
    adversary = Adversary(POLICY, seed)
    adversary.play()
    assert adversary.work <= CONFIG.compilations + Policy.ABORTS
    assert adversary.root.compilations <= CONFIG.compilations


@pytest.mark.parametrize("seed", range(20))
def test_a_program_that_always_fails_is_given_up(seed: int) -> None:
    adversary = Adversary(POLICY, seed)
    adversary.fails = 1.0
    assert adversary.play() is GiveUpReason.ABORTS
    assert adversary.work == Policy.ABORTS


def test_a_program_that_is_always_killed_is_given_up() -> None:
    adversary = Adversary(POLICY, 1)
    adversary.fails, adversary.dies = 0.0, 1.0
    assert adversary.play() is GiveUpReason.KILLS
    assert adversary.root.kills == Policy.KILLS


def test_all_of_a_process_stops_when_its_time_is_spent() -> None:
    adversary = Adversary(POLICY, 1)
    adversary.root = RootStats(compile_seconds=CONFIG.compile_seconds)
    assert adversary.play() is GiveUpReason.TIME
    assert adversary.work == 0


def test_a_policy_without_limits_would_be_noticed() -> None:
    """The simulation can fail."""

    class Careless(Policy):
        def _exhausted(self, _root: RootStats) -> None:
            return None

    worked = [Adversary(Careless(CONFIG), seed) for seed in range(30)]
    for adversary in worked:
        adversary.play()
    assert max(adversary.work for adversary in worked) > CONFIG.compilations + Policy.ABORTS


def test_questions_about_an_exit_become_rare() -> None:
    """Each answer lets ten times as many pass: a million exits are asked about a few times."""
    asked, count = 0, CONFIG.exit_threshold
    while count < 10**6:
        answer = POLICY.after_exit(ExitStats(SPENT, ExitReason.OVERFLOW, count, count, 10.0 * count, 10))
        assert isinstance(answer, Resume)
        count += answer.times
        asked += 1
    assert asked < 10


@pytest.mark.parametrize("action", [Wait, Resume])
@pytest.mark.parametrize("times", [0, -5, "x", 2.5, None, True])
def test_times_are_a_number_of_times(action: type[Wait] | type[Resume], times: object) -> None:
    with pytest.raises(ValueError, match="times must be an int of at least 1, not "):
        action(times)  # type: ignore[arg-type]
    assert action(1).times == 1


# A policy that raises

RAISING = """\
import minijit
from minijit.runtime.policy import Policy

class Broken(Policy):
    def {question}(self, *arguments):
        {does}

minijit.enable(minijit.Config(call_threshold=2, loop_threshold=5, exit_threshold=2, miss_threshold=2))
g = 1

@minijit.jit(policy=Broken(minijit.Config()))
def f(n, k=3):
    s = 0
    for i in range(n):
        s += g if i != k else 2
    return s

for n in range(60):
    assert f(8, -1) == 8
for n in range(60):
    assert f(8) == 9
for n in range(200):
    assert f(8, 0.5) == 8
g = 2
for n in range(60):
    assert f(8) == 16
print("compiled", minijit.is_compiled(f))
"""


QUESTIONS_ASKED = ["should_record", "after_exit", "after_kill", "compile_unseen", "after_miss"]


def complaints(done: Completed) -> list[str]:
    """What was said of the policy: the function and its loop ask each for itself."""
    assert done.returncode == 0, done.stderr
    assert "compiled True" in done.stdout
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert all(line.startswith("minijit: policy Broken(") for line in lines), done.stderr
    return [line.rpartition(" replaced by the default: ")[2] for line in lines]


@pytest.mark.parametrize("question", QUESTIONS_ASKED)
def test_a_policy_that_raises_is_replaced_and_reported(question: str, run_python: RunPython) -> None:
    done = run_python(RAISING.format(question=question, does="1 / 0"))
    assert set(complaints(done)) == {"ZeroDivisionError('division by zero')"}


def test_a_policy_may_wait_for_ever(run_python: RunPython) -> None:
    """Longer than a counter can count."""
    for question, does in (("should_record", "return Wait(10**30)"), ("after_exit", "return Resume(10**30)")):
        program = RAISING.replace("import Policy", "import Policy, Resume, Wait").format(question=question, does=does)
        done = run_python(program)
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        assert f"compiled {question == 'after_exit'}" in done.stdout


@pytest.mark.parametrize("question", QUESTIONS_ASKED)
def test_a_policy_that_says_something_else_is_replaced_and_reported(question: str, run_python: RunPython) -> None:
    done = run_python(RAISING.format(question=question, does="return 'maybe'"))
    assert set(complaints(done)) == {"'maybe' is no answer"}


def test_an_answer_to_another_question_is_none(run_python: RunPython) -> None:
    does = "import minijit.runtime.policy as p; return p.Bridge()"
    done = run_python(RAISING.format(question="should_record", does=does))
    assert set(complaints(done)) == {"Bridge() is no answer"}


@pytest.mark.parametrize("config", [3, None, Config])
def test_a_policy_takes_a_config(config: object) -> None:
    with pytest.raises(TypeError, match=r"a policy takes a minijit\.Config, not "):
        Policy(config)  # type: ignore[arg-type]
