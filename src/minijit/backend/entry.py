"""How a region is entered: the first lines of its function, up to the point where every input is a machine value.

Two ways in, with one prototype. A **call** entry is a vectorcall: it checks that nobody else watches the code and that
no change of a namespace is yet to be dealt with, binds the arguments if they are not simply positional, checks their
types and unboxes them; when the types are others it goes on to the next version in the root's chain, whose last link
is the `miss` stub. A **loop** entry gets a live frame: it checks the types of the slots and answers NULL, without
having touched anything, when they are others. (For loops the stub that calls the entry makes the other checks.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from minijit.backend.bodies import define_left
from minijit.backend.emitter import pointer
from minijit.backend.inputs import check_given, check_input, check_instances, check_shared_names, goes_to
from minijit.backend.lower_objects import has_plain_keys, held, load
from minijit.cpython import abi
from minijit.cpython.changes import CAPACITY
from minijit.ir.kinds import EntryKind
from minijit.ir.region import Const

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.emitter import Emitter
    from minijit.backend.snapshots import Placement
    from minijit.cpython.changes import Changes
    from minijit.ir.kinds import ClassKind, FunctionKind

FOREIGN_TOOLS = 0xFF & ~(1 << 5)
"""The bits of all monitoring tools but ours (`sys.monitoring.OPTIMIZER_ID` is 5)."""
FOREIGN_WORD = int.from_bytes(bytes([FOREIGN_TOOLS]) * 8, "little", signed=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """A region of which it is kept that it runs, while that is new: in its first `RUNS` runs its `key` stands in the
    word at `running`, until it is left. Each of them ends, by a poll, after `ROUNDS` back edges at the latest: a loop
    that goes on for hours is no longer new."""

    running: int
    key: int


RUNS = 16
ROUNDS = 2**20


@dataclass(frozen=True, slots=True)
class Check:
    """Where calls are done twice (see `check_stub`): the word that counts down to the next of these, and its stub; the
    word that says that calls are to be left to the interpreter, and the stub for those."""

    countdown: int
    checked: int
    interpreting: int
    plainly: int


@dataclass(frozen=True, slots=True)
class RegionEntry:
    """What any entry needs to know.

    `next` is the address of the word that holds the next link of the chain; `entries` that of a counter. `modules` are
    those that must be plain modules still; `codes` are inlined, `depth` within each other, and nobody else may watch
    them. `calls`: there are calls of other machine code. `given` are functions that must stand in slots, `instances`
    the classes of what stands in others, `shared` says of classes how many names their instances share; `placement`
    says where the slots are. `changes` is where these are noted; `strikes`: see `_strike`. `trial` is None where nobody
    wants to know what runs.
    """

    next: int
    entries: int
    modules: tuple[int, ...]
    codes: tuple[int, ...]
    depth: int
    calls: bool
    given: tuple[tuple[int, FunctionKind], ...]
    instances: tuple[tuple[int, ClassKind], ...]
    shared: tuple[tuple[int, int], ...]
    placement: Placement
    changes: Changes
    strikes: bool
    trial: Trial | None


@dataclass(frozen=True, slots=True)
class CallEntry:
    """What a call entry needs to know beside that.

    `positional` is how many arguments a plain call has; `bind`, `watched` and `changed` are the addresses of stubs,
    `monitoring_version` that of the interpreter's word. `check` is None where no calls are done twice.
    """

    code: int
    positional: int
    simple: bool  # no keyword-only parameters: a plain call needs no binding
    bind: int
    watched: int
    changed: int
    monitoring_version: int
    check: Check | None


@dataclass(frozen=True, slots=True)
class LoopEntry:
    """What a loop entry needs to know beside that.

    `globals` and `builtins` are the namespaces that the frame must have; `in_namespace`: its locals must be the
    globals.
    """

    globals: int
    builtins: int
    in_namespace: bool


def body_prologue(function: int) -> Callable[[Emitter], None]:
    """The prologue of a body: all checks were its callers'."""

    def prologue(e: Emitter) -> None:
        e.function = function

    return prologue


