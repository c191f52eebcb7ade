"""minijit in a process: whether it is in service, and with which functions it comes into service.

In: what users ask for, from any thread, signal handler, finaliser or subscriber. Out: at most one driver at a time,
started and closed in the driver's turn, so that the next one never comes before the last one has given everything
back. What is asked for in the midst of our own work is done when that is done; `is_on` tells at once.

Nothing starts by itself once `disable` was called, and nothing at all when the interpreter is ending: there would be
nobody left to take it back. Whatever needs `ctypes` is imported inside of functions, since some interpreters lack it.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from minijit.cpython import support
from minijit.driver.by_function import ByFunction
from minijit.events import Hub, say
from minijit.runtime.policy import Policy

if TYPE_CHECKING:
    from minijit.config import Config
    from minijit.cpython.abi import Interpreter
    from minijit.driver.core import Driver
    from minijit.driver.turn import Turn
    from minijit.ir.kinds import Kinds

OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
"""What the paths of our own files begin with."""


class UnsupportedWarning(RuntimeWarning):
    """minijit cannot work in this interpreter; functions run as they are."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a function was decorated. `kinds`: to be compiled at once, for arguments of these kinds."""

    policy: Policy | None = None
    kinds: Kinds | None = None


@dataclass(slots=True)
class Process:
    """One a process. `is_on` is what was asked for last; `refusal` why the last attempt failed, if it did."""

    is_on: bool = False
    driver: Driver | None = None
    refusal: str = ""
    hub: Hub = field(default_factory=Hub)
    decorated: ByFunction[Options] = field(default_factory=ByFunction)
    suppressed: ByFunction[bool] = field(default_factory=ByFunction)
    _starts_by_itself: bool = True
    _began_by_itself: bool = False
    _is_over: str = ""  # why minijit cannot be switched on any more
    _told: str = ""
    _interpreter: Interpreter | None = None
    _turns: list[Turn] = field(default_factory=list)

    # ---- on

    @property
    def waits_for_a_function(self) -> bool:
        """Whether the next function that is decorated is to start minijit."""
        return self._starts_by_itself and not self.is_on and not self.refusal

    def switch_on(self, config: Config, *, whole: bool, by_itself: bool = False) -> None:
        """Starts minijit with everything that was decorated, and for the whole program if it is to look around. Where
        that cannot be, warns, unless this was said before.

        `by_itself`: no line of the program has asked for it. Otherwise it starts anew where it has started by itself,
        and raises `RuntimeError` where it is in service already.
        """
        if self._can_work():
            self._turn.read(partial(self._ask, config, whole, by_itself))
        self._tell(in_a_line=whole and by_itself)

    def _can_work(self) -> bool:
        found = self._interpreter or support.find()
        if not isinstance(found, support.Unsupported):
            self._interpreter = found
        elif self._interpreter is None:
            # Else another thread, or a signal handler, has found out meanwhile, and was in our way.
            self.refusal = found.sentence
        return self._interpreter is not None

    def _ask(self, config: Config, whole: bool, by_itself: bool) -> None:
        """In the turn, but perhaps in the midst of something."""
        if by_itself and not self.waits_for_a_function:
            return
        if self.is_on and not self._began_by_itself:
            raise RuntimeError("minijit is enabled already; call minijit.disable() first")
        if self._is_over:
            self.refusal = self._is_over
            return
        if self.is_on:
            self._turn.wait(self._stop)
        self.is_on, self._began_by_itself = True, by_itself
        self._turn.wait(partial(self._start, config, whole))

    def _start(self, config: Config, whole: bool) -> None:
        from minijit.cpython.hooks import ToolTaken
        from minijit.driver.core import Driver
        from minijit.runtime.stress import tightened

        if self.driver is not None:
            # A finaliser asked too, between the end of one driver and the beginning of the next.
            self.is_on = True
            return
        assert self._interpreter is not None
        try:
            self.driver = Driver(
                tightened(config),
                self._interpreter,
                self.hub,
                self._withdraw,
                self._turn,
                is_whole=whole and config.looks_around,
            )
        except ToolTaken as taken:
            self.is_on = False
            self.refusal = f"the monitoring tool id for optimisers belongs to {taken}"
            return
        self.is_on = True
        self.refusal = ""
        self.hub.log = config.logs
        if config.logs and config.stress:
            say(f"minijit: stress     {config.stress} seed={config.seed}")
        for function in self.decorated.functions():
            self._take_on(function)

    # ---- off

    def switch_off(self) -> None:
        """Takes minijit out of service, if it is in service; from now on it starts only when asked to."""
        self._starts_by_itself = False
        # Before what is due, if possible: a closed driver does none of it, and a child process must not begin it.
        if self._turns and not self._turn.wait(self._stop):
            self.is_on = False

    def end(self) -> None:
        """The interpreter ends."""
        self._is_over = "the interpreter is about to end"
        try:
            if self.driver is not None and self.driver.config.stats:
                for line in self.driver.told():
                    say(f"minijit: {line}")
        finally:
            # Whatever else: an interpreter that ends with our watchers in it crashes.
            self.switch_off()

    def _stop(self) -> None:
        driver, self.driver, self.is_on = self.driver, None, False
        if driver is not None:
            driver.close()

    def _withdraw(self, why: str) -> None:
        """The driver found out that it cannot work after all, and has cleaned up after itself."""
        driver, self.driver, self.is_on = self.driver, None, False
        self.refusal = why
        try:
            self._tell(in_a_line=self._began_by_itself and driver is not None and driver.is_whole)
        except Exception as error:  # noqa: BLE001 - the program's filters or streams; it is not at a call of ours
            say(f"minijit: {error}")

    def after_fork(self) -> None:
        """In a child process. What another thread was at when it was forked stays half done, and locks of that thread
        are never opened, LLVM's among them: so minijit is off for good then, which is said to whoever asks for it."""
        if not any(turn.after_fork() for turn in self._turns):
            if self.driver is not None:
                self.driver.after_fork()
            return
        driver, self.driver, self.is_on = self.driver, None, False
        self._is_over = self.refusal = "this process was forked while another thread was compiling"
        if driver is not None:
            driver.abandon()

    # ---- functions

    def take_on(self, function: Any) -> None:
        """Makes a function known to the driver, if there is one: to be compiled, or never."""
        if self.is_on:
            self._turn.wait(partial(self._take_on, function))

    def suppress(self, function: Any) -> None:
        """The function is never to be compiled, by this driver or a later one."""
        self.suppressed[function] = True
        self.take_on(function)

    def _take_on(self, function: Any) -> None:
        """In the turn: what is asked of the driver is done before the turn is passed on."""
        driver = self.driver
        if driver is None:
            return
        options = self.decorated.get(function) or Options()
        driver.add(function, options.policy or Policy(driver.config))
        if driver.config.stressed.hot:
            driver.ignite()
        self._turn.wait(partial(self._added, driver, function, options))

    def _added(self, driver: Driver, function: Any, options: Options) -> None:
        from minijit.driver.entries import can_enter_by_call, parameter_count

        state = driver.known(function)
        if state is None:
            return
        if function in self.suppressed:
            driver.suppress(state)
            return
        code = state.code.code
        # The function may have got another code object since it was decorated.
        if options.kinds is not None and can_enter_by_call(code) and parameter_count(code) == len(options.kinds):
            driver.compile_types(state, options.kinds)

    # ---- turns and warnings

    @property
    def _turn(self) -> Turn:
        if not self._turns:
            from minijit.driver.turn import Turn

            self._turns.append(Turn())
        # Of two threads that were here at once, the first has made the turn of both.
        return self._turns[0]

    def _tell(self, *, in_a_line: bool) -> None:
        """Says once why minijit is off: as a warning at the line outside of minijit that led here, or in a line on
        standard error where there is no line of the program that could be warned of anything."""
        why = self.refusal
        if not why or why == self._told:
            return
        self._told = why
        if in_a_line:
            say(f"minijit is off: {why}")
        else:
            warnings.warn(f"minijit is off: {why}", UnsupportedWarning, skip_file_prefixes=(OURS,))
