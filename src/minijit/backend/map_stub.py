"""The look-up in a `NativeMap`, for machine code."""

from __future__ import annotations

from minijit.cpython.native_map import MULTIPLIER, SHIFT

LOOKUP_IR = f"""
; The value under a key that is not 0; 0 where there is none.
define internal i64 @map_find(ptr %header, i64 %key) nounwind {{
entry:
  %mask = load i64, ptr %header
  %entries_place = getelementptr i64, ptr %header, i64 1
  %entries = load ptr, ptr %entries_place
  %high = lshr i64 %key, {SHIFT}
  %folded = xor i64 %key, %high
  %mixed = mul i64 %folded, {MULTIPLIER - 2**64}
  %shifted = lshr i64 %mixed, 32
  %home = and i64 %shifted, %mask
  br label %probe
probe:
  %index = phi i64 [ %home, %entry ], [ %wrapped, %next ]
  %pair = shl i64 %index, 1
  %key_place = getelementptr i64, ptr %entries, i64 %pair
  %found = load i64, ptr %key_place
  %same = icmp eq i64 %found, %key
  br i1 %same, label %yes, label %other
other:
  %empty = icmp eq i64 %found, 0
  br i1 %empty, label %no, label %next
next:
  %after = add i64 %index, 1
  %wrapped = and i64 %after, %mask
  br label %probe
yes:
  %value_place = getelementptr i64, ptr %key_place, i64 1
  %value = load i64, ptr %value_place
  ret i64 %value
no:
  ret i64 0
}}
"""
