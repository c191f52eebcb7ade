"""Machine code goes into service in such an order that other threads may do anything meanwhile.

In: a function that gets more versions, and loses them, while something calls it at each step of the linking; and one that
gets another code object just when its entry is set. Out: what the calls give.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from isolated import isolated
from twin import LOW, Patient, compiled_from, enabled

import minijit
from minijit.cpython import hooks
from minijit.driver.state import Words
from minijit.events import Compiled

if TYPE_CHECKING:
    from collections.abc import Callable


def at_each_link(action: Callable[[], object]) -> list[object]:
    """Has `action` called whenever a version has been told what comes next; what it gave."""
    found: list[object] = []
    set_word = Words.set

    def set_and_act(self: Words, name: str, value: int) -> None:
        set_word(self, name, value)
        if name == "next":
            found.append(action())

    Words.set = set_and_act  # type: ignore[method-assign]
    return found


@isolated
def test_calls_while_a_chain_is_linked() -> None:
    """With types that no version takes, so that all of the chain is gone through."""
    with enabled():
        f = minijit.jit(policy=Patient(LOW))(compiled_from("def f(a, b):\n    return a + b\n"))
        found = at_each_link(lambda: f("a", "b"))
        for kinds in ((int, int), (float, float), (int, float), (float, int)):
            assert minijit.compile(f, *kinds)
        assert len(found) >= 10
        f.__code__ = f.__code__.replace()
        assert set(found) == {"ab"}


@isolated
def test_another_code_object_when_the_entry_is_set() -> None:
    """Another thread replaces the code before whoever has set the entry has noted that: from then on the function does
    what the new code says."""
    other = compiled_from("def f(a):\n    return a + 2\n").__code__
    point, found = hooks.point_vectorcall, []
    f: Any = compiled_from("def f(a):\n    return a + 1\n")

    def change() -> None:
        f.__code__ = other
        found.append(f(1))

    def set_and_switch(address: int, code: int) -> None:
        point(address, code)
        if code != hooks.PLAIN_VECTORCALL and f.__code__ is not other:
            thread = threading.Thread(target=change)
            thread.start()
            thread.join()

    with enabled():
        minijit.jit(policy=Patient(LOW))(f)
        # What is native is there from the first compilation on.
        assert minijit.compile(minijit.jit(compiled_from("def f(a):\n    return a\n")), int)
        hooks.point_vectorcall = set_and_switch  # type: ignore[assignment]
        minijit.compile(f, int)
        hooks.point_vectorcall = point
        assert found == [3]
        results = [f(n) for n in range(30)]
        assert results == list(range(2, 32)), results
        assert minijit.is_compiled(f)


@isolated
def test_another_code_object_before_anything_ran() -> None:
    """Nobody watches functions by then: the new code is found when somebody does."""
    for compile_now in (True, False):
        with enabled():
            f: Any = minijit.jit(policy=Patient(LOW))(compiled_from("def f(a):\n    return a + 1\n"))
            f.__code__ = compiled_from("def f(a):\n    return a + 2\n").__code__
            if compile_now:
                # The first time it is in the midst of this that the new code is found.
                assert minijit.compile(f, int) or minijit.compile(f, int)
            else:
                assert minijit.compile(minijit.jit(compiled_from("def f(a):\n    return a\n")), int)
            assert [f(n) for n in range(30)] == list(range(2, 32))
            assert minijit.is_compiled(f)


@isolated
def test_two_changes_of_code_while_something_else_is_under_way() -> None:
    """Both come in the midst of a compilation, and wait for its end."""

    def first(a: int) -> int:
        return a + 100

    def second(a: int) -> int:
        return a + 200

    changed: list[object] = []
    with enabled():
        f = minijit.jit(compiled_from("def f(a):\n    return a + 1\n"))

        def change(event: object) -> None:
            if isinstance(event, Compiled) and not changed:
                changed.append(event)
                f.__code__ = first.__code__
                f.__code__ = second.__code__

        unsubscribe = minijit.subscribe(change)
        while not changed:
            f(1)
        unsubscribe()
        assert f(1) == 201
        assert minijit.compile(f, int)
        assert f(1) == 201
        assert minijit.stats(f).entries
