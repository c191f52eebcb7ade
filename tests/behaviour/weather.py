"""Some seconds of everything at once, for the storm: a `Weather` has functions of its own, threads that call and change
them, a main thread to which signals come, and children.

In: a seed, stress modes, and whether minijit is to be left out. Out: counts of what there was, and what went wrong: a
result, lines that a trace function has not seen, a child process that failed. What is left afterwards is the business
of `storm`.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from changing import change
from cycles import Lasting
from mixture import ARGUMENTS, PROGRAM, PROGRAMS, RELYING, Table, fresh_functions, table_of, visible
from twin import compiled_from, outcome, plain_twin

import minijit
from minijit.events import Aborted, AbortReason, Compiled, GaveUp, Killed

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = Path(minijit.__file__).parent
TOOL = sys.monitoring.PROFILER_ID
CHILD_SECONDS = 30.0


class Stop(BaseException):
    """Raised by the signal handler. Nobody but the main thread's loop catches it."""


class Weather:
    """Some seconds with functions of its own."""

    def __init__(self, seed: str, stress: str, *, plain: bool) -> None:
        self.choice = random.Random(seed)
        self.seed, self.stress, self.plain = seed, stress, plain
        self.functions, twins = fresh_functions()
        self.table: Table = table_of(twins)
        self.lines = {(p, a): lines_of(twins[p], *ARGUMENTS[a]) for p, a in self.table}
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.armed = False
        self._over = threading.Event()
        # Where somebody always traces, or everything always changes, little is ever compiled.
        self.is_traced = self.choice.random() < 0.4
        self.pace = self.choice.choice((0.001, 0.01))
        self.config = minijit.Config(
            call_threshold=self.choice.choice((2, 3, 10)),
            loop_threshold=self.choice.choice((5, 10, 50)),
            exit_threshold=self.choice.choice((3, 10)),
            miss_threshold=self.choice.choice((2, 5)),
            optimise=self.choice.choice((0, 0, 2)),
            large=self.choice.choice((1, 1200)),
            patience=self.choice.choice((2, 10**9)),
            compile_seconds=1e6,
            stress=stress,
            seed=self.choice.randrange(10**6),
        )

    def fail(self, what: str) -> None:
        """Notes a failure, which ends the weather."""
        self.failures.append(what)
        self._over.set()

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def pause(self, choice: random.Random, most: float) -> None:
        """Waits for some part of `most` seconds, or until it is over."""
        self._over.wait(choice.random() * most)

    # ---- the whole of it

    def run(self, seconds: float) -> None:
        """Lets everything loose for so long, and waits until all is quiet."""
        stop = minijit.subscribe(self.note)
        self.enable()
        for f in self.functions:
            self.jit(f)
        gc.set_threshold(self.choice.choice((700, 50, 7)))
        sys.setswitchinterval(self.choice.choice((5e-3, 5e-4, 5e-5)))
        actors = [self.call] * 3 + [self.meddle, self.meddle, self.switch, self.fork] + [self.watch] * self.is_traced
        threads = [
            threading.Thread(target=self.act, args=(actor, random.Random(f"{self.seed}/{number}")))
            for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        self.main_thread(time.perf_counter() + seconds)
        self._over.set()
        for thread in threads:
            thread.join()
        gc.set_threshold(700)
        sys.setswitchinterval(5e-3)
        stop()
        self.counts["entries"] = minijit.stats().entries
        minijit.disable()

    def enable(self) -> None:
        if not self.plain:
            minijit.enable(self.config)

    def jit(self, function: Any) -> Any:
        policy = Lasting(self.config) if self.choice.random() < 0.7 else None
        return function if self.plain else minijit.jit(policy=policy)(function)

    def act(self, actor: Callable[[random.Random], None], choice: random.Random) -> None:
        """A thread's life."""
        try:
            while not self.over:
                actor(choice)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a failure
            self.fail(f"{actor.__name__}: {error!r}")

    def main_thread(self, until: float) -> None:
        """Calls while signals come, and catches what their handler raises."""
        signal.signal(signal.SIGALRM, self.on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.001, self.choice.choice((0.0007, 0.005, 0.02)))
        while time.perf_counter() < until and not self.over:
            try:
                self.armed = True
                self.call_plainly(self.choice)
                self.armed = False
            except Stop:
                self.counts["stops"] += 1
        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def note(self, event: object) -> None:
        """Counts events. A compilation is a good moment to fork, too: in the midst of our own work."""
        if isinstance(event, Compiled):
            self.counts["compiled"] += 1
            if self.counts["compiled"] % 100 == 0:
                self.fork_now("note")
        elif isinstance(event, Killed):
            self.counts[f"killed_{event.reason.label}"] += 1
        elif isinstance(event, GaveUp):
            self.counts[f"gave_up_{event.reason.label}"] += 1
        elif isinstance(event, Aborted):
            self.counts[f"aborted_{event.reason.label}"] += 1
            if event.reason is AbortReason.COMPILER:
                self.fail(repr(event))

    # ---- calls

    def compare(self, p: int, a: int, found: object) -> None:
        self.counts["calls"] += 1
        if found != self.table[p, a]:
            self.fail(f"{PROGRAMS[p]}\n{ARGUMENTS[a]}: {found}, not {self.table[p, a]}")

    def pick(self, choice: random.Random) -> tuple[int, int]:
        return choice.randrange(len(PROGRAMS)), choice.randrange(len(ARGUMENTS))

    def call(self, choice: random.Random) -> None:
        """One call of whatever sort."""
        match choice.randrange(40) if self.is_traced else choice.randrange(2, 400):
            case 0:
                self.call_traced(choice)
            case 1:
                self.call_profiled(choice)
            case 2:
                Finalised(self, *self.pick(choice))
            case _:
                self.call_plainly(choice)

    def call_plainly(self, choice: random.Random) -> None:
        p, a = self.pick(choice)
        self.compare(p, a, visible(outcome(self.functions[p], *ARGUMENTS[a])))

    def call_traced(self, choice: random.Random) -> None:
        """All lines are seen, and none of ours."""
        p, a = self.pick(choice)
        seen: list[int] = []

        def trace(frame: Any, event: str, _argument: object) -> Any:
            if Path(frame.f_code.co_filename).is_relative_to(OURS):
                self.fail(f"traced: {frame}")
            if event == "line" and frame.f_code.co_filename == PROGRAM and not here.finalising:
                seen.append(frame.f_lineno)
            return trace

        sys.settrace(trace)
        found = visible(outcome(self.functions[p], *ARGUMENTS[a]))
        sys.settrace(None)
        self.counts["traced"] += 1
        self.compare(p, a, found)
        if seen != self.lines[p, a]:
            self.fail(f"{PROGRAMS[p]}\n{ARGUMENTS[a]}: lines {seen}, not {self.lines[p, a]}")

    def call_profiled(self, choice: random.Random) -> None:
        """The call and the return of each frame are seen."""
        p, a = self.pick(choice)
        depths: Counter[str] = Counter()

        def profile(frame: Any, event: str, _argument: object) -> None:
            if frame.f_code.co_filename == PROGRAM and not here.finalising:
                depths[event] += 1

        sys.setprofile(profile)
        found = visible(outcome(self.functions[p], *ARGUMENTS[a]))
        sys.setprofile(None)
        self.counts["profiled"] += 1
        self.compare(p, a, found)
        if not depths["call"] == depths["return"] >= 1:
            self.fail(f"{PROGRAMS[p]}\n{ARGUMENTS[a]}: profiled {depths}")

    def on_signal(self, _number: int, _frame: Any) -> None:
        """A signal: calls, changes, forks, raises."""
        if self.over:
            return
        self.counts["signals"] += 1
        count, armed = self.counts["signals"], self.armed
        # A handler may be interrupted by the next one, which may not raise into its bookkeeping.
        self.armed = False
        self.call_plainly(random.Random(count))
        if count % 10 == 0:
            minijit.release(self.functions[count // 10 % len(PROGRAMS)])
        if count % 7 == 0:
            change(self.functions[RELYING])
        if count % 1009 == 0:
            self.fork_now("handler")
        self.armed = armed
        if armed and count % 20 == 0:
            raise Stop

    # ---- changes

    def meddle(self, choice: random.Random) -> None:
        """Changes something that makes no difference to results."""
        f = choice.choice(self.functions)
        names = f.__globals__
        match choice.randrange(10):
            case 0:
                minijit.release(f)
            case 1:
                change(self.functions[RELYING])
            case 2:
                f.__code__ = f.__code__.replace()
            case 3:
                minijit.stats(f), str(minijit.explain(f))
            case 4:
                gc.collect(choice.randrange(3))
            case 5:
                names["f"] = choice.choice((f, plain_twin(f)))
            case 6:
                names["abs"] = abs
            case 7:
                names.pop("abs", None)
            case 8:
                outcome(self.jit(plain_twin(f)), *ARGUMENTS[0])
            case 9:
                other = self.jit(compiled_from(PROGRAMS[0]))
                minijit.suppress(other)
                outcome(other, *ARGUMENTS[0])
        self.pause(choice, self.pace)

    def switch(self, choice: random.Random) -> None:
        """minijit goes and comes back."""
        self.pause(choice, 100 * self.pace)
        minijit.disable()
        self.pause(choice, 0.01)
        self.enable()

    def watch(self, choice: random.Random) -> None:
        """Another tool comes and goes; at times it wants everything again that it had enough of."""
        monitoring = sys.monitoring
        self.pause(choice, 0.1)
        event = getattr(monitoring.events, choice.choice(("LINE", "PY_START", "JUMP", "INSTRUCTION", "CALL")))
        enough = monitoring.DISABLE if choice.random() < 0.5 else None
        monitoring.register_callback(TOOL, event, lambda *_: enough)
        code = choice.choice(self.functions).__code__ if choice.random() < 0.5 else None
        if code is None:
            monitoring.set_events(TOOL, event)
        else:
            monitoring.set_local_events(TOOL, code, event)
        self.pause(choice, 0.01)
        if choice.random() < 0.2:
            monitoring.restart_events()
        if code is None:
            monitoring.set_events(TOOL, 0)
        else:
            monitoring.set_local_events(TOOL, code, 0)
        monitoring.register_callback(TOOL, event, None)
        self.counts["watched"] += 1

    # ---- children

    def fork(self, choice: random.Random) -> None:
        self.pause(choice, 0.5)
        self.fork_now("thread")

    def fork_now(self, whence: str) -> None:
        """A child process calls and ends well."""
        child = os.fork()
        if not child:
            os._exit(self.in_child(whence))
        self.counts["forks"] += 1
        until = time.perf_counter() + 2 * CHILD_SECONDS
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.perf_counter() > until:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.001)
        if ended[1]:
            self.fail(f"forked by {whence}: {os.waitstatus_to_exitcode(ended[1])}")

    def in_child(self, whence: str) -> int:
        """The exit code of a child process. If it hangs, the signal ends it."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, CHILD_SECONDS)
        self.armed = False
        choice = random.Random(whence)
        for turn in range(30):
            self.call_plainly(choice)
            if turn == 15:
                minijit.disable()
        if self.failures:
            os.write(2, f"in a child of {whence}: {self.failures}\n".encode())
        return bool(self.failures)


class Here(threading.local):
    finalising = False


here = Here()


class Finalised:
    """A cycle: wherever the collector ends it, a function is called."""

    def __init__(self, weather: Weather, p: int, a: int) -> None:
        self.me, self.weather, self.p, self.a = self, weather, p, a

    def __del__(self) -> None:
        # Finalisers that make the collector run do not come one in the other.
        if here.finalising or self.weather.over:
            return
        here.finalising = True
        weather = self.weather
        weather.counts["finalised"] += 1
        try:
            weather.compare(self.p, self.a, visible(outcome(weather.functions[self.p], *ARGUMENTS[self.a])))
        finally:
            here.finalising = False


def lines_of(function: Any, *arguments: object) -> list[int]:
    """The lines that a trace function sees of a plain function."""
    seen: list[int] = []

    def trace(frame: Any, event: str, _argument: object) -> Any:
        if event == "line" and frame.f_code.co_filename == PROGRAM:
            seen.append(frame.f_lineno)
        return trace

    sys.settrace(trace)
    outcome(function, *arguments)
    sys.settrace(None)
    return seen


def unraisable(report: Any) -> None:
    """The handler may well raise into a finaliser."""
    if report.exc_type is not Stop:
        sys.__unraisablehook__(report)
