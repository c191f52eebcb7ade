"""Helpers for numbers whose sort is known at run time only: a tag, and 64 bits that are an int, a float or a bool.

Where one of two is a float, so is the result; else both are ints, as bools are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.snapshots import TAGS

if TYPE_CHECKING:
    from collections.abc import Callable

ARITHMETIC = ("add", "sub", "mul")
HELPERS = (*(f"number_{name}" for name in ARITHMETIC), "number_order", "box_number", "put_number")
"""The helpers' names."""
RESULT = "{i64, i64, i1}"
"""Of arithmetic: tag, bits, and whether they fit."""
INT, FLOAT, BOOL = (TAGS[name] for name in ("int", "float", "bool"))


def number_text(symbol: Callable[[str], int]) -> str:
    """The text of the helpers."""
    return _AS_DOUBLE + "".join(map(_arithmetic, ARITHMETIC)) + _ORDER + _boxes(symbol)


_AS_DOUBLE = f"""
define internal double @as_double(i64 %tag, i64 %bits) nounwind {{
  %is_float = icmp eq i64 %tag, {FLOAT}
  %float = bitcast i64 %bits to double
  %int = sitofp i64 %bits to double
  %value = select i1 %is_float, double %float, double %int
  ret double %value
}}
"""


def _arithmetic(name: str) -> str:
    return f"""
define {RESULT} @number_{name}(i64 %t0, i64 %b0, i64 %t1, i64 %b1) nounwind {{
  %f0 = icmp eq i64 %t0, {FLOAT}
  %f1 = icmp eq i64 %t1, {FLOAT}
  %some = or i1 %f0, %f1
  br i1 %some, label %floats, label %ints
floats:
  %x = call double @as_double(i64 %t0, i64 %b0)
  %y = call double @as_double(i64 %t1, i64 %b1)
  %float = f{name} double %x, %y
  %float_bits = bitcast double %float to i64
  %r1 = insertvalue {RESULT} undef, i64 {FLOAT}, 0
  %r2 = insertvalue {RESULT} %r1, i64 %float_bits, 1
  %r3 = insertvalue {RESULT} %r2, i1 true, 2
  ret {RESULT} %r3
ints:
  %pair = call {{i64, i1}} @llvm.s{name}.with.overflow.i64(i64 %b0, i64 %b1)
  %int = extractvalue {{i64, i1}} %pair, 0
  %over = extractvalue {{i64, i1}} %pair, 1
  %fits = xor i1 %over, true
  %i1 = insertvalue {RESULT} undef, i64 {INT}, 0
  %i2 = insertvalue {RESULT} %i1, i64 %int, 1
  %i3 = insertvalue {RESULT} %i2, i1 %fits, 2
  ret {RESULT} %i3
}}
"""


_ORDER = f"""
; How two numbers compare, exactly: -1, 0, 1, or 2 where one of them is nan.
define i32 @number_order(i64 %t0, i64 %b0, i64 %t1, i64 %b1) nounwind {{
  %f0 = icmp eq i64 %t0, {FLOAT}
  %f1 = icmp eq i64 %t1, {FLOAT}
  %x = bitcast i64 %b0 to double
  %y = bitcast i64 %b1 to double
  br i1 %f0, label %float, label %int
float:
  br i1 %f1, label %floats, label %mixed
floats:
  %unordered = fcmp uno double %x, %y
  %less = fcmp olt double %x, %y
  %more = fcmp ogt double %x, %y
  %high = zext i1 %more to i32
  %sign = select i1 %less, i32 -1, i32 %high
  %order = select i1 %unordered, i32 2, i32 %sign
  ret i32 %order
mixed:
  %other = call i32 @int_float_order(i64 %b1, double %x)
  %negated = sub i32 0, %other
  %is_nan = icmp eq i32 %other, 2
  %swapped = select i1 %is_nan, i32 2, i32 %negated
  ret i32 %swapped
int:
  br i1 %f1, label %mixed2, label %ints
mixed2:
  %direct = call i32 @int_float_order(i64 %b0, double %y)
  ret i32 %direct
ints:
  %below = icmp slt i64 %b0, %b1
  %above = icmp sgt i64 %b0, %b1
  %up = zext i1 %above to i32
  %which = select i1 %below, i32 -1, i32 %up
  ret i32 %which
}}
"""


def _boxes(symbol: Callable[[str], int]) -> str:
    float_from, long_from = (symbol(n) for n in ("PyFloat_FromDouble", "PyLong_FromLongLong"))
    return f"""
; A number as an object, a new reference; NULL with an exception set where there is no memory.
define ptr @box_number(i64 %tag, i64 %bits) nounwind {{
  switch i64 %tag, label %bool [ i64 {INT}, label %int i64 {FLOAT}, label %float ]
int:
  %long = call ptr inttoptr (i64 {long_from} to ptr)(i64 %bits)
  ret ptr %long
float:
  %value = bitcast i64 %bits to double
  %double = call ptr inttoptr (i64 {float_from} to ptr)(double %value)
  ret ptr %double
bool:
  %set = icmp ne i64 %bits, 0
  %object = select i1 %set, ptr inttoptr (i64 {id(True)} to ptr), ptr inttoptr (i64 {id(False)} to ptr)
  ret ptr %object
}}

; Gives a place of an object a number (see `heap_helpers`).
define i1 @put_number(ptr %place, i64 %tag, i64 %bits) nounwind {{
  %is_float = icmp eq i64 %tag, {FLOAT}
  br i1 %is_float, label %float, label %other
float:
  %value = bitcast i64 %bits to double
  %reused = call i1 @put_float(ptr %place, double %value)
  ret i1 %reused
other:
  %object = call ptr @box_number(i64 %tag, i64 %bits)
  %done = call i1 @put_new(ptr %place, ptr %object)
  ret i1 %done
}}
"""
