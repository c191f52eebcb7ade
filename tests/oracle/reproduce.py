"""A program that was found, as a file that runs by itself, as short as can be, with what is to blame.

    python reproduce.py SEED MODE DIRECTORY [MUTANT]

Out: `DIRECTORY/seed-SEED.py`. It needs nothing but minijit; the settings under which it does not do what it does
interpreted stand in its first line. A program that differs only by what a file cannot show (references, blocks of
memory, the policies of `runs`) is written as it was found.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs import Case

HEADS = {
    "plain": "from minijit import jit\nlog = print\nprobe = object()\n",
    "exact": """\
import traceback
from minijit import jit
probe = object()

def log(*values):
    for value in values:
        if isinstance(value, BaseException):
            print(repr(value), [(f.name, f.lineno) for f in traceback.extract_tb(value.__traceback__)])
        else:
            print(type(value), value)

""",
}
"""What a program expects of its surroundings; the first head with which it differs is taken."""
MUTATION = Path(__file__).with_name("mutation.py")


def main(seed: str, mode: str, directory: str, mutant: str = "") -> None:
    if mutant:
        # Before anything of minijit is imported.
        import mutation

        mutation.plant(mutant)
    from runs import Case

    case = Case(int(seed), mode)
    path = Path(directory) / f"seed-{seed}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Read by the stubs that are made ready, by the children, and by the processes that are compared.
    os.environ.update(case.environment)
    settings = " ".join(f"{name}={value}" for name, value in case.environment.items() if value)
    text = _shortest(case)
    path.write_text(f"# {settings}\n{text or case.program}")
    print(f"{path}: {len(path.read_text().splitlines())} lines{'' if text else ', as it was found'}")
    if text:
        _blame(path, mutant)


def _shortest(case: Case) -> str:
    """The program as a reduced file; empty if as a file it does what it should."""
    from minijit.driver.warm import warm
    from minijit.oracle.children import differs
    from minijit.oracle.reduce import reduce

    warm()
    for head in HEADS.values():
        text = f"{head}{case.program}main()\n"
        if differs(text):
            return reduce(text, differs) + "\n"
    return ""


def _blame(path: Path, mutant: str) -> None:
    """Prints which region and which stage make the difference."""
    from minijit.oracle.bisect import bisect

    mutated = [str(MUTATION), mutant] if mutant else []
    command = [sys.executable, *mutated, str(path)]
    culprit = bisect(command)
    print("no difference in a process of its own" if culprit is None else "\n".join(culprit.lines(command)))


if __name__ == "__main__":
    main(*sys.argv[1:])
