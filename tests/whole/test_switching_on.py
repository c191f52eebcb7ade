"""`MINIJIT=1`: what it compiles, and that nothing else is different.

In: programs that know nothing of minijit, each run as a process of its own with the variable and without it. Out: the
same output, the same exit code, the same traceback; and a line of counters that says what was compiled.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from told import SAID, STATS

from conftest import Completed, RunPython
from minijit.__main__ import main
from minijit.config import Config
from minijit.cpython import scout

HOT = """
import sys
def f(n):
    s = 0
    for i in range(n):
        s += i * i % 7
    return s
def main():
    print(f(200_000), f(200_000))
"""
ON = {"MINIJIT": "1", "MINIJIT_STATS": "1"}
SOON = ON | {"MINIJIT_THRESHOLD": "100"}


def compiled(done: Completed) -> int:
    """How many regions there were."""
    lines = STATS.findall(done.stderr)
    assert len(lines) == 1, done.stderr
    found = re.search(r"compilations=(\d+)", lines[0])
    return int(found[1]) if found is not None else 0


def without_stats(done: Completed) -> tuple[int, str, str]:
    return done.returncode, done.stdout, SAID.sub("", done.stderr)


PROGRAMS = {
    "a hot function": ("main()", True),
    "a function called often": ("def g(x):\n    return x * 3 + 1\nprint(sum(g(k) for k in range(1_500_000)))", True),
    "methods": (
        "class A:\n    def g(self, x):\n        return x * 3 + 1\na = A()\nfor k in range(1_500_000): a.g(k)",
        True,
    ),
    "functions that come and go": (
        (
            "def make(k):\n    def g(x):\n        return x * 3 + k % 2\n    return g\n"
            "for k in range(300):\n    g = make(k)\n    for i in range(200): g(i)"
        ),
        False,
    ),
    "an exception that nobody catches": ("main()\ndef g(n):\n    return f(n) / 0\ng(10)", True),
    "an exit code": ("main()\nsys.exit(7)", True),
    "words": ("for k in range(150_000): s = 'a%d' % k + 'b'\nprint(s)", False),
    "a generator": ("def g():\n    for i in range(150_000):\n        yield i * 2\nprint(sum(g()))", False),
    "a loop in an exception handler": (
        (
            "def g(n):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n"
            "        s = 0\n        for k in range(n): s += k\n        return s\n"
            "print(g(150_000))"
        ),
        True,
    ),
    "another interpreter": (
        (
            "import _xxsubinterpreters as interpreters\nother = interpreters.create()\n"
            "interpreters.run_string(other, 'def g(n):\\n for k in range(n): n += k\\n return n\\nprint(g(150_000), flush=True)')\n"
            "interpreters.destroy(other)"
        ),
        False,
    ),
    "a finaliser that runs when modules are empty": (
        (
            "import builtins\nclass C:\n    def __del__(self, k=1):\n        k += 1\n        print('before', k)\n"
            "c = C()\nsys.here = builtins.here = here = sys.modules[__name__]"
        ),
        False,
    ),
    "nothing": ("", False),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_program(name: str, run_python: RunPython) -> None:
    program, is_hot = PROGRAMS[name]
    plain = run_python(HOT + program)
    done = run_python(HOT + program, env=ON)
    assert without_stats(done) == (plain.returncode, plain.stdout, plain.stderr)
    assert bool(compiled(done)) == is_hot
    hot = run_python(HOT + program, env=ON | {"MINIJIT_STRESS": "hot"})
    assert without_stats(hot)[:2] == (plain.returncode, plain.stdout)


def test_how_a_program_is_run(tmp_path: Path, run_python: RunPython) -> None:
    """As a script, a module, a command, from standard input; its arguments and its name."""
    text = f"{HOT}main()\nprint(__name__, sys.argv[1:], __file__ if '__file__' in globals() else None)\n"
    script = tmp_path / "script.py"
    script.write_text(text)
    ways = {"script": [str(script)], "module": ["-m", "script"], "command": ["-c", text], "input": ["-"]}
    for way, arguments in ways.items():
        results = []
        for first in ([], ["-m", "minijit", "run", "--stats=1", "--threshold", "100"]):
            done = subprocess.run(
                [sys.executable, "-W", "error", *first, *arguments, "one", "--two", "-m"],
                input=text if way == "input" else None,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            )
            results.append(SAID.sub("", done.stderr))
            results.append(done.stdout)
            if first:
                assert compiled(done), way
        assert results[:2] == results[2:], way


@pytest.mark.parametrize("flag", ["-E", "-I", "-S"])
def test_flags_of_the_interpreter_that_leave_minijit_out(flag: str, run_python: RunPython) -> None:
    command = [sys.executable, flag, "-c", "import sys; print([name for name in sys.modules if 'minijit' in name])"]
    text = f"import subprocess; subprocess.run({command!r}, check=True)"
    assert run_python(text, env=ON).stdout == "[]\n"
    if flag != "-S":  # minijit is not found then
        text = f"import subprocess; print(subprocess.run({[sys.executable, flag, '-m', 'minijit', 'run', 'x.py']!r}).returncode)"
        done = run_python(text)
        assert done.stdout == "2\n"
        assert done.stderr.startswith("minijit run: with -E, -I or -S")


def test_the_default_threshold_stands_in_two_places() -> None:
    """Before the configuration is loaded, and in it."""
    assert Config().threshold == scout.THRESHOLD


def test_unset_it_loads_nothing(run_python: RunPython) -> None:
    for env in ({}, {"MINIJIT": ""}, {"MINIJIT": "0"}):
        done = run_python("import sys; print([name for name in sys.modules if 'minijit' in name])", env=env)
        assert (done.stdout, done.stderr) == ("[]\n", "")


def test_little_is_loaded_before_something_is_hot(run_python: RunPython) -> None:
    done = run_python("import sys; print(sorted(sys.modules))", env={"MINIJIT": "1"})
    plain = run_python("import sys; print(sorted(sys.modules))")
    assert done.stderr == ""
    more = set(eval(done.stdout)) - set(eval(plain.stdout))
    assert {name.partition(".")[0] for name in more} == {"minijit", "__future__", "_operator", "atexit"}
    assert len(more) <= 10


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"MINIJIT": "yes"}, "MINIJIT takes 0, 1 or check, not 'yes'"),
        ({"MINIJIT": "1", "MINIJIT_THRESHOLD": "soon"}, "MINIJIT_THRESHOLD takes an int, not 'soon'"),
        ({"MINIJIT": "1", "MINIJIT_TRESHOLD": "3"}, "MINIJIT_TRESHOLD is no setting; did you mean MINIJIT_THRESHOLD?"),
    ],
)
def test_a_wrong_setting_is_told_in_a_line(env: dict[str, str], said: str, run_python: RunPython) -> None:
    done = run_python(HOT + "main()", env=env)
    assert done.stderr == f"minijit: {said}\n"
    assert (done.returncode, done.stdout) == (0, run_python(HOT + "main()").stdout)


def test_run_refuses_wrong_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--threshold", "soon", "program.py"]) == 2
    assert capsys.readouterr().err == "minijit run: MINIJIT_THRESHOLD takes an int, not 'soon'\n"
    assert main(["run", "--threshold=3"]) == 2
    assert capsys.readouterr().err == "minijit run: no program is given\n"


LEFT_OUT = {
    "": 1,
    "MINIJIT_DENY=*": 0,
    "MINIJIT_DENY=__main__": 0,
    "MINIJIT_DENY=__main__.g": 1,
    "MINIJIT_DENY=other,__main__.f": 0,
    "MINIJIT_ALLOW=__main__": 1,
    "MINIJIT_ALLOW=__ma*": 1,
    "MINIJIT_ALLOW=main": 0,
    "MINIJIT_ALLOW=*.f MINIJIT_DENY=*.f": 0,
}


@pytest.mark.parametrize("settings", LEFT_OUT)
def test_patterns_of_what_may_be_compiled(settings: str, run_python: RunPython) -> None:
    given = dict(setting.split("=") for setting in settings.split())
    assert bool(compiled(run_python(HOT + "main()", env=SOON | given))) == LEFT_OUT[settings]


def test_children_inherit_it(run_python: RunPython) -> None:
    """A child process, one that was forked before and one after minijit was enabled; workers of all sorts."""
    done = run_python(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOT + 'main()'!r}])", env=ON)
    assert "compilations=" in done.stderr
    program = (
        HOT
        + """
