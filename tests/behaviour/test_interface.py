"""What users call: misuse is told clearly, and everything can be asked for, of one function or of all."""

from __future__ import annotations

import functools
import re
import sys
from typing import Any

from isolated import isolated
from twin import LOW, Patient, compiled_from, enabled

import minijit

SOURCE = "def f(n, k=2):\n    s = 0\n    for i in range(n):\n        s += i * k\n    return s\n"


def refused(kind: type[Exception], *words: str) -> Any:
    """A context in which `kind` is raised with a message that has all the words."""

    class Refused:
        def __enter__(self) -> None:
            pass

        def __exit__(self, found: Any, error: Any, _tb: Any) -> bool:
            assert found is kind, f"{found} instead of {kind}: {error}"
            missing = [word for word in words if word not in str(error)]
            assert not missing, f"{str(error)!r} lacks {missing}"
            return True

    return Refused()


# Misuse


@isolated
def test_what_cannot_be_decorated() -> None:
    """TypeErrors that say what to do instead."""

    class C:
        def method(self) -> None:
            pass

        @staticmethod
        def static() -> None:
            pass

    class Callable:
        def __call__(self) -> None:
            pass

    for call in (minijit.jit, minijit.compile, minijit.suppress, minijit.release, minijit.explain, minijit.is_compiled):
        with refused(TypeError, call.__name__, "methods"):
            call(C)
        with refused(TypeError, "__func__"):
            call(C().method)
        with refused(TypeError, "staticmethod", "below" if call is minijit.jit else "__func__"):
            call(vars(C)["static"])
        with refused(TypeError, "other decorator" if call is minijit.jit else "__wrapped__"):
            call(functools.lru_cache(C.method))
        with refused(TypeError, "classmethod"):
            call(classmethod(C.method))
        with refused(TypeError, "property"):
            call(property(C.method))
        with refused(TypeError, "def or lambda"):
            call(len)
        with refused(TypeError, "def or lambda"):
            call(Callable())
        for nothing in (3, "f", [len]):
            with refused(TypeError, "takes a Python function", "use it as" if call is minijit.jit else "itself"):
                call(nothing)
    with refused(TypeError, "takes a Python function"):
        minijit.stats(3)
    with refused(TypeError, "policy", "Policy"):
        minijit.jit(policy=3)
    with refused(TypeError, "policy", "Policy"):
        minijit.jit(policy=minijit.Policy)
    with refused(TypeError, "eager", "True or False"):
        minijit.jit(eager=1)
    with refused(TypeError, "unexpected keyword"):
        minijit.jit(nope=1)
    with refused(TypeError):
        minijit.jit(compiled_from(SOURCE), policy=3)
    with refused(TypeError, "callable"):
        minijit.subscribe(3)
    with refused(TypeError):
        minijit.enable(3)
    with refused(TypeError):
        minijit.enable({"call_threshold": 3})
    with refused(AttributeError, "nope"):
        minijit.nope


@isolated
def test_wrong_types_to_compile_for() -> None:
    """Numbers and sorts of types."""
    with enabled():
        f = compiled_from(SOURCE)
        with refused(TypeError, "2 parameters", "1 types"):
            minijit.compile(f, int)
        with refused(TypeError, "str", "int, float, bool"):
            minijit.compile(f, int, str)
        with refused(TypeError, "cannot be compiled for"):
            minijit.compile(f, int, 3)
        with refused(TypeError, "cannot be compiled for"):
            minijit.compile(f, int, [1])
        for source in ("def f(*a):\n    return 1\n", "def f(**a):\n    return 1\n"):
            with refused(TypeError, "*args"):
                minijit.compile(compiled_from(source))
        with refused(TypeError, "variables of functions within it"):
            minijit.compile(compiled_from("def f(k):\n    return lambda: k\n"), int)
        assert minijit.compile(f, int, int) is True
        assert minijit.compile(f, int, int) is True
        assert minijit.is_compiled(f)
        assert f(10) == 90
        assert minijit.stats(f).entries == 1
        assert minijit.compile(f, object, None) is False, "there is nothing to be gained"
        assert minijit.compile(compiled_from("def f(a, b):\n    return b\n"), object, None) is True


