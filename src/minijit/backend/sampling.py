"""One event in so many, as LLVM text: for the file that `cpython.sampler` maps, and for the stubs.

What is handed on is answered by the scout; then the code object that it is about gets its superinstructions back, which
the interpreter took out to instrument it (see `cpython.superinstructions`). Of the others one in `_LOOKED_AT` is looked
at: code that does not compute at all, as most does not, falls silent soon, and the scout never hears of it.

The distance from one event that is handed on to the next is drawn anew each time (Marsaglia's xorshift, 2003): with a
fixed one, a loop with as many events in a round would show the same one for ever.
"""

from __future__ import annotations

import dis
import opcode

from minijit.backend.handler_stub import HEADROOM, lift_limit
from minijit.backend.stub_tools import word
from minijit.cpython import abi, bare
from minijit.cpython.sampler import SLOT, WORDS
from minijit.cpython.scout import FROZEN
from minijit.cpython.superinstructions import BOTH, FIRSTS, ROW, SECONDS
from minijit.cpython.watch import CodeEvent
from minijit.ir.codeflags import SUSPENDING

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


RESTORE = f"""
; Puts the superinstructions of a code object back; %tables are those of `cpython.superinstructions`. Forward, since
; pairs overlap. Where it meets what stands in the place of another instruction, it ends: somebody else wants to hear of
; each.
define internal void @restore(ptr %code, ptr %tables) nounwind {{
entry:
  %size_place = getelementptr i8, ptr %code, i64 {abi.VAR_OBJECT.ob_size}
  %size = load i64, ptr %size_place
  %units = getelementptr i8, ptr %code, i64 {abi.CODE.co_code_adaptive}
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %step ]
  %place = getelementptr [2 x i8], ptr %units, i64 %k
  %number8 = load i8, ptr %place
  %number = zext i8 %number8 to i64
  %entry_place = getelementptr i8, ptr %tables, i64 %number
  %length8 = load i8, ptr %entry_place
  %length = zext i8 %length8 to i64
  %k1 = add i64 %k, %length
  %inside = icmp slt i64 %k1, %size
  %known = icmp ne i8 %length8, 0
  %goes_on = and i1 %inside, %known
  br i1 %goes_on, label %look, label %done
look:
  %row_place = getelementptr i8, ptr %entry_place, i64 {FIRSTS}
  %row8 = load i8, ptr %row_place
  %begins = icmp ne i8 %row8, 0
  br i1 %begins, label %second, label %step
second:
  %other_place = getelementptr [2 x i8], ptr %units, i64 %k1
  %other8 = load i8, ptr %other_place
  %other = zext i8 %other8 to i64
  %other_entry = getelementptr i8, ptr %tables, i64 %other
  %column_place = getelementptr i8, ptr %other_entry, i64 {SECONDS}
  %column8 = load i8, ptr %column_place
  %column = zext i8 %column8 to i64
  %row = zext i8 %row8 to i64
  %line = mul i64 %row, {ROW}
  %cell = add i64 %line, %column
  %both_entry = getelementptr i8, ptr %tables, i64 %cell
  %both_place = getelementptr i8, ptr %both_entry, i64 {BOTH}
  %both = load i8, ptr %both_place
  %is_pair = icmp ne i8 %both, 0
  br i1 %is_pair, label %put, label %step
put:
  store i8 %both, ptr %place
  br label %step
step:
  br label %next
done:
  ret void
}}
"""


