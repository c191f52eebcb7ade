"""What users call. Checks arguments, says clearly what is wrong, and leaves the work to the driver.

Where this interpreter cannot be supported, everything here is harmless: `jit` returns functions as they are and warns
once. That includes interpreters which cannot load `ctypes`, as those with a GIL of their own cannot; so what needs it
is imported inside functions.
"""

from __future__ import annotations

import atexit
import os
import warnings
import weakref
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, overload

from minijit import config as configuration
from minijit.events import Hub, Stats
from minijit.ir.bytecode import SUSPENDING_FLAGS
from minijit.ir.region import EntryKind
from minijit.report import explain as report
from minijit.report.explain import Explanation
from minijit.runtime.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.config import Config
    from minijit.cpython.abi import Interpreter
    from minijit.driver.core import Driver
    from minijit.driver.state import FunctionState
    from minijit.driver.turn import Turn
    from minijit.events import Event


class UnsupportedWarning(RuntimeWarning):
    """minijit cannot work in this interpreter; functions run as they are."""


@dataclass(frozen=True, slots=True)
class _Options:
    policy: Policy | None
    eager: bool


@dataclass(slots=True)
class _Process:
    """What a process has of minijit: at most one driver, the functions that were decorated, the event hub."""

    driver: Driver | None = None
    interpreter: Interpreter | None = None
    turn: Turn | None = None
    refusal: str = ""
    hub: Hub = field(default_factory=Hub)
    decorated: weakref.WeakKeyDictionary[Any, _Options] = field(default_factory=weakref.WeakKeyDictionary)


_process = _Process()


# Switching on and off


def enable(config: Config | None = None) -> Session:
    """Takes minijit into service with a configuration (default: what the environment says).

    Functions that were decorated before are taken on again. Returns a context manager that disables minijit at its end.
    Raises `RuntimeError` if minijit is enabled already. Where the interpreter is not supported, warns once and does
    nothing.
    """
    if not isinstance(config, configuration.Config | None):
        raise TypeError(f"enable takes a minijit.Config, not {config!r}")
    if _process.driver is not None:
        raise RuntimeError("minijit is enabled already; call minijit.disable() first")
    _start(config if config is not None else configuration.from_environment())
    return Session()


def disable() -> None:
    """Takes minijit out of service: every function, monitoring tool id and watcher is as it was found. Safe to call
    twice."""
    driver, _process.driver = _process.driver, None
    if driver is not None:
        driver.close()


def is_enabled() -> bool:
    """Whether minijit is in service."""
    return _process.driver is not None


