"""LLVM text that several modules share: declarations, and the helpers that regions call.

Every region's module begins with `PRELUDE`, which only declares, since LLVM reads it each time; a region's function is
the only one in its module, so that no pass over modules is needed. What is longer than a few instructions is a
*helper*: compiled once, in the module of the stubs, and called through its address. Layouts come from `cpython.abi`;
addresses of types are those of this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend import heap_helpers, list_helpers, name_helpers, number_helpers, quiet_helpers, set_helpers
from minijit.backend.map_stub import LOOKUP_IR
from minijit.cpython import abi

if TYPE_CHECKING:
    from collections.abc import Callable

INLINE = "alwaysinline nounwind"
HELPERS = (
    "unbox_large",
    "int_float_order",
    "int_power",
    "int_gcd",
    "take_int",
    "take_float",
    "take_bool",
    *heap_helpers.HELPERS,
    *quiet_helpers.HELPERS,
    *number_helpers.HELPERS,
    *list_helpers.HELPERS,
    *set_helpers.HELPERS,
    *name_helpers.HELPERS,
)
"""The helpers' names."""
BUFFER_BYTES = heap_helpers.KEPT_BYTES + quiet_helpers.LOOK_BYTES
"""The size of the buffer for objects that regions keep, and for looks at objects."""


def helper_text(symbol: Callable[[str], int], kept: int, relied: int, others: int) -> str:
    """The text of the helpers, for the module of the stubs, which uses them too. `symbol` finds C functions; `kept` is
    the address of a buffer of `BUFFER_BYTES`; of `relied` and `others` tells `name_helpers`."""
    clear, decref = symbol("PyErr_Clear"), symbol("Py_DecRef")
    takes = "".join(_take(*row, clear, decref) for row in _TAKES)
    return (
        PRELUDE
        + _INCREF
        + _UNBOX_INT
        + _HELPERS
        + takes
        + heap_helpers.heap_text(symbol, kept)
        + quiet_helpers.quiet_text(kept + heap_helpers.KEPT_BYTES)
        + number_helpers.number_text(symbol)
        + list_helpers.list_text(symbol)
        + set_helpers.set_text(symbol)
        + LOOKUP_IR
        + name_helpers.name_text(symbol, relied, others)
    )


_FLOAT_VALUE = f"""
  %place = getelementptr i8, ptr %object, i64 {abi.FLOAT.ob_fval}
  %value = load double, ptr %place
  %w1 = insertvalue {{double, i1}} undef, double %value, 0
  %whole = insertvalue {{double, i1}} %w1, i1 true, 1"""
_BOOL_VALUE = f"""
  %value = icmp eq ptr %object, inttoptr (i64 {id(True)} to ptr)
  %w1 = insertvalue {{i1, i1}} undef, i1 %value, 0
  %whole = insertvalue {{i1, i1}} %w1, i1 true, 1"""
_INT_VALUE = """
  %whole = call {i64, i1} @unbox_int(ptr %object)"""
_TAKES = (
    ("int", "{i64, i1}", id(int), _INT_VALUE),
    ("float", "{double, i1}", id(float), _FLOAT_VALUE),
    ("bool", "{i1, i1}", id(bool), _BOOL_VALUE),
)


def _take(kind: str, pair: str, python_type: int, value: str, clear: int, decref: int) -> str:
    """A function that unboxes a call's result and gives the reference back; a NULL clears the exception."""
    return f"""
define {pair} @take_{kind}(ptr %object) nounwind {{
  %missing = icmp eq ptr %object, null
  br i1 %missing, label %raised, label %given
raised:
  call void inttoptr (i64 {clear} to ptr)()
  ret {pair} zeroinitializer
given:
  %type_place = getelementptr i8, ptr %object, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place
  %right = icmp eq i64 %type, {python_type}
  br i1 %right, label %take, label %other
take:{value}
  call void inttoptr (i64 {decref} to ptr)(ptr %object)
  ret {pair} %whole
other:
  call void inttoptr (i64 {decref} to ptr)(ptr %object)
  ret {pair} zeroinitializer
}}
"""


