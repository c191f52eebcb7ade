"""What the driver asks policies, counts, and leaves to others.

In: programs, each in a process of its own, with policies that note what they are asked, threads that make and drop
functions, entries that somebody else puts into a function. Out: every compilation was asked for, counters add up over
what is gone, and what is not ours stays.
"""

from __future__ import annotations

import pytest

from conftest import RunPython

HEAD = """
import gc, threading
import minijit
from minijit.events import Compiled, GaveUp, GiveUpReason

def made(source="def f(n):\\n    s = 0\\n    for i in range(n):\\n        s += i * K\\n    return s\\n"):
    names = {"K": 1}
    exec(source, names)
    return names["f"]

heard = []
minijit.subscribe(heard.append)
"""

PROGRAMS = {
    "a loop that is known is asked for": """
asked = []
class Asked(minijit.Policy):
    def should_record(self, root):
        asked.append(root)
        return super().should_record(root)
config = minijit.Config(compilations=1, call_threshold=3, loop_threshold=10)
minijit.enable(config)
f = minijit.jit(policy=Asked(config))(made())
for _ in range(5):
    f(20)
for k in range(2, 9):
    f.__globals__["K"] = k
    assert f(5000) == k * sum(range(5000))
compiled = [(e.function, e.offset) for e in heard if isinstance(e, Compiled)]
assert len(compiled) == len(set(compiled)) >= 1, compiled
assert any(e.reason is GiveUpReason.BUDGET for e in heard if isinstance(e, GaveUp)), heard
assert len(asked) > len(compiled)
""",
    "what stands in the way twice is not tried again": """
from minijit.events import Aborted
minijit.enable(minijit.Config(call_threshold=3, loop_threshold=10))
f = minijit.jit(made("def f(x, s):\\n    for i in range(5):\\n        s = s + g(x)\\n    return s\\n"))
f.__globals__["g"] = lambda *x, **k: 1
for _ in range(20000):
    f(3, 0)
aborts = [e.offset for e in heard if isinstance(e, Aborted)]
gone = [e.offset for e in heard if isinstance(e, GaveUp) and e.reason is GiveUpReason.ABORTS]
assert gone and all(aborts.count(offset) == 2 for offset in gone), heard
""",
    "another obstacle is another matter": """
from minijit.events import Aborted
minijit.enable(minijit.Config(call_threshold=3, loop_threshold=10))
f = minijit.jit(made("def f(a, b, c):\\n    x = K(a, b)\\n    y = L(x, c)\\n    return y\\n"))
f.__globals__.update(K=lambda *x: x[0] + x[1], L=lambda *x: x[0] * x[1])
for _ in range(10):
    assert f(2, 3, 4) == 20
f.__globals__["K"] = max
for _ in range(30):
    assert f(2, 3, 4) == 12
f.__globals__["L"] = min
for _ in range(3000):
    assert f(2, 3, 4) == 3
assert len({(e.at, e.detail) for e in heard if isinstance(e, Aborted)}) >= 2, heard
assert minijit.is_compiled(f), heard
""",
    "a function changes while minijit goes": """
from minijit.driver import broken
class Going:
    def __getattr__(self, name):
        return getattr(known, name)
    def __call__(self, event):
        minijit.disable()
        return known(event)
f = minijit.jit(made())
for _ in range(200):
    f(3)
known, broken.FunctionEvent = broken.FunctionEvent, Going()
f.__code__ = (lambda n: n).__code__
assert f(3) == 3 and not minijit.is_enabled()
""",
    "the policy taken on last decides for the loops": """
asked = []
class Asked(minijit.Policy):
    def should_record(self, root):
        asked.append(root)
        return super().should_record(root)
f = minijit.jit(made())
f(5)
minijit.jit(policy=Asked(minijit.Config()))(f)
f(5000)
assert asked, minijit.explain(f)
assert minijit.is_compiled(f)
""",
    "counters outlive regions and functions": """
f = minijit.jit(made())
for _ in range(200):
    f(3)
before = minijit.stats()
assert before.entries > 100 and before.entries == minijit.stats(f).entries
minijit.release(f)
assert minijit.stats(f) == minijit.Stats(), "a function that was released starts anew"
assert minijit.stats().entries == before.entries
for _ in range(200):
    f(3)
before = minijit.stats().entries
del f
gc.collect()
assert minijit.stats().entries == before
assert minijit.stats().live_regions == 0
""",
    "stats while threads make and drop functions": """
stop, failures = threading.Event(), []
def churn():
    while not stop.is_set():
        functions = [minijit.jit(made()) for _ in range(20)]
thread = threading.Thread(target=churn)
minijit.jit(made())(1)
thread.start()
try:
    for _ in range(20_000):
        minijit.stats()
finally:
    stop.set()
    thread.join()
""",
    "an entry that somebody else puts over ours stays": """
from minijit.backend.engine import Engine
from minijit.cpython import hooks
code = Engine().compile(
    "define ptr @theirs(ptr %a, ptr %b, i64 %c, ptr %d) {\\n"
    f"  %r = musttail call ptr inttoptr (i64 {hooks.PLAIN_VECTORCALL} to ptr)(ptr %a, ptr %b, i64 %c, ptr %d)\\n"
    "  ret ptr %r\\n}\\n",
    name="theirs",
)
f = minijit.jit(made())
for _ in range(200):
    f(3)
ours = hooks.vectorcall_of(id(f))
assert ours != hooks.PLAIN_VECTORCALL
assert hooks.set_vectorcall(id(f), ours, code.address("theirs"))
f.__globals__["K"] = 2
assert f(10) == 90
minijit.release(f)
minijit.disable()
assert hooks.vectorcall_of(id(f)) == code.address("theirs")
assert f(10) == 90
""",
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_what_the_driver_does(run_python: RunPython, what: str) -> None:
    done = run_python(HEAD + PROGRAMS[what])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_perf_map_that_cannot_be_written_is_said_and_does_no_harm(run_python: RunPython) -> None:
    program = """
import os
place = f"/tmp/perf-{os.getpid()}.map"
os.mkdir(place)
try:
    minijit.enable(minijit.Config(perf_map=True))
    f = minijit.jit(made())
    for _ in range(200):
        f(3)
    assert minijit.is_compiled(f)
finally:
    os.rmdir(place)
"""
    done = run_python(HEAD + program)
    assert done.returncode == 0, done.stderr
    assert "perf map" in done.stderr
    assert "bug" not in done.stderr