def call_prologue(entry: RegionEntry, call: CallEntry) -> Callable[[Emitter], None]:
    """The prologue of a vectorcall."""

    def prologue(e: Emitter) -> None:
        _count_rounds(e, entry.trial)
        _check_watched(e, call)
        if entry.strikes:
            _strike(e, entry.changes)
        _check_changes(e, entry.changes)
        _check_modules(e, entry.modules, goes_to(e, "miss"))
        # The frame of the function itself is not there yet.
        _check_depth(e, entry, own=1)
        _check_inlined(e, entry.codes)
        _bind(e, call)
        e.placement = entry.placement
        check = goes_to(e, "miss")
        check_instances(e, entry.instances, partial(held, e), check)
        check_shared_names(e, entry.shared, check)
        for slot, kind in enumerate(e.region.entry_kinds):
            is_field = entry.placement.outer(slot) is not None
            # Locals that are no parameters are empty.
            if kind in (EntryKind.OBJECT, EntryKind.UNBOUND) and not is_field:
                continue
            object = held(e, slot)
            if is_field and kind is not EntryKind.UNBOUND:
                check(e.let(f"icmp ne ptr {object}, null"))
            check_input(e, slot, kind, object, check)
        for slot, function in entry.given:
            check_given(e, function, held(e, slot), check)
        if call.check is not None:
            _check(e, call.check)
        body = _begin_run(e, entry.entries, entry.trial)
        _call_asides(e, entry.next, call)
        e.start(body)

    return prologue


def _call_asides(e: Emitter, next: int, call: CallEntry) -> None:
    """The ways out of a call entry: the next version, and the stubs for watched code and for changes."""
    e.start("miss")
    onward = e.let(f"load ptr, ptr {pointer(next)}")
    result = e.let(f"musttail call ptr {onward}(ptr %a, ptr %b, i64 %c, ptr %d)")
    e.line(f"ret ptr {result}")
    stubs = {"watched": call.watched, "changed": call.changed}
    if call.check is not None:
        stubs |= {"checked": call.check.checked, "plainly": call.check.plainly}
    for label, stub in stubs.items():
        e.start(label)
        result = e.let(f"musttail call ptr {pointer(stub)}(ptr %a, ptr %b, i64 %c, ptr %d)")
        e.line(f"ret ptr {result}")


def _check_watched(e: Emitter, call: CallEntry) -> None:
    """Goes to the stub when the code's instrumentation is out of date, or a tool that is not ours wants events of
    it."""
    check = goes_to(e, "watched")
    wanted = e.let(f"load i64, ptr {pointer(call.monitoring_version)}")
    have = e.let(f"load i64, ptr {pointer(call.code + abi.CODE.instrumentation_version)}")
    check(e.let(f"icmp eq i64 {wanted}, {have}"))
    monitoring = e.let(f"load ptr, ptr {pointer(call.code + abi.CODE.monitoring)}")
    check(e.let(f"icmp ne ptr {monitoring}, null"))
    check(_unwatched(e, monitoring))


def _bind(e: Emitter, call: CallEntry) -> None:
    """The argument array: the caller's if it fits as it is, else what the stub makes of keywords and defaults."""
    count = e.let("and i64 %c, 9223372036854775807")
    fits = e.let(f"icmp eq i64 {count}, {call.positional if call.simple else -1}")
    bare = e.let("icmp eq ptr %d, null")
    plain = e.let(f"and i1 {fits}, {bare}")
    here, stub, bound = e.label, e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {plain}, label %{bound}, label %{stub}, !prof !0")
    e.start(stub)
    made = e.let(f"call ptr {pointer(call.bind)}(ptr %a, ptr %b, i64 %c, ptr %d)")
    failed = e.let(f"icmp eq ptr {made}, null")
    e.line(f"br i1 {failed}, label %miss, label %{bound}")
    e.start(bound)
    e.args = e.let(f"phi ptr [ %b, %{here} ], [ {made}, %{stub} ]")


