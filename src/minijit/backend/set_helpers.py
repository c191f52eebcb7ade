"""Helpers by which regions look for ints in sets, and add them.

The search is that of CPython's `set_lookkey`: some neighbours, then a place that more and more bits of the hash decide.
A key of the same hash that is no int leaves the question open: somebody may have to be asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minijit.cpython import abi

if TYPE_CHECKING:
    from collections.abc import Callable

HELPERS = ("set_has", "add_key")
"""The helpers' names."""
NO, YES, UNKNOWN = 0, 1, 2
"""Answers to a search."""
_NEIGHBOURS, _SHIFT = 9, 5
"""How many more places are looked at from each, if there are so many; of what remains of a hash at each step."""


def set_text(symbol: Callable[[str], int]) -> str:
    """The text of the helpers."""
    return _HASH + _HAS + _add_key(symbol)


_HASH = f"""
; The hash of an int.
define internal i64 @hash_of_int(i64 %value) alwaysinline nounwind {{
  %negative = icmp slt i64 %value, 0
  %opposite = sub i64 0, %value
  %magnitude = select i1 %negative, i64 %opposite, i64 %value
  %rest = urem i64 %magnitude, {sys.hash_info.modulus}
  %minus_rest = sub i64 0, %rest
  %signed = select i1 %negative, i64 %minus_rest, i64 %rest
  ; -1 says that there is none.
  %is_error = icmp eq i64 %signed, -1
  %hash = select i1 %is_error, i64 -2, i64 %signed
  ret i64 %hash
}}
"""

_HAS = f"""
; Whether a set has an int among its keys.
define i64 @set_has(ptr %set, i64 %value) nounwind {{
entry:
  %hash = call i64 @hash_of_int(i64 %value)
  %mask_place = getelementptr i8, ptr %set, i64 {abi.SET.mask}
  %mask = load i64, ptr %mask_place
  %table_place = getelementptr i8, ptr %set, i64 {abi.SET.table}
  %table = load ptr, ptr %table_place
  %first = and i64 %hash, %mask
  br label %round
round:
  %at = phi i64 [ %first, %entry ], [ %following, %further ]
  %left = phi i64 [ %hash, %entry ], [ %less, %further ]
  %neighbour = add i64 %at, {_NEIGHBOURS}
  %has_neighbours = icmp ule i64 %neighbour, %mask
  %last = select i1 %has_neighbours, i64 %neighbour, i64 %at
  br label %probe
probe:
  %k = phi i64 [ %at, %round ], [ %k1, %next ]
  %place = getelementptr [2 x ptr], ptr %table, i64 %k
  %key = load ptr, ptr %place
  %empty = icmp eq ptr %key, null
  br i1 %empty, label %no, label %used
used:
  %hash_place = getelementptr i8, ptr %place, i64 8
  %key_hash = load i64, ptr %hash_place
  %alike = icmp eq i64 %key_hash, %hash
  br i1 %alike, label %compare, label %next
compare:
  %type_place = getelementptr i8, ptr %key, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place
  %is_int = icmp eq i64 %type, {id(int)}
  br i1 %is_int, label %ints, label %unknown
ints:
  %pair = call {{i64, i1}} @unbox_int(ptr %key)
  %number = extractvalue {{i64, i1}} %pair, 0
  %fits = extractvalue {{i64, i1}} %pair, 1
  %equal = icmp eq i64 %number, %value
  %same = and i1 %fits, %equal
  br i1 %same, label %yes, label %next
next:
  %k1 = add i64 %k, 1
  %more = icmp ule i64 %k1, %last
  br i1 %more, label %probe, label %further
further:
  %less = lshr i64 %left, {_SHIFT}
  %five = mul i64 %at, 5
  %sum = add i64 %five, %less
  %sum1 = add i64 %sum, 1
  %following = and i64 %sum1, %mask
  br label %round
no:
  ret i64 {NO}
yes:
  ret i64 {YES}
unknown:
  ret i64 {UNKNOWN}
}}
"""


def _add_key(symbol: Callable[[str], int]) -> str:
    box, add, decref = (
        f"inttoptr (i64 {symbol(name)} to ptr)" for name in ("PyLong_FromLongLong", "PySet_Add", "Py_DecRef")
    )
    return f"""
; Gives a set one int more, if it has it not; false, with an exception set, where there is no memory.
define i1 @add_key(ptr %set, i64 %value) nounwind {{
  %there = call i64 @set_has(ptr %set, i64 %value)
  %present = icmp eq i64 %there, {YES}
  br i1 %present, label %yes, label %new
new:
  %key = call ptr {box}(i64 %value)
  %none = icmp eq ptr %key, null
  br i1 %none, label %no, label %add
add:
  %how = call i32 {add}(ptr %set, ptr %key)
  call void {decref}(ptr %key)
  %done = icmp eq i32 %how, 0
  ret i1 %done
yes:
  ret i1 true
no:
  ret i1 false
}}
"""
