"""Where a whole program is hot, found before anything else of minijit is loaded.

In: PY_START and JUMP events of all code. Out: a call of `found` for each place, a code object's start or a loop's
header, that was come to `threshold` times and may compute something; and DISABLE for all others, at the first event,
so that they cost nothing from then on. A place is worth counting if its code (for a loop: its body) has an arithmetic
instruction, and belongs to no generator or coroutine, nor to a module that is frozen into the interpreter: these find
and load other modules, and are half of what runs when a program starts. A place that is warm, at a 64th of the
threshold, is looked at more closely: what computes little among much else, or with text only, is not counted any
longer.

This module imports next to nothing: it is all that a program without numeric hot places ever pays for. The two
callbacks are Python code, which the interpreter calls in the midst of the program, and must not be noticed by it. As
long as they only count, nothing can come in between, no signal handler and no other thread: that happens where the
eval breaker is looked at, in calls, jumps back and RESUME. So they make no call and no loop, and their RESUME has the
argument that it has behind a `yield from`, where the interpreter does not look (`uninterrupted`).
"""

from __future__ import annotations

import _thread
import sys
from _operator import methodcaller  # `operator` would have to be loaded

from minijit.ir.codeflags import SUSPENDING

TYPE_CHECKING = False  # `typing` takes longer to load than all of this

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

    from minijit.cpython.sampler import Sampler

_MONITORING = sys.monitoring
TOOL = _MONITORING.OPTIMIZER_ID
_TOOLS = 6
NAME = "minijit"
START = _MONITORING.events.PY_START
JUMP = _MONITORING.events.JUMP
DISABLE = _MONITORING.DISABLE
THRESHOLD = 50_000
"""How often a place of a program is come to before minijit is loaded for it: what that takes, some 0.2 s, should not be
more than what such a place has taken, and will take."""
WARM, LOW = 64, 1000
"""A place is warm at one part in so many of the threshold; where that is low, at the threshold."""
SPARSE, SPARSE_LOOP, SPARSE_LARGE, LARGE = 12, 16, 10, 64
"""What has one instruction that computes among more than so many gains nothing: text is put together there, things are
moved about. Small loops may have more, as they fetch what they compute with, and put it back; and what is large, with
so many instructions or more, must have fewer."""
LIGHT = 120
"""A function without loops that has fewer instructions takes little time a call: it must be come to so many times more
often, as so many of it make that many."""
PATIENCE = 1000
"""How often more a place must be come to, at least, before it is asked about again."""
JUMP_BACKWARD = 140
MANY = 100_000
"""Places that are counted at once; programs that make code all the time must not fill the memory."""

# What the compiler makes of an addition: RESUME, two loads, and the instruction that is looked for.
_ARITHMETIC = (lambda left, right: left + right).__code__.co_code[6]
_RESUME = (lambda: None).__code__.co_code[0]


def _results(function: Callable[[Any], Any]) -> dict[Any, Any]:
    """What a C function gives, under its argument: to look something up is no call, behind which a signal handler might
    run."""
    made: dict[Any, Any] = type("_Results", (dict,), {"__missing__": function})()
    return made


def _counted(operation: int) -> dict[bytes, int]:
    return _results(methodcaller("count", operation))


_SUMS = _counted(_ARITHMETIC)
_COMPARISONS = _counted((lambda left, right: left < right).__code__.co_code[6])
_ZEROS = _counted(0)
_LENGTHS = _results(len)

_Function: Any = type(_results)


def _specialised(function: Callable[[Any, Any], object], *operands: object) -> int:
    """The instruction that the interpreter makes of the function's, with such operands."""
    fresh = _Function(function.__code__.replace(), {})
    for _ in range(8):
        fresh(*operands)
    made: int = fresh.__code__._co_code_adaptive[6]
    return made


_OPERATORS = (lambda left, right: left + right), (lambda left, right: left - right), (lambda left, right: left * right)
_NUMBERS = bytes({_specialised(each, *two) for each in _OPERATORS for two in ((2, 3), (2.0, 3.0))})
_NOT_NUMBERS = _results(methodcaller("translate", None, _NUMBERS))
_SHOWN = _results(repr)
FROZEN = "<frozen "
_BEHIND_YIELD_FROM = 2