def _check(e: Emitter, check: Check) -> None:
    """Goes to a stub if this call is part of one that the interpreter does for the second time; and if this call, of
    those that the region takes, is to be done twice: the countdown is at its end."""
    interpreting = e.let(f"load i64, ptr {pointer(check.interpreting)}")
    goes_to(e, "plainly")(e.let(f"icmp eq i64 {interpreting}, 0"))
    left = e.let(f"add i64 {e.let(f'load i64, ptr {pointer(check.countdown)}')}, -1")
    e.line(f"store i64 {left}, ptr {pointer(check.countdown)}")
    goes_to(e, "checked")(e.let(f"icmp ne i64 {left}, 0"))


def _check_changes(e: Emitter, changes: Changes) -> None:
    """Goes to the stub when the region may rely on something that has changed."""
    written = e.let(f"load i64, ptr {pointer(changes.written)}")
    settled = e.let(f"load i64, ptr {pointer(changes.settled)}")
    goes_to(e, "changed")(e.let(f"icmp eq i64 {written}, {settled}"))


def loop_prologue(entry: RegionEntry, loop: LoopEntry) -> Callable[[Emitter], None]:
    """The prologue of a region that is entered in a live frame: %a is the frame."""

    def prologue(e: Emitter) -> None:
        _count_rounds(e, entry.trial)
        _flag_slots(e)
        if entry.strikes:
            _strike(e, entry.changes)
        e.placement = entry.placement
        check = goes_to(e, "miss")
        _check_namespaces(e, loop, entry.placement, check)
        _check_modules(e, entry.modules, check)
        _check_depth(e, entry, own=0)
        _check_inlined(e, entry.codes)
        check_instances(e, entry.instances, partial(held, e), check)
        check_shared_names(e, entry.shared, check)
        for slot, kind in enumerate(e.region.entry_kinds):
            # A local may be empty. A name that is written must be there: a new key has its place among others.
            if kind is EntryKind.OBJECT and entry.placement.outer(slot) is None:
                continue
            object = held(e, slot)
            if kind is not EntryKind.UNBOUND:
                check(e.let(f"icmp ne ptr {object}, null"))
            check_input(e, slot, kind, object, check)
        for slot, function in entry.given:
            object = held(e, slot)
            check(e.let(f"icmp ne ptr {object}, null"))
            check_given(e, function, object, check)
        body = _begin_run(e, entry.entries, entry.trial)
        _loop_miss(e, entry.next)
        e.start(body)

    return prologue


def _check_namespaces(e: Emitter, loop: LoopEntry, placement: Placement, check: Callable[[str], None]) -> None:
    """The frame's are those that the region was made for, and to look for a name there runs no Python code."""
    wanted = {abi.FRAME.f_globals: loop.globals, abi.FRAME.f_builtins: loop.builtins}
    if loop.in_namespace:
        wanted[abi.FRAME.f_locals] = loop.globals
    for offset, address in wanted.items():
        check(e.let(f"icmp eq i64 {load(e, '%a', offset, 'i64')}, {address}"))
    if placement.names:
        check(has_plain_keys(e, pointer(loop.globals)))


def _loop_miss(e: Emitter, next: int) -> None:
    """The slots hold other types: the next version, or NULL from the last."""
    e.start("miss")
    onward = e.let(f"load ptr, ptr {pointer(next)}")
    last = e.let(f"icmp eq ptr {onward}, null")
    e.line(f"br i1 {last}, label %none, label %another")
    e.start("another")
    result = e.let(f"musttail call ptr {onward}(ptr %a, ptr %b, i64 %c, ptr %d)")
    e.line(f"ret ptr {result}")
    e.start("none")
    e.line("ret ptr null")


def _strike(e: Emitter, changes: Changes) -> None:
    """Under stress: from time to time a change of no namespace is noted, for which the driver kills some region before
    any is entered again. (The loop that is being entered here is entered yet.)"""
    left = e.let(f"add i64 {e.let(f'load i64, ptr {pointer(changes.countdown)}')}, -1")
    e.line(f"store i64 {left}, ptr {pointer(changes.countdown)}")
    note, onward = e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {e.let(f'icmp eq i64 {left}, 0')}, label %{note}, label %{onward}")
    e.start(note)
    number = e.let(f"load i64, ptr {pointer(changes.written)}")
    e.line(f"store i64 {e.let(f'add i64 {number}, 1')}, ptr {pointer(changes.written)}")
    index = e.let(f"and i64 {number}, {CAPACITY - 1}")
    place = e.let(f"getelementptr [4 x i64], ptr {pointer(changes.entries)}, i64 {index}")
    e.line(f"store [4 x i64] zeroinitializer, ptr {place}")
    e.line(f"br label %{onward}")
    e.start(onward)


