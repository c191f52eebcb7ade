"""What minijit costs before it gains anything: its import, and the first compiles.

In: nothing. Out: milliseconds. Whole processes take turns, with and without the import, and the difference of
the medians is the import's cost. Compiles are timed inside a fresh process: the first one loads LLVM, the
second shows what every later one costs.
"""

import statistics
import subprocess
import sys
from time import perf_counter

ROUNDS = 21

COMPILES = """
from time import perf_counter
import minijit

def first(n, x):
    total = 0.0
    for i in range(n):
        total += i * x
    return total

def second(n, x):
    total = 1.0
    for i in range(n):
        total -= i * x
    return total

for function in (first, second):
    start = perf_counter()
    minijit.compile(function, int, float)
    print(1e3 * (perf_counter() - start))
    assert minijit.is_compiled(function)
"""


def process_ms(program: str) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return 1e3 * (perf_counter() - start)


def compiles_ms() -> list[float]:
    done = subprocess.run([sys.executable, "-c", COMPILES], check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


def main() -> None:
    programs = {"python": "pass", "import minijit": "import minijit"}
    samples: dict[str, list[float]] = {name: [] for name in programs}
    compiles = []
    process_ms("import minijit")  # so that byte code is cached before the first sample
    for _ in range(ROUNDS):
        for name, program in programs.items():
            samples[name].append(process_ms(program))
        compiles.append(compiles_ms())
    plain, imported = (statistics.median(samples[name]) for name in programs)
    first, second = (statistics.median(column) for column in zip(*compiles, strict=True))
    print(f"python -c pass            {plain:8.2f} ms")
    print(f"import minijit, more      {imported - plain:8.2f} ms")
    print(f"first compile             {first:8.2f} ms")
    print(f"second compile            {second:8.2f} ms")


if __name__ == "__main__":
    main()
