"""How each peer gets a kernel ready to be timed.

In: a kernel. Out: a callable without arguments for the peers that live in this process, or the samples for
those that need one of their own. What cannot run raises `Unavailable` with the reason, which the table
prints: a missing cell is never silent. Each contender has function and driver objects of its own, so that
what one run teaches CPython's specialising interpreter is not thrown away by the next contender's types.
"""

import ctypes
import functools
import json
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels import Kernel

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "out"

type Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer in a process of its own prints."""

    result: Any
    loops: int
    samples: list[float]


class Unavailable(Exception):
    """A peer is not installed, or has no form of this kernel."""


def copy_function(
    function: Callable[..., Any], suffix: str, namespace: dict[str, Any] | None = None
) -> types.FunctionType:
    """Give the same function with a code object of its own; the name keeps the two code objects unequal."""
    assert isinstance(function, types.FunctionType)
    name = f"{function.__name__}_{suffix}"
    code = function.__code__.replace(co_name=name)
    namespace = function.__globals__ if namespace is None else namespace
    return types.FunctionType(code, namespace, name, function.__defaults__, function.__closure__)


def copy_kernel(kernel: Kernel, suffix: str, compiled: Callable[[Any], Any] = lambda function: function) -> Any:
    """Give the kernel's function and its helpers in a namespace of their own, made into what a peer calls."""
    namespace = dict(kernel.function.__globals__)
    for function in (*kernel.helpers, kernel.function):
        namespace[function.__name__] = compiled(copy_function(function, suffix, namespace))
    return namespace[kernel.name]


def call_of(kernel: Kernel, function: Callable[..., Any], suffix: str) -> Call:
    return kernel.call(function, kernel.driver and copy_function(kernel.driver, suffix))


def interpreted(kernel: Kernel) -> Call:
    return call_of(kernel, copy_kernel(kernel, "plain"), "plain")


def jitted(kernel: Kernel) -> Call:
    try:
        import minijit
    except ImportError as error:
        raise Unavailable(str(error)) from error
    return call_of(kernel, copy_kernel(kernel, "jit", minijit.jit), "jit")


def numba_compiled(kernel: Kernel) -> Call:
    try:
        import numba
    except ImportError as error:
        raise Unavailable("not installed") from error
    return call_of(kernel, copy_kernel(kernel, "numba", numba.njit), "numba")


def gcc_twin(kernel: Kernel) -> Call:
    twin = getattr(twins("twins.c"), kernel.name)
    twin.restype = c_type(kernel.expected)
    # A driver's arguments are not the function's: the driven functions take ints.
    arguments = (0,) * kernel.function.__code__.co_argcount if kernel.driver else kernel.arguments
    twin.argtypes = [c_type(argument) for argument in arguments]
    return call_of(kernel, twin, "gcc")


def c_type(value: object) -> type:
    return ctypes.c_double if isinstance(value, float) else ctypes.c_int64


@functools.cache
def twins(source: str) -> ctypes.CDLL:
    """Build C twins; without contraction, so that every float operation rounds as Python's does."""
    gcc = executable("gcc")
    OUT.mkdir(exist_ok=True)
    library = (OUT / source).with_suffix(".so")
    flags = ["-O2", "-std=c17", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([gcc, *flags, str(HERE / source), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def executable(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Unavailable("not installed")
    return path


def pypy_samples(kernel: Kernel, seconds: float, rounds: int) -> Answer:
    return answer_of([executable("pypy3"), str(HERE / "kernels.py"), kernel.name, str(seconds), str(rounds)])


def luajit_samples(kernel: Kernel, seconds: float, rounds: int) -> Answer:
    script = [str(HERE / "twins.lua"), kernel.name, str(seconds), str(rounds)]
    return answer_of([executable("luajit"), *script, *map(repr, kernel.arguments)])


def answer_of(command: list[str]) -> Answer:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Answer(**json.loads(done.stdout))


def first_call(kernel: Kernel, peer: str) -> dict[str, float]:
    """Give what warmup.py measures in a fresh process."""
    script = [sys.executable, str(HERE / "warmup.py"), peer, kernel.name]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(done.stderr.strip().rpartition("\n")[2])
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


IN_PROCESS: dict[str, Callable[[Kernel], Call]] = {
    "interpreted": interpreted,
    "minijit": jitted,
    "numba": numba_compiled,
    "gcc": gcc_twin,
}

IN_SUBPROCESS: dict[str, Callable[[Kernel, float, int], Answer]] = {
    "pypy": pypy_samples,
    "luajit": luajit_samples,
}

PEERS = [*IN_PROCESS, *IN_SUBPROCESS]
