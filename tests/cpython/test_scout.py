"""The scout: which places it counts, and which it never wants to hear of again."""

from __future__ import annotations

import dis
import types
from typing import TYPE_CHECKING

import pytest

from minijit.cpython.scout import DISABLE, JUMP_BACKWARD, Scout, has_numbers

if TYPE_CHECKING:
    from types import CodeType

LOOP = "def f(n):\n    for i in range(n):\n        {body}\n"


def code_of(source: str, filename: str) -> CodeType:
    return next(c for c in compile(source, filename, "exec").co_consts if hasattr(c, "co_code"))


def answers(source: str, filename: str = "app.py") -> tuple[list[object], list[tuple[CodeType, int | None]]]:
    """To three starts and three rounds of the loop; and what was found."""
    code = code_of(source, filename)
    found: list[tuple[CodeType, int | None]] = []

    def note(code: CodeType, header: int | None) -> object:
        found.append((code, header))
        return "found"

    scout = Scout(3, note)
    source_offset, header = len(code.co_code) - 4, 8
    given = [scout.on_start(code, 0) for _ in range(3)]
    return given + [scout.on_jump(code, source_offset, header) for _ in range(3)], found


def test_what_computes_is_counted() -> None:
    given, found = answers(LOOP.format(body="n = n + i"))
    assert given == [None, None, "found"] * 2
    assert [header is None for _, header in found] == [True, False]


@pytest.mark.parametrize(
    ("source", "filename"),
    [
        (LOOP.format(body="print(i)"), "app.py"),
        (LOOP.format(body="yield n + i"), "app.py"),
        (LOOP.format(body="n = n + i"), "<frozen importlib._bootstrap>"),
    ],
)
def test_what_does_not_is_never_heard_of_again(source: str, filename: str) -> None:
    assert answers(source, filename) == ([DISABLE] * 6, [])


def test_a_jump_forward_is_none_of_a_loop() -> None:
    code = code_of(LOOP.format(body="n = n + i"), "app.py")
    assert Scout(3, lambda *_: None).on_jump(code, 8, len(code.co_code)) is DISABLE


def test_what_is_warm_is_looked_at_once() -> None:
    """Then the rest of the way to the threshold is counted."""
    code = code_of(LOOP.format(body="n = n + i"), "app.py")
    asked: list[int] = []
    scout = Scout(64_000, lambda _code, _header: asked.append(events))
    for events in range(1, 160_000):  # noqa: B007 - the scout's function reads it
        assert scout.on_jump(code, len(code.co_code) - 4, 8) is None
    assert asked == [64_000, 127_000]


@pytest.mark.parametrize(
    ("body", "is_worth_counting"),
    [
        ("n = n + i", True),
        ("total[i] *= factor", True),
        ("n += point.norm(i)", True),
        ("print(a.b.c(d, e, f, g), h.i.j(k, l), m.n.o(p), f'{q}{r}', s + t)", False),
    ],
)
def test_sparse_code_is_not_worth_it(body: str, is_worth_counting: bool) -> None:
    code = code_of(LOOP.format(body=body), "app.py")
    scout = Scout(64_000, lambda *_: "found")
    answers = [scout.on_jump(code, len(code.co_code) - 4, 8) for _ in range(64_000)]
    assert answers[:999] == [None] * 999
    assert answers[999] is (None if is_worth_counting else DISABLE)
    assert answers[-1] == ("found" if is_worth_counting else DISABLE)