_FROZEN_WORD = int.from_bytes(FROZEN.encode(), "little")
_CHARACTERS = 40
"""Where those of an ASCII text begin, with a zero behind them; there are 8 bytes at least. Other text has a length
there."""
_FROZEN = f"""
; Whether code is of a module that is frozen into the interpreter.
define internal i1 @is_frozen(ptr %code) alwaysinline nounwind {{
  %name_place = getelementptr i8, ptr %code, i64 {abi.CODE.co_filename}
  %name = load ptr, ptr %name_place
  %characters = getelementptr i8, ptr %name, i64 {_CHARACTERS}
  %first = load i64, ptr %characters
  %frozen = icmp eq i64 %first, {_FROZEN_WORD}
  ret i1 %frozen
}}
"""
_LOOKED_AT = 8
"""A power of two."""
_SPECIALISED: list[str] = opcode._specializations["BINARY_OP"]  # type: ignore[attr-defined]
_COMPUTING: list[int] = [dis._all_opmap[name] for name in ("BINARY_OP", *_SPECIALISED)]  # type: ignore[attr-defined]
_COMPUTES = f"""
; Whether there may be an instruction that computes between two units of a code object.
define internal i1 @computes(ptr %code, i64 %first, i64 %last, ptr %tables) nounwind {{
entry:
  %units = getelementptr i8, ptr %code, i64 {abi.CODE.co_code_adaptive}
  br label %next
next:
  %k = phi i64 [ %first, %entry ], [ %k1, %step ]
  %over = icmp sge i64 %k, %last
  br i1 %over, label %no, label %look
look:
  %place = getelementptr [2 x i8], ptr %units, i64 %k
  %number8 = load i8, ptr %place
  %number = zext i8 %number8 to i64
  switch i64 %number, label %step [ {" ".join(f"i64 {number}, label %yes" for number in _COMPUTING)} ]
step:
  %entry_place = getelementptr i8, ptr %tables, i64 %number
  %length8 = load i8, ptr %entry_place
  %length = zext i8 %length8 to i64
  %k1 = add i64 %k, %length
  %unknown = icmp eq i8 %length8, 0
  br i1 %unknown, label %yes, label %next
yes:
  ret i1 true
no:
  ret i1 false
}}

; A number of units of two bytes, of an int that is a small number of bytes.
define internal i64 @units(ptr %int) alwaysinline nounwind {{
  %digit_place = getelementptr i8, ptr %int, i64 {abi.LONG.ob_digit}
  %digit = load i32, ptr %digit_place
  %half = lshr i32 %digit, 1
  %units = zext i32 %half to i64
  ret i64 %units
}}
"""
_ALWAYS_SILENT = {
    "on_start": "\n  %is_forward = icmp ne i64 0, 0",
    "on_jump": """
  %source_place = getelementptr ptr, ptr %arguments, i64 1
  %source_int = load ptr, ptr %source_place
  %source = call i64 @units(ptr %source_int)
  %target_place = getelementptr ptr, ptr %arguments, i64 2
  %target_int = load ptr, ptr %target_place
  %target = call i64 @units(ptr %target_int)
  %is_forward = icmp sgt i64 %target, %source""",
}
"""What is silenced when it is first heard of: jumps forward."""
_WHERE = {
    "on_start": f"""
  %size_place = getelementptr i8, ptr %seen, i64 {abi.VAR_OBJECT.ob_size}
  %size = load i64, ptr %size_place
  %computes = call i1 @computes(ptr %seen, i64 0, i64 %size, ptr %its_tables)""",
    "on_jump": """
  %computes = call i1 @computes(ptr %seen, i64 %target, i64 %source, ptr %its_tables)""",
}
"""Whether what an event is about computes: all of a function, or a loop."""


_AT_ONCE = 8
_EVEN = ", ".join(f"i32 {2 * k}" for k in range(_AT_ONCE))
_BINARY_OPS = ", ".join([f"i8 {dis.opmap['BINARY_OP']}"] * _AT_ONCE)
_ON_CODE = f"""
; A watcher of code objects. Of a new one that suspends, or computes nothing, all events would be answered by DISABLE:
; it gets the version of the instrumentation that there is, as if it had been instrumented. The word in front of the
; function has the address of that version. The caches between new instructions are zeros.
define hidden i32 @on_code(i32 %event, ptr %code) nounwind prefix i64 0 {{
entry:
  %is_new = icmp eq i32 %event, {CodeEvent.CREATE.value}
  br i1 %is_new, label %new, label %done
new:
  %flags_place = getelementptr i8, ptr %code, i64 {abi.CODE.co_flags}
  %flags = load i32, ptr %flags_place
  %suspending = and i32 %flags, {SUSPENDING}
  %suspends = icmp ne i32 %suspending, 0
  %size_place = getelementptr i8, ptr %code, i64 {abi.VAR_OBJECT.ob_size}
  %size = load i64, ptr %size_place
  %units = getelementptr i8, ptr %code, i64 {abi.CODE.co_code_adaptive}
  br i1 %suspends, label %quiet, label %more
more:
  %k = phi i64 [ 0, %new ], [ %k8, %several ]
  %k8 = add i64 %k, {_AT_ONCE}
  %is_rest = icmp sgt i64 %k8, %size
  br i1 %is_rest, label %rest, label %several
several:
  %group_place = getelementptr [2 x i8], ptr %units, i64 %k
  %group = load <{2 * _AT_ONCE} x i8>, ptr %group_place, align 1
  %numbers = shufflevector <{2 * _AT_ONCE} x i8> %group, <{2 * _AT_ONCE} x i8> poison, <{_AT_ONCE} x i32> <{_EVEN}>
  %found = icmp eq <{_AT_ONCE} x i8> %numbers, <{_BINARY_OPS}>
  %found_any = bitcast <{_AT_ONCE} x i1> %found to i{_AT_ONCE}
  %has_none = icmp eq i{_AT_ONCE} %found_any, 0
  br i1 %has_none, label %more, label %done
rest:
  %j = phi i64 [ %k, %more ], [ %j1, %one ]
  %is_over = icmp sge i64 %j, %size
  br i1 %is_over, label %quiet, label %one
one:
  %place = getelementptr [2 x i8], ptr %units, i64 %j
  %number = load i8, ptr %place
  %j1 = add i64 %j, 1
  %computes = icmp eq i8 %number, {dis.opmap["BINARY_OP"]}
  br i1 %computes, label %done, label %rest
quiet:
  %its_place = getelementptr i8, ptr @on_code, i64 {-SLOT}
  %address = load volatile ptr, ptr %its_place
  %version = load i64, ptr %address
  %version_place = getelementptr i8, ptr %code, i64 {abi.CODE.instrumentation_version}
  store i64 %version, ptr %version_place
  br label %done
done:
  ret i32 0
}}

; Takes the version from a code object that is up to date. %self is None, which is immortal.
define ptr @learn(ptr %self, ptr %arguments, i64 %count) nounwind {{
  %code = load ptr, ptr %arguments
  %version_place = getelementptr i8, ptr %code, i64 {abi.CODE.instrumentation_version}
  %version = load i64, ptr %version_place
  %its_place = getelementptr i8, ptr @on_code, i64 {-SLOT}
  %address = load volatile ptr, ptr %its_place
  store i64 %version, ptr %address
  ret ptr %self
}}
"""


