"""Every op has all that an op needs: a lowering, a directed test of it, and someone who makes it.

The directed test of an op is a region with that op alone, run as machine code and by the evaluator on all combinations
of edge values, with operands that are inputs and operands that are constants; where the op stands for something that
Python can do, an expression says so, and Python's own result is what both must give. Where Python gives something that
the op cannot (an exception, a bignum, another type), both must leave.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import test_heap_ops
import test_list_ops
import test_named_ops
import test_number_ops
import test_special_ops

from minijit.backend import bodies, lower_floats, lower_heap, lower_ints, lower_lists, lower_numbers, lower_objects
from minijit.backend.lower_ops import LOWER
from minijit.backend.snapshots import TAGS
from minijit.events import ExitReason
from minijit.ir.eval import Returned, evaluate
from minijit.ir.kinds import EntryKind, Kind, const_kind
from minijit.ir.ops import LIBM_1, TABLE, Row, wrap
from minijit.ir.region import (
    Block,
    Branch,
    Const,
    Edge,
    EntryPoint,
    Exit,
    FrameState,
    Op,
    Operand,
    Region,
    Return,
    Value,
)
from minijit.oracle.compare import exact, exact_outcome
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from minijit.ir.eval import Outcome

POWERS = (2**31, 2**32, 2**53, 2**62)
MAX, MIN = 2**63 - 1, -(2**63)
INTS = sorted(
    {0, 1, 2, 3, 7, 10, 31, 32, 62, 63, 64, 65, 3037000499, 3037000500, 10**18}
    | {-1, -2, -3, -7, -10, -63, -64, MAX, MAX - 1, MIN, MIN + 1}
    | {sign * (power + step) for power in POWERS for step in (-1, 0, 1) for sign in (1, -1)}
)
_HALVES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 63.0, 0.1, 0.49999999999999994, 2.0**52 - 0.5, math.pi, 710.0, 171.5)
_HUGE = (
    2.0**31,
    2.0**53,
    2.0**62,
    2.0**63,
    math.nextafter(2.0**63, 0),
    2.0**64,
    1e22,
    1e300,
    sys.float_info.max,
    math.inf,
)
_TINY = (5e-324, 1e-310, sys.float_info.min, 1e-300, 1e-9)
FLOATS = [sign * x for x in (*_HALVES, *_HUGE, *_TINY) for sign in (1, -1)] + [
    math.nan,
    math.nextafter(-(2.0**63), -math.inf),
]
EDGES: dict[Kind, Sequence[Any]] = {Kind.INT: INTS, Kind.FLOAT: FLOATS, Kind.BOOL: (False, True)}
FEW: dict[Kind, Sequence[Any]] = {
    Kind.INT: (0, 1, -1, 2, -2, 3, -7, 8, 10, 62, 63, 64, 2**53, 2**53 + 1, 2**62, MAX, MIN),
    Kind.FLOAT: (
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.0,
        -2.5,
        3.0,
        2.0**53,
        2.0**63,
        -(2.0**63),
        5e-324,
        1e300,
        math.inf,
        math.nan,
    ),
    Kind.BOOL: (False, True),
}
"""Constants are compiled in, so there are fewer."""

SPECIAL = {
    **dict.fromkeys((f"pack_{tag}" for tag in TAGS), "test_pack"),
    **dict.fromkeys((f"is_{tag}" for tag in TAGS if tag != "unbound"), "test_is"),
    **dict.fromkeys((f"unpack_{tag}" for tag in ("int", "float", "bool")), "test_unpack"),
    "guard_number": "test_what_an_object_is",
    "unpack_number": "test_unpack_number",
    "unpack_object": "test_unpack_object",
    "guard_quiet": "test_guard_quiet",
    **dict.fromkeys(("load_global", "guard_unwatched", "store_global"), "test_load_global"),
    **dict.fromkeys(("call_pure", "call_stateful"), "test_call_pure"),
    **dict.fromkeys(("poll", "poll_strip"), "test_poll"),
    "round": "test_round",
    "count_round": "test_count_round",
    **dict.fromkeys(("room", "has_body", "call_body"), "test_calls_have_no_room"),
    **dict.fromkeys(("entry_object", "guard_type", "guard_object", "is_of", "is_same"), "test_what_an_object_is"),
    **dict.fromkeys(("list_length", "list_item", "tuple_length", "tuple_item"), "test_items"),
    **dict.fromkeys(("unbox_int", "unbox_float", "unbox_bool"), "test_unbox"),
    **dict.fromkeys(("store_item", "store_field"), "test_stores"),
    "append_item": "test_append",
    **dict.fromkeys(("load_named", "named_value", "named_or", "guard_not_named"), "test_named"),
    "store_named": "test_store_named",
    "insert_item": "test_insert",
    "delete_item": "test_delete",
    **dict.fromkeys(("set_has", "add_key"), "test_sets"),
    **dict.fromkeys(("list_find", "tuple_find"), "test_find"),
    **dict.fromkeys(("new_list", "list_slice", "list_repeat", "list_concat"), "test_new_lists"),
    "guard_apart": "test_guard_apart",
    **dict.fromkeys(("guard_may_end", "field_value"), "test_guard_may_end"),
    **dict.fromkeys((f"number_{name}" for name in ("add", "sub", "mul", "truediv")), "test_arithmetic"),
    **dict.fromkeys((f"number_{name}" for name in ("lt", "le", "eq", "ne", "gt", "ge")), "test_comparisons"),
    **dict.fromkeys(("number_neg", "number_to_float", "number_to_bool"), "test_one_number"),
    **dict.fromkeys((f"number_of_{kind}" for kind in ("int", "float", "bool")), "test_made_of_others"),
    "unbox_number": "test_unboxed",
    **dict.fromkeys(("new_instance", "new_tuple"), "test_new_objects"),
    "load_field": "test_load_field",
    "free_variable": "test_free_variable",
    "guard_values": "test_guard_values",
}
"""Ops that are no function of scalars, and their tests in `test_special_ops`, `test_heap_ops`, `test_list_ops` and `test_named_ops`."""

_COMPARE = {"lt": "<", "le": "<=", "eq": "==", "ne": "!=", "gt": ">", "ge": ">="}
PYTHON = {
    **{f"int_{name}": f"a {sign} b" for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("mod", "%"))},
    **{f"int_{name}": f"a {sign} b" for name, sign in (("floordiv", "//"), ("truediv", "/"), ("rshift", ">>"))},
    **{f"int_{name}": f"a {sign} b" for name, sign in (("and", "&"), ("or", "|"), ("xor", "^"))},
    **{f"int_{name}_wrap": f"wrap(a {sign} b)" for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"))},
    **{f"float_{name}": f"a {sign} b" for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("mod", "%"))},
    **{f"float_{name}": f"a {sign} b" for name, sign in (("floordiv", "//"), ("truediv", "/"), ("pow", "**"))},
    **{f"bool_{name}": f"a {sign} b" for name, sign in (("and", "&"), ("or", "|"), ("xor", "^"))},
    **{f"{kinds}_{name}": f"a {sign} b" for name, sign in _COMPARE.items() for kinds in ("int", "float", "int_float")},
    **{f"math_{name}": f"math.{name}(a)" for name in (*LIBM_1, "log", "log2", "log10")},
    **{f"math_{name}": f"math.{name}(a, b)" for name in ("fmod", "atan2", "pow")},
    "int_floordiv_unsigned": "wrap(a % 2**64 // (b % 2**64))",
    "int_mod_unsigned": "wrap(a % 2**64 % (b % 2**64))",
    "int_floordiv_half": "a % 2**32 // (b % 2**32)",
    "int_mod_half": "a % 2**32 % (b % 2**32)",
    "int_neg": "-a",
    "int_neg_wrap": "wrap(-a)",
    "int_abs": "abs(a)",
    "int_pow": "power(a, b)",
    "int_lshift": "shift(a, b)",
    "int_lshift_wrap": "wrap(a << (b & 63))",
    "int_invert": "~a",
    "int_min": "min(a, b)",
    "int_max": "max(a, b)",
    "int_gcd": "math.gcd(a, b)",
    "int_select": "b if a else c",
    "bool_not": "not a",
    "float_neg": "-a",
    "float_abs": "abs(a)",
    "float_select": "b if a else c",
    "float_copysign": "math.copysign(a, b)",
    "float_is_nan": "math.isnan(a)",
    "float_is_inf": "math.isinf(a)",
    "float_is_finite": "math.isfinite(a)",
    "float_to_int": "int(a)",
    "float_floor": "math.floor(a)",
    "float_ceil": "math.ceil(a)",
    "float_round": "round(a)",
    "float_to_bool": "bool(a)",
    "int_to_float": "float(a)",
    "int_to_bool": "bool(a)",
    "bool_to_int": "int(a)",
    "guard_true": "True if a else 1 / 0",
    "guard_false": "1 / 0 if a else True",
}
"""What Python says of an op on `a`, `b` and `c`."""


def power(a: int, b: int) -> int:
    """`a ** b`, unless that is so large that it would take for ever."""
    if abs(a) > 1 and b > 64:
        raise OverflowError
    return a**b


def shift(a: int, b: int) -> int:
    """`a << b`, likewise."""
    if b > 200:
        raise OverflowError
    return a << b


def finite(*values: float) -> bool:
    return all(map(math.isfinite, values))


SCOPE = {"math": math, "wrap": wrap, "power": power, "shift": shift, "finite": finite}
LEAVES = object()
"""Python's result is none that the op could give."""
CONSERVATIVE = {
    "int_mod": "b == -1",
    "int_truediv": "max(abs(a), abs(b)) > 2**53",
    "int_lshift": "b > 63",
    "float_pow": "a == 0 or not finite(a, b, result)",
    "math_pow": "not finite(a, b, result)",
    "math_fmod": "not finite(result)",
    "math_sqrt": "math.isnan(a)",
    **{f"math_{name}": "not finite(result)" for name in (*LIBM_1, "log", "log2", "log10") if name != "sqrt"},
}
"""When an op leaves though Python has a result: cases so rare that the interpreter may have them."""
PLAIN = sorted(set(TABLE) - set(SPECIAL))
ENTRY = {Kind.INT: EntryKind.INT, Kind.FLOAT: EntryKind.FLOAT, Kind.BOOL: EntryKind.BOOL}


