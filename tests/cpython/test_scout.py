"""The scout: which places it counts, and which it never wants to hear of again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from minijit.cpython.scout import DISABLE, Scout

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
