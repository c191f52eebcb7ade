"""Programs in which signal handlers are held back, in one of two ways: what the tests of that are made of.

In: the text of a program that finds the names of `COMMON` and, in `held(work)`, a way to do something while handlers
are held back: by `signals.hold_back` (`PYTHON`), and by the machine code that calls a handler of ours (`NATIVE`). Out:
the program, run in a process of its own, says nothing but "done" and leaves handlers free.
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
found.watch.watch_function(id(function))

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