@pytest.fixture(scope="module", params=(0, 2), ids=("O0", "O2"))
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


@pytest.fixture(scope="module")
def optimising() -> Machine:
    return Machine(2)


# All rows have what a row needs


def test_every_op_has_a_lowering() -> None:
    assert set(TABLE) == set(LOWER)


def test_every_op_has_one_home() -> None:
    parts = (bodies, lower_floats, lower_heap, lower_ints, lower_lists, lower_numbers, lower_objects)
    tables = [part.ROWS for part in parts]
    assert sum(map(len, tables)) == len(LOWER)


def test_every_op_has_a_directed_test() -> None:
    """Those that are functions of scalars have the tests below, and an expression to be compared with."""
    assert set(PLAIN) == set(PYTHON)
    assert set(SPECIAL) <= set(TABLE)
    homes = test_special_ops, test_heap_ops, test_list_ops, test_named_ops, test_number_ops
    assert all(any(hasattr(home, test) for home in homes) for test in SPECIAL.values())


FAMILIES = {
    "int_{}": _COMPARE,
    "float_{}": [*_COMPARE, "lt", "gt"],
    "int_float_{}": _COMPARE,
    "pack_{}": ("int", "float", "bool"),
    "number_{}": (*_COMPARE, "lt", "gt", "ge", "le", "add", "sub", "mul"),
    "number_of_{}": ("int", "float", "bool"),
    "is_{}": ("int", "float", "bool", "none"),
    "unpack_{}": ("int", "float", "bool", "number"),
    "math_{}": (*LIBM_1, "log", "log2", "log10"),
    "{}_wrap": ("int_add", "int_sub", "int_mul", "int_neg", "int_lshift"),
}
"""What stands for the hole in those f-strings of the builder and the passes that make names of ops."""
MAKERS = ("build/*.py", "backend/effort.py", *(f"opt/{name}.py" for name in ("count", "iterators", "polls", "ranges", "wrap")))
"""Where names of ops are names of ops to be made; the other passes only look for them."""


