"""Whose turn it is: one at a time changes what the driver knows.

The driver is Python code. Other threads run in the midst of it, and so do finalisers, signal handlers, policies and
subscribers, all of which may call it again. So every change is a piece of *work*: done at once if nobody is at it, and
otherwise by whoever is, as soon as what is under way is done. In: work, from any thread at any time. Out: the same
work, one piece after the other.

Nobody is kept waiting but the explicit callers of other threads (`wait`): what is under way may need a lock that a
waiting thread holds, and a finaliser would wait for the very code that it interrupts. What cannot be put off, such as
taking a broken region out of service, is the caller's to do before it hands over the rest.
"""

from __future__ import annotations

import _thread
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.cpython import signals
from minijit.cpython.hurry import hurry, rest
from minijit.events import say

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], object]


def report_bug(error: Exception) -> None:
    """Tells of an exception that nobody else is to see."""
    told = "".join(traceback.format_exception(error)).rstrip()
    say(f"minijit: please report this bug in minijit:\n{told}")


@dataclass(slots=True)
class Turn:
    """One a process. No signal handler runs in the thread that has it, and other threads do not keep it waiting."""

    _lock: _thread.RLock = field(default_factory=_thread.RLock)
    _holds_back: bool = False
    _interval: float | None = None
    _work: deque[Work] = field(default_factory=deque)

    def take(self) -> bool:
        """Takes the turn if it is free. Who took it must pass it on."""
        if self._is_mine:
            return False
        return self._acquire(blocking=False)

    def pass_on(self) -> None:
        """Does the work that has come up meanwhile, and gives the turn back."""
        while True:
            try:
                while self._work:
                    self._do_next()
            finally:
                self._release()
            # What came up between the last look and the release.
            if not self._work or not self.take():
                return

    def _do_next(self) -> None:
        """Work that was left to us: if it fails, that is nothing to whoever happens to do it."""
        try:
            self._work.popleft()()
        except Exception as error:  # noqa: BLE001 - a bug of ours must not become one of the program's
            report_bug(error)

    def do(self, work: Work) -> None:
        """Does the work now, or lets whoever has the turn do it."""
        self._work.append(work)
        if self.take():
            self.pass_on()

    def wait(self, work: Work) -> bool:
        """Does the work as soon as no other thread has the turn. False where the caller's own thread has it: then the
        work is done after what is under way."""
        if self._is_mine:
            self._work.append(work)
            return False
        self._acquire(blocking=True)
        try:
            work()
        finally:
            self.pass_on()
        return True

    def read[T](self, look: Callable[[], T]) -> T:
        """What there is to see while nothing is half done: by others, that is, where the caller has the turn itself."""
        if self._is_mine:
            return look()
        found: list[T] = []
        self.wait(lambda: found.append(look()))
        return found[0]

    def after_fork(self) -> bool:
        """In a child process: whether another thread had the turn. What it was at stays half done."""
        if self._is_mine:
            return False
        was_taken = not self._lock.acquire(blocking=False)
        self._lock = _thread.RLock()
        if was_taken:
            self._work.clear()
        return was_taken

    @property
    def _is_mine(self) -> bool:
        """Whether the calling thread has the turn."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]

    def _acquire(self, *, blocking: bool) -> bool:
        holds_back = signals.hold_back()
        if self._lock.acquire(blocking):
            self._holds_back, self._interval = holds_back, hurry()
            return True
        if holds_back:
            signals.let_through()
        return False

    def _release(self) -> None:
        holds_back = self._holds_back
        rest(self._interval)
        self._lock.release()
        if holds_back:
            signals.let_through()
