"""Explanations of facts made by hand: which mark, which note, which sentence, which hint."""

from __future__ import annotations

import linecache
from html.parser import HTMLParser
from typing import Any

import pytest

from minijit.events import (
    Aborted,
    AbortReason,
    Event,
    ExitHot,
    ExitReason,
    GaveUp,
    GiveUpReason,
    Killed,
    KillReason,
)
from minijit.ir.bytecode import Code, decode
from minijit.ir.kinds import EntryKind
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Root
from minijit.report.explain import Explanation, explain
from minijit.report.facts import ExitFacts, RootFacts, VersionFacts

SOURCE = """@decorated
def f(n, k):
    # what it does
    s = 0
    for i in range(n):
        if i % k == 0:
            s += i
        else:
            s -= i
    return s
"""
DECORATOR, DEF, COMMENT, START, FOR, IF, THEN, ELSE, OTHER, RETURN = range(1, 11)
INT, OBJECT, ITERATOR = EntryKind.INT, EntryKind.OBJECT, EntryKind.RANGE_ITERATOR


@pytest.fixture
def code() -> Code:
    # As doctest and interactive shells do it: a name in brackets is never looked for on disk.
    linecache.cache["<explained>"] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), "<explained>")
    names: dict[str, Any] = {"decorated": lambda f: f}
    exec(compile(SOURCE, "<explained>", "exec"), names)
    return decode(names["f"].__code__)


def offset(code: Code, line: int) -> int:
    """The first instruction of a line."""
    return min(offset for offset in code.instructions if code.line(offset) == line)


def version(code: Code, *exits: ExitFacts, lines: range = range(START, RETURN + 1), **more: Any) -> VersionFacts:
    offsets = frozenset(offset for offset in code.instructions if code.line(offset) in lines)
    facts = {"kinds": (INT, INT), "size": 100, "entries": 3, "offsets": offsets, "assumed": ()}
    return VersionFacts(exits=exits, **{**facts, **more})


def root(*versions: VersionFacts, history: tuple[Event, ...] = (), **more: Any) -> RootFacts:
    facts = {"root": Root(EntryPoint.CALL, 0), "given_up": None, "suppressed": False, "count": 7, "hot_at": 30}
    return RootFacts(versions=versions, history=history, **{**facts, **more})


def marks(found: Explanation) -> str:
    return "".join(line.mark for line in found.lines)


def notes(found: Explanation) -> dict[int, tuple[str, ...]]:
    return {line.number: line.notes for line in found.lines if line.notes}


EVENT: dict[str, Any] = {"function": "f", "offset": 0}


def aborted(at: int, detail: str = "unsupported GET_ITER") -> Aborted:
    return Aborted(**EVENT, reason=AbortReason.NOTHING, at=at, detail=detail)


# Marks and notes


def test_a_function_that_is_not_hot(code: Code) -> None:
    found = explain("f", code, [root()])
    assert found.summary == ("calls: not hot yet: 7 of 30 calls",)
    assert marks(found) == "   .... .."
    assert found.hints == ()
    assert notes(found) == {}


def test_what_is_compiled(code: Code) -> None:
    found = explain("f", code, [root(version(code, lines=range(START, OTHER)))])
    assert found.summary == ("calls: compiled for (n: int, k: int), 100 bytes, entered 3 times",)
    assert marks(found) == "   ++++ .."


def test_where_it_leaves(code: Code) -> None:
    leaves = ExitFacts(ExitReason.OVERFLOW, offset(code, THEN), "", 12)
    also = ExitFacts(ExitReason.UNTAKEN, offset(code, OTHER), "", 1)
    never = ExitFacts(ExitReason.OVERFLOW, offset(code, RETURN), "", 0)
    found = explain("f", code, [root(version(code, leaves, also, never))])
    assert marks(found) == "   +++! !+"
    assert notes(found) == {THEN: ("12 times: an int left 64 bits",), OTHER: ("once: a branch that no recording took",)}
    assert found.hints == ("an int left 64 bits: keep ints below 2**63, or mask them",)


