"""The stubs that leave bodies: what machine code has called other machine code for.

While a callee's body is left, machine code of its callers is on the C stack, and each waits for a result. No Python
code may run in there. So the stub (`leave_body`) makes an *image* of the frame, in memory of its own; the body answers
its caller with that image, which makes one of its own frame, waiting at the call, in front of it; and so on, until the
caller is one that the interpreter has called. There the whole chain becomes frames on the thread's data stack, the
outermost first, as if the interpreter had made the calls itself. It runs the innermost to its end, then the next one
with the result on its stack, or with the exception raised at its call: one after the other, not within each other, so
that a recursion of any depth takes no C stack.

What a body answers are two words, a tag (`snapshots.TAGS`) and 64 bits. Where the tag is "object", the bits are a
reference; where it is "left", an image, or NULL with an exception set where there was no memory. The stubs take either
in one word: objects and images are aligned, and an object's address has its lowest bit set there.

| in an image | content |
| --- | --- |
| next | the image of the frame that this one waits for; NULL in the innermost |
| result | what the innermost waits for, if that is known already |
| record | of the exit that the innermost was left by, if the driver is to be asked about it |
| size | of the frame, in words |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.snapshots import RECORD_WORDS
from minijit.backend.stub_tools import address_of, c_function, word
from minijit.backend.words import Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses

_IMAGE_WORDS = ("next", "result", "record", "size")
_IMAGE_BYTES = 8 * len(_IMAGE_WORDS)
_CALL_EVENT = 4
"""Which of the events of `sys.monitoring` it is."""


def body_text(at: StubAddresses) -> str:
    """The text of `leave_body`, `leave_waiting` and `leave_loop_waiting`."""
    chains = (_drop_chain(at), _leave_body(at), _revive(at), _finish(at))
    return "".join((*chains, _leave_waiting(), _leave_loop_waiting()))


def _place(name: str, image: str, field: str) -> str:
    return f"  %{name} = call ptr @at(ptr %{image}, i64 {word(_IMAGE_WORDS, field)})"


def _drop_chain(at: StubAddresses) -> str:
    return f"""
; Gives back what a caller has got instead of a number: an object, or a chain of images.
define internal void @drop_chain(i64 %what) {{
entry:
  %odd = and i64 %what, 1
  %is_object = icmp ne i64 %odd, 0
  br i1 %is_object, label %object, label %start
object:
  %address = and i64 %what, -2
  %held = inttoptr i64 %address to ptr
  call void @decref(ptr %held)
  ret void
start:
  %first = inttoptr i64 %what to ptr
  br label %next
next:
  %image = phi ptr [ %first, %start ], [ %following, %one ]
  %end = icmp eq ptr %image, null
  br i1 %end, label %done, label %one
one:
{_place("next_place", "image", "next")}
  %following = load ptr, ptr %next_place
{_place("result_place", "image", "result")}
  %result = load ptr, ptr %result_place
  call void @decref(ptr %result)
  %frame = getelementptr i8, ptr %image, i64 {_IMAGE_BYTES}
  %code = load ptr, ptr %frame
  %function_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_funcobj})
  %function = load ptr, ptr %function_place
  %top_place = call ptr @at(ptr %frame, i64 {abi.FRAME.stacktop})
  %top32 = load i32, ptr %top_place
  %top = sext i32 %top32 to i64
  %slots = call ptr @at(ptr %frame, i64 {abi.FRAME.localsplus})
  call void @drop(ptr %slots, i64 %top)
  call void @decref(ptr %function)
  call void @decref(ptr %code)
  call void {c_function(at, "free")}(ptr %image)
  br label %next
done:
  ret void
}}
"""


def _leave_body(at: StubAddresses) -> str:
    return f"""
; The image of a frame that is left by an exit, or, where %chain is not 0, that waits for what that says. NULL with an
; exception set where there is no memory; then %chain is given back.
define ptr @leave_body(ptr %function, ptr %arguments, i64 %record_word, i64 %chain) {{
entry:
  %record = inttoptr i64 %record_word to ptr
  %code_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "code")})
  %code = load ptr, ptr %code_place
  %resume_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "resume")})
  %resume = load ptr, ptr %resume_place
  %slots_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "slots")})
  %slots = load i64, ptr %slots_place
  %boxes_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "boxes")})
  %boxes = load i64, ptr %boxes_place
  %map_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "map")})
  %map = load ptr, ptr %map_place
  %hot_at_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "hot_at")})
  %hot_at = load i64, ptr %hot_at_place
  %number = call i64 @bump(ptr %record)
  %odd = and i64 %chain, 1
  %is_object = icmp ne i64 %odd, 0
  %is_exit = icmp eq i64 %chain, 0
  %is_innermost = or i1 %is_object, %is_exit
  %is_threshold = icmp eq i64 %number, %hot_at
  %hot = and i1 %is_innermost, %is_threshold
  %told = select i1 %hot, i64 %record_word, i64 0
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  br i1 %made, label %room, label %fail
room:
  %framesize_place = call ptr @at(ptr %code, i64 {abi.CODE.co_framesize})
  %framesize32 = load i32, ptr %framesize_place
  %framesize = zext i32 %framesize32 to i64
  %frame_bytes = shl i64 %framesize, 3
  %bytes = add i64 %frame_bytes, {_IMAGE_BYTES}
  %image = call ptr {c_function(at, "malloc")}(i64 %bytes)
  %failed = icmp eq ptr %image, null
  br i1 %failed, label %no, label %fill
