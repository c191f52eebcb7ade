"""One event in so many, as LLVM text: for the file that `cpython.sampler` maps, and for the stubs.

The distance from one event that is handed on to the next is drawn anew each time (Marsaglia's xorshift, 2003): with a
fixed one, a loop with as many events in a round would show the same one for ever.
"""

from __future__ import annotations

from minijit.backend.stub_tools import word
from minijit.cpython import bare
from minijit.cpython.sampler import WORDS

DUE = f"""
; Whether this event is to be handed on; %words are those of `cpython.sampler`.
define internal i1 @is_due(ptr %words) alwaysinline {{
entry:
  %left_place = getelementptr i8, ptr %words, i64 {word(WORDS, "left")}
  %left = load i64, ptr %left_place
  %less = sub i64 %left, 1
  store i64 %less, ptr %left_place
  %due = icmp eq i64 %less, 0
  br i1 %due, label %draw, label %done
draw:
  %random_place = getelementptr i8, ptr %words, i64 {word(WORDS, "random")}
  %x0 = load i64, ptr %random_place
  %s1 = shl i64 %x0, 13
  %x1 = xor i64 %x0, %s1
  %s2 = lshr i64 %x1, 7
  %x2 = xor i64 %x1, %s2
  %s3 = shl i64 %x2, 17
  %x3 = xor i64 %x2, %s3
  store i64 %x3, ptr %random_place
  %mask_place = getelementptr i8, ptr %words, i64 {word(WORDS, "mask")}
  %mask = load i64, ptr %mask_place
  %drawn = and i64 %x3, %mask
  %next = add i64 %drawn, 1
  store i64 %next, ptr %left_place
  br label %done
done:
  ret i1 %due
}}
"""


def sampler_text() -> str:
    """Two builtin functions (METH_FASTCALL) that refer to nothing but their arguments."""
    return DUE + "".join(map(_function, ("on_start", "on_jump")))


def _function(name: str) -> str:
    return f"""
define ptr @{name}(ptr %self, ptr %arguments, i64 %count) nounwind {{
entry:
  %words = getelementptr i8, ptr %self, i64 {bare.CONTENT}
  %due = call i1 @is_due(ptr %words)
  br i1 %due, label %tell, label %ignore
tell:
  %handler_place = getelementptr i8, ptr %words, i64 {word(WORDS, name)}
  %handler = load ptr, ptr %handler_place
  %vectorcall_place = getelementptr i8, ptr %words, i64 {word(WORDS, "vectorcall")}
  %vectorcall = load ptr, ptr %vectorcall_place
  %answer = tail call ptr %vectorcall(ptr %handler, ptr %arguments, i64 %count, ptr null)
  ret ptr %answer
ignore:
  %none_place = getelementptr i8, ptr %words, i64 {word(WORDS, "none")}
  %none = load ptr, ptr %none_place
  ret ptr %none
}}
"""
