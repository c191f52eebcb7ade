"""Signal handlers held back: they wait, run once and at once afterwards, and nothing else is disturbed.

In: small programs, each in a process of its own, that send themselves signals while handlers are held back in one of
two ways: by `signals.hold_back`, and by the machine code that calls a handler of ours. Out: when the program's own
handlers ran. At the end Ctrl-C in the midst of real compilations.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ROOT, RunPython

PROGRAM_PATH = {"PYTHONPATH": f"{ROOT / 'src'}:{Path(__file__).resolve().parent}"}

COMMON = """
import _thread, contextlib, ctypes, os, signal, sys, threading, time
from minijit.cpython import raw, signals

ran = []
for number in (signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _frame: ran.append(signal.Signals(number).name))

def send(number=signal.SIGUSR1):
    os.kill(os.getpid(), number)

def spin():
    "Plenty of occasions to run a handler."
    for _ in range(10_000):
        len(())

def from_another_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def is_free():
    return raw.read_u64(signals.main_thread()) == _thread.get_ident()

assert is_free()
"""
PYTHON = """
def held(work):
    assert signals.hold_back()
    try:
        work()
    finally:
        signals.let_through()
"""
NATIVE = """
import watching
from minijit.backend.engine import Engine
found = watching.start(Engine())
def function(): pass
found.watch.watch_function(function)

def held(work):
    outer, outcome = raw.read_u64(found.cell.address), []
    def handler(*_):
        try:
            work()
        except BaseException as error:
            outcome.append(error)
    found.handle(handler)
    setattr(function, "__defaults__", ())
    if outcome:
        raise outcome[0]
"""
BOTH = pytest.mark.parametrize("how", [PYTHON, NATIVE], ids=["python", "native"])


def passes(run_python: RunPython, *parts: str) -> None:
    """The program ends well, says nothing but "done", and leaves handlers free."""
    text = "\n".join((*parts, "assert is_free()", "print('done')"))
    done = run_python(text, env=PROGRAM_PATH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


WAITS = """
def work():
    assert not is_free()
    send()
    spin()
    assert ran == []
for _ in range(3):
    held(work)
    assert ran == ["SIGUSR1"], ran
    spin()
    assert ran == ["SIGUSR1"], ran
    ran.clear()
held(spin)
spin()
assert ran == []
"""


@BOTH
def test_a_handler_waits_and_runs_once_and_at_once(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, WAITS)


SENT_BY_ANOTHER = """
def work():
    from_another_thread(send)
    spin()
    assert ran == []
held(work)
assert ran == ["SIGUSR1"], ran
def work():
    from_another_thread(lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2))
    spin()
    time.sleep(0.01)  # which the signal does not end, either
    assert ran == ["SIGUSR1"], ran
held(work)
assert ran == ["SIGUSR1", "SIGUSR2"], ran
"""


@BOTH
def test_signals_that_other_threads_get(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, SENT_BY_ANOTHER)


RECOMPUTED = """
# Whoever takes the GIL, drops it, or makes pending calls computes the eval breaker anew: no handler can run then.
sys.setswitchinterval(1e-6)
going = True
def busy():
    while going:
        len(())
others = [threading.Thread(target=busy) for _ in range(2)]
for other in others:
    other.start()
def work():
    send()
    for _ in range(20):
        spin()
        time.sleep(0.0001)
    assert ran == []
for _ in range(5):
    held(work)
    assert ran == ["SIGUSR1"], ran
    spin()
    assert ran == ["SIGUSR1"], ran
    ran.clear()
going = False
for other in others:
    other.join()
"""


@BOTH
def test_signals_are_not_forgotten_when_other_threads_had_the_gil(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, RECOMPUTED)


SEVERAL = """
def work():
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
        send(number)
        spin()
held(work)
# As without us: each once, by their numbers.
assert ran == ["SIGUSR1", "SIGUSR2"], ran
"""


@BOTH
def test_several_signals(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, SEVERAL)


RAISES = """
class Stop(Exception): pass
def stop(*_): raise Stop
signal.signal(signal.SIGUSR1, stop)
steps = []
def work():
    send()
    send(signal.SIGUSR2)
    spin()
    steps.append("worked")