def op_names_in(source: str) -> Iterator[str]:
    """The names of ops that a piece of source can make: literals, and f-strings with all that may stand in the hole."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            pattern = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield from (pattern.format(name) for name in FAMILIES.get(pattern, ()))
            hole = re.escape(pattern).replace(r"\{\}", r"\w+")
            makes_ops = pattern.count("{}") == 1 and any(re.fullmatch(hole, name) for name in TABLE)
            assert pattern in FAMILIES or not makes_ops, f"{pattern} is not listed in FAMILIES"


def test_every_op_is_made_by_someone() -> None:
    sources = Path(__file__).resolve().parents[2] / "src" / "minijit"
    files = [file for pattern in MAKERS for file in sources.glob(pattern)]
    made = {name for file in files for name in op_names_in(file.read_text())}
    assert set(TABLE) <= made


def test_only_makers_make_ops() -> None:
    """Other passes hand on the name of an op that there was."""
    sources = Path(__file__).resolve().parents[2] / "src" / "minijit"
    makers = {file for pattern in MAKERS for file in sources.glob(pattern)}
    for file in set((sources / "opt").glob("*.py")) - makers:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Op":
                assert ast.unparse(node.args[0]) == "op.name", f"{file.name}:{node.lineno}"


# Ops that are functions of scalars


def kinds_of(row: Row) -> tuple[Kind, ...]:
    return tuple(kind for kind in row.params if kind is not None)


def block_of(name: str, args: tuple[Operand, ...], result: int, exit: int) -> Block:
    """A block that does one op and returns its result."""
    row = TABLE[name]
    value = Value(result, row.result) if row.result is not None else None
    op = Op(name, args, value, exit if row.effect.exits else None)
    return Block((), (op,), Return(value if value is not None else Const(True)))


def exit_of(values: Sequence[Value]) -> Exit:
    return Exit(ExitReason.DOMAIN, FrameState(0, tuple(values), ()))


def region_of(name: str) -> Region:
    """One op on inputs."""
    params = tuple(Value(number, kind) for number, kind in enumerate(kinds_of(TABLE[name])))
    block = replace(block_of(name, params, len(params), 0), params=params)
    exits = (exit_of(params),) if TABLE[name].effect.exits else ()
    return Region(name, EntryPoint.CALL, tuple(ENTRY[p.kind] for p in params), (block,), exits)


def region_with_constants(name: str) -> tuple[Region, list[tuple[object | None, ...]]]:
    """One op, in a block for each combination of inputs and constants, and a first input that says which block; and the
    combinations, with None for an input."""
    kinds = kinds_of(TABLE[name])
    which = Value(0, Kind.INT)
    params = [Value(1 + number, kind) for number, kind in enumerate(kinds)]
    rows: list[tuple[object | None, ...]] = [
        tuple(value if k == place else None for k in range(len(kinds)))
        for place, kind in enumerate(kinds)
        for value in FEW[kind]
    ]
    rows += [tuple(row) for row in itertools.islice(itertools.product(*(FEW[kind][2:7] for kind in kinds)), 30)]
    tests: list[Block] = []
    blocks: list[Block] = []
    fresh = itertools.count(10)
    for number, row in enumerate(rows):
        args = tuple(p if c is None else Const(c) for p, c in zip(params, row, strict=True))
        blocks.append(block_of(name, args, next(fresh), number))
        asked = Value(next(fresh), Kind.BOOL)
        op = Op("int_eq", (which, Const(number)), asked)
        onward = Edge(number + 1 if number + 1 < len(rows) else len(rows) + number, ())
        tests.append(Block((), (op,), Branch(asked, Edge(len(rows) + number, ()), onward)))
    tests[0] = replace(tests[0], params=(which, *params))
    exits = tuple(exit_of(params) for _ in rows) if TABLE[name].effect.exits else ()
    entry = (EntryKind.INT, *(ENTRY[kind] for kind in kinds))
    return Region(name, EntryPoint.CALL, entry, (*tests, *blocks), exits), rows


def python_result(name: str, expression: Callable[..., object], args: Sequence[object]) -> object:
    """What Python says: the value, or LEAVES where the op could not give it."""
    try:
        value = expression(*args)
    except (ArithmeticError, ValueError):
        return LEAVES
    wanted = TABLE[name].result or Kind.BOOL
    return value if const_kind(value) is wanted else LEAVES


def expression_of(text: str, parameters: str = "a, b=None, c=None") -> Callable[..., object]:
    function: Callable[..., object] = eval(f"lambda {parameters}: {text}", SCOPE)
    return function


@dataclass(frozen=True, slots=True)
class Judge:
    """Whether machine code, evaluator and Python agree on one run of one op."""

    name: str
    python: Callable[..., object] = field(init=False)
    may_leave: Callable[..., object] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "python", expression_of(PYTHON[self.name]))
        object.__setattr__(self, "may_leave", expression_of(CONSERVATIVE.get(self.name, "False"), "result, a, b=None"))

    def __call__(self, args: Sequence[Any], found: Outcome, wanted: Outcome) -> None:
        if self.name == "float_copysign" and math.isnan(args[1]):
            return  # hardware and LLVM differ in the sign of nans that they make
        assert exact_outcome(found) == exact_outcome(wanted), (self.name, args, found, wanted)
        python = python_result(self.name, self.python, args)
        if isinstance(found, Returned):
            assert exact(found.value) == exact(python), (self.name, args, found, python)
        else:
            assert python is LEAVES or self.may_leave(python, *args), (self.name, args, python)


@pytest.mark.parametrize("name", PLAIN)
def test_op_on_inputs(name: str, machine: Machine) -> None:
    region, judge = region_of(name), Judge(name)
    with machine.compile(region) as compiled:
        for args in itertools.product(*(EDGES[kind] for kind in kinds_of(TABLE[name]))):
            judge(args, compiled.run(args, args), evaluate(region, args, objects=args))


@pytest.mark.parametrize("name", PLAIN)
def test_op_on_constants(name: str, optimising: Machine) -> None:
    (region, rows), judge = region_with_constants(name), Judge(name)
    with optimising.compile(region) as compiled:
        for number, row in enumerate(rows):
            choices = [EDGES[kind] if c is None else (c,) for c, kind in zip(row, kinds_of(TABLE[name]), strict=True)]
            for args in itertools.product(*choices):
                inputs = (number, *args)
                judge(args, compiled.run(inputs, inputs), evaluate(region, inputs, objects=inputs))
