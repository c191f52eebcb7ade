"""What became of a root, in sentences; obstacles in words that need no knowledge of bytecode.

In: the facts of one root. Out: one sentence for each thing worth knowing, in the order in which a reader wants them:
what is compiled, what keeps it from being more, what may be tried yet. Decides nothing; measures nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from minijit.events import Aborted, AbortReason, ExitReason, Killed, KillReason
from minijit.ir.region import EntryPoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minijit.events import Event
    from minijit.ir.bytecode import Code
    from minijit.report.facts import RootFacts, VersionFacts

_IN_WORDS = {
    "BEFORE_WITH": "`with`",
    "BINARY_OP": "an operator on something other than floats, bools and ints of 64 bits",
    "BINARY_SLICE": "a slice of something that is no list",
    "BINARY_SUBSCR": "looking into a container",
    "BUILD_LIST": "making a list",
    "BUILD_MAP": "making a dict",
    "BUILD_SET": "making a set",
    "BUILD_STRING": "making a string",
    "CALL": "this call",
    "CALL_FUNCTION_EX": "a call with `*` or `**`",
    "COMPARE_OP": "comparing something other than floats, bools and ints of 64 bits",
    "CONTAINS_OP": "`in` for such a container",
    "DELETE_SUBSCR": "deleting from a container",
    "FORMAT_VALUE": "formatting",
    "FOR_ITER": "iterating over something that is no range or list",
    "GET_ITER": "iterating over something that is no range or list",
    "IMPORT_NAME": "`import`",
    "LIST_APPEND": "making a list in a loop of this function",
    "LOAD_ATTR": "an attribute of an object",
    "LOAD_DEREF": "a variable of an enclosing function",
    "LOAD_GLOBAL": "a global of this sort",
    "LOAD_SUPER_ATTR": "`super()`",
    "MAKE_FUNCTION": "making a function",
    "RAISE_VARARGS": "`raise`",
    "STORE_ATTR": "setting an attribute",
    "STORE_DEREF": "a variable of an enclosing function",
    "STORE_GLOBAL": "setting a global",
    "STORE_SUBSCR": "storing into a container",
    "UNPACK_SEQUENCE": "unpacking something that is no tuple made here",
}
_REASONS = {reason.label: reason for reason in ExitReason}


def times(count: int) -> str:
    return {0: "never so far", 1: "once"}.get(count, f"{count} times")


def way_out(reason: ExitReason, detail: str) -> str:
    """Why machine code is left, or why there is none: in words, with the instruction."""
    words = _IN_WORDS.get(detail.partition(" ")[0])
    if reason is ExitReason.UNSUPPORTED and words is not None:
        return f"{words} is not compiled ({detail})"
    return f"{reason.sentence} ({detail})" if detail else reason.sentence


def obstacle(event: Aborted) -> str | None:
    """What was met where a region could not be made; None if that is not why it came to nothing."""
    label, _, detail = event.detail.partition(" ")
    if event.reason is not AbortReason.NOTHING or label not in _REASONS:
        return None
    return way_out(_REASONS[label], detail)


def place(code: Code, root: RootFacts) -> str:
    """Where a root is, for a reader."""
    if root.root.point is EntryPoint.CALL:
        return "calls"
    if root.root.point is EntryPoint.BODY:
        return "calls by machine code"
    return f"the loop at line {code.line(root.root.offset)}"


def root_sentences(code: Code, root: RootFacts) -> Iterator[str]:
    """What is to be said of a root."""
    yield from (_version(code, root, version) for version in root.versions)
    if root.is_parked:
        yield "parked: another tool watches the function, or it was called very deep: it is interpreted meanwhile"
    if root.versions and root.misses:
        yield f"reached {times(root.misses)} with types, or keywords, that it is not compiled for"
    if root.given_up is not None:
        yield f"given up: {root.given_up.sentence}"
    yield from _aborts(code, root.history)
    yield from _kills(root.history)
    if not root.versions and root.given_up is None:
        yield _waiting(root)


def _version(code: Code, root: RootFacts, version: VersionFacts) -> str:
    is_loop = root.root.point is EntryPoint.LOOP
    names = code.slot_names + code.loop_names(root.root.offset) if is_loop else code.code.co_varnames
    named = [f"{name}: {kind.label}" for name, kind in zip(names, version.kinds, strict=False)]
    # What a loop has on the stack, its iterators, has no name.
    kinds = named + [kind.label for kind in version.kinds[len(names) :]]
    made = f"compiled for ({', '.join(kinds)}), {version.size} bytes"
    if root.root.point is EntryPoint.BODY:
        # Which nobody counts.
        return made
    return f"{made}, {f'entered {times(version.entries)}' if version.entries else 'never entered'}"


def _aborts(code: Code, history: Sequence[Event]) -> Iterator[str]:
    aborts = [event for event in history if isinstance(event, Aborted)]
    if not aborts:
        return
    last = aborts[-1]
    met = obstacle(last)
    why = f"{last.reason.sentence}{f' ({last.detail})' if last.detail else ''}"
    where = f"at line {code.line(last.at)} {met}" if met is not None else why
    yield f"{'one attempt' if len(aborts) == 1 else f'{len(aborts)} attempts'} gave no code: {where}"


def _kills(history: Sequence[Event]) -> Iterator[str]:
    kills = Counter((event.reason, event.detail) for event in history if isinstance(event, Killed))
    for (reason, detail), count in kills.items():
        because = f": {reason.sentence}{f' ({detail})' if detail else ''}"
        yield f"released {times(count)}" if reason is KillReason.RELEASED else f"killed {times(count)}{because}"


def _waiting(root: RootFacts) -> str:
    """What a root without code waits for."""
    if root.is_recorded:
        return "is being recorded"
    if root.root.point is EntryPoint.BODY:
        return "compiled where it is called"
    unit = "calls" if root.root.point is EntryPoint.CALL else "rounds"
    return f"{'waits for another attempt' if root.history else 'not hot yet'}: {root.count} of {root.hot_at} {unit}"
