"""Images: frames of machine code that other machine code has called, in memory of their own.

While a callee's body is left, machine code of its callers is on the C stack, and each waits for a result. No Python
code may run in there. So the stub (`leave_body`) makes an *image* of the frame; the body answers its caller with that,
which makes one of its own frame, waiting at the call, in front of it; and so on, until the caller is one that the
interpreter has called. There the whole chain becomes frames on the thread's data stack (`revive`), the outermost first,
as if the interpreter had made the calls itself. What becomes of these is told in `waiting_stubs`.

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

from minijit.backend.frame_stubs import load_record
from minijit.backend.stub_tools import c_function
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses

_NEXT, _RESULT, _RECORD, _SIZE = 0, 8, 16, 24
_IMAGE_BYTES = 32
"""Where an image's words are, and where its frame begins."""


def image_text(at: StubAddresses) -> str:
    """The text of `drop_chain`, `leave_body`, `revive` and `deepen`."""
    return "".join((_drop_chain(at), _leave_body(at), _revive(at)))


def _drop_chain(at: StubAddresses) -> str:
    return f"""
; Gives back what a caller has got instead of a value: an object that was made, or a chain of images.
define internal void @drop_chain(i64 %what) {{
entry:
  %is_object = trunc i64 %what to i1
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
  %following = call ptr @get_ptr(ptr %image, i64 {_NEXT})
  %result = call ptr @get_ptr(ptr %image, i64 {_RESULT})
  call void @decref(ptr %result)
  %frame = getelementptr i8, ptr %image, i64 {_IMAGE_BYTES}
  %code = load ptr, ptr %frame
  %function = call ptr @get_ptr(ptr %frame, i64 {abi.FRAME.f_funcobj})
  %top32 = call i32 @get_i32(ptr %frame, i64 {abi.FRAME.stacktop})
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
{load_record()}
  %number = call i64 @bump(ptr %record)
  %is_object = trunc i64 %chain to i1
  %is_exit = icmp eq i64 %chain, 0
  %is_innermost = or i1 %is_object, %is_exit
  %is_threshold = icmp eq i64 %number, %hot_at
  %hot = and i1 %is_innermost, %is_threshold
  %told = select i1 %hot, i64 %record_word, i64 0
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  br i1 %made, label %room, label %fail
room:
  %framesize = call i64 @frame_size(ptr %code)
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
  call void @set_ptr(ptr %image, i64 {_NEXT}, ptr %following)
  call void @set_ptr(ptr %image, i64 {_RESULT}, ptr %result)
  call void @set_i64(ptr %image, i64 {_RECORD}, i64 %told)
  call void @set_i64(ptr %image, i64 {_SIZE}, i64 %framesize)
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
  %size = call i64 @get_i64(ptr %image, i64 {_SIZE})
  %sum1 = add i64 %sum, %size
  %following = call ptr @get_ptr(ptr %image, i64 {_NEXT})
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
  %cframe = call ptr @get_ptr(ptr %thread, i64 {abi.THREAD.cframe})
  br label %one
one:
  %from = phi ptr [ %chain, %begin ], [ %then, %link ]
  %frame = phi ptr [ %memory, %begin ], [ %next_frame, %link ]
  %waiting = phi i64 [ 0, %begin ], [ %waiting1, %link ]
  %words = call i64 @get_i64(ptr %from, i64 {_SIZE})
  %bytes = shl i64 %words, 3
  %source = getelementptr i8, ptr %from, i64 {_IMAGE_BYTES}
  call void @llvm.memcpy.p0.p0.i64(ptr %frame, ptr %source, i64 %bytes, i1 false)
  %then = call ptr @get_ptr(ptr %from, i64 {_NEXT})
  %result = call ptr @get_ptr(ptr %from, i64 {_RESULT})
  %record = call i64 @get_i64(ptr %from, i64 {_RECORD})
  call void {c_function(at, "free")}(ptr %from)
  %innermost = icmp eq ptr %then, null
  br i1 %innermost, label %done, label %link
link:
  %previous = load ptr, ptr %cframe
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.previous}, ptr %previous)
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
  call void @add_to(ptr %place, i32 %more)
  ret void
}}
"""