for _ in range(3):
    try:
        held(work)
        steps.append("went on")
    except Stop:
        steps.append("stopped")
    assert is_free()
    spin()
    assert ran == ["SIGUSR2"], ran
    ran.clear()
assert steps == ["worked", "stopped"] * 3, steps

def fail():
    send(signal.SIGUSR2)
    spin()
    raise KeyError
with contextlib.suppress(KeyError):
    held(fail)
    assert False
assert is_free() and ran == ["SIGUSR2"], ran
"""


@BOTH
def test_a_handler_raises_after_the_work_and_not_in_it(run_python: RunPython, how: str) -> None:
    """The other signal's handler runs all the same; work that fails lets handlers through as well."""
    passes(run_python, COMMON, how, RAISES)


NESTED = """
def inner():
    assert not signals.hold_back()
    spin()
    assert ran == []
def outer():
    send()
    # The one way in the other, and each in itself.
    assert not signals.hold_back()
    setattr(function, "__defaults__", ())
    spin()
    assert not is_free() and ran == []
if "found" in globals():
    depth = 0
    def nest():
        global depth
        depth += 1
        (inner, outer)[depth == 1]()
    held(nest)
    assert depth == 2
else:
    def function(): pass
    held(outer)
assert is_free() and ran == ["SIGUSR1"], ran
"""


@BOTH
def test_only_who_held_back_first_lets_through(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, NESTED)


OTHER_THREAD = """
def work():
    assert raw.read_u64(signals.main_thread()) == threading.main_thread().ident
    send()
    deadline = time.monotonic() + 10
    while not ran and time.monotonic() < deadline:
        time.sleep(0.001)
    assert ran == ["SIGUSR1"], ran
    assert not signals.hold_back()
failures = []
def run():
    try:
        body()
    except BaseException as error:
        failures.append(error)
from_another_thread(run)
assert not failures, failures
"""
IN_PYTHON = """
def body():
    assert not signals.hold_back()
    work()
"""
IN_NATIVE = """
def body():
    held(work)
"""


@pytest.mark.parametrize("how", [IN_PYTHON, NATIVE + IN_NATIVE], ids=["python", "native"])
def test_a_thread_that_runs_no_handlers_holds_none_back(run_python: RunPython, how: str) -> None:
    """While it is at it the main thread runs its own."""
    passes(run_python, COMMON, how, OTHER_THREAD)


TWO_THREADS = """
# Another thread tries while the main thread holds back: it changes nothing, and leaves it so.
def work():
    answers = []
    from_another_thread(lambda: answers.append(signals.hold_back()))
    assert answers == [False] and not is_free()
    send()
    spin()
    assert ran == []
held(work)
assert ran == ["SIGUSR1"], ran
"""


@BOTH
def test_another_thread_does_not_let_through(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, TWO_THREADS)


FORK = """
def check(seen):
    "Here handlers are as they should be."
    assert is_free()
    assert ran == seen, ran
    send()
    spin()
    assert ran == [*seen, "SIGUSR1"], ran
    ran.clear()
    held(lambda: (send(), spin()))
    assert ran == ["SIGUSR1"], ran

children = []
def work():
    send(signal.SIGUSR2)
    spin()
    children.append(os.fork())
    spin()
held(work)
# What the parent was sent is nothing to the child.
check([] if children == [0] else ["SIGUSR2"])
if children == [0]:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
"""
FORK_ELSEWHERE = """
# The child's main thread is the one that forked, whoever held back what in the parent.
codes = []
def fork():
    child = os.fork()
    if child == 0:
        try:
            assert is_free()
            send()
            spin()
            assert ran == ["SIGUSR1"], ran
            held(lambda: (send(), spin()))
            assert ran == ["SIGUSR1"] * 2, ran
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(7)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
def work():
    from_another_thread(fork)
    assert not is_free()
held(work)
assert codes == [7], codes
assert ran == []
"""


@BOTH
@pytest.mark.parametrize("where", [FORK, "import warnings\nwarnings.simplefilter('ignore')\n" + FORK_ELSEWHERE])
def test_a_fork_meanwhile(run_python: RunPython, how: str, where: str) -> None:
    passes(run_python, COMMON, how, where)


