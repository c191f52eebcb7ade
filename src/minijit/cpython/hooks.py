"""The hooks through which compiled code gets in: monitoring events and vectorcall entries.

`Monitoring` owns the tool id `sys.monitoring.OPTIMIZER_ID`. Events are set code object by code object, so that code
which does not concern us is never instrumented; where a whole program is looked at, all code has the two counting
events besides, which a scout answers (see `scout`). Until the native stubs exist, the counting events of ours go to a
Python callback that is told once (`ignite`); from then on all callbacks are machine code.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.cpython import abi, raw, scout, superinstructions
from minijit.cpython.builtin import builtin
from minijit.cpython.scout import JUMP, NAME, START, TOOL, Scout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

_MONITORING = sys.monitoring
INSTRUCTION = _MONITORING.events.INSTRUCTION


class ToolTaken(Exception):
    """Another tool has the monitoring id of optimisers."""


point_vectorcall = ctypes.pythonapi.PyFunction_SetVectorcall
"""`point_vectorcall(function, code)`: calls of the function, which is given by its address, go to machine code at
`code`. A C function, so that no other thread runs between what was looked at before and the store."""
point_vectorcall.restype = None
point_vectorcall.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

PLAIN_VECTORCALL = raw.symbol("_PyFunction_Vectorcall")
"""Where calls of a function go that nobody has changed: to the interpreter."""


@dataclass(slots=True)
class Monitoring:
    """Our use of `sys.monitoring`, of all code if there is a scout. Raises `ToolTaken` where the tool id is not
    free."""

    ignite: Callable[[], None]
    scout: Scout | None = None
    active: dict[int, CodeType] = field(default_factory=dict)
    _is_igniting: bool = False
    _unheard: dict[int, CodeType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not scout.dismiss():
            try:
                _MONITORING.use_tool_id(TOOL, NAME)
            except ValueError:
                raise ToolTaken(_MONITORING.get_tool(TOOL)) from None
        _MONITORING.register_callback(TOOL, START, self._on_start)
        _MONITORING.register_callback(TOOL, JUMP, self._on_jump)
        _MONITORING.set_events(TOOL, START | JUMP if self.scout is not None else 0)

    def _on_start(self, code: CodeType, offset: int) -> object:
        if id(code) in self.active:
            return self._ignite(code)
        return self.scout.on_start(code, offset) if self.scout is not None else None

    def _on_jump(self, code: CodeType, source: int, target: int) -> object:
        if id(code) in self.active:
            return self._ignite(code)
        return self.scout.on_jump(code, source, target) if self.scout is not None else None

    def _ignite(self, code: CodeType) -> object:
        """The first event of active code has `ignite` called, which takes its time; the others are not heard until
        that is done."""
        if self._is_igniting:
            self._unheard[id(code)] = code
            return _MONITORING.DISABLE
        self._is_igniting = True
        self.ignite()
        return None

    def go_native(self, on_start: int, on_jump: int, on_instruction: int) -> None:
        """From now on events go to machine code: functions with the signature of METH_FASTCALL."""
        for event, name, address in (
            (START, b"on_start", on_start),
            (JUMP, b"on_jump", on_jump),
            (INSTRUCTION, b"on_instruction", on_instruction),
        ):
            _MONITORING.register_callback(TOOL, event, builtin(name, address))
        # More may come while this goes on, by other threads.
        while self._unheard:
            _, code = self._unheard.popitem()
            if id(code) in self.active:
                self.hear_all(code)

    def set_events(self, code: CodeType, events: int) -> None:
        """Which events of a code object we get; 0 for none."""
        if events:
            self.active[id(code)] = code
        else:
            self.active.pop(id(code), None)
        _MONITORING.set_local_events(TOOL, code, events)
        if not events & INSTRUCTION and not is_watched(code):
            superinstructions.restore(code)

    def rearm(self, code: CodeType) -> None:
        """Instructions that a callback disabled come again; the instrumentation is brought up to date."""
        events = _MONITORING.get_local_events(TOOL, code)
        # Any change will do, but 3.12.1 forgets that another tool wants the instructions when we no longer do.
        _MONITORING.set_local_events(TOOL, code, events ^ (INSTRUCTION if events & INSTRUCTION else START))
        self.set_events(code, events)

    def hear_all(self, code: CodeType) -> None:
        """What was disabled in a code object that is being executed comes again. Where all code has events: what is
        taken from all and given back is new only where code runs."""
        if is_watched(code):
            return
        events = _MONITORING.get_local_events(TOOL, code)
        _MONITORING.set_local_events(TOOL, code, 0)
        if self.scout is not None:
            _MONITORING.set_events(TOOL, 0)
            _MONITORING.set_events(TOOL, START | JUMP)
        self.set_events(code, events)

    def hear_again(self) -> None:
        """Where all code has events, what was disabled comes again."""
        if self.scout is not None:
            self.scout.forget()
            _MONITORING.restart_events()

    def close(self) -> None:
        """Gives everything back: events, callbacks, the tool id."""
        _MONITORING.set_events(TOOL, 0)
        for code in list(self.active.values()):
            self.set_events(code, 0)
        for event in (START, JUMP, INSTRUCTION):
            _MONITORING.register_callback(TOOL, event, None)
        _MONITORING.free_tool_id(TOOL)
        # Whoever had us is not to be garbage in a cycle.
        self.ignite, self.scout = _nobody, None


def _nobody() -> None:
    """Nobody is to be told any more."""


def is_watched(code: CodeType) -> bool:
    """Whether a tool other than ours wants events of the code."""
    ours = 1 << TOOL
    monitoring = raw.read_u64(id(code) + abi.CODE.monitoring)
    if not monitoring:
        return False
    tools = raw.read_bytes(monitoring + abi.MONITORING.active_monitors, 15)
    return any(bits & ~ours for bits in tools)


def vectorcall_of(function: int) -> int:
    """Where calls of the function go, which is given by its address."""
    return raw.read_u64(function + abi.FUNCTION.vectorcall)


def reach(entry: int) -> int:
    """How many bytes of C stack are at most between the interpreter's loop and the entry of a function that it calls
    without counting C recursion; `entry` is machine code that gives this for the call at hand."""

    set_vectorcall(id(_probe), PLAIN_VECTORCALL, entry)
    probes, named = _Probe(), {"named": 0}
    calls = (_probe(), _probe(named=0), _probe(*(0,)), _probe(**named))
    most: int = max(*calls, probes.value, probes[0], _Attributes().value)
    set_vectorcall(id(_probe), entry, PLAIN_VECTORCALL)
    return most


def _probe(*_arguments: object, **_named: object) -> int:
    raise AssertionError


class _Probe:
    value = property(_probe)
    __getitem__ = _probe


class _Attributes:
    value: int
    __getattribute__ = _probe


def set_vectorcall(function: int, old: int, new: int) -> bool:
    """Calls of the function, which is given by its address, go to machine code at `new` if they go to `old` still;
    whether they did: somebody else may have put an entry of their own there."""
    if vectorcall_of(function) != old:
        return False
    point_vectorcall(function, new)
    return True
