"""`make mutants`: is every bug of the catalogue found by the random programs, and after how many?

    python mutants.py [NAME...] [--budget N]

For each mutant the programs of the seeds 0, 1, ... run, each under the stress mode that its seed stands for
(`runs.MODES`), until one differs. Prints a row for each mutant: the mode that found it, the programs it took, and how
they differed. The exit code is 1 if one survives `--budget` programs, which is what a run of the tests may take.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from catalogue import CATALOGUE
from runs import BUDGET, MIXED, Case
from search import Finding, Search

HANG = 25.0
"""Seconds."""


def first_found(name: str, budget: int = BUDGET) -> Finding | None:
    """The first program that a mutant makes differ."""
    findings = Search(MIXED, 0, budget, jobs=1, most=1, mutant=name, hang=HANG).run().findings
    return findings[0] if findings else None


def main() -> int:
    parser = argparse.ArgumentParser(description="Is every bug of the catalogue found?")
    parser.add_argument("names", nargs="*", default=list(CATALOGUE), metavar="NAME")
    parser.add_argument("--budget", type=int, default=BUDGET)
    chosen = parser.parse_args()
    survivors = []
    print(f"{'mutant':32} {'found under':20} {'programs':>8}  how")
    with ThreadPoolExecutor(2) as pool:
        rows = zip(chosen.names, pool.map(lambda name: first_found(name, chosen.budget), chosen.names), strict=True)
        for name, found in rows:
            if found is None:
                survivors.append(name)
                print(f"{name:32} SURVIVES {CATALOGUE[name].what}", flush=True)
            else:
                how = " ".join(found.what.split())[:100]
                print(f"{name:32} {Case(found.seed).stress or 'no stress':20} {found.seed + 1:8}  {how}", flush=True)
    print(f"{len(chosen.names) - len(survivors)} of {len(chosen.names)} found")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