PENDING = """
made = []
@ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
def pending(argument):
    made.append((argument, is_free()))
    return 0
add = ctypes.pythonapi.Py_AddPendingCall
add.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
address = ctypes.cast(pending, ctypes.c_void_p).value
def work():
    for number in (1, 2, 3):
        assert add(address, number) == 0
        spin()
    send()
    spin()
    assert ran == []
for _ in range(3):
    held(work)
    spin()
    assert [argument for argument, _ in made] == [1, 2, 3], made
    assert ran == ["SIGUSR1"], ran
    made.clear(), ran.clear()
"""


@BOTH
def test_pending_calls_are_made_once(run_python: RunPython, how: str) -> None:
    passes(run_python, COMMON, how, PENDING)


# ---- Ctrl-C while something is compiled

CTRL_C = """
import traceback
import minijit

SOURCE = '''
def f(n, k):
    s = 0
    for i in range(n):
        if i & 1:
            s = s + i * k
        else:
            s = s - i // 3
    return s
'''
sent = []
def interrupt():
    time.sleep(delay)
    sent.append(delay)
    os.kill(os.getpid(), signal.SIGINT)

class Interrupted(minijit.Policy):
    "Ctrl-C comes a while after this was asked, which is in the midst of our work."
    def compile_unseen(self, root):
        thread = threading.Thread(target=interrupt)
        threads.append(thread)
        thread.start()
        return super().compile_unseen(root)

def make():
    namespace = {}
    exec(SOURCE, namespace)
    return namespace["f"]

WORK = ("/build/", "/opt/", "/backend/", "/ir/", "service.py", "compiler.py", "decisions.py", "llvmlite")
threads = []
def attempt(f, calls):
    "Calls until Ctrl-C; then, how often, and where it was raised."
    try:
        for number in range(calls):
            assert f(20, 3) == plain(20, 3)
        while threads:  # what is still to come
            threads.pop().join()
        spin()
    except KeyboardInterrupt as error:
        return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return None

plain = make()
interrupts = 0
with minijit.enable(minijit.Config(call_threshold=3, loop_threshold=5, compile_seconds=1e6)):
    for round in range(40):
        delay = round % 10 * 0.001
        f = minijit.jit(policy=Interrupted(minijit.Config()))(make())
        for _ in range(20):
            found = attempt(f, 50)
            if found is None:
                break
            interrupts += 1
            assert not [name for name in found if any(part in name for part in WORK)], found
            assert is_free()
        else:
            assert False, "it never ends"
        assert is_free()
        while threads:
            with contextlib.suppress(KeyboardInterrupt):
                threads.pop().join()
        # Everything is intact: the region is there, and what it computes is right.
        assert minijit.is_compiled(f), minijit.explain(f)
        assert [f(n, k) for n in range(30) for k in (2, -5)] == [plain(n, k) for n in range(30) for k in (2, -5)]
    assert minijit.stats().compilations >= 40
assert interrupts >= 30, interrupts
assert len(sent) >= interrupts
"""


def test_ctrl_c_from_another_thread_while_something_is_compiled(run_python: RunPython) -> None:
    """It is raised after our work and not in it; and the region is there, and right."""
    passes(run_python, COMMON, CTRL_C)


AT_THE_END = """
import signal, traceback
import minijit

def interrupt(event):
    if isinstance(event, WHAT):
        signal.raise_signal(signal.SIGINT)
minijit.subscribe(interrupt)

@minijit.jit
def f(n):
    s = 0
    for i in range(n):
        s += i
    return s
try:
    for _ in range(100):
        f(3)
except KeyboardInterrupt as error:
    print({frame.filename for frame in traceback.extract_tb(error.__traceback__)})
"""


@pytest.mark.parametrize("event", ["Recorded", "Compiled"])
def test_ctrl_c_at_the_end_of_a_recording_shows_the_program_only(run_python: RunPython, event: str) -> None:
    """A recording ends in the midst of an instruction of the program, and so does the compilation that follows."""
    done = run_python(AT_THE_END.replace("WHAT", f"minijit.events.{event}"))
    assert (done.stdout, done.stderr) == ("{'<string>'}\n", "")
