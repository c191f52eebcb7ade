"""Every reason to abort, to kill and to give up happens in some program, and `explain` tells of it.

Reasons for exits have their programs in `tests/behaviour/test_exits.py`.
"""

from __future__ import annotations

import pytest

from conftest import RunPython
from minijit.events import AbortReason, GiveUpReason, KillReason, Reason

HEAD = """
import gc, sys
import minijit
from minijit import Config, enable, explain, jit

def told():
    print("=====", *sorted({f"{type(e.reason).__name__}.{e.reason.name}" for e in heard if hasattr(e, "reason")}))

heard = []
minijit.subscribe(heard.append)
"""

# A function whose entry somebody else has replaced, by one that does what the interpreter does.
FOREIGN = """
from minijit.backend.engine import Engine
from minijit.cpython import hooks

TEXT = '''
define ptr @theirs(ptr %a, ptr %b, i64 %c, ptr %d) {{
  %r = musttail call ptr inttoptr (i64 {} to ptr)(ptr %a, ptr %b, i64 %c, ptr %d)
  ret ptr %r
}}
'''
CODE = Engine().compile(TEXT.format(hooks.PLAIN_VECTORCALL), name="theirs")
THEIRS = CODE.address("theirs")

@jit
def f(a):
    return a + 1
"""