class Session:
    """The time between `enable` and `disable`, as a context manager."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        disable()


def _start(config: Config) -> None:
    try:
        from minijit.cpython import abi, hooks
        from minijit.driver.core import Driver
        from minijit.driver.turn import Turn
    except ImportError as error:
        if error.name is not None and error.name.startswith("minijit"):
            raise
        _refuse(f"this interpreter cannot load what it needs: {error}")
        return
    # What was found once stays true; looking for it again can fail while other threads or a signal interfere.
    found = _process.interpreter or abi.supported()
    if isinstance(found, abi.Unsupported):
        _refuse(f"{found.reason.sentence} {found.detail}".strip())
        return
    _process.interpreter = found
    _process.hub.log = config.log == "trace"
    _process.turn = _process.turn or Turn()
    try:
        _process.driver = Driver(config, found, _process.hub, _withdraw, _process.turn)
    except hooks.ToolTaken as taken:
        _refuse(f"the monitoring tool id for optimisers belongs to {taken}")
        return
    for function, options in list(_process.decorated.items()):
        _take_on(function, options)


def _withdraw(why: str) -> None:
    """The driver found out that it cannot work after all, and has cleaned up after itself."""
    _process.driver = None
    _refuse(why)


def _refuse(why: str) -> None:
    if not _process.refusal:
        warnings.warn(f"minijit is off: {why}", UnsupportedWarning, stacklevel=5)
    _process.refusal = why


def _after_fork() -> None:
    if _process.turn is not None:
        _process.turn.after_fork()


atexit.register(disable)
os.register_at_fork(after_in_child=_after_fork)


# Decorating


@overload
def jit[F: Callable[..., Any]](function: F, /) -> F: ...
@overload
def jit[F: Callable[..., Any]](*, policy: Policy | None = None, eager: bool = False) -> Callable[[F], F]: ...
def jit(function: Any = None, /, *, policy: Any = None, eager: Any = False) -> Any:
    """Compiles a Python function to machine code once it is hot. Returns the same function object.

    policy: a `minijit.Policy` that decides for this function; default: the default policy.
    eager: compile at once, from the annotations (`int`, `float`, `bool`, `None`), instead of after some calls.

    Raises `TypeError` for anything that is not a Python function, or an option of the wrong type.
    """
    options = _options(policy, eager)
    if function is None:
        return lambda decorated: _jit(decorated, options, "jit")
    return _jit(function, options, "jit")


def _options(policy: object, eager: object) -> _Options:
    if policy is not None and not isinstance(policy, Policy):
        raise TypeError(f"jit's policy must be an instance of minijit.Policy, not {policy!r}")
    if not isinstance(eager, bool):
        raise TypeError(f"jit's eager must be True or False, not {eager!r}")
    return _Options(policy, eager)


def _jit(function: Any, options: _Options, what: str) -> Any:
    """`what` is the function that the user called."""
    _require_function(function, what)
    if _suspends(function):
        raise TypeError(
            f"minijit.{what} cannot take {function.__qualname__}: it is a generator or coroutine function; "
            "move its inner loop into a plain function and decorate that"
        )
    _process.decorated[function] = options
    if _process.driver is None:
        if not _process.refusal:
            _start(configuration.from_environment())
    else:
        _take_on(function, options)
    return function


def _suspends(function: FunctionType) -> bool:
    """Whether it is a generator or coroutine function, which is never compiled."""
    return bool(function.__code__.co_flags & SUSPENDING_FLAGS)


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


def _take_on(function: FunctionType, options: _Options) -> None:
    driver = _process.driver
    if driver is None:
        return  # a signal handler has called `disable` meanwhile
    state = driver.add(function, options.policy or Policy(driver.config))
    if options.eager and state is not None:
        kinds = _annotated_kinds(function)
        _require_call_entry(state)
        driver.compile_types(state, kinds)


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


def _annotated_kinds(function: FunctionType) -> tuple[EntryKind, ...]:
    import inspect  # which is slow to import, and seldom needed

    annotations = inspect.get_annotations(function, eval_str=True)
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    missing = [name for name in names if name not in annotations]
    if missing:
        raise TypeError(f"{function.__qualname__}: eager needs an annotation for {', '.join(missing)}")
    return tuple(_kind_of(annotations[name], function) for name in names)


def _require_call_entry(state: FunctionState) -> None:
    from minijit.driver.entries import can_enter_by_call

    if not can_enter_by_call(state.code.code):
        raise TypeError(
            f"{state.name} cannot be compiled from its start: it has *args, **kwargs, a closure or too many parameters"
        )


# One function


def compile(function: FunctionType, *types: type | None) -> bool:
    """Compiles a function now, for arguments of these exact types (`int`, `float`, `bool`, `None`; `object` for
    anything).

    Branches are compiled whether they were ever taken or not. Returns whether there is a region for these types now.
    Raises `TypeError` for a wrong number of types, or one that cannot be compiled for.
    """
    state = _state(function, "compile")
    if state is None:
        return False
    from minijit.driver.entries import parameter_count

    decoded = state.code.code
    if len(types) != parameter_count(decoded):
        raise TypeError(
            f"{function.__qualname__} has {parameter_count(decoded)} parameters, but {len(types)} types were given"
        )
    kinds = tuple(_kind_of(t, function) for t in types)
    _require_call_entry(state)
    assert _process.driver is not None
    return _process.driver.compile_types(state, kinds)


def _state(function: Any, what: str) -> FunctionState | None:
    """The driver's state of a function, taken on if need be; None where minijit is off."""
    _require_function(function, what)
    if function not in _process.decorated:
        _jit(function, _Options(None, False), what)
    return None if _process.driver is None else _process.driver.known(function)


def explain(function: FunctionType) -> Explanation:
    """What happened to a function, line by line, why, and what would help: prints as text, and as HTML in a notebook.

    Raises `TypeError` for anything but a Python function.
    """
    state = state_of(function, "explain")
    if state is None:
        return Explanation(function.__qualname__, (_why_unknown(),), (), ())
    from minijit.driver.state import facts

    roots = [facts(root) for root in (state, *state.code.loops.values())]
    return report.explain(state.name, state.code.code, roots)


def state_of(function: Any, what: str) -> FunctionState | None:
    """The driver's state of a function, if it has one. Raises `TypeError`, naming the caller `what`, for other
    things."""
    _require_function(function, what)
    if _process.driver is None:
        return None
    _process.driver.settle()
    return _process.driver.known(function)


def _why_unknown() -> str:
    """Why a function is not known to the driver, in a sentence."""
    if _process.refusal:
        return f"minijit is off: {_process.refusal}"
    if _process.driver is None:
        return "minijit is not enabled"
    return "minijit was not asked to compile it: decorate it with @minijit.jit"


def is_compiled(function: FunctionType) -> bool:
    """Whether machine code is in service for calls of the function or for a loop in it."""
    state = state_of(function, "is_compiled")
    if state is None:
        return False
    return bool(state.versions) or any(loop.versions for loop in state.code.loops.values())


def suppress(function: FunctionType) -> None:
    """Never compiles the function; code that exists is thrown away.

    Raises `TypeError` for anything but a Python function.
    """
    _require_function(function, "suppress")
    if _suspends(function):
        return
    state = _state(function, "suppress")
    if state is not None:
        assert _process.driver is not None
        _process.driver.suppress(state)


def release(function: FunctionType) -> None:
    """Throws the function's machine code away; it may become hot, and be compiled, again."""
    state = state_of(function, "release")
    if state is not None:
        assert _process.driver is not None
        _process.driver.release(state)


def stats(function: FunctionType | None = None) -> Stats:
    """Counters: of one function (its loops included), or of the whole process."""
    driver = _process.driver
    if function is not None:
        state = state_of(function, "stats")
        return Stats() if driver is None or state is None else driver.stats(state)
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
