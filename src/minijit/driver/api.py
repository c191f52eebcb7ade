"""What users call. Checks arguments, says clearly what is wrong, and leaves the work to the driver.

Where this interpreter cannot be supported, everything here is harmless: `jit` returns functions as they are and warns
once. That includes interpreters which cannot load `ctypes`, as those with a GIL of their own cannot; so what needs it
is imported inside functions.
"""

from __future__ import annotations

import atexit
import os
import sys
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, overload

from minijit import config as configuration
from minijit.driver.process import Options, Process
from minijit.events import Stats
from minijit.ir import codeflags
from minijit.ir.bytecode import decode
from minijit.ir.kinds import EntryKind, Kinds
from minijit.report import explain as report
from minijit.report.explain import Explanation
from minijit.runtime.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.config import Config
    from minijit.driver.core import Driver
    from minijit.driver.state import FunctionState
    from minijit.events import Event

_process = Process()
atexit.register(_process.end)
os.register_at_fork(after_in_child=_process.after_fork)


def current_driver() -> Driver | None:
    """The driver in service: where a scout has been at work so far (see `startup`), it is ours to enable minijit."""
    scout = sys.modules.get("minijit.cpython.scout")
    if scout is not None and scout.is_at_work():
        _process.switch_on(configuration.from_environment(), whole=True, by_itself=True)
    return _process.driver


current_driver()


# Switching on and off


def enable(config: Config | None = None) -> Session:
    """Takes minijit into service for the whole program, with a configuration (default: what the environment says).

    What is hot is compiled, decorated or not; `Config(deny="*")` leaves all but decorated functions alone. Functions
    that were decorated before are taken on again. Returns a context manager that disables minijit at its end. Raises
    `RuntimeError` if minijit is enabled already, unless it was a decoration or `MINIJIT=1` that enabled it: then it
    starts anew. Where the interpreter is not supported, or is about to end,
    warns once and does nothing. Called in the midst of minijit's own work, by a subscriber for one, it takes effect
    when that is done.
    """
    if not isinstance(config, configuration.Config | None):
        raise TypeError(f"enable takes a minijit.Config, not {config!r}")
    _process.switch_on(config if config is not None else configuration.from_environment(), whole=True)
    return Session()


def disable() -> None:
    """Takes minijit out of service: every function, monitoring tool id and watcher is as it was found.

    It stays out until `enable` is called: decorating a function no longer starts it. Safe to call twice; called in the
    midst of minijit's own work, it takes effect when that is done. The end of the interpreter does the same.
    """
    _process.switch_off()


def is_enabled() -> bool:
    """Whether minijit is in service, or comes into service as soon as what it is at is done."""
    return _process.is_on


def load_ipython_extension(_shell: object) -> None:
    """What `%load_ext minijit` calls in IPython and Jupyter: minijit is enabled, if it is not."""
    if not _process.is_on:
        enable()


def unload_ipython_extension(_shell: object) -> None:
    """What `%unload_ext minijit` calls."""
    disable()


