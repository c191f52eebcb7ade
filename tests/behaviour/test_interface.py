"""What users call: misuse is told clearly, everything can be asked for, and everything can be taken back."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import warnings
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


def is_clean() -> list[str]:
    """What is left of minijit in the interpreter after `disable`."""
    from minijit.cpython import hooks

    left = []
    if sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID) is not None:
        left.append("the tool id")
    for function in KNOWN:
        if hooks.vectorcall_of(function) != hooks.PLAIN_VECTORCALL:
            left.append(f"an entry of {function}")
        if hooks.is_watched(function.__code__):
            left.append(f"monitors of {function}")
    return left + [f"a watcher id of {name}" for name, taken in watchers_taken().items() if taken]


KNOWN: list[Any] = []


def watchers_taken() -> dict[str, int]:
    """How many of the eight watcher ids of each sort are taken, by trying to take them all."""
    import ctypes

    signatures = {
        "PyDict": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4),
        "PyFunction": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3),
        "PyType": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p),
        "PyCode": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2),
    }
    free: dict[str, int] = {}
    for prefix, signature in signatures.items():
        callback = signature(lambda *_: 0)
        add = getattr(ctypes.pythonapi, f"{prefix}_AddWatcher")
        clear = getattr(ctypes.pythonapi, f"{prefix}_ClearWatcher")
        taken = []
        while True:
            try:
                taken.append(add(callback))
            except RuntimeError:
                break
        for number in taken:
            clear(number)
        free[prefix] = len(taken)
    return {prefix: WATCHERS_AT_START.get(prefix, count) - count for prefix, count in free.items()}


WATCHERS_AT_START: dict[str, int] = {}


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
        with refused(TypeError, "closure"):
            minijit.compile(
                compiled_from("def outer():\n    k = 1\n    def f():\n        return k\n    return f\nf = outer()\n")
            )
        assert minijit.compile(f, int, int) is True
        assert minijit.compile(f, int, int) is True
        assert minijit.is_compiled(f)
        assert f(10) == 90
        assert minijit.stats(f).entries == 1
        assert minijit.compile(f, object, None) in (True, False)


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
        with refused(TypeError, "closure"):
            eager(compiled_from("def outer():\n    k = 1\n    def f():\n        return k\n    return f\nf = outer()\n"))
        with refused(TypeError, "*args"):
            eager(compiled_from("def f(a: int, *args: int):\n    return a\n"))
        with refused(NameError):
            eager(compiled_from("def f(a: 'Nope'):\n    return a\n"))


@isolated
def test_enabling_twice() -> None:
    """Is an error; disabling twice is none."""
    with minijit.enable():
        assert minijit.is_enabled()
        with refused(RuntimeError, "enabled already"):
            minijit.enable()
        assert minijit.is_enabled()
    assert not minijit.is_enabled()
    minijit.disable()
    minijit.disable()
    try:
        with minijit.enable():
            raise KeyError(1)
    except KeyError:
        assert not minijit.is_enabled()


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
def test_suppress_and_release() -> None:
    """Released code may come again, suppressed functions never."""
    with enabled():
        f = minijit.jit(compiled_from(SOURCE))
        KNOWN.append(f)
        for _ in range(20):
            f(30)
        assert minijit.is_compiled(f)
        minijit.release(f)
        assert not minijit.is_compiled(f)
        from minijit.cpython import hooks

        assert hooks.vectorcall_of(f) == hooks.PLAIN_VECTORCALL
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


@isolated
def test_subscribers() -> None:
    """All events come; one who raises is removed and reported; unsubscribing works, twice too."""
    import contextlib
    import io

    seen: list[Any] = []
    raised: list[int] = []

    def bad(event: object) -> None:
        raised.append(1)
        raise ValueError("bad one")

    with enabled():
        stop = minijit.subscribe(seen.append)
        minijit.subscribe(bad)
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            f = minijit.jit(compiled_from(SOURCE))
            for _ in range(20):
                assert f(30) == 870
        assert len(raised) == 1
        assert "bad one" in out.getvalue()
        assert "removed" in out.getvalue()
        names = [type(event).__name__ for event in seen]
        assert names[:2] == ["Recorded", "Compiled"]
        assert all(event.line() for event in seen)
        stop()
        stop()
        count = len(seen)
        minijit.release(f)
        assert len(seen) == count


@isolated
def test_a_policy_that_raises() -> None:
    """Is reported and replaced by the default."""
    import contextlib
    import io

    class Broken(minijit.Policy):
        def should_record(self, _root: Any) -> Any:
            raise ZeroDivisionError("broken policy")

    with enabled():
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            f = minijit.jit(policy=Broken(LOW))(compiled_from(SOURCE))
            for _ in range(20):
                assert f(30) == 870
        assert minijit.is_compiled(f)
        assert "broken policy" in out.getvalue()


@isolated
def test_a_policy_that_answers_nonsense() -> None:
    """The program is not to suffer."""

    class Nonsense(minijit.Policy):
        def should_record(self, _root: Any) -> Any:
            return "yes please"

        def after_exit(self, _exit: Any) -> Any:
            return None

    with enabled():
        f = minijit.jit(policy=Nonsense(LOW))(compiled_from(SOURCE))
        for _ in range(60):
            assert f(30) == 870
        for _ in range(60):
            assert f(30, 2**62) == 435 * 2**62


# Configuration


def test_configuration_is_checked() -> None:
    """Wrong types and values are named."""
    with refused(minijit.ConfigError, "call_threshold", "an int", "'3'"):
        minijit.Config(call_threshold="3")
    with refused(minijit.ConfigError, "call_threshold", "at least 1"):
        minijit.Config(call_threshold=0)
    with refused(minijit.ConfigError, "call_threshold", "True"):
        minijit.Config(call_threshold=True)
    with refused(minijit.ConfigError, "perf_map", "True or False"):
        minijit.Config(perf_map=1)
    with refused(TypeError, "nope"):
        minijit.Config(nope=1)
    assert minijit.Config(compile_seconds=3).compile_seconds == 3


def test_configuration_from_the_environment() -> None:
    """Each row is read; wrong values name the variable."""
    from minijit.config import from_environment

    found = from_environment({"MINIJIT_CALL_THRESHOLD": "7", "MINIJIT_CHECK": "1", "MINIJIT_COMPILE_SECONDS": "2.5"})
    assert found == minijit.Config(call_threshold=7, check=True, compile_seconds=2.5)
    assert from_environment({}) == minijit.Config()
    for name, value in (("CALL_THRESHOLD", "x"), ("CHECK", "yes"), ("COMPILE_SECONDS", "")):
        with refused(minijit.ConfigError, f"MINIJIT_{name}", repr(value)):
            from_environment({f"MINIJIT_{name}": value})
    with refused(minijit.ConfigError, "MINIJIT_CALL_THRESHOLD", "at least 1"):
        from_environment({"MINIJIT_CALL_THRESHOLD": "-3"})


PROGRAM = f"""
import minijit
{SOURCE}
minijit.jit(f)
for _ in range(200):
    f(200)