no:
  call void {c_function(at, "PyErr_NoMemory")}()
  br label %fail
fail:
  call void @drop(ptr %objects, i64 %boxes)
  call void @drop_chain(i64 %chain)
  ret ptr null
fill:
  %address = and i64 %chain, -2
  %some = inttoptr i64 %address to ptr
  %following = select i1 %is_innermost, ptr null, ptr %some
  %result = select i1 %is_object, ptr %some, ptr null
{_place("next_place", "image", "next")}
  store ptr %following, ptr %next_place
{_place("result_place", "image", "result")}
  store ptr %result, ptr %result_place
{_place("record_place", "image", "record")}
  store i64 %told, ptr %record_place
{_place("size_place", "image", "size")}
  store i64 %framesize, ptr %size_place
  %frame = getelementptr i8, ptr %image, i64 {_IMAGE_BYTES}
  call void @fill_frame(ptr %frame, ptr %function, ptr %code, ptr %resume, i64 %slots)
  %first = call ptr @at(ptr %frame, i64 {abi.FRAME.localsplus})
  call void @fill_slots(ptr %first, ptr %map, i64 %slots, ptr %objects)
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr %image
}}
"""


def _revive(at: StubAddresses) -> str:
    return f"""
; Makes frames of a chain of images, all but the innermost linked as those of calls under way. The innermost; NULL with
; an exception set if there is no memory. Its result and its record are left at %result_at and %record_at, and how many
; frames wait at %waiting_at.
define internal ptr @revive(ptr %thread, ptr %chain, ptr %result_at, ptr %record_at, ptr %waiting_at) {{
entry:
  br label %measure
measure:
  %image = phi ptr [ %chain, %entry ], [ %following, %measure ]
  %sum = phi i64 [ 0, %entry ], [ %sum1, %measure ]
{_place("size_place", "image", "size")}
  %size = load i64, ptr %size_place
  %sum1 = add i64 %sum, %size
{_place("next_place", "image", "next")}
  %following = load ptr, ptr %next_place
  %last = icmp eq ptr %following, null
  br i1 %last, label %push, label %measure
push:
  %memory = call ptr @push_frame(ptr %thread, i64 %sum1)
  %failed = icmp eq ptr %memory, null
  br i1 %failed, label %no, label %begin
no:
  %word = ptrtoint ptr %chain to i64
  call void @drop_chain(i64 %word)
  ret ptr null
begin:
  %cframe_place = call ptr @at(ptr %thread, i64 {abi.THREAD.cframe})
  %cframe = load ptr, ptr %cframe_place
  br label %one
one:
  %from = phi ptr [ %chain, %begin ], [ %then, %link ]
  %frame = phi ptr [ %memory, %begin ], [ %next_frame, %link ]
  %waiting = phi i64 [ 0, %begin ], [ %waiting1, %link ]
{_place("words_place", "from", "size")}
  %words = load i64, ptr %words_place
  %bytes = shl i64 %words, 3
  %source = getelementptr i8, ptr %from, i64 {_IMAGE_BYTES}
  call void @llvm.memcpy.p0.p0.i64(ptr %frame, ptr %source, i64 %bytes, i1 false)
{_place("then_place", "from", "next")}
  %then = load ptr, ptr %then_place
{_place("result_place", "from", "result")}
  %result = load ptr, ptr %result_place
{_place("record_place", "from", "record")}
  %record = load i64, ptr %record_place
  call void {c_function(at, "free")}(ptr %from)
  %innermost = icmp eq ptr %then, null
  br i1 %innermost, label %done, label %link
link:
  %previous = load ptr, ptr %cframe
  %previous_place = call ptr @at(ptr %frame, i64 {abi.FRAME.previous})
  store ptr %previous, ptr %previous_place
  store ptr %frame, ptr %cframe
  call void @deepen(ptr %thread, i32 -1)
  %waiting1 = add i64 %waiting, 1
  %next_frame = getelementptr ptr, ptr %frame, i64 %words
  br label %one
done:
  store ptr %result, ptr %result_at
  store i64 %record, ptr %record_at
  store i64 %waiting, ptr %waiting_at
  ret ptr %frame
}}

