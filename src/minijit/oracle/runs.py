"""Programs as processes: what is seen of a run from outside, and how two runs differ.

In: a command, and settings (`MINIJIT_*` variables) on top of the environment. Out: a `Run`, and in words what is
different in another. What counts is standard output, how the process ended, and the last traceback on standard error;
not what minijit itself says there, nor where in memory an object is.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.config import environment_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTERPRETED = {"MINIJIT_LIMIT": "0"}
"""The settings with which nothing is compiled."""
PLAINLY = {"MINIJIT_CACHE": "0", "MINIJIT_COMPARE": "0"}
"""The settings with which the same is compiled in each run, not what a sampler finds that begins at random; and with
which a wrong result is not put right by MINIJIT=check."""
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
_TRACEBACK = "Traceback (most recent call last):\n"
_OURS = "minijit: "


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of a run. `status` is the exit code, negative for a signal, None for a run that was ended as it
    took more than `seconds`."""

    status: int | None
    output: str
    errors: str
    seconds: float

    @property
    def traceback(self) -> str:
        """The last traceback, empty if there is none."""
        lines = [line for line in self.errors.splitlines(keepends=True) if not line.startswith(_OURS)]
        _, found, rest = "".join(lines).rpartition(_TRACEBACK)
        return rest if found else ""


def run_command(command: Sequence[str], settings: Mapping[str, str], timeout: float | None = None) -> Run:
    """Runs a command to its end, or for so many seconds."""
    # Names are hashed in the same way in all runs, unless it was said how.
    environment = {"PYTHONHASHSEED": "0", **environment_with({**PLAINLY, **settings})}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True
        )
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                # With whatever it has started: it is the first of a session.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.monotonic() - started
        output.seek(0)
        errors.seek(0)
        return Run(status, text_of(output.read()), text_of(errors.read()), seconds)


def text_of(written: bytes) -> str:
    """What was written, as a text of which the same parts are the same in every run."""
    return _ADDRESS.sub("0x...", written.decode("utf-8", "backslashreplace"))


def difference(wanted: Run, found: Run) -> str:
    """How the second run differs from the first, in words; empty if it does not."""
    if wanted.status != found.status:
        return f"{_ended(found)}, where the other {_ended(wanted)}"
    if wanted.output != found.output:
        return f"standard output: {_line_that_differs(wanted.output, found.output)}"
    if wanted.traceback != found.traceback:
        return f"traceback: {_line_that_differs(wanted.traceback, found.traceback)}"
    return ""


def _ended(run: Run) -> str:
    if run.status is None:
        return f"the run does not end within {run.seconds:.0f} s"
    if run.status < 0:
        names = {int(known): known.name for known in signal.Signals}
        return f"the run was ended by {names.get(-run.status, f'signal {-run.status}')}"
    last = run.traceback.splitlines()[-1:]
    return f"the run ended with exit code {run.status}{f' ({last[0]})' if last else ''}"


def _line_that_differs(wanted: str, found: str) -> str:
    ours, theirs = found.splitlines(), wanted.splitlines()
    for number, (line, other) in enumerate(zip(ours, theirs, strict=False), 1):
        if line != other:
            return f"line {number} is {line!r} instead of {other!r}"
    return f"{len(ours)} lines instead of {len(theirs)}"