def uninterrupted(callback: Any) -> Any:
    """The function, in which the interpreter does not look at the eval breaker when it starts."""
    code = callback.__code__
    assert code.co_code[0] == _RESUME, "a function with cells begins with something else"
    text = bytearray(code.co_code)
    text[1] = _BEHIND_YIELD_FROM
    callback.__code__ = code.replace(co_code=bytes(text))
    return callback


class Scout:
    """Counts places by name and line: the code objects themselves are not kept alive.

    `found(code, header)`, with None for a start, gives the answer to the event when a place is hot; after that it is
    counted anew, unless the answer was DISABLE: then so it is whenever it is come to again, by another jump of the
    loop. `weight` is how many events each one stands for that comes here (see `sampler`).
    """

    __slots__ = ("counts", "ends", "found", "rest", "threshold", "warm", "weight", "worth")

    def __init__(self, threshold: int, found: Callable[[CodeType, int | None], object]) -> None:
        self.threshold = threshold
        self.warm = threshold // WARM if threshold >= LOW else threshold
        self.rest = threshold - self.warm
        self.weight = 1
        self.found = found
        self.counts: dict[tuple[object, ...], int] = {}
        self.ends: dict[tuple[object, ...], int] = {}
        self.worth: dict[tuple[object, ...], bool] = {}

    def forget(self) -> None:
        """All places are new."""
        self.counts, self.ends, self.worth = {}, {}, {}

    @uninterrupted
    def on_start(self, code: CodeType, _offset: int) -> object:
        """PY_START."""
        counts = self.counts
        place = code.co_qualname, code.co_firstlineno
        if place in counts:
            count = counts[place] + self.weight
        elif code.co_flags & SUSPENDING or code.co_filename[:8] == FROZEN or _ARITHMETIC not in code.co_code[::2]:
            return DISABLE
        else:
            count = self.weight
        counts[place] = count
        return None if count < self.warm else self._reached(place, code, None, code.co_code[::2])

    @uninterrupted
    def on_jump(self, code: CodeType, source: int, target: int) -> object:
        """JUMP."""
        if target > source:
            return DISABLE
        counts, ends = self.counts, self.ends
        place = code.co_qualname, code.co_firstlineno, target
        if place in counts:
            count = counts[place] + self.weight
            # A `continue` jumps back as well, from somewhere in the midst. (The place may be new: all are forgotten.)
            if place not in ends or source > ends[place]:
                ends[place] = source
        elif (
            code.co_flags & SUSPENDING
            or code.co_filename[:8] == FROZEN
            or _ARITHMETIC not in code.co_code[target:source:2]
        ):
            return DISABLE
        else:
            count = self.weight
            ends[place] = source
        counts[place] = count
        return None if count < self.warm else self._reached(place, code, target, code.co_code[target : ends[place] : 2])

    @uninterrupted
    def _reached(self, place: tuple[object, ...], code: CodeType, header: int | None, operations: bytes) -> object:
        if place in self.worth and not self.worth[place]:
            return DISABLE
        # What is warm has the rest of the way to go until it is so again.
        again = self.warm - self.rest if self.rest else 0
        self.counts[place] = again
        if self.rest and place not in self.worth:
            computing = _SUMS[operations] + _COMPARISONS[operations]
            # What the interpreter keeps between instructions is zeros here.
            size = _LENGTHS[operations] - _ZEROS[operations]
            has_loop = header is not None or JUMP_BACKWARD in operations
            limit = SPARSE_LARGE if size >= LARGE else SPARSE_LOOP if has_loop else SPARSE
            # What formats text, and adds no numbers, computes nothing. (Caches may look like what adds numbers.)
            present = code._co_code_adaptive[::2]  # type: ignore[attr-defined]
            try:
                is_text = header is None and "%" in _SHOWN[code.co_consts]
            except Exception:  # noqa: BLE001 - there may be anything in code that was made by hand
                is_text = False
            if is_text and _LENGTHS[_NOT_NUMBERS[present]] == _LENGTHS[present]:
                computing = 0
            self.worth[place] = computing * limit >= size
            if size < LIGHT and not has_loop:
                self.counts[place] = self.warm - self.rest * (LIGHT // size)
            return None if self.worth[place] else DISABLE
        if len(self.counts) > MANY:
            self.forget()
        answer = self.found(code, header)
        self.worth[place] = answer is not DISABLE
        if answer is DISABLE:
            self.counts[place] = self.warm
        elif answer is None and again > self.warm - PATIENCE:
            # What cannot be dealt with now, since something is being loaded, is not asked about all the time.
            self.counts[place] = self.warm - PATIENCE
        return answer


def has_numbers(code: CodeType, depth: int) -> bool:
    """Whether a function that has just been called, `depth` frames above, has a number to compute with: `%` may be
    about strings. To load minijit for nothing takes longer than most imports. (What a loop computes with is counted at
    the loop.) What has computed with numbers for long is seen by the instructions that the interpreter has made of it.
    """
    # (`dis` takes the caches of what a profiler listens to for instructions.)
    plain, present = code.co_code[::2], code._co_code_adaptive[::2]  # type: ignore[attr-defined]
    if any(made in _NUMBERS for was, made in zip(plain, present, strict=True) if was == _ARITHMETIC):
        return True
    frame = sys._getframe(depth)
    if frame.f_code is not code:
        return True
    return any(type(value) in (int, float, bool) for value in frame.f_locals.values())


ROOM = 300
"""How many frames it may take to load minijit."""


def has_room() -> bool:
    """Whether the recursion limit leaves so many. (Machine code in front of the scout sees to it.)"""
    if not any(isinstance(each, Scout) for each in _at_work):
        return True
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    return depth + ROOM < sys.getrecursionlimit()


def is_importing() -> bool:
    """Whether a module that minijit needs may be loaded by half."""
    for name, module in list(sys.modules.items()):
        # Other things may stand there, which do what they like when they are asked for an attribute.
        package = name.partition(".")[0]
        if type(module) is type(sys) and (package in sys.stdlib_module_names or package in ("minijit", "llvmlite")):
            spec = module.__dict__.get("__spec__")
            if spec is not None and getattr(spec, "_initializing", False):
                return True
    return False


_at_work: list[Scout | Sampler] = []
_kept: list[Sampler] = []


def send(scout: Scout | Sampler) -> bool:
    """Lets a scout look at the program before there is a driver, or a sampler in its place; whether the tool id was
    free."""
    if _MONITORING.get_tool(TOOL) is not None:
        return False
    _MONITORING.use_tool_id(TOOL, NAME)
    _at_work.append(scout)
    _MONITORING.register_callback(TOOL, START, scout.on_start)
    _MONITORING.register_callback(TOOL, JUMP, scout.on_jump)
    _MONITORING.set_events(TOOL, START | JUMP)
    if not isinstance(scout, Scout) and _is_alone():
        scout.watch()
    return True


def _is_alone() -> bool:
    """Whether nobody else has events of all code. Whoever may be in another thread is not looked for there."""
    tools = (tool for tool in range(_TOOLS) if tool != TOOL and _MONITORING.get_tool(tool) is not None)
    tracing = sys.gettrace() or sys.getprofile() or _thread._count()
    return not tracing and not any(map(_MONITORING.get_events, tools))


def recall() -> None:
    """Gives everything back, if a scout is at work still, and what it has was not taken away."""
    if dismiss() and _MONITORING.get_tool(TOOL) == NAME:
        _MONITORING.set_events(TOOL, 0)
        _MONITORING.register_callback(TOOL, START, None)
        _MONITORING.register_callback(TOOL, JUMP, None)
        _MONITORING.free_tool_id(TOOL)


def is_at_work() -> bool:
    """Whether a scout looks at the program, and there is no driver."""
    return bool(_at_work)


def dismiss() -> bool:
    """Whether there was a scout at work: what it has, the tool id and the events of all code, is the caller's now."""
    if not _at_work:
        return False
    found = _at_work.pop()
    if not isinstance(found, Scout):
        # Its callbacks are there until the caller's are: events of other threads go to machine code that it owns.
        _kept.append(found)
        found.unwatch()
    return True