@isolated
def test_eager() -> None:
    """From annotations, also quoted ones; what is missing is named."""
    with enabled():
        eager = minijit.jit(eager=True)
        f = eager(
            compiled_from(
                "def f(a: int, b: 'float', *, c: bool = True, d: None = None) -> float:\n    return a * b + c\n"
            )
        )
        assert minijit.is_compiled(f)
        assert f(2, 1.5) == 4.0
        assert minijit.stats(f).entries == 1
        with refused(TypeError, "annotation for b"):
            eager(compiled_from("def f(a: int, b):\n    return a\n"))
        with refused(TypeError, "list"):
            eager(compiled_from("def f(a: list):\n    return a\n"))
        with refused(TypeError, "variables of functions within it"):
            eager(compiled_from("def f(k: int):\n    return lambda: k\n"))
        with refused(TypeError, "*args"):
            eager(compiled_from("def f(a: int, *args: int):\n    return a\n"))
        with refused(NameError):
            eager(compiled_from("def f(a: 'Nope'):\n    return a\n"))


# Asking


@isolated
def test_asking_about_functions() -> None:
    """is_compiled, stats, explain: before, during and after; of functions that minijit does not know."""
    f, unknown = compiled_from(SOURCE), compiled_from(SOURCE)
    assert not minijit.is_compiled(f)
    assert minijit.stats() == minijit.stats(f) == minijit.Stats()
    assert "not enabled" in str(minijit.explain(f))
    with enabled():
        minijit.jit(f)
        assert not minijit.is_compiled(f)
        assert "not hot yet" in str(minijit.explain(f))
        assert "not asked" in str(minijit.explain(unknown))
        for _ in range(20):
            f(30)
        assert minijit.is_compiled(f)
        stats = minijit.stats(f)
        assert stats.recordings >= 1
        assert stats.compilations >= 1
        assert stats.live_regions >= 1
        assert stats.entries >= 10
        assert stats.code_bytes > 100
        assert stats.compile_ms > 0
        assert stats == minijit.stats()
        text = str(minijit.explain(f))
        assert re.search(r"compiled for \((n: )?(small_)?int, (k: )?(small_)?int\)", text), text
        html = minijit.explain(f)._repr_html_()
        assert html.startswith("<b>f</b>")
        assert "<table>" in html
        f(3, 2**62)
        for _ in range(10):
            f(30, 2**62)
        text = str(minijit.explain(f))
        assert "an int left 64 bits" in text
        assert "hint:" in text
        assert not minijit.is_compiled(unknown)
        assert minijit.stats(unknown) == minijit.Stats()
    assert minijit.stats(f) == minijit.Stats()


@isolated
def test_what_the_counters_cover() -> None:
    """A function's begin anew when it is released or taken on again; the process's never do."""
    f = compiled_from(SOURCE)
    compilations = entries = 0
    for _ in range(2):
        with enabled():
            minijit.jit(f)
            for _ in range(2):
                assert minijit.stats(f) == minijit.Stats()
                for _ in range(20):
                    f(30)
                own = minijit.stats(f)
                assert own.compilations >= 1
                compilations, entries = compilations + own.compilations, entries + own.entries
                total = minijit.stats()
                assert (total.compilations, total.entries) == (compilations, entries)
                assert (total.live_regions, total.code_bytes) == (own.live_regions, own.code_bytes)
                minijit.release(f)
            assert minijit.stats().live_regions == 0
        assert minijit.stats() == minijit.Stats(), "while minijit is off"


@isolated
def test_suppress_and_release() -> None:
    """Released code may come again, suppressed functions never."""
    with enabled():
        f = minijit.jit(compiled_from(SOURCE))
        for _ in range(20):
            f(30)
        assert minijit.is_compiled(f)
        minijit.release(f)
        assert not minijit.is_compiled(f)
        from minijit.cpython import hooks

        assert hooks.vectorcall_of(id(f)) == hooks.PLAIN_VECTORCALL
        for _ in range(20):
            assert f(30) == 870
        assert minijit.is_compiled(f)
        minijit.suppress(f)
        assert not minijit.is_compiled(f)
        for _ in range(60):
            assert f(30) == 870
        assert not minijit.is_compiled(f)
        assert "suppressed" in str(minijit.explain(f))
        assert sys.monitoring.get_local_events(sys.monitoring.OPTIMIZER_ID, f.__code__) == 0
        g = compiled_from(SOURCE)
        minijit.suppress(g)
        minijit.jit(g)
        for _ in range(60):
            g(30)
        assert not minijit.is_compiled(g)
        minijit.release(compiled_from(SOURCE))