TEXTS: dict[str, tuple[tuple[object, ...], bool]] = {
    "'is_%s' % name": (("a", "b"), True),
    "name % 7": ((9, 5), False),
    "(name + other, 'a' + 'b%c')": ((1, 2), False),
    "(name + other, 'a%' + 'b')": ((1.5, 2.5), False),
    "(len(name) - 1, name + other)": (("a", "b"), False),
    "(name << 2, [])": ((3, 4), False),
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_formats_text_is_not_worth_it(text: str) -> None:
    """If the instructions that the interpreter has made of it add no numbers."""
    operands, is_text = TEXTS[text]
    code = code_of(f"def f(name, other):\n    return {text}\n", "app.py")
    function = types.FunctionType(code, {"len": len})
    for _ in range(100):
        function(*operands)
    scout = Scout(64_000, lambda *_: "found")
    answers = [scout.on_start(code, 0) for _ in range(1100)]
    assert answers[:999] == [None] * 999
    assert answers[999] is (DISABLE if is_text else None)


def test_constants_that_nobody_can_show() -> None:
    code = code_of("def f(a):\n    return a % 7\n", "app.py")
    for constants in ((None, 10**5000), (None, [])):
        scout = Scout(64_000, lambda *_: "found")
        odd = code.replace(co_consts=constants)
        assert {scout.on_start(odd, 0) for _ in range(1100)} == {None}


def test_all_places_are_forgotten_in_the_midst() -> None:
    code = code_of(LOOP.format(body="n = n + i"), "app.py")
    scout = Scout(500, lambda *_: scout.forget())
    for _ in range(2000):
        scout.on_jump(code, len(code.co_code) - 4, 8)


@pytest.mark.parametrize("first", [0, 1])
def test_a_loop_is_judged_by_all_of_it(first: int) -> None:
    """Whichever of its jumps back comes first, and most of them from a `continue` before it computes anything."""
    code = code_of(
        "def f(n):\n    for i in range(n):\n        if a[i]:\n            continue\n        n = n + i\n", "app.py"
    )
    early, late = (i.offset for i in dis.get_instructions(code) if i.opname == "JUMP_BACKWARD")
    header = next(i.argval for i in dis.get_instructions(code) if i.offset == late)
    scout = Scout(16_000, lambda *_: "found")
    answers = [scout.on_jump(code, late if k % 10 == first else early, header) for k in range(40_000)]
    assert "found" in answers


def test_what_is_refused_is_not_found_again() -> None:
    """A loop has a jump back for each `continue`, and each is told separately that nobody wants to hear of it."""
    code = code_of(LOOP.format(body="n = n + i"), "app.py")
    for answer, times in ((DISABLE, 1), (None, 2), ("found", 4)):
        found: list[object] = []
        scout = Scout(500, lambda *_, found=found, answer=answer: found.append(1) or answer)
        answers = [scout.on_jump(code, len(code.co_code) - 4, 8) for _ in range(2000)]
        assert len(found) == times
        assert answers[-1] is answer
        assert set(answers[500:]) == ({DISABLE} if answer is DISABLE else {None, answer})
        scout.forget()
        assert scout.on_jump(code, len(code.co_code) - 4, 8) is None


def test_a_short_function_without_a_loop_must_be_called_more_often() -> None:
    first = []
    for body in ("n + i", " + ".join(["n * i"] * 20)):
        code = code_of(f"def f(n, i):\n    return {body}\n", "app.py")
        scout = Scout(16_000, lambda *_: "found")
        first.append([scout.on_start(code, 0) for _ in range(500_000)].index("found") + 1)
    assert first[0] >= 10 * 16_000
    assert first[1] == 16_000


def test_a_short_function_with_a_loop_is_worth_its_calls() -> None:
    assert dis.opmap["JUMP_BACKWARD"] == JUMP_BACKWARD
    code = code_of(LOOP.format(body="n = n + i"), "app.py")
    scout = Scout(16_000, lambda *_: "found")
    assert [scout.on_start(code, 0) for _ in range(16_000)][-1] == "found"


def test_nothing_can_come_in_between() -> None:
    """What only counts makes no call and has no loop."""
    for function in (Scout.on_start, Scout.on_jump):
        names = {instruction.opname for instruction in dis.get_instructions(function)}
        assert not names & {"JUMP_BACKWARD", "FOR_ITER"}
        assert [i.opname for i in dis.get_instructions(function)].count("CALL") == 1  # of `_reached`
    reached = list(dis.get_instructions(Scout._reached))
    warm = next(k for k, i in enumerate(reached) if i.opname == "RETURN_VALUE")
    assert "CALL" not in {i.opname for i in reached[:warm]}


def test_numbers_are_seen() -> None:
    def joined(left: str, right: str) -> object:
        if len(left) > 1:
            return has_numbers(joined.__code__, 1)
        return left + right

    def sized(box: list[int]) -> int:
        return box[0] + box[1]

    for _ in range(100):
        joined("a", "b")
        sized([1, 2])
    assert has_numbers(sized.__code__, 0)
    assert not joined("ab", "c")
