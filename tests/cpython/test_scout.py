"""The scout: which places it counts, and which it never wants to hear of again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from minijit.cpython.scout import DISABLE, Scout, has_numbers, is_worth

if TYPE_CHECKING:
    from types import CodeType

LOOP = "def f(n):\n    for i in range(n):\n        {body}\n"


def code_of(source: str, filename: str) -> CodeType:
    return next(c for c in compile(source, filename, "exec").co_consts if hasattr(c, "co_code"))


def answers(source: str, filename: str = "app.py") -> tuple[list[object], list[tuple[CodeType, int | None]]]:
    """To three starts and three rounds of the loop; and what was found."""
    code = code_of(source, filename)
    found: list[tuple[CodeType, int | None]] = []

    def note(code: CodeType, header: int | None, operations: bytes | None) -> object:
        assert operations is None
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


def test_what_is_warm_is_looked_at_more_closely() -> None:
    """Once; then the rest of the way to the threshold is counted."""
    code = code_of(LOOP.format(body="n = n + i"), "app.py")
    asked: list[tuple[int, int | None, bytes | None]] = []

    def note(_code: CodeType, header: int | None, operations: bytes | None) -> object:
        asked.append((events, header, operations))

    scout = Scout(16_000, note)
    for events in range(1, 40_000):  # noqa: B007 - `note` reads it
        assert scout.on_start(code, 0) is None
    assert [(count, header) for count, header, _ in asked] == [(1000, None), (16_000, None), (31_000, None)]
    assert [operations for _, _, operations in asked] == [code.co_code[::2], None, None]


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
    assert is_worth(code.co_code[8:-4:2], 8) == is_worth_counting


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
