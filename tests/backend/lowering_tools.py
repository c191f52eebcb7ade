"""Random regions, evaluated and run as machine code until the two differ; and the bugs that this must find.

In: a range of numbers, each of which stands for a region, inputs, and what `load_global` and polls see. Out: the first
difference in its smallest form. Each number is tried in two of the four ways that there are: with and without LLVM's
optimisation, with and without our passes.

As a script (`lowering_tools.py MUTANT FIRST LAST PROGRESS`) it does so in a process of its own, since a crash is one of
the ways to differ: what runs is written to the file PROGRESS before it runs; `describe` makes text of the last line.

Leaves out: runs in which the sign of a nan decides, as LLVM may choose another than the evaluator's hardware.
"""

from __future__ import annotations

import ctypes
import math
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from unittest.mock import patch

from minijit.backend import lower as lowering
from minijit.backend import lower_floats, lower_ints, lower_objects, lower_ops
from minijit.backend.snapshots import raw_layouts
from minijit.ir.eval import OutOfFuel, evaluate
from minijit.ir.kinds import INT_MAX, INT_MIN, Kind
from minijit.ir.region import Const, Region
from minijit.ir.text import print_region
from minijit.opt.pipeline import optimise
from minijit.oracle.compare import CAREFUL, NanSign, exact, exact_outcome
from minijit.oracle.machine import Compiled, Machine
from strategies import regions
from strategies.ahead import with_ops_ahead
from strategies.regions import NAMESPACE, ROWS, Case, build_case, reset_namespace, reset_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from minijit.backend.emitter import Emitter
    from minijit.backend.snapshots import Layout
    from minijit.ir.region import Edge, Op

FUEL = 20_000
"""Ops that a region may run: the evaluator is asked first, so that machine code never hangs."""
INPUTS = 6
"""Runs of a region, each with other inputs."""
WORLDS: tuple[dict[str, object], ...] = ({}, {"count": 2**62, "ratio": -0.0, "flag": False}, {"count": 1.5, "ratio": 3})
"""What `load_global` sees, apart from the usual."""
WAYS = (((2, False), (0, True)), ((2, True), (0, False)))
"""LLVM's level, and whether our passes run."""
SIZES = (30, 60, 1000, 1000)
"""How many bytes a region is made of. Those of a few are little more than their favoured ops applied to inputs."""
ORDINARY = regions.ORDINARY


def chosen_from(ints: tuple[int, ...], floats: tuple[float, ...]) -> dict[str, Any]:
    """The numbers that inputs and constants are chosen from."""
    constants = regions.CONSTANTS | {Kind.INT: [*map(Const, ints)], Kind.FLOAT: [*map(Const, floats)]}
    return {"INTS": ints, "FLOATS": floats, "CONSTANTS": constants}


NUMBERS: tuple[dict[str, Any], ...] = (
    {},
    chosen_from(
        (INT_MAX, INT_MIN, 2**53 + 1, -(2**53) - 1, 2**53, 1, 0, -1, 3, 63, 64, INT_MAX - 1, INT_MIN + 1, -7),
        (
            *(2.0**63, -(2.0**63), 2.0**53, -(2.0**53), 0.0, -0.0, 1.0, -1.0, 3.0, -2.5, math.inf, -math.inf, math.nan),
            *(5e-324, 0.5, 1.7976931348623157e308),
        ),
    ),
    chosen_from(
        (2**53 + 1, 2**53 + 3, -(2**53) - 1, 2**53 + 3, 2**53, 1),
        (2.0**53, 2.0**53 + 4, -(2.0**53), 2.0**53 + 4, -1.0),
    ),
    chosen_from(
        (INT_MAX, INT_MIN, INT_MAX - 1, INT_MIN + 1, -1, 2**62, 0),
        (2.0**63, -(2.0**63), math.nextafter(2.0**63, 0), math.nextafter(-(2.0**63), -math.inf), 2.0**62, -1.0),
    ),
)
"""The usual ones; those at any edge; ints that two floats lie around, and these; those around the last int."""


@dataclass(frozen=True, slots=True)
class Example:
    """What is tried: the bytes that a region and its inputs are made from, a number that chooses everything else."""

    number: int
    level: int
    passes: bool
    data: bytes

    def case(self) -> Case:
        """Every other example is made chiefly of two ops, so that each has its turn with each choice of numbers."""
        if self.number % 2:
            return build_case(self.data)
        ops = favoured(self.number)
        numbers = NUMBERS[sum(turn(self.number)) % len(NUMBERS)]
        with patch.multiple(regions, **dict.fromkeys(("USUAL", "PURE", "ORDINARY"), ops), **numbers):
            case = build_case(self.data)
            region = with_ops_ahead(case.region, ops)
            choices = random.Random(self.data[:13])
            known = {Kind.INT: regions.INTS, Kind.FLOAT: regions.FLOATS, Kind.BOOL: (False, True)}
            added = list(region.inputs())[len(case.inputs) :]
            return replace(
                case,
                region=region,
                inputs=(*case.inputs, *(choices.choice(known[value.kind]) for _, _, value in added)),
            )

    def region(self) -> Region:
        made = self.case().region
        return optimise(made, check=True) if self.passes else made

    def inputs(self) -> Iterator[tuple[object, ...]]:
        """The case's own, then those of cases whose bytes differ where inputs are chosen."""
        yield self.case().inputs
        choices = random.Random(self.number)
        for _ in range(INPUTS - 1):
            yield replace(self, data=self.data[:1] + choices.randbytes(12) + self.data[13:]).case().inputs


