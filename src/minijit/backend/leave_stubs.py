"""The stubs that leave regions.

**Leaving a call** (the teleport): a frame is pushed on the thread's data stack as the interpreter's own call does it,
filled from the snapshot, and given to `_PyEval_EvalFrameDefault`, which goes on with the instruction that the record
names and pops the frame when it is done. No event is needed and nothing runs in between. See docs/decisions/0002.

**Leaving a loop**: the live frame gets what the snapshot says, and the jump that is under way ends elsewhere.

A run of the region ends (`end_run`) when its values are objects: from there on it is the interpreter's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.frame_stubs import load_record
from minijit.backend.snapshots import KEEP_SLOT
from minijit.backend.stub_tools import c_function
from minijit.backend.words import Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def leave_text(at: StubAddresses) -> str:
    """The text of `leave_call`, `leave_loop` and `leave_return`."""
    return "".join((_write_places(at), _leave_call(), _rewrite(), _leave_loop(), _leave_return()))


def _leave_call() -> str:
    load = load_record()
    return f"""
declare ptr @llvm.stacksave.p0()
declare void @llvm.stackrestore.p0(ptr)

; %a is the function, %b its arguments in the order of its parameters, borrowed.
define ptr @leave_call(ptr %function, ptr %arguments, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %number = call i64 @bump(ptr %record)
  %hot = icmp eq i64 %number, %hot_at
  %stack = call ptr @llvm.stacksave.p0()
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  call void @end_run()
  br i1 %made, label %frame, label %fail
frame:
  %thread = call ptr @thread()
  %framesize = call i64 @frame_size(ptr %code)
  %frame_memory = call ptr @push_frame(ptr %thread, i64 %framesize)
  %no_frame = icmp eq ptr %frame_memory, null
  br i1 %no_frame, label %fail, label %fill
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr null
fill:
  call void @fill_frame(ptr %frame_memory, ptr %function, ptr %code, ptr %resume, i64 %slots)
  %first = call ptr @at(ptr %frame_memory, i64 {abi.FRAME.localsplus})
  call void @fill_slots(ptr %first, ptr %map, i64 %slots, ptr %objects)
  %written = call i1 @write_places(ptr %frame_memory, ptr %places, i64 %stores, ptr %objects)
  call void @drop(ptr %objects, i64 %boxes)
  ; Where this function recurses there are as many of these stubs on the stack as it is deep.
  call void @llvm.stackrestore.p0(ptr %stack)
  br i1 %hot, label %tell, label %run
tell:
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %run
run:
  call void @let_go()
  %near = call i1 @is_near(ptr %thread)
  %result = call ptr @run_frame(ptr %thread, ptr %frame_memory, i32 0, i1 %near)
  ret ptr %result
}}
"""


def _write_places(at: StubAddresses) -> str:
    return f"""
; Names of the frame's globals, and attributes of objects, get the values that a record has for them; whether all did.
; What was there before is a number, or None, that nobody misses: nothing runs, and only watchers notice.
define internal i1 @write_places(ptr %frame, ptr %places, i64 %count, ptr %objects) {{
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %field ], [ %k1, %name ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %yes, label %one
one:
  %triple = getelementptr [3 x i64], ptr %places, i64 %k
  %where = load i64, ptr %triple
  %holder = call i64 @item_i64(ptr %triple, i64 1)
  %box = call i64 @item_i64(ptr %triple, i64 2)
  %object = call ptr @item_ptr(ptr %objects, i64 %box)
  %k1 = add i64 %k, 1
  %is_name = icmp slt i64 %holder, 0
  br i1 %is_name, label %name, label %field
name:
  %globals = call ptr @get_ptr(ptr %frame, i64 {abi.FRAME.f_globals})
  %key = inttoptr i64 %where to ptr
  %how = call i32 {c_function(at, "PyDict_SetItem")}(ptr %globals, ptr %key, ptr %object)
  %done = icmp eq i32 %how, 0
  br i1 %done, label %next, label %no
field:
  %owner = call ptr @item_ptr(ptr %objects, i64 %holder)
  %place = call ptr @field_place(ptr %owner, i64 %where)
  %old = load ptr, ptr %place
  call void @incref(ptr %object)
  store ptr %object, ptr %place
  call void @decref(ptr %old)
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}}
"""


def _rewrite() -> str:
    load = load_record()
    return f"""