class Session:
    """The time between `enable` and `disable`, as a context manager."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        disable()


# Decorating


@overload
def jit[F: Callable[..., Any]](function: F, /) -> F: ...
@overload
def jit[F: Callable[..., Any]](*, policy: Policy | None = None, eager: bool = False) -> Callable[[F], F]: ...
def jit(function: Any = None, /, *, policy: Any = None, eager: Any = False) -> Any:
    """Compiles a Python function to machine code once it is hot. Returns the same function object.

    policy: a `minijit.Policy` that decides for this function; default: the default policy.
    eager: compile at once, from the annotations (`int`, `float`, `bool`, `None`), instead of after some calls.

    The first function that is decorated enables minijit, unless it was disabled before, or the interpreter is ending.
    Raises `TypeError` for anything that is not a Python function, or an option of the wrong type.
    """
    if policy is not None and not isinstance(policy, Policy):
        raise TypeError(f"jit's policy must be an instance of minijit.Policy, not {policy!r}")
    if not isinstance(eager, bool):
        raise TypeError(f"jit's eager must be True or False, not {eager!r}")
    if function is None:
        return lambda decorated: _jit(decorated, policy, eager, "jit")
    return _jit(function, policy, eager, "jit")


def _jit(function: Any, policy: Policy | None, eager: bool, what: str) -> Any:
    """`what` is the function that the user called."""
    _require_function(function, what)
    if _suspends(function):
        raise TypeError(
            f"minijit.{what} cannot take {function.__qualname__}: it is a generator or coroutine function; "
            "move its inner loop into a plain function and decorate that"
        )
    kinds = _annotated_kinds(function) if eager else None
    if _process.waits_for_a_function:
        _process.switch_on(configuration.from_environment(), whole=False, by_itself=True)
    if eager and _process.is_on:
        _require_call_entry(function)
    # Only what was checked: a later `enable` takes everything on that stands here.
    _process.decorated[function] = Options(policy, kinds)
    _process.take_on(function)
    return function


def _suspends(function: FunctionType) -> bool:
    """Whether it is a generator or coroutine function, which is never compiled."""
    return bool(function.__code__.co_flags & codeflags.SUSPENDING)


def _require_function(function: object, what: str) -> None:
    if isinstance(function, FunctionType):
        return
    decorates = what == "jit"
    if isinstance(function, type):
        hint = "decorate its methods" if decorates else "pass one of its methods"
    elif isinstance(function, staticmethod | classmethod | property) and decorates:
        hint = f"put @minijit.jit below @{type(function).__name__}, next to the def"
    elif isinstance(function, property):
        hint = "pass its fget"
    elif isinstance(function, MethodType | staticmethod | classmethod):
        hint = "pass its __func__"
    elif hasattr(function, "__wrapped__"):
        hint = "put @minijit.jit below the other decorator, next to the def" if decorates else "pass its __wrapped__"
    elif callable(function):
        hint = "only functions made by def or lambda can be compiled"
    else:
        hint = "use it as @minijit.jit or @minijit.jit(option=...)" if decorates else "pass the function itself"
    raise TypeError(f"minijit.{what} takes a Python function, not {function!r}: {hint}")


_TYPE_KINDS: dict[object, EntryKind] = {
    int: EntryKind.INT,
    float: EntryKind.FLOAT,
    bool: EntryKind.BOOL,
    None: EntryKind.NONE,
    type(None): EntryKind.NONE,
    object: EntryKind.OBJECT,
}


def _kind_of(annotation: object, function: FunctionType) -> EntryKind:
    try:
        return _TYPE_KINDS[annotation]
    except (KeyError, TypeError):
        raise TypeError(
            f"{function.__qualname__}: {annotation!r} cannot be compiled for; use int, float, bool, None or object"
        ) from None


def _annotated_kinds(function: FunctionType) -> Kinds:
    import inspect  # which is slow to import, and seldom needed

    annotations = inspect.get_annotations(function, eval_str=True)
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    missing = [name for name in names if name not in annotations]
    if missing:
        raise TypeError(f"{function.__qualname__}: eager needs an annotation for {', '.join(missing)}")
    return tuple(_kind_of(annotations[name], function) for name in names)


def _require_call_entry(function: FunctionType) -> None:
    from minijit.driver.entries import can_enter_by_call

    if not can_enter_by_call(decode(function.__code__)):
        raise TypeError(
            f"{function.__qualname__} cannot be compiled from its start: it has *args, **kwargs, too many parameters, "
            "or variables of functions within it"
        )


# One function


def compile(function: FunctionType, *types: type | None) -> bool:
    """Compiles a function now, for arguments of these exact types (`int`, `float`, `bool`, `None`; `object` for
    anything).

    Branches are compiled whether they were ever taken or not. Returns whether there is a region for these types now.
    Raises `TypeError` for a wrong number of types, or one that cannot be compiled for.
    """
    _require_function(function, "compile")
    if function not in _process.decorated:
        _jit(function, None, False, "compile")
    found = _known(function, "compile")
    if found is None:
        return False
    from minijit.driver.entries import parameter_count

    driver, state = found
    count = parameter_count(state.code.code)
    if len(types) != count:
        raise TypeError(f"{function.__qualname__} has {count} parameters, but {len(types)} types were given")
    kinds = tuple(_kind_of(t, function) for t in types)
    _require_call_entry(function)
    return driver.compile_types(state, kinds)


def explain(function: FunctionType) -> Explanation:
    """What happened to a function, line by line, why, and what would help: prints as text, and as HTML in a notebook.

    Raises `TypeError` for anything but a Python function.
    """
    found = _known(function, "explain")
    if found is not None:
        from minijit.driver.explained import facts

        driver, _ = found

        def look() -> Explanation | None:
            # What was found may have another code object by now, or be forgotten.
            state = driver.known(function)
            if state is None:
                return None
            return report.explain(state.name, state.code.code, [facts(root) for root in state.roots])

        explanation = driver.turn.read(look)
        if explanation is not None:
            return explanation
    return Explanation(function.__qualname__, (_why_unknown(function),), (), ())


def _known(function: Any, what: str) -> tuple[Driver, FunctionState] | None:
    """The driver and what it knows of a function, if it does. Raises `TypeError`, naming the caller `what`, for other
    things."""
    _require_function(function, what)
    driver = _process.driver
    if driver is None:
        return None
    driver.settle()
    state = driver.known(function)
    return None if state is None else (driver, state)


def _why_unknown(function: FunctionType) -> str:
    """Why a function is not known to the driver, in a sentence."""
    if not _process.is_on:
        return f"minijit is off: {_process.refusal}" if _process.refusal else "minijit is not enabled"
    if function in _process.suppressed:
        return "suppressed by the user: never compiled"
    return "minijit was not asked to compile it: decorate it with @minijit.jit"


def is_compiled(function: FunctionType) -> bool:
    """Whether machine code is in service for calls of the function, also for those by other machine code, or for a loop
    in it."""
    found = _known(function, "is_compiled")
    if found is None:
        return False
    _, state = found
    return any(root.versions for root in state.roots)


def suppress(function: FunctionType) -> None:
    """Never compiles the function, in whatever order it is decorated and minijit enabled; code that exists is thrown
    away. Does not start minijit.

    Raises `TypeError` for anything but a Python function.
    """
    _require_function(function, "suppress")
    if not _suspends(function):
        _process.suppress(function)


def release(function: FunctionType) -> None:
    """Throws the function's machine code away; it may become hot, and be compiled, again."""
    found = _known(function, "release")
    if found is not None:
        driver, state = found
        driver.release(state)


def stats(function: FunctionType | None = None) -> Stats:
    """Counters: of one function, its loops and what other machine code calls of it included, or of the whole process.
    All are zero while minijit is off."""
    if function is not None:
        found = _known(function, "stats")
        return Stats() if found is None else found[0].stats(found[1])
    driver = _process.driver
    if driver is None:
        return Stats()
    driver.settle()
    return driver.stats(None)


def subscribe(callback: Callable[[Event], object]) -> Callable[[], None]:
    """Calls `callback(event)` for every event from now on; returns a function that ends it.

    A callback that raises is removed and reported; it never breaks the program.
    """
    if not callable(callback):
        raise TypeError(f"subscribe takes a callable, not {callback!r}")
    _process.hub.subscribers.append(callback)

    def unsubscribe() -> None:
        if callback in _process.hub.subscribers:
            _process.hub.subscribers.remove(callback)

    return unsubscribe
