"""The stubs that leave regions which have called bodies: whose frames are run to their end, one after the other.

In: a chain of images (see `image_stubs`), or an object that was made: what a call of a body was answered with instead
of a value. Out: the result of the region's own frame, or in a loop that frame, with the result on its stack. The
interpreter runs the innermost frame to its end, then the next one with the result on its stack, or with the exception
raised at its call: not within each other, so that a recursion of any depth takes no C stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.snapshots import RECORD_WORDS
from minijit.backend.stub_tools import address_of, c_function, word
from minijit.backend.words import Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses

_CALL_EVENT = 4
"""Which of the events of `sys.monitoring` it is."""


def waiting_text(at: StubAddresses) -> str:
    """The text of `leave_waiting` and `leave_loop_waiting`."""
    return "".join((_finish(at), _leave_waiting(), _leave_loop_waiting()))


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
  call void @let_go()
  %count = load i64, ptr %waiting_at
  %own_cframe = call ptr @get_ptr(ptr %thread, i64 {abi.THREAD.cframe})
  %last = load ptr, ptr %own_cframe
  br label %spare
spare:
  ; What runs next may come back to the functions that wait, and they must be the interpreter's by then.
  %k = phi i64 [ 0, %start ], [ %k1, %spare_one ]
  %one = phi ptr [ %last, %start ], [ %before, %spare_one ]
  %spared = icmp eq i64 %k, %count
  br i1 %spared, label %begin, label %spare_one
spare_one:
  %function = call ptr @get_ptr(ptr %one, i64 {abi.FRAME.f_funcobj})
  call void @spare(ptr %thread, ptr %function)
  %before = call ptr @get_ptr(ptr %one, i64 {abi.FRAME.previous})
  %k1 = add i64 %k, 1
  br label %spare
begin:
  %given = load ptr, ptr %result_at
  %is_given = icmp ne ptr %given, null
  br i1 %is_given, label %deliver_given, label %run
deliver_given:
  call void @deliver(ptr %innermost, ptr %given)
  br label %run
run:
  %frame = phi ptr [ %innermost, %begin ], [ %innermost, %deliver_given ], [ %waiting, %deliver ], [ %waiting, %raise ]
  %left = phi i64 [ %count, %begin ], [ %count, %deliver_given ], [ %left1, %deliver ], [ %left1, %raise ]
  %throws = phi i32 [ 0, %begin ], [ 0, %deliver_given ], [ 0, %deliver ], [ %throwing, %raise ]
  %result = call ptr @run_frame(ptr %thread, ptr %frame, i32 %throws, i1 %near)
  %outermost = icmp eq i64 %left, 0
  br i1 %outermost, label %done, label %return
done:
  ret ptr %result
return:
  %left1 = sub i64 %left, 1
  %cframe = call ptr @get_ptr(ptr %thread, i64 {abi.THREAD.cframe})
  %waiting = load ptr, ptr %cframe
  %previous = call ptr @get_ptr(ptr %waiting, i64 {abi.FRAME.previous})
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
  %monitoring = call ptr @get_ptr(ptr %code, i64 {abi.CODE.monitoring})
  %unknown = icmp eq ptr %monitoring, null
  br i1 %unknown, label %make, label %look
look:
  %tools = call i8 @get_i8(ptr %monitoring, i64 {abi.MONITORING.active_monitors + _CALL_EVENT})
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
  call void @set_item_ptr(ptr %first, i64 %index, ptr %result)
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
  %resume = call ptr @get_ptr(ptr %record, i64 {word(RECORD_WORDS, "resume")})
  %word = ptrtoint ptr %chain to i64
  %no_chain = icmp eq i64 %word, 0
  br i1 %no_chain, label %nothing, label %live
nothing:
  call void @end_run()
  ret ptr inttoptr (i64 2 to ptr)
live:
  %is_object = trunc i64 %word to i1
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
  br i1 %is_object, label %deliver, label %run
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
  %result = phi ptr [ %some, %wait ], [ %made, %run ]
  call void @deliver(ptr %frame, ptr %result)
  store ptr %resume, ptr %instruction_place
  ret ptr inttoptr (i64 1 to ptr)
}}
"""