; %frame is live: its slots get what the snapshot says, and the jump that is under way ends at `resume`. 1, or 2 with an
; exception set where an object could not be made. The driver is asked about a hot exit if it %may be.
define internal i64 @rewrite(ptr %frame, i64 %record_word, i1 %may) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %number = call i64 @bump(ptr %record)
  %hot = icmp eq i64 %number, %hot_at
  %objects = alloca ptr, i64 %boxes
  %first = call ptr @at(ptr %frame, i64 {abi.FRAME.localsplus})
  %made = call i1 @make(ptr %record, ptr %first, ptr %objects)
  call void @end_run()
  br i1 %made, label %write, label %fail
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret i64 2
write:
  %old_top_place = call ptr @at(ptr %frame, i64 {abi.FRAME.stacktop})
  %old_top32 = load i32, ptr %old_top_place
  %old_top = sext i32 %old_top32 to i64
  %most = call i64 @llvm.smax.i64(i64 %old_top, i64 %slots)
  ; What is overwritten is given back only when the frame is whole again: it may run any code.
  %olds = alloca ptr, i64 %most
  br label %next
next:
  %k = phi i64 [ 0, %write ], [ %k1, %put ]
  %end = icmp eq i64 %k, %most
  br i1 %end, label %written, label %one
one:
  %slot = getelementptr ptr, ptr %first, i64 %k
  %is_old = icmp slt i64 %k, %old_top
  %loaded = load ptr, ptr %slot
  %old = select i1 %is_old, ptr %loaded, ptr null
  %is_new = icmp slt i64 %k, %slots
  br i1 %is_new, label %mapped, label %put
mapped:
  %box = call i64 @item_i64(ptr %map, i64 %k)
  %kept = icmp eq i64 %box, {KEEP_SLOT}
  br i1 %kept, label %put, label %replaced
replaced:
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  br label %put
put:
  %new = phi ptr [ null, %one ], [ %old, %mapped ], [ %object, %replaced ]
  %given_back = phi ptr [ %old, %one ], [ null, %mapped ], [ %old, %replaced ]
  store ptr %new, ptr %slot
  call void @set_item_ptr(ptr %olds, i64 %k, ptr %given_back)
  %k1 = add i64 %k, 1
  br label %next
written:
  %top = trunc i64 %slots to i32
  store i32 %top, ptr %old_top_place
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.prev_instr}, ptr %resume)
  %named = call i1 @write_places(ptr %frame, ptr %places, i64 %stores, ptr %objects)
  br i1 %named, label %whole, label %release
whole:
  %asks = and i1 %hot, %may
  br i1 %asks, label %tell, label %release
tell:
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %release
release:
  %how = phi i64 [ 2, %written ], [ 1, %whole ], [ 1, %tell ]
  ; This may run any code, which may take the region out of service: the record is not touched any more.
  call void @drop(ptr %objects, i64 %boxes)
  call void @drop(ptr %olds, i64 %most)
  call void @let_go()
  ret i64 %how
}}
"""


def _leave_loop() -> str:
    return """
; Ends a region in a live frame.
define ptr @leave_loop(ptr %frame, ptr %thread, i64 %record_word, ptr %unused) {
  %how = call i64 @rewrite(ptr %frame, i64 %record_word, i1 true)
  %status = inttoptr i64 %how to ptr
  ret ptr %status
}
"""


def _leave_return() -> str:
    load = load_record()
    return f"""
; Makes the objects of a record and returns that of its last slot. A body, whose callers are not left by this, has no
; %function here.
define ptr @leave_return(ptr %function, ptr %arguments, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  call void @end_run()
  br i1 %made, label %give, label %fail
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr null
give:
  %last = sub i64 %slots, 1
  %box = call i64 @item_i64(ptr %map, i64 %last)
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  %written = call i1 @write_places(ptr null, ptr %places, i64 %stores, ptr %objects)
  call void @drop(ptr %objects, i64 %boxes)
  %is_body = icmp eq ptr %function, null
  br i1 %is_body, label %done, label %left
left:
  call void @let_go()
  br label %done
done:
  ret ptr %object
}}
"""
