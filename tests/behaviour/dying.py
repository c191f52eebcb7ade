"""Processes that really die, one after the other, with one cache directory: what the tests of the crash guard share.

A planted instruction raises a signal in the midst of a region when a product is `FATAL`. In: programs. Out: what they
write, which roots they compile, which files they leave.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from conftest import clean_environment

FATAL = 777
HEAD = f"""
import ctypes, os, signal, sys, time
import minijit
from minijit import Config, is_compiled, jit
from minijit.backend import entry, lower_ops

SIGNAL = signal.SIGSEGV

def plant(name):
    plain = lower_ops.LOWER[name]
    def planted(e, op):
        plain(e, op)
        fatal, onward = e.fresh_label(), e.fresh_label()
        e.line(f"br i1 {{e.let(f'icmp eq i64 {{e.use(op.result)}}, {FATAL}')}}, label %{{fatal}}, label %{{onward}}")
        e.start(fatal)
        e.let(f"call i32 {{e.c_function('raise')}}(i32 {{SIGNAL:d}})")
        e.line(f"br label %{{onward}}")
        e.start(onward)
    lower_ops.LOWER[name] = planted

for name in [name for name in lower_ops.LOWER if name.startswith("int_mul")]:
    plant(name)

def heat(function, *arguments):
    # As often as it takes, and longer where it is of no use.
    for _ in range(60):
        if is_compiled(function): break
        function(*arguments)
"""
FUNCTIONS = """
@jit
def f(a):
    return a * 7

@jit
def g(a):
    return a + 1

@jit
def d(a, b):
    return a // b

@jit
def spin(n, a):
    s = 0
    while n:
        n -= 1
        s += n * a & 7
    return s
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
ON = "minijit.enable(Config(guard=True, log='trace'))"
LOOK = """
for _ in range(60): f(1); g(1); d(3, 2); spin(10, 1)
assert (f(10), g(1), d(7, 2), spin(3, 2)) == (70, 2, 3, 6)
print(minijit.explain(f))
"""
# Whatever is compiled from there on.
COMPILED = """
def strange(e, op): ctypes.string_at(0)
lower_ops.LOWER.update(dict.fromkeys(lower_ops.LOWER, strange))
heat(g, 1)
"""
ALL = "d@0 f@0 g@0 spin@0 spin@10"
NOT_F = "d@0 g@0 spin@0 spin@10"
NOT_G = "d@0 f@0 spin@0 spin@10"
NOT_SPIN = "d@0 f@0 g@0 spin@0"


@dataclass(frozen=True, slots=True)
class Processes:
    """One after the other, with one cache directory."""

    cache: Path

    def begin(self, *parts: str, functions: str = FUNCTIONS, **env: str) -> subprocess.Popen[str]:
        # The functions come first: on another line, they are others.
        return subprocess.Popen(
            [sys.executable, "-c", "\n".join((HEAD, functions, *parts))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.cache.parent,
            env=clean_environment({"XDG_CACHE_HOME": str(self.cache), **env}),
        )

    def run(self, *parts: str, code: int = 0, functions: str = FUNCTIONS, **env: str) -> tuple[str, str]:
        """What a process writes, which ends with this code."""
        process = self.begin(*parts, functions=functions, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        return out, err

    def looks(self, *before: str, functions: str = FUNCTIONS) -> str:
        """Which roots the next process compiles."""
        return compiled(self.run(*before, ON, LOOK, functions=functions)[1])

    def files(self) -> list[str]:
        """What is in the cache, without what differs in the names."""
        directory = self.cache / "minijit"
        return sorted(path.name[:8] for path in directory.iterdir()) if directory.exists() else []

    def until(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{line}\n"


def compiled(log: str) -> str:
    """Which roots were, according to a log."""
    return " ".join(sorted(set(re.findall(r"^minijit: compiled   (\S+)", log, re.MULTILINE))))


def dies(processes: Processes, *before: str, how: str = "SIGSEGV", runs: int = 0, fatal: str = "f(111)") -> None:
    """A process that dies in the midst of a region, after so many runs that were completed."""
    number = getattr(signal, how)
    processes.run(
        *before,
        f"SIGNAL = signal.{how}",
        ON,
        f"heat(f, 1); heat(spin, 10, 1)\nfor _ in range({runs}): f(1)\nassert is_compiled(f)\n{fatal}\nprint('alive')",
        code=-number,
    )


# Pieces of programs

FORK = """
heat(f, 1); heat(spin, 10, 1)
assert is_compiled(f)
child = os.fork()
"""
SPIN = "heat(spin, 10, 1)\nassert is_compiled(spin)\nprint('spinning', flush=True)\nspin(10**12, 3)"
ENDLESS = "entry.ROUNDS = 2**62"
"""Runs have no end of their own."""
