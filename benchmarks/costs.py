"""What `MINIJIT=1` costs programs that gain nothing by it, and what it gives to scripts that do, without an edit.

    python benchmarks/costs.py [--rounds 5] [--only start,imports,programs,scripts] [--benchmark NAME ...]

In: this interpreter, in which minijit is installed; pyperformance and some large packages, where they are installed.
Out: a table of ratios and differences. Processes take turns, without and with the variable, and medians are compared:
the machine wanders by more than what is to be seen.

| part | what is compared |
| --- | --- |
| `start` | whole processes: `python -c pass`, the variable unset, and set |
| `imports` | whole processes that import a large package |
| `programs` | pyperformance's benchmarks that are not numeric, each timed by pyperf in a process of its own |
| `scripts` | the kernels: plain, decorated, and undecorated under `MINIJIT=1`; the share of the decorated speed |
| `loops` | the same of the kernels' bodies as loops of a module, whose variables are globals |
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from time import perf_counter

import kernels

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MINIJIT")}
ON = PLAIN | {"MINIJIT": "1"}
PACKAGES = ("sympy", "sqlalchemy.orm", "django.db.models", "numpy", "pandas", "asyncio", "unittest.mock")
BENCHMARKS = """
    async_generators async_tree asyncio_tcp chameleon comprehensions concurrent_imap coroutines deepcopy deltablue
    django_template docutils gc_collect gc_traversal generators genshi go hexiom html5lib json_dumps json_loads logging
    mako mdp meteor_contest pathlib pickle pprint pyflate raytrace regex_compile regex_dna regex_effbot regex_v8
    richards richards_super sqlalchemy_declarative sqlalchemy_imperative sqlglot_v2 sqlite_synth sympy telco tomli_loads
    tornado_http typing_runtime_protocols unpack_sequence xml_etree
""".split()
ARGUMENTS = {"async_tree": ["none"], "pickle": ["pickle"], "sqlglot_v2": ["transpile"]}
"""Of the benchmarks that want some."""
KERNELS = Path(kernels.__file__)


def process_ms(command: list[str], env: dict[str, str]) -> float:
    """The wall time of a process, in milliseconds."""
    start = perf_counter()
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return 1e3 * (perf_counter() - start)


def in_turns(command: list[str], rounds: int) -> tuple[float, float]:
    """The medians without minijit and with it."""
    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        sides = [(samples[0], PLAIN), (samples[1], ON)]
        for kept, env in sides if number % 2 else sides[::-1]:
            kept.append(process_ms(command, env))
    return statistics.median(samples[0]), statistics.median(samples[1])


def is_there(package: str) -> bool:
    return importlib.util.find_spec(package.partition(".")[0]) is not None


def start(rounds: int) -> None:
    command = [sys.executable, "-c", "pass"]
    plain, on = in_turns(command, 10 * rounds)
    _, bare = in_turns([sys.executable, "-I", "-c", "pass"], 10 * rounds)
    print(f"python -c pass                {plain:8.2f} ms, with MINIJIT=1 {on - plain:+.2f} ms")
    print(f"python -I -c pass             {bare:8.2f} ms")
    memory = [
        int(subprocess.run([sys.executable, "-c", MEMORY], env=env, capture_output=True, text=True, check=True).stdout)
        for env in (PLAIN, ON)
    ]
    more = (memory[1] - memory[0]) / 1024
    print(f"resident memory               {memory[0] / 1024:8.1f} MB, with MINIJIT=1 {more:+.1f} MB")


MEMORY = "import json; print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"


def imports(rounds: int) -> None:
    for package in filter(is_there, PACKAGES):
        command = [sys.executable, "-c", f"import {package}"]
        in_turns(command, 1)
        plain, on = in_turns(command, 3 * rounds)
        print(f"import {package:<22} {plain:8.1f} ms, ratio {on / plain:.3f}")


def programs(rounds: int, names: list[str]) -> None:
    """pyperf's median of each, and the geometric mean of the ratios; beside it the same of the fastest samples, which
    say more where others use the machine."""
    if not is_there("pyperformance"):
        print("pyperformance is not installed")
        return
    (root,) = importlib.util.find_spec("pyperformance").submodule_search_locations  # type: ignore[union-attr]
    ratios, fastest = {}, {}
    for name in names:
        script = Path(root, "data-files", "benchmarks", f"bm_{name}", "run_benchmark.py")
        found = benchmark(script, ARGUMENTS.get(name, []), rounds)
        if isinstance(found, str):
            print(f"{name:<29} {found}", flush=True)
            continue
        plain, on = map(statistics.median, found)
        ratios[name], fastest[name] = on / plain, min(found[1]) / min(found[0])
        print(f"{name:<29} {1e3 * plain:8.2f} ms, ratio {ratios[name]:.3f}, fastest {fastest[name]:.3f}", flush=True)
    for what, each in (("", ratios), (", fastest", fastest)):
        if each:
            mean, most = statistics.geometric_mean(each.values()), max(each, key=each.__getitem__)
            print(f"geometric mean of {len(each)}{what}: {mean:.3f}; most: {most} {each[most]:.3f}")


def benchmark(script: Path, arguments: list[str], rounds: int) -> tuple[list[float], list[float]] | str:
    """The samples of a benchmark without minijit and with it; why there are none, if there are none."""
    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        sides = [(samples[0], PLAIN), (samples[1], ON)]
        for kept, env in sides if number % 2 else sides[::-1]:
            with tempfile.TemporaryDirectory() as directory:
                out = Path(directory, "result.json")
                command = [sys.executable, str(script), "-p", "1", "-n", "5", "-w", "2", "-q", "-o", str(out)]
                command += ["--inherit-environ", "MINIJIT,HOME", *arguments]
                done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=directory)
                if not out.exists():
                    return (done.stderr.strip().splitlines() or ["it gave no result"])[-1]
                kept.extend(values(json.loads(out.read_text())))
    return samples


def values(result: dict[str, object]) -> list[float]:
    """The first benchmark's samples, in seconds."""
    runs = result["benchmarks"][0]["runs"]  # type: ignore[index]
    return [value for run in runs for value in run.get("values", ())]