PRELUDE = """
declare {i64, i1} @llvm.sadd.with.overflow.i64(i64, i64)
declare {i64, i1} @llvm.ssub.with.overflow.i64(i64, i64)
declare {i64, i1} @llvm.smul.with.overflow.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.abs.i64(i64, i1)
declare double @llvm.fabs.f64(double)
declare double @llvm.sqrt.f64(double)
declare double @llvm.floor.f64(double)
declare double @llvm.ceil.f64(double)
declare double @llvm.roundeven.f64(double)
declare double @llvm.copysign.f64(double, double)
declare double @llvm.fma.f64(double, double, double)
declare ptr @llvm.frameaddress.p0(i32)
declare i64 @llvm.read_register.i64(metadata)
"""

_INCREF = f"""
; A reference more, unless the object is immortal (PEP 683: the low 32 bits are all ones).
define internal void @incref(ptr %object) {INLINE} {{
  %low = load i32, ptr %object
  %more = add i32 %low, 1
  %immortal = icmp eq i32 %more, 0
  br i1 %immortal, label %done, label %count
count:
  store i32 %more, ptr %object
  br label %done
done:
  ret void
}}
"""

_UNBOX_INT = f"""
; The value of an exact int object, and whether it fits 64 bits.
define internal {{i64, i1}} @unbox_int(ptr %object) {INLINE} {{
  %tagp = getelementptr i8, ptr %object, i64 {abi.LONG.lv_tag}
  %tag = load i64, ptr %tagp
  %digits = getelementptr i8, ptr %object, i64 {abi.LONG.ob_digit}
  %low = load i32, ptr %digits
  %first = zext i32 %low to i64
  %signs = and i64 %tag, 3
  %sign = sub i64 1, %signs
  %compact = icmp ult i64 %tag, 16
  br i1 %compact, label %one, label %more
one:
  %small = mul i64 %first, %sign
  %small1 = insertvalue {{i64, i1}} undef, i64 %small, 0
  %small2 = insertvalue {{i64, i1}} %small1, i1 true, 1
  ret {{i64, i1}} %small2
more:
  %large = call {{i64, i1}} @unbox_large(ptr %digits, i64 %tag, i64 %first, i64 %sign)
  ret {{i64, i1}} %large
}}
"""