; So many Python calls more fit under the recursion limit.
define internal void @deepen(ptr %thread, i32 %more) alwaysinline {{
  %place = call ptr @at(ptr %thread, i64 {abi.THREAD.py_recursion_remaining})
  %old = load i32, ptr %place
  %new = add i32 %old, %more
  store i32 %new, ptr %place
  ret void
}}
"""


def _finish(at: StubAddresses) -> str:
    return f"""
; Has the interpreter finish a chain's frames, the innermost first. The result of the outermost, or NULL with an
; exception set. %near: whether the interpreter's loop has called the first region by itself.
define internal ptr @finish(ptr %chain, i1 %near) {{
entry:
  %result_at = alloca ptr
  %record_at = alloca i64
  %waiting_at = alloca i64
  %thread = call ptr @thread()
  %innermost = call ptr @revive(ptr %thread, ptr %chain, ptr %result_at, ptr %record_at, ptr %waiting_at)
  %failed = icmp eq ptr %innermost, null
  br i1 %failed, label %no, label %tell
no:
  ret ptr null
tell:
  %record_word = load i64, ptr %record_at
  %is_told = icmp ne i64 %record_word, 0
  br i1 %is_told, label %ask, label %start
ask:
  %record = inttoptr i64 %record_word to ptr
  %hot_at_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "hot_at")})
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %start
start:
  %count = load i64, ptr %waiting_at
  %given = load ptr, ptr %result_at
  %is_given = icmp ne ptr %given, null
  br i1 %is_given, label %deliver_given, label %run
deliver_given:
  call void @deliver(ptr %innermost, ptr %given)
  br label %run
run:
  %frame = phi ptr [ %innermost, %start ], [ %innermost, %deliver_given ], [ %waiting, %deliver ], [ %waiting, %raise ]
  %left = phi i64 [ %count, %start ], [ %count, %deliver_given ], [ %left1, %deliver ], [ %left1, %raise ]
  %throws = phi i32 [ 0, %start ], [ 0, %deliver_given ], [ 0, %deliver ], [ %throwing, %raise ]
  %result = call ptr @run_frame(ptr %thread, ptr %frame, i32 %throws, i1 %near)
  %outermost = icmp eq i64 %left, 0
  br i1 %outermost, label %done, label %return
done:
  ret ptr %result
return:
  %left1 = sub i64 %left, 1
  %cframe_place = call ptr @at(ptr %thread, i64 {abi.THREAD.cframe})
  %cframe = load ptr, ptr %cframe_place
  %waiting = load ptr, ptr %cframe
  %previous_place = call ptr @at(ptr %waiting, i64 {abi.FRAME.previous})
  %previous = load ptr, ptr %previous_place
  store ptr %previous, ptr %cframe
  call void @deepen(ptr %thread, i32 1)
  %raised = icmp eq ptr %result, null
  br i1 %raised, label %raise, label %deliver
raise:
  %throwing = call i32 @raise_at_call(ptr %waiting)
  br label %run
deliver:
  call void @deliver(ptr %waiting, ptr %result)
  br label %run
}}