def scripts(rounds: int) -> None:
    """The kernels as they are."""
    shares_of({kernel.name: ([str(KERNELS)], [kernel.name, "0.05", "3"]) for kernel in kernels.KERNELS}, rounds)


def loops(rounds: int) -> None:
    """The kernels' bodies at the top level of a module."""
    texts = {kernel.name: as_module(kernel) for kernel in kernels.KERNELS}
    shares_of({name: (["-c", text], []) for name, text in texts.items() if text}, rounds)


REPEATED = """
import json

from time import perf_counter
import math
_samples = []
_end = perf_counter() + 1.5
while perf_counter() < _end:
    _start = perf_counter()
{body}
    _samples.append(perf_counter() - _start)
print(json.dumps({{"samples": _samples[len(_samples) // 2:]}}))
"""


def as_module(kernel: kernels.Kernel) -> str:
    """A kernel's body, done again and again by a module; empty where it is not a body with one result in the end."""
    function = kernel.function
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    *body, last = tree.body
    returns = sum(isinstance(node, ast.Return) for node in ast.walk(tree))
    if kernel.driver or kernel.helpers or returns > 1 or not isinstance(last, ast.Return) or last.value is None:
        return ""
    given = [f"{name.arg} = {value!r}" for name, value in zip(tree.args.args, kernel.arguments, strict=True)]
    shown = [f"result = {ast.unparse(last.value)}", f"assert result == {kernel.expected!r}"]
    return REPEATED.format(body=textwrap.indent("\n".join([*given, *map(ast.unparse, body), *shown]), "    "))


def shares_of(programs: dict[str, tuple[list[str], list[str]]], rounds: int) -> None:
    """Programs named like kernels, as arguments of the interpreter and of their own: plain, and under `MINIJIT=1`,
    beside the decorated kernel; each in processes of its own."""
    shares = []
    for name, (program, arguments) in programs.items():
        ways = {
            "plain": ([*program, *arguments], PLAIN),
            "decorated": (["-c", DECORATED, name, "0.05", "3"], PLAIN),
            "whole": ([*program, *arguments], ON),
        }
        samples: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, (words, env) in ways.items():
                command = [sys.executable, *words]
                done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=KERNELS.parent)
                samples[way].extend(json.loads(done.stdout)["samples"])
        plain, decorated, whole = (statistics.median(samples[way]) for way in ways)
        shares.append(decorated / whole)
        speed = f"decorated {plain / decorated:6.1f} x, MINIJIT=1 {plain / whole:6.1f} x"
        print(f"{name:<29} {1e3 * plain:8.2f} ms, {speed}, share {shares[-1]:.2f}", flush=True)
    print(f"median share of {len(shares)}: {statistics.median(shares):.2f}, least: {min(shares):.2f}")


DECORATED = """
import sys, kernels, minijit
kernel = kernels.named(sys.argv[1])
for function in (kernel.function, *kernel.helpers):
    minijit.jit(function)
kernels.main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="start,imports,programs,scripts,loops")
    parser.add_argument("--benchmark", nargs="*", default=BENCHMARKS)
    chosen = parser.parse_args()
    parts = chosen.only.split(",")
    if "start" in parts:
        start(chosen.rounds)
    if "imports" in parts:
        imports(chosen.rounds)
    if "programs" in parts:
        programs(chosen.rounds, chosen.benchmark)
    if "scripts" in parts:
        scripts(chosen.rounds)
    if "loops" in parts:
        loops(chosen.rounds)


if __name__ == "__main__":
    main()
