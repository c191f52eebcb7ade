"""minijit for a whole program, from its first line on: `MINIJIT=1`.

`minijit.pth`, which the interpreter reads when it starts, comes here if the variable is set. In: the environment. Out:
a scout that looks at the program, and nothing else of minijit, until something is hot; then minijit is enabled, as
`minijit.enable()` does it, in the midst of whatever is hot. Where that cannot be, it is said in one line, and the
program runs as it would.

Nothing is imported here that is not needed: this is part of every start of the interpreter.
"""

from __future__ import annotations

import atexit
import sys

from minijit.cpython import scout

TYPE_CHECKING = False  # `typing` takes longer to load than all of this

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from minijit.driver.core import Driver


_calls: list[str] = []


def begin(value: str, names: Iterable[str]) -> None:
    """Looks at the program from now on, if `value`, that of MINIJIT, says so; `names` are those of all variables."""
    _calls.append(value)
    if len(_calls) > 1:
        # In a virtual environment `site` reads each .pth file twice.
        return
    if value != "1":
        _say(f"MINIJIT takes 0 or 1, not {value!r}")
        return
    threshold, at_once, tells = scout.THRESHOLD, False, False
    if any(name.startswith("MINIJIT_") for name in names):
        from minijit.config import ConfigError, from_environment

        try:
            config = from_environment()
        except ConfigError as error:
            _say(str(error))
            return
        threshold, at_once, tells = config.threshold, config.stressed.hot, config.stats
    if not scout.send(scout.Scout(threshold, _found)):
        _say("the monitoring tool id for optimisers is taken")
        return
    # Modules are emptied in the end, and finalisers run after that.
    atexit.register(_end, tells)
    if at_once:
        _enable()


def _found(code: CodeType, header: int | None) -> bool:
    """The first place that is hot."""
    if _is_importing():
        return False
    driver = _enable()
    return driver is None or driver.found(code, header)


def _is_importing() -> bool:
    """Whether a module that minijit needs may be loaded by half."""
    for name, module in list(sys.modules.items()):
        # Other things may stand there, which do what they like when they are asked for an attribute.
        if type(module) is type(sys) and name.partition(".")[0] in sys.stdlib_module_names:
            spec = module.__dict__.get("__spec__")
            if spec is not None and getattr(spec, "_initializing", False):
                return True
    return False


def _enable() -> Driver | None:
    """Enables minijit, which takes over from the scout; None if it cannot work. Nothing is collected meanwhile."""
    import gc

    collects = gc.isenabled()
    gc.disable()
    try:
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]

        if interpreters.get_current() != interpreters.get_main():
            # Which is no matter for the program that has more of them: they are as they were.
            scout.recall()
            return None
        from minijit.cpython import signals, support

        # Before signals are held back: it looks at what that changes.
        support.find()
        holds_back = signals.hold_back()
        try:
            from minijit.driver import api

            driver = api.current_driver()
        finally:
            if holds_back:
                signals.let_through()
    except Exception as error:  # noqa: BLE001 - whatever is missing: it is said, and the program goes on
        _say(f"{type(error).__name__}: {error}")
        driver = None
    finally:
        if collects:
            gc.enable()
    if driver is None:
        scout.recall()
    return driver


def _end(tells: bool) -> None:
    """The interpreter ends, and nothing was hot, or minijit is gone already."""
    if scout.is_at_work():
        scout.recall()
        if tells:
            _say("stats      nothing was hot")


def _say(what: str) -> None:
    """On standard error, if there is one."""
    if sys.stderr is not None:
        print(f"minijit: {what}", file=sys.stderr)
