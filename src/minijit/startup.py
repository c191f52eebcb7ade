"""minijit for a whole program, from its first line on: `MINIJIT=1`, or `MINIJIT=check`.

`minijit.pth`, which the interpreter reads when it starts, comes here if the variable is set. In: the environment. Out:
a scout that looks at the program, with machine code in front of it that is kept on disk, and nothing else of minijit,
until something is hot. Then minijit is enabled, as `minijit.enable()` does it, in the midst of whatever is hot. Where
that cannot be, it is said in one line, and the program runs as it would.

Nothing is imported here that is not needed: this is part of every start of the interpreter.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import atexit
import os
import sys
import time

from minijit.cpython import cache_files, scout

_FORMAT = 6
"""Of the sampler's file."""
LONG = 0.4
"""Seconds of processor time, next to which a fraction of one is not much."""

TYPE_CHECKING = False  # `typing` takes longer to load than all of this

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType
    from typing import Any

    from minijit.cpython.sampler import Sampler
    from minijit.driver.core import Driver


_calls: list[str] = []


def begin(value: str, environment: Mapping[str, str]) -> None:
    """Looks at the program from now on, if `value`, that of MINIJIT, says so."""
    _calls.append(value)
    if len(_calls) > 1:
        # In a virtual environment `site` reads each .pth file twice.
        return
    if value not in ("1", "check"):
        _say(f"MINIJIT takes 0, 1 or check, not {value!r}")
        return
    threshold, at_once, tells, keeps = scout.THRESHOLD, False, False, True
    if any(name.startswith("MINIJIT_") for name in environment):
        from minijit.config import ConfigError, from_environment

        try:
            config = from_environment()
        except ConfigError as error:
            _say(str(error))
            return
        threshold, at_once, tells, keeps = config.threshold, config.stressed.hot, config.stats, config.cache
    path = _sampler_path(environment) if keeps else ""
    if not scout.send(_with_sampler(scout.Scout(threshold, _found), path)):
        _say("the monitoring tool id for optimisers is taken")
        return
    # Modules are emptied in the end, and finalisers run after that.
    atexit.register(_end, tells, path)
    if at_once:
        _uncollected(_enable)


# Machine code on disk


def _sampler_path(environment: Mapping[str, str]) -> str:
    """Where the sampler's file is."""
    name = f"sampler-{_FORMAT}-{sys.implementation.cache_tag}-{os.uname().machine}"
    return os.path.join(cache_files.directory(environment), name)


def _with_sampler(plain: scout.Scout, path: str) -> scout.Scout | Sampler:
    """A sampler in front of a scout if there is one on disk, else the scout."""
    if not path or not os.path.exists(path):
        return plain
    try:
        from minijit.cpython import sampler

        mask = sampler.mask(plain.threshold)
        found = sampler.Sampler(path, plain, mask)
    except (ImportError, OSError, ValueError):
        return plain
    plain.weight = sampler.weight(mask)
    return found


def _keep_sampler(path: str) -> None:
    """Makes the file for the processes to come, where that is no great part of what this one has taken."""
    if not path or os.path.exists(path) or time.process_time() < LONG:
        return
    try:
        from minijit.backend.engine import Engine
        from minijit.backend.sampling import sampler_text
        from minijit.cpython import sampler, superinstructions

        image = Engine().portable(sampler_text(), name="minijit sampler")
        sampler.save(path, image.content, superinstructions.tables(), image.symbols)
    except Exception:  # noqa: BLE001 - a matter of speed alone, at the end of a program
        return


# The first hot place


@scout.uninterrupted
def _found(code: CodeType, header: int | None) -> object:
    """The first place that is hot. No signal handler of the program's may run in here: what it raises would go past
    the program's own handlers of exceptions, and it would see our frames."""
    # The first thing that is done, so that next to nothing can come before it. Blocked signals go to other threads, if
    # there are any, and their handlers are run here: so they are no longer blocked than needed.
    blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, _SIGNALS)
    try:
        if scout.is_importing() or not scout.has_room() or _has_little_stack():
            return None
        if header is None and not scout.has_numbers(code, 4):
            return scout.DISABLE
        if not _is_main_interpreter():
            # Which is no matter for the program that has more of them: they are as they were.
            scout.recall()
            return scout.DISABLE
        from minijit.cpython import signals

        holds_back = signals.hold_back()
    except Exception as error:  # noqa: BLE001 - as below
        _say(f"{type(error).__name__}: {error}")
        scout.recall()
        return scout.DISABLE
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
    from minijit.cpython import hurry

    driver, answer, interval = None, scout.DISABLE, hurry.hurry()
    if not _uncollected(_is_hopeless, code, header):
        driver = _uncollected(_enable)
        answer = scout.DISABLE if driver is None else driver.found(code, header)
    hurry.rest(interval)
    if not holds_back:
        return answer
    if driver is not None and driver.is_native:
        return driver.let_through()
    signals.let_through()
    return answer


def _has_little_stack() -> bool:
    """Whether it takes more to load minijit than this thread has. (Other interpreters, which cannot tell, are found out
    next.)"""
    try:
        from minijit.cpython import stack_sizes
    except ImportError:
        return False
    return stack_sizes.is_little()


def _is_hopeless(code: CodeType, header: int | None) -> bool:
    """Whether nothing would come of what is hot: most of that is found out without what takes long to load. Where
    minijit cannot work, that is left to be found by enabling it."""
    try:
        from minijit.config import from_environment
        from minijit.cpython import support

        if isinstance(support.find(), support.Unsupported):
            return False
        from minijit.cpython import frames
        from minijit.driver.building import gets_anywhere

        frame = frames.running(code)
        return frame is not None and not gets_anywhere(frame, code, header, from_environment())
    except Exception:  # noqa: BLE001 - whatever it is: where it is enabled, it is said
        return False


def _uncollected(work: Callable[..., Any], *args: object) -> Any:
    """The result of some work, during which nothing is collected: if there are no other threads, whose garbage that
    would be as well."""
    import gc

    collects = gc.isenabled() and not _thread._count()
    if collects:
        gc.disable()
    try:
        return work(*args)
    finally:
        if collects:
            gc.enable()


def _is_main_interpreter() -> bool:
    import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]

    return bool(interpreters.get_current() == interpreters.get_main())


_SIGNALS = _signal.valid_signals() - {4, 5, 6, 7, 8, 11}
"""All but SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: nobody could catch these while they are blocked."""


def _enable() -> Driver | None:
    """Enables minijit, which takes over from the scout; None if it cannot work."""
    try:
        from minijit.driver import api

        driver = api.current_driver()
    except Exception as error:  # noqa: BLE001 - whatever is missing: it is said, and the program goes on
        _say(f"{type(error).__name__}: {error}")
        driver = None
    if driver is None:
        scout.recall()
    return driver


def _end(tells: bool, path: str) -> None:
    """The interpreter ends; perhaps nothing was hot."""
    if scout.is_at_work():
        scout.recall()
        if tells:
            _say("stats      nothing was hot")
    _keep_sampler(path)


def _say(what: str) -> None:
    """On standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"minijit: {what}\n")