def test_exits_of_several_versions_are_added_up(code: Code) -> None:
    leaves = ExitFacts(ExitReason.OVERFLOW, offset(code, THEN), "", 12)
    found = explain("f", code, [root(version(code, leaves), version(code, leaves))])
    assert notes(found) == {THEN: ("24 times: an int left 64 bits",)}
    assert len(found.summary) == 2
    assert len(found.hints) == 1


def test_what_is_no_failure_is_no_exit(code: Code) -> None:
    ways = [ExitFacts(reason, offset(code, FOR), "", 5) for reason in (ExitReason.POLL, ExitReason.LEFT_LOOP)]
    assert marks(explain("f", code, [root(version(code, *ways))])) == "   ++++ ++"


def test_an_instruction_that_is_not_compiled_is_told_before_it_is_met(code: Code) -> None:
    way = ExitFacts(ExitReason.UNSUPPORTED, offset(code, THEN), "LOAD_ATTR append", 0)
    found = explain("f", code, [root(version(code, way))])
    assert notes(found) == {THEN: ("never so far: an attribute of an object is not compiled (LOAD_ATTR append)",)}
    assert marks(found)[THEN - 1] == "!"
    assert found.hints == ()


def test_an_instruction_without_words_of_its_own(code: Code) -> None:
    way = ExitFacts(ExitReason.UNSUPPORTED, offset(code, THEN), "LOAD_BUILD_CLASS", 2)
    found = explain("f", code, [root(version(code, way))])
    assert notes(found) == {THEN: ("2 times: an instruction that is not compiled (LOAD_BUILD_CLASS)",)}


def test_the_obstacle_has_a_line(code: Code) -> None:
    history = (aborted(offset(code, START)), aborted(offset(code, FOR)))
    found = explain("f", code, [root(history=history)])
    words = "iterating over something that is no range or list is not compiled (GET_ITER)"
    assert notes(found) == {FOR: (words,)}, "the last one counts"
    assert marks(found) == "   .x.. .."
    assert found.summary[0] == f"calls: 2 attempts gave no code: at line {FOR} {words}"
    assert found.summary[1] == "calls: waits for another attempt: 7 of 30 calls"
    assert found.hints[0].endswith("move the numeric part into a function or an inner loop of its own")


def test_an_obstacle_that_no_longer_is_one(code: Code) -> None:
    found = explain("f", code, [root(version(code), history=(aborted(offset(code, FOR)),))])
    assert notes(found) == {}
    assert found.hints == ()


def test_an_attempt_that_failed_for_another_reason(code: Code) -> None:
    event = Aborted(**EVENT, reason=AbortReason.STALE, at=0, detail="k")
    found = explain("f", code, [root(history=(event,))])
    assert found.summary[0] == f"calls: one attempt gave no code: {AbortReason.STALE.sentence} (k)"
    assert notes(found) == {}


def test_where_a_function_was_left_that_was_given_up(code: Code) -> None:
    reason = GiveUpReason.EXITS
    asked = {"reason": ExitReason.OVERFLOW, "at": offset(code, THEN)}
    history = (
        ExitHot(**EVENT, **asked, count=60, action="resume"),
        ExitHot(**EVENT, **asked, count=600, action="giveup", detail="k"),
        GaveUp(**EVENT, reason=reason),
    )
    found = explain("f", code, [root(history=history, given_up=reason)])
    assert found.summary == (f"calls: given up: {reason.sentence}",)
    assert notes(found) == {THEN: ("given up when left 600 times: an int left 64 bits (k)",)}
    assert marks(found)[THEN - 1] == "x"


# Sentences


