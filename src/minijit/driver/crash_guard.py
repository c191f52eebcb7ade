"""The crash guard (`MINIJIT_GUARD=1`): what a process died of is left to the interpreter by those after it.

In: what is compiled, and when. Out: marks on disk that say so while it lasts, and afterwards in the region's machine
code for its first runs (`backend.entry.Trial`); and, of the processes before, which roots are suspect. A process that
ends cleanly, or switches minijit off, leaves no file. See docs/decisions/0020.

Where files cannot be had, that is said in a line, and nothing is guarded. Where the setting is off there are no marks,
and nothing here does anything.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.backend.entry import Trial
from minijit.config import environment_with
from minijit.cpython import cache_files
from minijit.events import say
from minijit.runtime import suspects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minijit.cpython.marks import Marks
    from minijit.driver.state import RootState


@dataclass(slots=True)
class CrashGuard:
    """One a driver. `marks` is None where the setting is off; it is on while there is a `path`."""

    marks: Marks | None
    path: str = ""
    _suspects: frozenset[int] = frozenset()

    def open(self) -> None:
        """Keeps the marks on disk, and learns who is suspect."""
        if self.marks is None:
            return
        try:
            self._suspects, self.path = suspects.join(cache_files.directory(environment_with({})), self.marks)
        except (OSError, ValueError) as error:
            say(f"minijit: the crash guard is off: {error}")

    def close(self) -> None:
        """Nobody died here."""
        if self.path:
            # While it is locked: nobody takes it for that of a dead process.
            with suppress(OSError):
                os.unlink(self.path)
        self.let_go()

    def after_fork(self) -> None:
        """In a child process: what it did so far was in its parent's file, from now on it has its own."""
        if self.path:
            self.let_go()
            self.open()

    def let_go(self) -> None:
        """Leaves the file, which may be another process's, to itself."""
        if self.marks is not None and self.path:
            self.path = ""
            # Where there is no memory, the file stays locked for as long as we live.
            with suppress(OSError):
                self.marks.let_go()

    def is_suspect(self, state: RootState) -> bool:
        """Whether a process before this one died of it."""
        return bool(self._suspects) and _key(state) in self._suspects

    def trial(self, state: RootState) -> Trial | None:
        """What the machine code of a root's region has to do in its first runs."""
        return Trial(self.marks.place("running"), _key(state)) if self.marks is not None and self.path else None

    @contextmanager
    def compiling(self, state: RootState) -> Iterator[None]:
        """The root is being compiled meanwhile."""
        if self.marks is None or not self.path:
            yield
            return
        # A function that it calls may be compiled meanwhile.
        around = self.marks.get("compiling")
        self.marks.set("compiling", _key(state))
        try:
            yield
        finally:
            self.marks.set("compiling", around)


def _key(state: RootState) -> int:
    return suspects.key_of(state.code.code.code, state.root)
