"""Programs as forked children of this process: hundreds of runs for the price of tens.

In: the text of a program that stands alone in one file, and settings. Out: a `Run`, as of a process of its own (see
`runs`); or, from `differs`, how its compiled run differs from the interpreted one.

A child has all that its parent has imported and made: LLVM, minijit's stubs. What it does ends with it. It may use so
much memory and time and write so much; after that it is killed. minijit must not be enabled in the parent, nor may
there be other threads. What is different between two children (the address of an object, say) is taken care of by
interpreting a program that differs once more; what is different between two processes is not seen here.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
import traceback
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TextIO

from minijit.config import set_environment
from minijit.oracle.runs import INTERPRETED, PLAINLY, Run, difference, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 5.0
"""What an interpreted program may take."""
SLOWER = 4.0
"""How many times as long a compiled one may take."""
MEMORY, WRITTEN = 2**32, 2**24
"""Bytes that a child may have, and may write."""
NAME = "<program>"
_NO_SETTINGS: Mapping[str, str] = {}


def differs(text: str, settings: Mapping[str, str] = _NO_SETTINGS, *, seconds: float = SECONDS) -> str:
    """How a program's compiled run differs from the interpreted one, in words; empty if it does not, or if the
    interpreted one takes more than so many seconds."""
    wanted, found = Child(text, {**settings, **INTERPRETED}), Child(text, settings)
    try:
        run = wanted.finish(seconds)
        what = "" if run.status is None else difference(run, found.finish(SLOWER * seconds))
    finally:
        found.stop()
    if what and difference(run, Child(text, {**settings, **INTERPRETED}).finish(seconds)):
        return ""
    return what


@dataclass(slots=True, init=False)
class Child:
    """A program that runs. To be finished, or stopped."""

    _pid: int
    _output: int
    _errors: int
    _started: float

    def __init__(self, text: str, settings: Mapping[str, str]) -> None:
        self._output, self._errors = os.memfd_create("output"), os.memfd_create("errors")
        self._started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if not self._pid:
            _become(text, settings, self._output, self._errors)

    def finish(self, seconds: float) -> Run:
        """Waits for so many seconds since the start; what was seen."""
        watch = os.pidfd_open(self._pid)
        try:
            left = self._started + seconds - time.monotonic()
            is_over = bool(select.select([watch], [], [], max(left, 0.0))[0])
        finally:
            os.close(watch)
        took = time.monotonic() - self._started
        code = self._reap(kill=not is_over)
        return Run(code if is_over else None, _written(self._output), _written(self._errors), took)

    def stop(self) -> None:
        """Ends it, if it was not finished."""
        if self._pid:
            self._reap(kill=True)
            os.close(self._output)
            os.close(self._errors)

    def _reap(self, *, kill: bool) -> int:
        """Its exit code, negative for a signal."""
        if kill:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)


def _written(file: int) -> str:
    """What was written to a file, which is closed."""
    with os.fdopen(file, "rb") as stream:
        stream.seek(0)
        return text_of(stream.read())


def _become(text: str, settings: Mapping[str, str], output: int, errors: int) -> NoReturn:
    """In the child: runs the program, and nothing that the parent would do after that."""
    status = 1
    try:
        _limit(resource.RLIMIT_AS, MEMORY)
        _limit(resource.RLIMIT_FSIZE, WRITTEN)
        _limit(resource.RLIMIT_CORE, 0)
        set_environment({**PLAINLY, **settings})
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), _stream(1), _stream(2)
        status = _execute(text)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _stream(file: int) -> TextIO:
    return os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace")


def _limit(what: int, value: int) -> None:
    _, most = resource.getrlimit(what)
    resource.setrlimit(what, (value if most == resource.RLIM_INFINITY else min(value, most), most))


def _execute(text: str) -> int:
    """Runs a program as the main module; its exit code."""
    module = types.ModuleType("__main__")
    module.__dict__["__file__"] = NAME
    sys.modules["__main__"] = module
    sys.argv = [NAME]
    try:
        exec(compile(text, NAME, "exec"), vars(module))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - whatever ends the program
        trace = error.__traceback__
        # Our own frame is none of the program's.
        traceback.print_exception(error.with_traceback(trace.tb_next if trace is not None else None))
        return 1
    return 0