def test_a_loop_is_named_by_its_line_and_its_slots_by_their_names(code: Code) -> None:
    (header,) = code.loops
    kinds = (OBJECT, INT, INT, INT, ITERATOR)
    found = explain("f", code, [root(), root(version(code, kinds=kinds), root=Root(EntryPoint.LOOP, header))])
    assert found.summary[1] == (
        f"the loop at line {FOR}: compiled for (n: object, k: int, s: int, i: int, range_iterator), 100 bytes, "
        "entered 3 times"
    )


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"is_recorded": True}, "is being recorded"),
        ({"count": 1, "hot_at": 120, "root": Root(EntryPoint.LOOP, 0)}, "not hot yet: 1 of 120 rounds"),
        ({"given_up": GiveUpReason.TIME}, "given up: minijit reached its budget of compile time"),
        (
            {"history": (Killed(**EVENT, reason=KillReason.GLOBAL, detail="SCALE"),) * 2},
            "killed 2 times: a global, builtin or module attribute changed (SCALE)",
        ),
        ({"history": (Killed(**EVENT, reason=KillReason.RELEASED),)}, "released once"),
    ],
)
def test_sentences(code: Code, facts: dict[str, Any], sentence: str) -> None:
    found = explain("f", code, [root(**facts)])
    assert found.summary[0].endswith(f": {sentence}")


def test_sentences_about_code_in_service(code: Code) -> None:
    made = version(code, entries=0, assumed=("range", "SCALE"))
    found = explain("f", code, [root(made, version(code, assumed=("range",)), misses=40, is_parked=True)])
    assert found.summary == (
        "calls: compiled for (n: int, k: int), 100 bytes, never entered",
        "calls: compiled for (n: int, k: int), 100 bytes, entered 3 times",
        "calls: parked: another tool watches the function, or it was called very deep: it is interpreted meanwhile",
        "calls: reached 40 times with types, or keywords, that it is not compiled for",
        "relies on SCALE, range: code is thrown away when one of these changes",
    )


def test_what_is_suppressed_has_no_more_to_say(code: Code) -> None:
    history = (Killed(**EVENT, reason=KillReason.RELEASED), aborted(offset(code, FOR)))
    found = explain("f", code, [root(history=history, suppressed=True)])
    assert found.summary == ("suppressed by the user: never compiled",)
    assert found.hints == ()
    assert notes(found) == {}


@pytest.mark.parametrize("reason", [reason for reason in GiveUpReason if reason.hint], ids=lambda reason: reason.name)
def test_the_hint_of_a_reason_to_give_up(code: Code, reason: GiveUpReason) -> None:
    found = explain("f", code, [root(given_up=reason), root(given_up=reason)])
    assert found.hints == (f"{reason.sentence}: {reason.hint}",)


# Forms


def test_as_text(code: Code) -> None:
    leaves = ExitFacts(ExitReason.OVERFLOW, offset(code, THEN), "", 12)
    text = str(explain("f", code, [root(version(code, leaves))]))
    assert text.splitlines()[0] == "f"
    assert f"    {THEN} !             s += i    # 12 times: an int left 64 bits\n" in text
    assert f"    {COMMENT}       # what it does\n" in text
    assert text.endswith("\n  hint: an int left 64 bits: keep ints below 2**63, or mask them")
    assert all(line == line.rstrip() for line in text.splitlines())


def test_without_source_only_lines_with_notes_are_shown(code: Code) -> None:
    del linecache.cache["<explained>"]
    leaves = ExitFacts(ExitReason.OVERFLOW, offset(code, THEN), "", 12)
    found = explain("f", code, [root(version(code, leaves))])
    assert [line.number for line in found.lines] == [THEN]
    assert f"\n    {THEN} !     # 12 times: an int left 64 bits\n" in str(found)


class Page(HTMLParser):
    """What a page shows, and whether its tags are closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_as_html(code: Code) -> None:
    leaves = ExitFacts(ExitReason.UNSUPPORTED, offset(code, THEN), "CALL <lambda>", 12)
    page = Page()
    page.feed(explain("<b>", code, [root(version(code, leaves))])._repr_html_())
    page.close()
    assert page.open == []
    assert "<b>" in page.shown
    assert "12 times: this call is not compiled (CALL <lambda>)" in page.shown
    assert "hint: " in page.shown
    assert "if i % k == 0:" in page.shown
