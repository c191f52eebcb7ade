"""Threads that compute while one of them is at work for minijit: they neither wait for it nor keep it waiting, and the
garbage that they make is collected."""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any

from isolated import isolated
from twin import LOW, enabled

import minijit
from minijit.backend.words import Call
from minijit.cpython import hurry, raw
from minijit.driver import api
from minijit.driver.hot import HotPlaces


def looped(n: int) -> int:
    s = 0
    for i in range(n):
        s = (s * 31 + i) & 0xFFFFFFFF
    return s


def in_a_thread(work: Any) -> None:
    """Does some work in a thread of its own, and waits for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@isolated
def test_hot_places_are_silent_while_somebody_is_at_work() -> None:
    """Work that nobody gets round to does not pile up, and the place is asked about again."""
    with enabled():
        function = minijit.jit(policy=minijit.Policy(LOW))(looped)
        function(1)
        process = api._process.driver
        assert process is not None
        turn = process.turn
        assert turn.take()
        try:
            in_a_thread(lambda: function(100_000))
            assert 0 < len(turn._work) < 10
            assert minijit.stats(function).recordings == 0
        finally:
            turn.pass_on()
        function(100_000)
        function(100_000)
        assert minijit.is_compiled(function), minijit.explain(function)


@isolated
def test_what_is_closed_is_silenced_by_nobody() -> None:
    """The turn is somebody's who disables minijit: places that come meanwhile have nobody to tell."""
    with enabled():
        function = minijit.jit(policy=minijit.Policy(LOW))(looped)
        for _ in range(4):
            function(2000)
        process = api._process.driver
        assert process is not None
        assert process.turn.take()
        in_service = process.registry.in_service
        process.registry.in_service = None
        try:
            kinds = (Call.START, Call.LOOP, Call.LOOP_MISS, Call.MISS, Call.EXIT)
            in_a_thread(lambda: failures.extend(fails(process.dispatch, kind, 1, 1) for kind in kinds))
        finally:
            process.registry.in_service = in_service
            process.turn.pass_on()
    assert failures == [None] * 5


@isolated
def test_what_is_closed_under_way_is_not_written_to() -> None:
    """Whoever has the turn closes a place in the midst of its being silenced: nothing is written to memory that is
    free by then."""
    with enabled():
        function = minijit.jit(policy=minijit.Policy(LOW))(looped)
        function(1)
        process = api._process.driver
        assert process is not None
        code = process.registry.codes[id(function.__code__)]
        words, find = code.start, HotPlaces._asking

        def closing(*arguments: Any) -> Any:
            found = find(*arguments)
            assert found[0] is words
            words.close()
            return found

        HotPlaces._asking = closing  # type: ignore[method-assign]
        try:
            process._hot.silence(Call.START, code.address, 0)
        finally:
            HotPlaces._asking = find  # type: ignore[method-assign]
        assert isinstance(fails(words.set, "hot_at", 1), raw.Closed)


failures: list[Exception | None] = []


def fails(work: Any, *arguments: object) -> Exception | None:
    try:
        work(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    return None


def collecting(_event: object) -> None:
    """A subscriber: it is called while a handler is under way."""
    seen.append(gc.isenabled())


seen: list[bool] = []


@isolated
def test_garbage_is_not_collected_by_a_thread_that_is_alone() -> None:
    collects(alone=True)


@isolated
def test_garbage_is_collected_where_there_are_other_threads() -> None:
    collects(alone=False)


def collects(*, alone: bool) -> None:
    seen.clear()
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    with enabled():
        unsubscribe = minijit.subscribe(collecting)
        if not alone:
            other.start()
        try:
            function = minijit.jit(policy=minijit.Policy(LOW))(looped)
            for _ in range(4):
                function(2000)
        finally:
            done.set()
            unsubscribe()
    assert seen
    assert set(seen) == {not alone}
    assert gc.isenabled()


@isolated
def test_what_a_thread_says_of_the_collector_holds() -> None:
    """It is not put back to what it was before."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    with enabled():
        unsubscribe = minijit.subscribe(lambda _event: gc.disable())
        try:
            function = minijit.jit(policy=minijit.Policy(LOW))(looped)
            for _ in range(4):
                function(2000)
            assert not gc.isenabled()
        finally:
            gc.enable()
            done.set()
            unsubscribe()


@isolated
def test_hurrying() -> None:
    before = sys.getswitchinterval()
    assert hurry.hurry() is None
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        first = hurry.hurry()
        assert first == before
        assert sys.getswitchinterval() < before / 2
        assert hurry.hurry() is None
        hurry.rest(None)
        assert sys.getswitchinterval() < before / 2
        hurry.rest(first)
        assert sys.getswitchinterval() == before
        first = hurry.hurry()
        sys.setswitchinterval(0.001)
        hurry.rest(first)
        assert sys.getswitchinterval() == 0.001
    finally:
        sys.setswitchinterval(before)
        done.set()