# what happens -> (a program, what `explain` says of it)
PROGRAMS: dict[Reason, tuple[str, str]] = {
    AbortReason.TOO_LONG: (
        """
enable(Config(trace_steps=3))
@jit
def f(a):
    return a * a + a
for a in range(40): f(a)
print(explain(f))
""",
        "one attempt gave no code: the recording reached its step budget",
    ),
    AbortReason.LEFT: (
        """
@jit
def f(a):
    if a:
        raise ValueError
def call():
    try: f(1)
    except ValueError: pass
def call_deeper(x=1, y=2, z=3):  # so that the frame of the recording is found elsewhere, or not at all
    call()
for _ in range(35): call_deeper()
for _ in range(60): call()
print(explain(f))
""",
        "gave no code: the recorded frame ended by an exception",
    ),
    AbortReason.NOTHING: (
        """
@jit
def f(a):
    k = 1
    return a.real
for a in range(40): f(a)
print(explain(f))
""",
        "one attempt gave no code: at line 15 an attribute of an object is not compiled (LOAD_ATTR real)",
    ),
    AbortReason.TOO_LARGE: (
        """
enable(Config(trace_steps=10_000))
row = "(" + "s, " * 30 + ")"
square = "(" + f"{row}, " * 28 + ")"
body = f"t = ({square}, {square}, {square}, {square}, {square})"
exec(f"def f(n):\\n    s = 0\\n    while s < n:\\n        {body}\\n        s += 1\\n")
jit(f)
for _ in range(40): f(3)
print(explain(f))
""",
        "gave no code: it has too many variables for so many places where it may be left",
    ),
    AbortReason.ENTRY: (
        FOREIGN
        + """
hooks.set_vectorcall(id(f), hooks.PLAIN_VECTORCALL, THEIRS)
for a in range(40): assert f(a) == a + 1
minijit.compile(f, int)
assert hooks.vectorcall_of(id(f)) == THEIRS
print(explain(f))
minijit.disable()
assert hooks.vectorcall_of(id(f)) == THEIRS
""",
        "gave no code: something else than minijit has replaced what calls of the function go to",
    ),
    AbortReason.STALE: (
        """
K = 1
class Meddles:
    def write(self, text):
        global K
        K += 1
sys.stderr = Meddles()
enable(Config(dump="llvm"))
@jit
def f(a):
    return a + K
for a in range(40): f(a)
sys.stderr = sys.__stderr__
print(explain(f))
""",
        "gave no code: something the recording relied on changed while it was made (K)",
    ),
    AbortReason.LIMIT: (
        """
enable(Config(limit="0"))
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
print(explain(f))
""",
        "one attempt gave no code: the setting `limit` leaves it out (region 1, <string>:13)",
    ),
    AbortReason.COMPILER: (
        """
from minijit.driver import compiler
def optimise(*args, **kwargs):
    raise ArithmeticError("a bug")
compiler.optimise = optimise
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
print(explain(f))
""",
        "gave no code: the compiler failed: this is a bug in minijit (ArithmeticError('a bug'))",
    ),
    KillReason.GLOBAL: (
        """
K = 1
@jit
def f(a):
    return a + K
for a in range(40): f(a)
K = 2
print(explain(f))
""",
        "killed once: a global, builtin or module attribute changed (K)",
    ),
    KillReason.CODE: (
        """
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
f.__code__ = (lambda a: a + 2).__code__
f(1)
print(explain(f))
""",
        "killed once: the function's code was replaced",
    ),
    KillReason.CLASS: (
        """
class C:
    k = 2
    def __init__(self): self.x = 1.5
@jit
def f(c):
    return c.x + c.k
c = C()
for _ in range(40): f(c)
C.k = 3
f(c)
print(explain(f))
""",
        "killed once: a class changed whose instances' attributes it uses (C)",
    ),
    KillReason.GONE: (
        """
exec("def f(a):\\n    return a + 1")
jit(f)
for a in range(40): f(a)
del f
gc.collect()
""",
        "",
    ),
    KillReason.RELEASED: (
        """
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
minijit.release(f)
print(explain(f))
""",
        "released once",
    ),
    KillReason.DISABLED: (
        """
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
minijit.disable()
print(explain(f))
""",
        "minijit is not enabled",
    ),
    KillReason.CALLEE: (
        """
import math
enable(Config(exit_threshold=5))
@jit
def g(n, deep):
    if n < 0:
        return math.floor(0.5) if deep else 1
    return g(n - 1, deep) + 1
@jit
def f(n, deep):
    return g(n, deep) + 1
for deep in (False, True):
    for a in range(1000): f(5, deep)
print(explain(f))
""",
        "killed once: a function that it calls was compiled anew, and relies on more than before (g)",
    ),
    KillReason.STRESS: (
        """
enable(Config(stress="kill:1"))
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
print(explain(f))
""",
        "times: a stress mode took it out of service, at random",
    ),
    GiveUpReason.DIFFERS: (
        """
from minijit.backend.lower_ops import LOWER
for name in ("int_add", "int_add_wrap"): LOWER[name] = LOWER[name.replace("add", "sub")]
sys.stderr = None  # where the difference is told, too
enable(Config(compare=True))
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
print(explain(f))
""",
        "given up: it gave something else than the interpreter: this is a bug in minijit",
    ),
    GiveUpReason.BUDGET: (
        """
enable(Config(compilations=2))
K = 1
@jit
def f(a):
    return a + K
for a in range(600):
    if a % 200 == 199: K += 1
    f(a)
print(explain(f))
""",
        "given up: it reached its budget of compilations",
    ),
    GiveUpReason.TIME: (
        """
enable(Config(compile_seconds=0))
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
print(explain(f))
""",
        "given up: minijit reached its budget of compile time",
    ),
    GiveUpReason.MEMORY: (
        """
minijit.enable(Config(code_bytes=1))
@jit
def f(a):
    return a
for a in range(99): f(a)
print(explain(f))
""",
        "given up: minijit reached its budget of machine code",
    ),
    GiveUpReason.ABORTS: (
        """
@jit
def f(xs):
    for x in xs: pass
for _ in range(900): f(set(range(10)))
print(explain(f))
""",
        "given up: attempts to compile it keep failing",
    ),
    GiveUpReason.EXITS: (
        """
class Impatient(minijit.Policy):
    LEAST_SECONDS = 1.0
@jit(policy=Impatient(Config()))
def f(a):
    return a << 1
for a in range(40): f(a)
for a in range(900): f(2**62)
print(explain(f))
""",
        "0 times: an int left 64 bits",
    ),
    GiveUpReason.MISSES: (
        """
@jit
def f(a):
    return a + 1
for a in range(40): f(a)
for a in range(900): f(1j)
print(explain(f))
""",
        "given up: it is called with types that are not compiled",
    ),
    GiveUpReason.KILLS: (
        """
class Impatient(minijit.Policy):
    KILLS = 1
K = 1
@jit(policy=Impatient(Config()))
def f(a):
    return a + K
for a in range(40): f(a)
K = 2
print(explain(f))
""",
        "given up: what it relies on keeps changing",
    ),
    GiveUpReason.CRASHED: (
        """
import os
from minijit.cpython import cache_files
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Root
from minijit.runtime.suspects import key_of
@jit
def f(a):
    return a + 1
died_of = key_of(f.__code__, Root(EntryPoint.CALL, 0))
cache_files.put(os.path.join(os.environ["XDG_CACHE_HOME"], "minijit", "suspects-1"), b"%016x" % died_of)
enable(Config(guard=True))
for a in range(40): f(a)
print(explain(f))
""",
        "given up: an earlier process died while this was compiled, or in the midst of one of its first runs",
    ),
    GiveUpReason.UNSUITABLE: (
        """
@jit
def f(*a):
    return a
for a in range(40): f(a)
print(explain(f))
""",
        "given up: the function has *args, **kwargs, too many parameters or variables of functions within it, or it suspends",
    ),
}


@pytest.mark.parametrize("reason", PROGRAMS, ids=lambda reason: f"{type(reason).__name__}.{reason.name}")
def test_it_happens(reason: Reason, run_python: RunPython) -> None:
    program, said = PROGRAMS[reason]
    done = run_python(f"{HEAD}{program}\ntold()")
    assert done.returncode == 0, done.stderr
    assert said in done.stdout, done.stdout
    happened = done.stdout.splitlines()[-1].split()[1:]
    assert f"{type(reason).__name__}.{reason.name}" in happened, done.stdout


def test_every_reason_has_a_program() -> None:
    assert set(PROGRAMS) == {*AbortReason, *KillReason, *GiveUpReason}
