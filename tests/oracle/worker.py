"""A process that runs cases and tells of each, so that a crash or a hang costs one program and not the search.

    python worker.py MODE FIRST STOP STEP [MUTANT]

On standard output: a line `begin SEED` before each case, `{...}` (JSON) after it. Runs until a difference is found or
all are done, so that nothing that went wrong can have a part in what comes after it.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import sys


def main(mode: str, first: str, stop: str, step: str, mutant: str = "") -> None:
    if mutant:
        # Before anything of minijit is imported.
        import mutation

        mutation.plant(mutant)
    from runs import Case, compare, warm_up

    for seed in range(int(first), int(stop), int(step)):
        case = Case(seed, mode)
        print("begin", seed, flush=True)
        warm_up(case.stress)
        result = compare(case)
        print(json.dumps({"seed": seed, **dataclasses.asdict(result)}), flush=True)
        if result.difference:
            return


if __name__ == "__main__":
    faulthandler.enable()
    main(*sys.argv[1:])