; Lets a waiting frame make its call again, of a function that raises what is set now: where nobody hears of calls, this
; is as if the callee had raised it. Elsewhere the frame is to be run so that it throws (1), though tools take that for
; `throw` of a generator.
define internal i32 @raise_at_call(ptr %frame) {{
entry:
  %exception = call ptr {c_function(at, "PyErr_GetRaisedException")}()
  %code = load ptr, ptr %frame
  call void @freshen(ptr %code)
  %monitoring_place = call ptr @at(ptr %code, i64 {abi.CODE.monitoring})
  %monitoring = load ptr, ptr %monitoring_place
  %unknown = icmp eq ptr %monitoring, null
  br i1 %unknown, label %make, label %look
look:
  %tools_place = call ptr @at(ptr %monitoring, i64 {abi.MONITORING.active_monitors + _CALL_EVENT})
  %tools = load i8, ptr %tools_place
  %heard = icmp ne i8 %tools, 0
  br i1 %heard, label %no, label %make
no:
  call void {c_function(at, "PyErr_SetRaisedException")}(ptr %exception)
  ret i32 1
make:
  %methods = inttoptr i64 {at.raising} to ptr
  %raiser = call ptr {c_function(at, "PyCMethod_New")}(ptr %methods, ptr %exception, ptr null, ptr null)
  %failed = icmp eq ptr %raiser, null
  br i1 %failed, label %no, label %place
place:
  call void @decref(ptr %exception)
  ; Where it stands is the last of the three words behind the call.
  %instruction_place = call ptr @at(ptr %frame, i64 {abi.FRAME.prev_instr})
  %instruction = load ptr, ptr %instruction_place
  %before = getelementptr i8, ptr %instruction, i64 -8
  store ptr %before, ptr %instruction_place
  %count_place = getelementptr i8, ptr %instruction, i64 -5
  %count8 = load i8, ptr %count_place
  %count = zext i8 %count8 to i64
  call void @deliver(ptr %frame, ptr null)
  call void @deliver(ptr %frame, ptr %raiser)
  br label %next
next:
  %k = phi i64 [ 0, %place ], [ %k1, %one ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %done, label %one
one:
  call void @deliver(ptr %frame, ptr {address_of(None)})
  %k1 = add i64 %k, 1
  br label %next
done:
  ret i32 0
}}

; PyCFunction (METH_FASTCALL): raises %self.
define ptr @raise_self(ptr %self, ptr %arguments, i64 %count) {{
  call void @incref(ptr %self)
  call void {c_function(at, "PyErr_SetRaisedException")}(ptr %self)
  ret ptr null
}}

; The result of its call on a frame's stack.
define internal void @deliver(ptr %frame, ptr %result) alwaysinline {{
  %top_place = call ptr @at(ptr %frame, i64 {abi.FRAME.stacktop})
  %top = load i32, ptr %top_place
  %index = sext i32 %top to i64
  %first = call ptr @at(ptr %frame, i64 {abi.FRAME.localsplus})
  %slot = getelementptr ptr, ptr %first, i64 %index
  store ptr %result, ptr %slot
  %new_top = add i32 %top, 1
  store i32 %new_top, ptr %top_place
  ret void
}}
"""


def _leave_waiting() -> str:
    return """
; As `leave_call`, from a region that has called a body and waits for what %chain says.
define ptr @leave_waiting(ptr %function, ptr %arguments, i64 %record_word, ptr %chain) {
entry:
  call void @end_run()
  %word = ptrtoint ptr %chain to i64
  %no_chain = icmp eq i64 %word, 0
  br i1 %no_chain, label %no, label %own
own:
  %image = call ptr @leave_body(ptr %function, ptr %arguments, i64 %record_word, i64 %word)
  %failed = icmp eq ptr %image, null
  br i1 %failed, label %no, label %run
no:
  ret ptr null
run:
  %thread = call ptr @thread()
  %near = call i1 @is_near(ptr %thread)
  %result = call ptr @finish(ptr %image, i1 %near)
  ret ptr %result
}
"""


def _leave_loop_waiting() -> str:
    return f"""
; As `leave_loop`, from a region that has called a body and waits for what %chain says: that is finished first. This is
; inside of an event, of which the code that runs now must notice nothing.
define ptr @leave_loop_waiting(ptr %frame, ptr %thread, i64 %record_word, ptr %chain) {{
entry:
  %record = inttoptr i64 %record_word to ptr
  %resume_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, "resume")})
  %resume = load ptr, ptr %resume_place
  %word = ptrtoint ptr %chain to i64
  %no_chain = icmp eq i64 %word, 0
  br i1 %no_chain, label %nothing, label %live
nothing:
  call void @end_run()
  ret ptr inttoptr (i64 2 to ptr)
live:
  %odd = and i64 %word, 1
  %is_object = icmp ne i64 %odd, 0
  %how = call i64 @rewrite(ptr %frame, i64 %record_word, i1 %is_object)
  %failed = icmp eq i64 %how, 2
  br i1 %failed, label %no, label %wait
no:
  call void @drop_chain(i64 %word)
  ret ptr inttoptr (i64 2 to ptr)
wait:
  %instruction_place = call ptr @at(ptr %frame, i64 {abi.FRAME.prev_instr})
  %before = getelementptr i8, ptr %resume, i64 -2
  store ptr %before, ptr %instruction_place
  %address = and i64 %word, -2
  %some = inttoptr i64 %address to ptr
  br i1 %is_object, label %given, label %run
given:
  br label %deliver
run:
  %tracing_place = call ptr @at(ptr %thread, i64 {abi.THREAD.tracing})
  call void @add_to(ptr %tracing_place, i32 -1)
  ; It is the interpreter's loop that has come to the event.
  %made = call ptr @finish(ptr %some, i1 true)
  call void @add_to(ptr %tracing_place, i32 1)
  %raised = icmp eq ptr %made, null
  br i1 %raised, label %error, label %deliver
error:
  ret ptr inttoptr (i64 2 to ptr)
deliver:
  %result = phi ptr [ %some, %given ], [ %made, %run ]
  call void @deliver(ptr %frame, ptr %result)
  store ptr %resume, ptr %instruction_place
  ret ptr inttoptr (i64 1 to ptr)
}}

define internal void @add_to(ptr %place, i32 %more) alwaysinline {{
  %old = load i32, ptr %place
  %new = add i32 %old, %more
  store i32 %new, ptr %place
  ret void
}}
"""