_HELPERS = """
; How an int compares to a float, exactly: -1, 0, 1, or 2 where the float is nan.
define i32 @int_float_order(i64 %i, double %f) nounwind {
  %nan = fcmp uno double %f, %f
  br i1 %nan, label %unordered, label %ordered
unordered:
  ret i32 2
ordered:
  %huge = fcmp oge double %f, 0x43E0000000000000
  br i1 %huge, label %below, label %finite
below:
  ret i32 -1
finite:
  %tiny = fcmp olt double %f, 0xC3E0000000000000
  br i1 %tiny, label %above, label %fits
above:
  ret i32 1
fits:
  ; The float is floored to an int: below it, the int part decides; at it, the fraction does.
  %floored = call double @llvm.floor.f64(double %f)
  %whole = fptosi double %floored to i64
  %fraction = fcmp ogt double %f, %floored
  %less = icmp slt i64 %i, %whole
  %equal = icmp eq i64 %i, %whole
  %atleast = select i1 %less, i32 -1, i32 1
  %tie = select i1 %fraction, i32 -1, i32 0
  %order = select i1 %equal, i32 %tie, i32 %atleast
  ret i32 %order
}

; The same for ints of two digits and more.
define {i64, i1} @unbox_large(ptr %digits, i64 %tag, i64 %first, i64 %sign) nounwind {
entry:
  %secondp = getelementptr i32, ptr %digits, i64 1
  %second32 = load i32, ptr %secondp
  %second = zext i32 %second32 to i64
  %shifted = shl i64 %second, 30
  %two = or i64 %first, %shifted
  %count = lshr i64 %tag, 3
  switch i64 %count, label %no [ i64 2, label %done i64 3, label %three ]
three:
  %thirdp = getelementptr i32, ptr %digits, i64 2
  %third32 = load i32, ptr %thirdp
  %third = zext i32 %third32 to i64
  %top = shl i64 %third, 60
  %all = or i64 %two, %top
  %short = icmp ult i64 %third, 8
  br i1 %short, label %done, label %edge
edge:
  ; Only -2**63 has a magnitude of 2**63 that fits.
  %eight = icmp eq i64 %third, 8
  %least = icmp eq i64 %all, -9223372036854775808
  %negative = icmp eq i64 %sign, -1
  %both = and i1 %eight, %least
  %fits = and i1 %both, %negative
  %e1 = insertvalue {i64, i1} undef, i64 -9223372036854775808, 0
  %e2 = insertvalue {i64, i1} %e1, i1 %fits, 1
  ret {i64, i1} %e2
done:
  %magnitude = phi i64 [ %two, %entry ], [ %all, %three ]
  %value = mul i64 %magnitude, %sign
  %d1 = insertvalue {i64, i1} undef, i64 %value, 0
  %d2 = insertvalue {i64, i1} %d1, i1 true, 1
  ret {i64, i1} %d2
no:
  %n1 = insertvalue {i64, i1} undef, i64 0, 0
  %n2 = insertvalue {i64, i1} %n1, i1 false, 1
  ret {i64, i1} %n2
}

; base ** exponent for an exponent of at least 0, and whether it fits.
define {i64, i1} @int_power(i64 %base, i64 %exponent) nounwind {
entry:
  br label %loop
loop:
  %result = phi i64 [ 1, %entry ], [ %result2, %square ]
  %factor = phi i64 [ %base, %entry ], [ %factor2, %square ]
  %left = phi i64 [ %exponent, %entry ], [ %half, %square ]
  %bit = and i64 %left, 1
  %odd = icmp ne i64 %bit, 0
  br i1 %odd, label %multiply, label %next
multiply:
  %product = call {i64, i1} @llvm.smul.with.overflow.i64(i64 %result, i64 %factor)
  %over = extractvalue {i64, i1} %product, 1
  %value = extractvalue {i64, i1} %product, 0
  br i1 %over, label %no, label %next
next:
  %result2 = phi i64 [ %result, %loop ], [ %value, %multiply ]
  %half = lshr i64 %left, 1
  %done = icmp eq i64 %half, 0
  br i1 %done, label %yes, label %square
square:
  %squared = call {i64, i1} @llvm.smul.with.overflow.i64(i64 %factor, i64 %factor)
  %over2 = extractvalue {i64, i1} %squared, 1
  %factor2 = extractvalue {i64, i1} %squared, 0
  br i1 %over2, label %no, label %loop
yes:
  %y1 = insertvalue {i64, i1} undef, i64 %result2, 0
  %y2 = insertvalue {i64, i1} %y1, i1 true, 1
  ret {i64, i1} %y2
no:
  %n1 = insertvalue {i64, i1} undef, i64 0, 0
  %n2 = insertvalue {i64, i1} %n1, i1 false, 1
  ret {i64, i1} %n2
}

; Euclid's algorithm on magnitudes; the result of two times -2**63 is 2**63, as an unsigned number.
define i64 @int_gcd(i64 %a, i64 %b) nounwind {
entry:
  %a1 = call i64 @llvm.abs.i64(i64 %a, i1 false)
  %b1 = call i64 @llvm.abs.i64(i64 %b, i1 false)
  br label %loop
loop:
  %x = phi i64 [ %a1, %entry ], [ %y, %step ]
  %y = phi i64 [ %b1, %entry ], [ %rest, %step ]
  %done = icmp eq i64 %y, 0
  br i1 %done, label %end, label %step
step:
  %rest = urem i64 %x, %y
  br label %loop
end:
  ret i64 %x
}
"""