@isolated
def test_suppressed_functions_stay_suppressed() -> None:
    """Whether they are decorated, minijit is enabled, or they get other code before or after; nothing is started."""
    decorated, undecorated = minijit.jit(compiled_from(SOURCE)), compiled_from(SOURCE)
    minijit.suppress(decorated)
    minijit.disable()
    for f in (minijit.jit(compiled_from(SOURCE)), undecorated):
        minijit.suppress(f)
        assert not minijit.is_enabled()
        for late in (decorated, minijit.jit(f)):
            with enabled():
                for _ in range(60):
                    assert late(30) == 870
                assert not minijit.is_compiled(late)
                assert "suppressed" in str(minijit.explain(late))
                assert minijit.compile(late, int, int) is False
                late.__code__ = compiled_from(SOURCE).__code__
                for _ in range(60):
                    assert late(30) == 870
                assert not minijit.is_compiled(late)


@isolated
def test_suppressing_starts_nothing() -> None:
    """Nor does asking."""
    f = compiled_from(SOURCE)
    minijit.suppress(f)
    minijit.release(f)
    assert "not enabled" in str(minijit.explain(f))
    assert not minijit.is_enabled()
    assert sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID) is None
    minijit.jit(f)
    assert minijit.is_enabled()
    for _ in range(300):
        assert f(30) == 870
    assert not minijit.is_compiled(f)
    g = compiled_from(SOURCE)
    minijit.suppress(g)
    assert "suppressed" in str(minijit.explain(g))
    minijit.disable()
    with enabled():
        assert "suppressed" in str(minijit.explain(g))


@isolated
def test_an_address_is_no_function() -> None:
    """Before anything ran nobody tells of functions that end, and others come to stand where they were."""
    with enabled():
        make = compiled_from("def make():\n    return lambda n: n\n", "make")
        f = minijit.jit(make())
        address = id(f)
        del f
        kept = []
        while not kept or id(kept[-1]) != address:
            kept.append(make())
            assert len(kept) < 1000, "the address does not come again"
        assert "not asked" in str(minijit.explain(kept[-1]))
        assert not minijit.is_compiled(kept[-1])


@isolated
def test_an_eager_function_that_is_wrong_does_no_harm_later() -> None:
    """It is not remembered; those that were right are compiled by each `enable`, unless they changed."""
    eager = minijit.jit(eager=True)
    good = eager(compiled_from("def f(a: int, b: 'float'):\n    return a * b\n"))
    changed = eager(compiled_from("def f(a: int, b: int):\n    return a * b\n"))
    wrong = [
        compiled_from("def f(a: 'Nope'):\n    return a\n"),
        compiled_from("def f(a: list):\n    return a\n"),
        compiled_from("def f(a: int, *args: int):\n    return a\n"),
    ]
    for f in wrong:
        with refused(NameError if f is wrong[0] else TypeError):
            eager(f)
    last = eager(compiled_from("def f(a: int):\n    return a + 1\n"))
    changed.__code__ = last.__code__
    minijit.disable()
    with refused(NameError):
        eager(wrong[0])
    with enabled():
        assert [minijit.is_compiled(f) for f in (good, changed, last)] == [True, False, True]
        assert (good(2, 1.5), changed(2), last(2)) == (3.0, 3, 3)
        assert all("not asked" in str(minijit.explain(f)) for f in wrong)


CALLING = """
def f(n, release):
    s = 0
    for i in range(n):
        s += i
        if i % 20 == 19:
            release()
        s += 1
    return s
"""


@isolated
def test_release_while_it_runs() -> None:
    """From a function that the loop calls."""
    source = CALLING
    for form in (source, source.replace("release)", "release, *rest)")):
        for action in (minijit.release, minijit.suppress, lambda _f: minijit.disable()):
            with enabled():
                f = minijit.jit(policy=Patient(LOW))(compiled_from(form))
                for _ in range(15):
                    assert f(60, lambda: None) == 1830
                assert minijit.is_compiled(f)
                assert f(60, lambda f=f, action=action: action(f)) == 1830
                assert f(60, lambda: None) == 1830