def _check_modules(e: Emitter, modules: tuple[int, ...], check: Callable[[str], None]) -> None:
    """Nothing tells when a module is given another class, whose attributes may be anything."""
    for module in modules:
        kind = e.let(f"load i64, ptr {pointer(module + abi.OBJECT.ob_type)}")
        check(e.let(f"icmp eq i64 {kind}, {id(ModuleType)}"))


def _check_depth(e: Emitter, entry: RegionEntry, *, own: int) -> None:
    """The recursion limit has room for the frames of the calls that are inlined, and for the `own` frames that are not
    there yet. How many more calls it has room for is kept for those of other machine code."""
    depth = entry.depth + own
    if not depth and not entry.calls:
        return
    thread = e.let(f"call ptr {e.c_function('PyThreadState_Get')}()")
    left = load(e, thread, abi.THREAD.py_recursion_remaining, "i32")
    if depth:
        goes_to(e, "miss")(e.let(f"icmp sge i32 {left}, {depth}"))
    if entry.calls:
        define_left(e, left, own=own)


def _check_inlined(e: Emitter, codes: tuple[int, ...]) -> None:
    """Nobody watches the functions that are inlined."""
    check = goes_to(e, "miss")
    for code in codes:
        monitoring = e.let(f"load ptr, ptr {pointer(code + abi.CODE.monitoring)}")
        some, none = e.fresh_label(), e.fresh_label()
        e.line(f"br i1 {e.let(f'icmp eq ptr {monitoring}, null')}, label %{none}, label %{some}")
        e.start(some)
        check(_unwatched(e, monitoring))
        e.line(f"br label %{none}")
        e.start(none)


def _unwatched(e: Emitter, monitoring: str) -> str:
    """Whether no foreign tool bit is set in the 15 bytes of active monitors, read as two overlapping words."""
    start = abi.MONITORING.active_monitors
    words = e.let(f"or i64 {load(e, monitoring, start, 'i64')}, {load(e, monitoring, start + 7, 'i64')}")
    foreign = e.let(f"and i64 {words}, {FOREIGN_WORD}")
    return e.let(f"icmp eq i64 {foreign}, 0")


def _flag_slots(e: Emitter) -> None:
    """Of the slots that are overwritten, likewise."""
    quiet = {op.args[0] for block in e.region.blocks for op in block.ops if op.name == "guard_quiet"}
    for number in quiet if e.ends else ():
        assert isinstance(number, Const)
        assert isinstance(number.value, int)
        e.stale[number.value] = flag = e.let("alloca i1")
        e.line(f"store i1 false, ptr {flag}")


def _count_rounds(e: Emitter, trial: Trial | None) -> None:
    """At the very beginning, where LLVM makes a register of it."""
    if trial is not None:
        e.rounds = e.let("alloca i64")


def _begin_run(e: Emitter, entries: int, trial: Trial | None) -> str:
    """Everything is as the region wants it: the run is counted, and told of while that is new. The label of what comes
    next."""
    number = e.let(f"add i64 {e.let(f'load i64, ptr {pointer(entries)}')}, 1")
    e.line(f"store i64 {number}, ptr {pointer(entries)}")
    body = e.fresh_label()
    if trial is not None:
        told = e.fresh_label()
        is_new = e.let(f"icmp ule i64 {number}, {RUNS}")
        # Counted down from 0, it comes to no end.
        e.line(f"store i64 {e.let(f'select i1 {is_new}, i64 {ROUNDS}, i64 0')}, ptr {e.rounds}")
        e.line(f"br i1 {is_new}, label %{told}, label %{body}")
        e.start(told)
        e.line(f"store volatile i64 {trial.key}, ptr {pointer(trial.running)}")
    e.line(f"br label %{body}")
    return body