import os
import minijit
if len(sys.argv) > 1:
    main()
for _ in range(2):
    child = os.fork()
    if not child:
        main()
        sys.stdout.flush()
        os._exit(0 if minijit.is_compiled(f) else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )
    plain = run_python(program.replace("import minijit\n", "").replace("if minijit.is_compiled(f) else 7", ""))
    for arguments in ((), ("first",)):
        done = run_python(program, *arguments, env=SOON)
        assert done.returncode == 0, done.stderr
        assert set(done.stdout.splitlines()) == set(plain.stdout.splitlines())


def test_the_interface_of_minijit(run_python: RunPython) -> None:
    """A program that uses minijit itself is served, too, and may enable it for itself."""
    done = run_python(
        HOT
        + """
import minijit
assert minijit.is_enabled()
assert not minijit.is_compiled(f)
main()
assert minijit.is_compiled(f), minijit.explain(f)
print(minijit.explain(f))
with minijit.enable(minijit.Config(threshold=10)):
    assert not minijit.is_compiled(f)
    main()
    assert minijit.is_compiled(f)
assert not minijit.is_enabled()
assert sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID) is None
main()
""",
        env={"MINIJIT": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "f " in done.stdout


def test_another_tool_has_the_id(run_python: RunPython, tmp_path: Path) -> None:
    """It came before us, or took the id while it was free."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.monitoring.use_tool_id(5, 'other')\n")
    done = run_python(
        HOT + "main()\nprint(sys.monitoring.get_tool(5))",
        env=ON | {"PYTHONPATH": str(tmp_path)},
    )
    # The scout was first: the other one has failed, as with any other tool.
    assert done.returncode == 0
    assert done.stdout.endswith("\nminijit\n")


BUSY = "import time\nwhile time.process_time() < 1.2: pass\n"
NAMES = "import sys; print(sum('sampler' in name for name in sys.modules), file=sys.stderr)\n"


def test_machine_code_is_kept_on_disk(run_python: RunPython, tmp_path: Path) -> None:
    """Made by the first process that takes a while, used by the next; not if it is unwanted, or cannot be."""
    cache = tmp_path / "cache"
    assert run_python(NAMES, env={"MINIJIT": "1"}).stderr == "0\n"
    assert not cache.exists()
    assert run_python(NAMES + BUSY, env={"MINIJIT": "1", "MINIJIT_CACHE": "0"}).stderr == "0\n"
    assert not cache.exists()
    assert run_python(NAMES + BUSY, env={"MINIJIT": "1"}).stderr == "0\n"
    (file,) = (cache / "minijit").iterdir()
    assert run_python(NAMES, env={"MINIJIT": "1"}).stderr == "1\n"
    done = run_python(HOT + "main()", env=ON)
    assert compiled(done)
    assert done.stdout == run_python(HOT + "main()").stdout
    assert run_python(NAMES, env={"MINIJIT": "1", "MINIJIT_CACHE": "0"}).stderr == "0\n"
    file.write_bytes(file.read_bytes()[::-1])
    assert compiled(run_python(HOT + "main()", env=ON))
    assert run_python(BUSY, env={"MINIJIT": "1", "XDG_CACHE_HOME": "/dev/null"}).stderr == ""


LISTENING = {
    "a tracer": "sys.settrace(lambda frame, *_: names.append(frame.f_code.co_name))",
    "a profiler": "sys.setprofile(lambda frame, *_: names.append(frame.f_code.co_name))",
    "a tool": (
        "sys.monitoring.use_tool_id(2, 'tool')\n"
        "sys.monitoring.register_callback(2, sys.monitoring.events.PY_START, lambda code, _: names.append(code.co_name))\n"
        "sys.monitoring.set_events(2, sys.monitoring.events.PY_START)"
    ),
}


@pytest.mark.parametrize("who", LISTENING)
@pytest.mark.parametrize("is_first", [True, False])
def test_who_hears_of_all_code_hears_of_what_does_not_compute(run_python: RunPython, who: str, is_first: bool) -> None:
    """Whether that was there before minijit looked at the program, or after new code was taken for instrumented."""
    run_python(BUSY, env={"MINIJIT": "1"})
    begin = """
import os
from minijit import startup
startup.begin("1", os.environ)
"""
    new = "exec('def f(): pass')\n"
    steps = [LISTENING[who], begin, new] if is_first else [begin, new, LISTENING[who]]
    program = "\n".join(["import sys; names = []", *steps, "f()"])
    program += "\nprint('f' in names, 'minijit.cpython.sampler' in sys.modules)"
    assert run_python(program).stdout == "True True\n"


TAKEN_AWAY = {
    "the watcher of new code": """
import ctypes
for number in range(8):
    try:
        ctypes.pythonapi.PyCode_ClearWatcher(number)
    except ValueError:
        pass
main()
""",
    "the tool id": """
sys.monitoring.free_tool_id(sys.monitoring.OPTIMIZER_ID)
print(sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID))
""",
}


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_what_is_taken_away_is_not_given_back(run_python: RunPython, what: str) -> None:
    run_python(BUSY, env={"MINIJIT": "1"})
    done = run_python(HOT + TAKEN_AWAY[what], env={"MINIJIT": "1", "MINIJIT_THRESHOLD": "1000"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("None\n") == (what == "the tool id")


def test_other_threads_are_heard_while_the_driver_takes_over(run_python: RunPython) -> None:
    """Their events go to machine code whose owner is not to be gone yet."""
    run_python(BUSY, env={"MINIJIT": "1"})
    program = """
import itertools, threading, time, types
sys.addaudithook(lambda event, _: time.sleep(0.02) if event == "sys.monitoring.register_callback" else None)
stop = []
def loop(x):
    for i in range(3): x += i
    return x
def work(k):
    pile = []
    for n in itertools.count():
        pile.append([])
        name = f"f{k}_{n}"
        types.FunctionType(loop.__code__.replace(co_name=name, co_qualname=name), {"range": range})(3)
        if stop: return
threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
for thread in threads: thread.start()
time.sleep(0.3)
main()
stop.append(1)
for thread in threads: thread.join()
"""
    done = run_python(HOT + program, env={"MINIJIT": "1", "MINIJIT_THRESHOLD": "9"})
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_profiler_listens_to_gets_hot(run_python: RunPython) -> None:
    """Its instructions are another's, with caches of which nobody knows how long they are."""
    program = """
functions = []
for k in range(1000):
    names = {}
    exec(f"def callee{k}(x): return x\\ndef f{k}(p):\\n    return callee{k}(p) + p\\n", names)
    functions.append(names[f"f{k}"])
for f in functions:
    for _ in range(10): f(())
sys.setprofile(lambda *_: None)
for f in functions:
    for _ in range(100): f(())
sys.setprofile(None)
"""
    done = run_python("import sys\n" + program, env={"MINIJIT": "1", "MINIJIT_THRESHOLD": "20"})
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_an_end_to_machine_code(run_python: RunPython) -> None:
    """Two hundred functions, of which the budget has room for some."""
    program = """
import minijit
lines = "def f{0}(n):\\n s = {0}\\n for i in range(n):\\n  s += i * {0} % 7\\n return s\\n"
functions = {}
for k in range(60):
    exec(lines.format(k), functions)
expected = [sum(i * k % 7 for i in range(3000)) + k for k in range(60)]
assert [functions[f"f{k}"](3000) for k in range(60)] == expected
stats = minijit.stats()
print(0 < stats.compilations < 60, stats.given_up > 10)
print(["budget of machine code" in str(minijit.explain(functions[f"f{k}"])) for k in (0, 59)])
"""
    done = run_python(program, env={"MINIJIT": "1", "MINIJIT_THRESHOLD": "20", "MINIJIT_CODE_BYTES": "30000"})
    assert done.stdout == "True True\n[False, True]\n", done.stdout + done.stderr


def test_places_are_told_in_the_end(run_python: RunPython) -> None:
    """The most entered first; those of functions that are gone by then, too."""
    program = """
for i in range(40_000):
    total = i & 7
def f(x, what):
    if x < 0: return f(x + 1, what)
    return x + 1
def work():
    def inner(n):
        s = 0
        for i in range(n):
            s += i
        return s
    return inner(40_000)
for k in range(40_000):
    f(k, "text")
work()
del f
"""
    done = run_python(program, env=SOON)
    places = [line.split()[2:4] for line in done.stderr.splitlines() if line.startswith("minijit: place")]
    assert places[0] == ["f", "(<string>:4)"]
    loops = [["<module>", "(<string>:14)"], ["<module>", "(<string>:2)"]]
    assert sorted(places[1:]) == [*loops, ["work.<locals>.inner", "(<string>:10)"]]
    assert without_stats(done) == (0, "", "")