def sampler_text() -> str:
    """What `cpython.sampler` has on disk: it refers to nothing but its arguments, and to a word in front of
    `on_code`."""
    events = "".join(map(_function, ("on_start", "on_jump")))
    return DUE + RESTORE + _COMPUTES + _FROZEN + _ON_CODE + lift_limit() + events


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
  ; Nothing of %self is there any more if the handler has put something else in its place.
  %type_place = getelementptr i8, ptr %words, i64 {word(WORDS, "code_type")}
  %code_type = load ptr, ptr %type_place
  %tables_place = getelementptr i8, ptr %words, i64 {word(WORDS, "tables")}
  %tables = load ptr, ptr %tables_place
  %code = load ptr, ptr %arguments
  ; The program may have no frames left.
  %thread_place = getelementptr i8, ptr %words, i64 {word(WORDS, "thread")}
  %get_thread = load ptr, ptr %thread_place
  %thread = call ptr %get_thread()
  call void @lift_limit(ptr %thread, i32 {HEADROOM})
  %answer = call ptr %vectorcall(ptr %handler, ptr %arguments, i64 %count, ptr null)
  call void @lift_limit(ptr %thread, i32 {-HEADROOM})
  %own_type_place = getelementptr i8, ptr %code, i64 {abi.OBJECT.ob_type}
  %own_type = load ptr, ptr %own_type_place
  %is_code = icmp eq ptr %own_type, %code_type
  br i1 %is_code, label %restored, label %answered
restored:
  call void @restore(ptr %code, ptr %tables)
  br label %answered
answered:
  ret ptr %answer
ignore:{_ALWAYS_SILENT[name]}
  %left_place = getelementptr i8, ptr %words, i64 {word(WORDS, "left")}
  %left = load i64, ptr %left_place
  %one_of = and i64 %left, {_LOOKED_AT - 1}
  %looks = icmp eq i64 %one_of, 0
  br i1 %looks, label %look, label %pass
pass:
  br i1 %is_forward, label %silent, label %leave
look:
  %seen = load ptr, ptr %arguments
  %seen_type_place = getelementptr i8, ptr %seen, i64 {abi.OBJECT.ob_type}
  %seen_type = load ptr, ptr %seen_type_place
  %its_type_place = getelementptr i8, ptr %words, i64 {word(WORDS, "code_type")}
  %its_type = load ptr, ptr %its_type_place
  %is_known = icmp eq ptr %seen_type, %its_type
  br i1 %is_known, label %judge, label %leave
judge:
  %its_tables_place = getelementptr i8, ptr %words, i64 {word(WORDS, "tables")}
  %its_tables = load ptr, ptr %its_tables_place
  %frozen = call i1 @is_frozen(ptr %seen)
  br i1 %frozen, label %silence, label %compute
compute:{_WHERE[name]}
  br i1 %computes, label %leave, label %silence
silence:
  call void @restore(ptr %seen, ptr %its_tables)
  br label %silent
silent:
  %disable_place = getelementptr i8, ptr %words, i64 {word(WORDS, "disable")}
  %disable = load ptr, ptr %disable_place
  ret ptr %disable
leave:
  %none_place = getelementptr i8, ptr %words, i64 {word(WORDS, "none")}
  %none = load ptr, ptr %none_place
  ret ptr %none
}}
"""
