"""Programs that change what compiled functions rely on: what the tests of settling are made of.

In: the text of a program that finds the names of `COMMON`: functions with plain twins, low thresholds, a policy that
never gives up, threads that run at once. Out: the program, run in a process of its own, ends well and says nothing but
"done".
"""

from __future__ import annotations

from conftest import RunPython

COMMON = """
import _thread, gc, sys, threading, time, types
import minijit
from minijit.runtime.policy import Resume, Wait

LOW = minijit.Config(call_threshold=3, loop_threshold=10, exit_threshold=5, miss_threshold=3, compile_seconds=1e6)

class Patient(minijit.Policy):
    "Compiles every branch at once, lets all exits be taken, and never gives up."
    def compile_unseen(self, root):
        return True
    def after_exit(self, exit):
        return Resume(max(exit.count, 100))
    def after_kill(self, root, reason):
        return Wait(3)
    def after_abort(self, root):
        return Wait(10)
    def after_miss(self, miss):
        return Wait(1000)

PATIENT = Patient(LOW)

def twins(source, name="f", policy=PATIENT, **names):
    "A function that gets compiled, and one of the same namespace that does not."
    namespace = dict(names)
    exec(source, namespace)
    f = namespace[name]
    plain = types.FunctionType(f.__code__.replace(), f.__globals__, name, f.__defaults__)
    plain.__kwdefaults__ = f.__kwdefaults__
    return minijit.jit(policy=policy)(f), plain

def warm(f, *args):
    for _ in range(20):
        f(*args)
    assert minijit.is_compiled(f), minijit.explain(f)
    assert minijit.stats(f).entries, minijit.explain(f)

def quickly(*works):
    "All at once, with the interpreter changing threads as often as it can."
    failures, ready = [], threading.Barrier(len(works))
    def run(work):
        try:
            ready.wait()
            work()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    if failures:
        raise failures[0]
"""


def passes(run_python: RunPython, *parts: str) -> None:
    """The program ends well and says nothing but "done"."""
    done = run_python("\n".join((COMMON, *parts, "print('done')")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
