"""Signal handlers held back by one thread: others get signals, run on, try the same, and fork.

In: small programs, each in a process of its own (see `held`). Out: when the program's own handlers ran, in whichever
process and thread.
"""

from __future__ import annotations

import pytest
from held import BOTH, COMMON, NATIVE, passes

from conftest import RunPython

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
