"""Signal handlers held back: they wait, run once and at once afterwards, and nothing else is disturbed.

In: small programs, each in a process of its own, that send themselves signals while handlers are held back in one of
two ways (see `held`). Out: when the program's own handlers ran.
"""

from __future__ import annotations

from held import BOTH, COMMON, passes

from conftest import RunPython

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
