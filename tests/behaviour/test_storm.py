"""The storm: everything at once gives right results, ends, and leaves nothing behind; and it notices where that is not so.

In: the program `storm`, run for some seconds here, and for as long as `STORM_SECONDS` says (`make stress`). In the other
direction: bugs planted in minijit, each of a sort of its own, and the words with which the storm must complain. A storm
that fails prints its seed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import storm
from isolated import isolated

from minijit.backend import entry, event_stubs
from minijit.backend.engine import Code
from minijit.backend.lower_ops import LOWER
from minijit.driver.compiler import compile_root

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT = 8
LONG = 60
PATIENT = 200
"""More seconds than a storm takes to see a planted bug, which ends it: some ten on a quiet machine."""


def passes(run_python: Any, seconds: float, seed: int) -> None:
    """A storm of so many seconds ends well."""
    done = run_python(Path(storm.__file__), seconds, "--seed", seed, timeout=3 * seconds + storm.HANG)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "'compiled'" in done.stdout


def test_a_short_storm(run_python: Any) -> None:
    passes(run_python, SHORT, 1)


@pytest.mark.slow
def test_a_long_storm(run_python: Any) -> None:
    """As long as one likes, each time another one."""
    passes(run_python, float(os.environ.get("STORM_SECONDS", LONG)), int(time.time()))


def wraps(_kept: list[object]) -> None:
    """Products that do not fit are what is left of them."""
    LOWER["int_mul"] = LOWER["int_mul_wrap"]


def overlooks(_kept: list[object]) -> None:
    """Machine code is entered though somebody watches the function."""
    entry.FOREIGN_WORD = event_stubs.FOREIGN_WORD = 0


def raises(_kept: list[object]) -> None:
    """The compiler fails."""
    compile_root.__code__ = (lambda *_args, **_named: 1 // 0).__code__


def keeps(kept: list[object]) -> None:
    """The compiler remembers what it need not."""
    close = Code.close

    def closed(self: Code) -> None:
        kept.append([[] for _ in range(100)])
        close(self)

    Code.close = closed  # type: ignore[method-assign]


PLANTED: dict[str, tuple[Callable[[list[object]], None], float, tuple[str, ...]]] = {
    "a wrong result": (wraps, PATIENT, (", not ",)),
    "lines that nobody has seen": (overlooks, PATIENT, ("lines [", "profiled ")),
    "an error": (raises, PATIENT, ("ZeroDivisionError",)),
    "a leak": (keeps, 5, ("objects ",)),
}
"""What is planted, how many seconds of storm see it (all but a leak end it), and what may be said of it."""


@isolated(timeout=4 * PATIENT)
def test_planted_bugs_are_seen() -> None:
    """Each with the words for what it does."""
    for name, (plant, seconds, words) in PLANTED.items():
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            plant([])
            code = storm.main([str(seconds), "--stress", "", "--each", "1"])
            sys.stdout.flush()
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1, (name, said)
        assert any(each in said for each in words), (name, said)
        assert "seed 0" in said
