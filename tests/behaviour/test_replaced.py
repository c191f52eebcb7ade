"""Programs that replace builtins and functions of modules: their code has what they have put there, ours has not.

Found by a program that patched `builtins.abs`: the compiler called it, too, and counted a range wrong.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest

import minijit
from conftest import RunPython

PROGRAM = """
import builtins, math
{decorated}def f(n):
    s = 0.0
    for i in range(n):
        s += i * 0.5 + abs(i) + round(i) + math.sqrt(i) + math.fabs(i) + max(i, 3) + len((i, i)) + int(i) + pow(i, 2)
    return s
def runs():
    return [f(n) for n in range(40)]
{first}
print(runs())
{replaced}
print(runs(), runs())
"""
BUILTINS = (
    "abs len range min max int float bool isinstance type tuple list dict set frozenset map zip all any sum sorted iter"
    " next getattr hasattr id repr str print pow round divmod enumerate reversed callable issubclass vars property super"
).split()
REPLACED = {
    "abs": "builtins.abs = lambda x: -x",
    "several": "builtins.round = builtins.pow = lambda *_: 5",
    "a class": "builtins.int = lambda x: x * 2",
    "range": "r = range\nbuiltins.range = lambda *a: r(*(x // 2 for x in a))",
    "functions of math": "math.sqrt, math.fabs = math.cos, lambda x: 7",
}
SETTINGS = {"MINIJIT_CALL_THRESHOLD": "3", "MINIJIT_LOOP_THRESHOLD": "10"}


CASES = [(name, when) for name in REPLACED for when in ("before", "meanwhile", "after")]
# With these nothing of the standard library can be imported.
CASES = [case for case in CASES if case not in (("a class", "before"), ("range", "before"))]


@pytest.mark.parametrize(("name", "when"), CASES)
@pytest.mark.parametrize("how", ["decorated", "whole"])
def test_what_the_program_has_put_there(name: str, when: str, how: str, run_python: RunPython) -> None:
    """Before minijit is imported, when it is but has compiled nothing, and when the function is hot."""
    is_decorated = how == "decorated"
    lines = {"before": "", "meanwhile": "", "after": ""} | {when: REPLACED[name]}

    def program(import_line: str, decorated: str) -> str:
        head = f"import math, builtins\n{lines['before']}\n{import_line}\n"
        return head + PROGRAM.format(decorated=decorated, first=lines["meanwhile"], replaced=lines["after"])

    plain = run_python(program("", ""))
    assert plain.returncode == 0, plain.stderr
    if is_decorated:
        done = run_python(program("import minijit", "@minijit.jit\n"), env=SETTINGS)
    else:
        done = run_python(program("", ""), env=SETTINGS | {"MINIJIT": "1", "MINIJIT_THRESHOLD": "20"})
    assert done.stdout == plain.stdout, done.stderr
    assert ("the program had replaced a builtin" in done.stderr) == (
        is_decorated and when == "before" and name != "functions of math"
    )


def test_all_of_our_modules_have_builtins_of_their_own(run_python: RunPython) -> None:
    root = Path(minijit.__file__).parent
    names = [m.name for m in pkgutil.walk_packages([str(root)], "minijit.") if not m.name.endswith("__main__")]
    assert len(names) > 80
    done = run_python(f"""
import builtins, importlib, sys
import minijit
for name in {names!r}:
    module = importlib.import_module(name)
    assert vars(module)["__builtins__"] is not vars(builtins), name
assert vars(sys.modules["minijit.config"])["__builtins__"] == vars(builtins)
""")
    assert done.returncode == 0, done.stderr


def test_replaced_all(run_python: RunPython) -> None:
    """Nothing of ours calls a builtin of the program's while it counts, records, compiles, leaves and kills."""
    text = """
import builtins, math, sys
import minijit
names = BUILTINS
def f(n, x):
    s = x
    for i in range(n):
        s += i * K
        if i == 777:
            s = [s]
    return s
K = 3
minijit.jit(f)
originals = {name: getattr(builtins, name) for name in names}
def trap(name):
    def trapped(*arguments, **named):
        called.append(name)
        return originals[name](*arguments, **named)
    return trapped
called = []
traps = {name: trap(name) for name in names if not isinstance(originals[name], type)}
def run(n, x):
    return f(n, x)
expected = [f(k, 1) for k in range(100)]
vars(builtins).update(traps)
found = [f(k, 1) for k in range(100)]
found_floats = [f(k, 0.5) for k in range(100)]
K = 4
more = [f(k, 1) for k in range(100)]
big = f(50, 2**62), f(50, 2**70)
vars(builtins).update(originals)
assert found == expected
# By the standard library, which is the program's.
assert set(called) <= {"getattr", "next", "vars", "hasattr", "isinstance", "issubclass"}, set(called)
print("fine", minijit.stats(f).compilations > 2, minijit.stats(f).kills > 0)
"""
    done = run_python(text.replace("BUILTINS", repr(BUILTINS)), env=SETTINGS)
    assert done.stdout == "fine True True\n", done.stdout + done.stderr
