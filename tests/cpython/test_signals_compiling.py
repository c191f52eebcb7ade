"""Ctrl-C in the midst of real recordings and compilations: it is raised afterwards, in the program.

In: programs that are interrupted while minijit works, by another thread or by a subscriber. Out: what tracebacks show,
and that regions are there and right.
"""

from __future__ import annotations

import pytest
from held import COMMON, passes

from conftest import RunPython

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
    "Ctrl-C comes a while after this was asked, which is in the midst of our work; never two of them at once."
    def compile_unseen(self, root):
        global thread
        if armed and thread is None:
            thread = threading.Thread(target=interrupt)
            thread.start()
        return super().compile_unseen(root)

def make():
    namespace = {}
    exec(SOURCE, namespace)
    return namespace["f"]

WORK = ("/build/", "/opt/", "/backend/", "/ir/", "service.py", "compiler.py", "decisions.py", "llvmlite")
armed, thread = False, None
def attempt(f, calls):
    "Calls until Ctrl-C; then, where it was raised. If there was none, none will come."
    global armed, thread
    try:
        armed = True
        for number in range(calls):
            assert f(20, 3) == plain(20, 3)
        armed = False
        if thread is not None:
            thread.join()
            spin()
            assert False, "Ctrl-C is lost"
    except KeyboardInterrupt as error:
        thread = None
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
