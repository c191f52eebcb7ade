"""What ops on numbers become whose sort is known at run time only (`Kind.NUMBER`).

Two floats are dealt with in place; everything else is a helper's (see `number_helpers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.lower_objects import unbox_number
from minijit.backend.lower_table import Rows
from minijit.backend.number_helpers import ARITHMETIC, FLOAT, INT, RESULT

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op, Operand

ROWS = Rows()
lowers = ROWS.lowers


@lowers("unbox_number")
def _unbox(e: Emitter, op: Op) -> None:
    tag, bits = unbox_number(e, e.use(op.args[0]), lambda condition: e.leave_unless(condition, op))
    _define(e, op, tag, bits)


def _define(e: Emitter, op: Op, tag: str, bits: str) -> None:
    assert op.result is not None
    e.line(f"%v{op.result.number}.tag = add i64 {tag}, 0")
    e.line(f"%v{op.result.number}.bits = add i64 {bits}, 0")


def _is_float(e: Emitter, operand: Operand) -> str:
    return e.let(f"icmp eq i64 {e.tag(operand)}, {FLOAT}")


def _double(e: Emitter, operand: Operand) -> str:
    return e.let(f"bitcast i64 {e.bits(operand)} to double")


def _as_double(e: Emitter, operand: Operand) -> str:
    """The instruction that makes a float of a number of any sort."""
    whole = e.let(f"sitofp i64 {e.bits(operand)} to double")
    return f"select i1 {_is_float(e, operand)}, double {_double(e, operand)}, double {whole}"


def _arithmetic(name: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        left, right = op.args
        both = e.let(f"and i1 {_is_float(e, left)}, {_is_float(e, right)}")
        quick, general, joined = e.fresh_label(), e.fresh_label(), e.fresh_label()
        e.line(f"br i1 {both}, label %{quick}, label %{general}")
        e.start(general)
        made = e.let(f"call {RESULT} {e.helper(f'number_{name}')}({e.halves(left, right)})")
        e.leave_unless(e.let(f"extractvalue {RESULT} {made}, 2"), op)
        tag, bits = (e.let(f"extractvalue {RESULT} {made}, {half}") for half in (0, 1))
        before = e.label
        e.line(f"br label %{joined}")
        e.start(quick)
        result = e.let(f"f{name} double {_double(e, left)}, {_double(e, right)}")
        float_bits = e.let(f"bitcast double {result} to i64")
        e.line(f"br label %{joined}")
        e.start(joined)
        assert op.result is not None
        e.line(f"%v{op.result.number}.tag = phi i64 [ {tag}, %{before} ], [ {FLOAT}, %{quick} ]")
        e.line(f"%v{op.result.number}.bits = phi i64 [ {bits}, %{before} ], [ {float_bits}, %{quick} ]")

    ROWS[f"number_{name}"] = lowering


for _name in ARITHMETIC:
    _arithmetic(_name)

_ORDERS = {
    "lt": "eq i32 {}, -1",
    "gt": "eq i32 {}, 1",
    "le": "sle i32 {}, 0",
    "eq": "eq i32 {}, 0",
    "ne": "ne i32 {}, 0",
}
"""What the order of two numbers must be, 2 where one is nan."""


def _comparison(name: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        order = e.let(f"call i32 {e.helper('number_order')}({e.halves(*op.args)})")
        if name == "ge":
            e.define(op, f"icmp ult i32 {order}, 2")
        else:
            e.define(op, f"icmp {_ORDERS[name].format(order)}")

    ROWS[f"number_{name}"] = lowering


for _name in (*_ORDERS, "ge"):
    _comparison(_name)


@lowers("number_to_float")
def _to_float(e: Emitter, op: Op) -> None:
    e.define(op, _as_double(e, op.args[0]))


@lowers("number_to_bool")
def _to_bool(e: Emitter, op: Op) -> None:
    (operand,) = op.args
    is_nonzero = e.let(f"fcmp une double {_double(e, operand)}, 0.0")
    is_set = e.let(f"icmp ne i64 {e.bits(operand)}, 0")
    e.define(op, f"select i1 {_is_float(e, operand)}, i1 {is_nonzero}, i1 {is_set}")


@lowers("number_neg")
def _neg(e: Emitter, op: Op) -> None:
    (operand,) = op.args
    is_float = _is_float(e, operand)
    least = e.let(f"icmp eq i64 {e.bits(operand)}, {-(2**63)}")
    e.leave_unless(e.let(f"or i1 {is_float}, {e.let(f'xor i1 {least}, true')}"), op)
    negated = e.let(f"bitcast double {e.let(f'fneg double {_double(e, operand)}')} to i64")
    bits = e.let(f"select i1 {is_float}, i64 {negated}, i64 {e.let(f'sub i64 0, {e.bits(operand)}')}")
    _define(e, op, e.let(f"select i1 {is_float}, i64 {FLOAT}, i64 {INT}"), bits)


@lowers("number_truediv")
def _truediv(e: Emitter, op: Op) -> None:
    """Leaves on a zero divisor, and where two ints are too large to be divided as floats."""
    left, right = op.args
    some = e.let(f"or i1 {_is_float(e, left)}, {_is_float(e, right)}")
    for operand in (left, right):
        shifted = e.let(f"add i64 {e.bits(operand)}, {2**53}")
        small = e.let(f"icmp ule i64 {shifted}, {2**54}")
        e.leave_unless(e.let(f"or i1 {some}, {small}"), op)
    dividend, divisor = (e.let(_as_double(e, operand)) for operand in (left, right))
    e.leave_unless(e.let(f"fcmp une double {divisor}, 0.0"), op)
    e.define(op, f"fdiv double {dividend}, {divisor}")