def turn(number: int) -> tuple[int, int]:
    """How often all ops have had their turn, and whose turn it is. What else an example is follows from the sum of both
    or from the first alone: were it from the number, an op would meet only some of it."""
    return divmod(number // 2, len(ORDINARY))


def favoured(number: int) -> tuple[str, ...]:
    """The ops of which an example with an even number is made chiefly: each in its turn, with another each time."""
    lap, position = turn(number)
    return ORDINARY[position], ORDINARY[(position * 7 + lap) % len(ORDINARY)]


def entry_objects(region: Region, inputs: Sequence[object]) -> tuple[object, ...]:
    """An object for each entry slot: the inputs' own where they have one. Unbound slots get one too, as random regions
    return them."""
    given = {slot: value for (slot, name, _), value in zip(region.inputs(), inputs, strict=True) if name == "value"}
    return tuple(given[slot] if slot in given else object() for slot in range(len(region.entry_kinds)))


def difference(compiled: Compiled, inputs: tuple[object, ...], *, leaves: bool) -> str | None:
    """Runs both; `leaves` is whether polls leave."""
    region = compiled.region
    objects = entry_objects(region, inputs)
    reset_rows()
    try:
        wanted = evaluate(region, inputs, objects=objects, fuel=FUEL, should_leave=lambda _exit: leaves, table=CAREFUL)
    except NanSign:
        return None
    if isinstance(wanted, OutOfFuel):
        return None
    compiled.machine.set_breaker(int(leaves))
    left = exact_rows()
    reset_rows()
    found = compiled.run(inputs, objects)
    if left != exact_rows():
        return f"lists {left} are {exact_rows()}"
    if exact_outcome(wanted) == exact_outcome(found):
        return None
    return f"inputs {inputs}, polls {'leave' if leaves else 'stay'}\nevaluated {wanted}\nmachine   {found}"


def exact_rows() -> list[object]:
    """What stands in the lists that regions store to."""
    return [exact(tuple(row)) for row in ROWS]


def first_difference(machine: Machine, example: Example) -> str | None:
    """The first run of the example that differs."""
    reset_namespace()
    NAMESPACE.update(WORLDS[example.number % len(WORLDS)])
    leaves = example.case().leave_at > 0
    with machine.compile(example.region()) as compiled:
        for inputs in example.inputs():
            found = difference(compiled, inputs, leaves=leaves)
            if found is not None:
                return found
    return None


def examples(number: int) -> Iterator[Example]:
    choices = random.Random(number)
    data = choices.randbytes(choices.choice(SIZES))
    lap, position = turn(number)
    for level, passes in WAYS[(lap // len(NUMBERS) + position) % 2]:
        yield Example(number, level, passes, data)


def compare(numbers: Iterable[int], progress: TextIO) -> str | None:
    """What differs first, or None."""
    machines = {level: Machine(level) for level in (0, 2)}
    for number in numbers:
        for example in examples(number):
            print(example.number, example.level, int(example.passes), file=progress, flush=True)
            machine = machines[example.level]
            if first_difference(machine, example) is not None:
                return report(machine, example)
    return None


def report(machine: Machine, example: Example) -> str:
    """The difference in its smallest form: bytes that are missing are zeros, which choose what is simplest."""
    for size in range(0, len(example.data), 7):
        smaller = replace(example, data=example.data[:size])
        if first_difference(machine, smaller) is not None:
            example = smaller
            break
    return f"{describe(example)}{first_difference(machine, example)}"


def describe(example: Example) -> str:
    return f"number {example.number}, level {example.level}, passes {example.passes}\n{print_region(example.region())}"


def last_example(progress: str) -> Example:
    """The example that ran when the process with this progress died."""
    number, level, passes = map(int, progress.splitlines()[-1].split())
    return next(e for e in examples(number) if (e.level, e.passes) == (level, bool(passes)))


# Bugs that comparing must find


def _no_overflow_check(e: Emitter, op: Op) -> None:
    e.define(op, f"add i64 {e.use(op.args[0])}, {e.use(op.args[1])}")


def _c_floordiv(e: Emitter, op: Op) -> None:
    lower_ints._division_guards(e, op)
    e.define(op, f"sdiv i64 {e.use(op.args[0])}, {e.use(op.args[1])}")


def _c_mod(e: Emitter, op: Op) -> None:
    lower_ints._division_guards(e, op)
    e.define(op, f"srem i64 {e.use(op.args[0])}, {e.use(op.args[1])}")


def _mod_without_zero_rule(e: Emitter, op: Op) -> None:
    lower_floats._float_divisor(e, op)
    rest, divisor = lower_floats._fmod(e, op), e.use(op.args[1])
    moved = e.let(f"fadd double {rest}, {divisor}")
    e.define(op, f"select i1 {lower_floats._other_sign(e, rest, divisor)}, double {moved}, double {rest}")


def _compare_as_doubles(e: Emitter, op: Op) -> None:
    left = e.let(f"sitofp i64 {e.use(op.args[0])} to double")
    e.define(op, f"fcmp olt double {left}, {e.use(op.args[1])}")


def _unchecked_shift(e: Emitter, op: Op) -> None:
    value, count = (e.use(x) for x in op.args)
    masked = e.let(f"and i64 {count}, 63")
    shifted = e.let(f"shl i64 {value}, {masked}")
    back = e.let(f"ashr i64 {shifted}, {masked}")
    e.leave_unless(e.let(f"icmp eq i64 {back}, {value}"), op)
    e.define(op, f"add i64 {shifted}, 0")


def _unchecked_to_int(e: Emitter, op: Op, value: str) -> None:
    e.define(op, f"fptosi double {value} to i64")


def _swapped_layouts(region: Region) -> list[Layout]:
    return [_swapped(layout) for layout in raw_layouts(region)]


def _swapped(layout: Layout) -> Layout:
    places = [position for position, operand in layout if operand.kind in (Kind.INT, Kind.FLOAT)][:2]
    other = dict(zip(places, reversed(places), strict=True))
    return tuple((other.get(position, position), operand) for position, operand in layout)


def _wrong_tag(e: Emitter, op: Op) -> None:
    lower_objects._pack(e, op, "int", f"zext i1 {e.use(op.args[0])} to i64")


def _swapped_edges(emitter: Emitter, condition: str, then: Edge, otherwise: Edge) -> None:
    if then.target == otherwise.target:
        then, otherwise = otherwise, then
    _BRANCH(emitter, condition, then, otherwise)


_BRANCH = lowering._branch


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug: an attribute of a module, or an item of a table, that is replaced; and the ops that it changes, if few."""

    place: Any
    name: str
    value: object
    ops: tuple[str, ...] = ()

    def plant(self) -> None:
        if isinstance(self.place, dict):
            self.place[self.name] = self.value
        else:
            setattr(self.place, self.name, self.value)


def _lowers(op: str, function: Callable[[Emitter, Op], None]) -> Mutant:
    return Mutant(lower_ops.LOWER, op, function, (op,))


MUTANTS = {
    "overflow check of int_add dropped": _lowers("int_add", _no_overflow_check),
    "int_floordiv truncates as C": _lowers("int_floordiv", _c_floordiv),
    "int_mod has C's sign": _lowers("int_mod", _c_mod),
    "float_mod without the rule for zeros": _lowers("float_mod", _mod_without_zero_rule),
    "int_float_lt by conversion": _lowers("int_float_lt", _compare_as_doubles),
    "shift count unchecked": _lowers("int_lshift", _unchecked_shift),
    "float to int unchecked": Mutant(lower_floats, "_to_int", _unchecked_to_int, ("float_to_int",)),
    "tag of a packed bool wrong": _lowers("pack_bool", _wrong_tag),
    "an exit's values swapped": Mutant(lowering, "raw_layouts", _swapped_layouts),
    "arguments swapped when both edges meet": Mutant(lowering, "_branch", _swapped_edges),
}
NO_MUTANT, CRASH = "none", "crash"
PLANTS = MUTANTS | {
    NO_MUTANT: Mutant({}, "", None),
    CRASH: Mutant(Compiled, "run", lambda *_: ctypes.string_at(0)),
}


def numbers_for(mutant: Mutant, first: int, last: int) -> list[int]:
    """The numbers in a range whose examples favour the ops that a mutant changes."""
    if not mutant.ops:
        return list(range(first, last))
    return [n for n in range(first, last) if n % 2 == 0 and set(favoured(n)) & set(mutant.ops)]


def main(mutant: str, first: str, last: str, progress: str) -> int:
    """The exit status is 1 if something differs, which is then written to standard error."""
    PLANTS[mutant].plant()
    with Path(progress).open("w") as file:
        found = compare(numbers_for(PLANTS[mutant], int(first), int(last)), file)
    if found is None:
        return 0
    print(found, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