print(f(200), minijit.stats(f).entries > 0)
"""


def program(run_python: Any, **env: str) -> tuple[str, str]:
    done = run_python(PROGRAM, env={f"MINIJIT_{name}": value for name, value in env.items()})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "39800 True\n", done.stdout
    return done.stdout, done.stderr


def test_log(run_python: Any) -> None:
    """`MINIJIT_LOG=trace` prints one line an event; without it nothing is printed."""
    assert program(run_python)[1] == ""
    lines = program(run_python, LOG="trace")[1].splitlines()
    assert all(line.startswith("minijit: ") for line in lines), lines
    kinds = {line.split()[1] for line in lines}
    assert {"recorded", "compiled"} <= kinds, lines


def test_dumps(run_python: Any) -> None:
    """`MINIJIT_DUMP` prints the stages that it names, or all."""
    text = program(run_python, DUMP="all")[1]
    for stage in ("trace", "region", "after params", "llvm"):
        assert f"---- {stage}" in text, stage
    text = program(run_python, DUMP="region")[1]
    stages = {line for line in text.splitlines() if line.startswith("----")}
    assert stages == {"---- region"}
    text = program(run_python, DUMP="asm,trace")[1]
    assert "---- trace" in text
    assert "---- region" not in text


def test_a_wrong_environment_is_told(run_python: Any) -> None:
    """At the first use, by name."""
    done = run_python(PROGRAM, env={"MINIJIT_CALL_THRESHOLD": "many"})
    assert done.returncode == 1
    assert "MINIJIT_CALL_THRESHOLD takes an int, not 'many'" in done.stderr


# Taking everything back


@isolated
def test_disable_restores_everything() -> None:
    """Vectorcalls, the tool id, local events, watchers; again and again, with and without compiled functions."""
    WATCHERS_AT_START.update(watchers_taken())
    WATCHERS_AT_START.update({name: -count for name, count in watchers_taken().items()})
    f = compiled_from(SOURCE)
    KNOWN.append(f)
    for turn in range(12):
        minijit.enable(LOW)
        minijit.jit(f)
        for _ in range(15 * (turn % 3)):
            assert f(30) == 870
        if turn % 3:
            assert minijit.is_compiled(f)
        minijit.disable()
        assert not is_clean(), is_clean()
        assert f(30) == 870
        assert f.__code__._co_code_adaptive  # type: ignore[attr-defined]


@isolated
def test_decorated_functions_are_taken_on_again() -> None:
    """`enable` takes on what was decorated before; a function decorated while minijit is off enables it."""
    f = minijit.jit(compiled_from(SOURCE))
    assert minijit.is_enabled()
    minijit.disable()
    for _ in range(100):
        f(30)
    with minijit.enable(LOW):
        for _ in range(20):
            f(30)
        assert minijit.is_compiled(f)
    with minijit.enable(LOW):
        assert not minijit.is_compiled(f)
        for _ in range(20):
            f(30)
        assert minijit.is_compiled(f)


@isolated
def test_importing_changes_nothing() -> None:
    """No tool, no watcher, no ctypes, no llvmlite."""
    code = (
        "import sys; before = set(sys.modules); import minijit; new = set(sys.modules) - before;"
        "print([m for m in ('ctypes', 'llvmlite', 'minijit.driver') if m in new], sys.monitoring.get_tool(5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[] None\n"


@isolated
def test_somebody_else_has_the_tool_id() -> None:
    """Functions come back unchanged, with one warning; everything else is harmless."""
    sys.monitoring.use_tool_id(sys.monitoring.OPTIMIZER_ID, "another jit")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f = compiled_from(SOURCE)
        assert minijit.jit(f) is f
        assert minijit.jit(policy=Patient(LOW))(f) is f
        assert f(30) == 870
        assert minijit.compile(f, int, int) is False
        assert not minijit.is_compiled(f)
        assert "another jit" in str(minijit.explain(f))
        minijit.suppress(f)
        minijit.release(f)
        assert minijit.stats(f) == minijit.Stats()
        minijit.jit(compiled_from(SOURCE))
        with minijit.enable():
            assert not minijit.is_enabled()
            for _ in range(100):
                f(30)
    assert [w.category for w in caught] == [minijit.UnsupportedWarning], [str(w.message) for w in caught]
    assert "another jit" in str(caught[0].message)
    assert sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID) == "another jit"


@isolated
def test_somebody_else_has_all_watchers() -> None:
    """The same."""
    import ctypes

    callback = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(lambda *_: 0)
    taken = []
    while True:
        try:
            taken.append(ctypes.pythonapi.PyDict_AddWatcher(callback))
        except RuntimeError:
            break
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f = minijit.jit(compiled_from(SOURCE))
        for _ in range(100):
            assert f(30) == 870
        assert not minijit.is_compiled(f)
        assert "PyDict_AddWatcher" in str(minijit.explain(f)), str(minijit.explain(f))
        assert minijit.compile(f, int, int) is False
    assert [w.category for w in caught] == [minijit.UnsupportedWarning], caught
    for number in taken:
        ctypes.pythonapi.PyDict_ClearWatcher(number)
