"""The stubs: machine code that exists once a process and stands between the interpreter and regions.

| stub | called by | does |
| --- | --- | --- |
| `on_start`, `on_jump` | `sys.monitoring`, PY_START and JUMP | counts; enters a loop's region in the live frame |
| `on_instruction` | `sys.monitoring`, INSTRUCTION | hands a step on to the recording's handler |
| `miss`, `watched` | a call entry that cannot take the call | counts, interprets |
| `changed` | a call entry | has noted changes dealt with, calls again |
| `reach` | `cpython.hooks`, once | gives the C stack between the interpreter's loop and an entry |
| `bind` | a call entry | makes a positional argument array of keywords and defaults |
| `checked` | a call entry whose turn it is to be checked | does the call twice |
| `plainly` | a call entry in what the interpreter does for the second time | interprets |
| `leave_call` | an exit of a region entered by a call | builds the interpreter frame and lets the interpreter run it |
| `leave_loop` | an exit of a region entered in a live frame | rewrites that frame |
| `leave_return` | a return of an object that must be made, or of attributes | makes it, writes them |
| `leave_body` | an exit of a region that machine code has called | makes an image of the frame (see `image_stubs`) |
| `leave_waiting`, `leave_loop_waiting` | a region whose callee was left | has that finished (see `waiting_stubs`) |

The helpers of `prelude`, which regions call, are compiled along with them.

**Python is called** at a recording's steps, for calls that are checked (`check_stub`), and otherwise through one
handler, `handler(kind, a, b)`, at thresholds only (`Call` lists the kinds). A handler never raises into the program,
and the program's signal handlers do not run inside of it (see `handler_stub`): they are held back for the time, and
while one is waiting to be handled, a threshold is put off by one.

What Python writes and the stubs read, and why they call, stands in `words`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.call_stubs import call_text
from minijit.backend.check_stub import check_text
from minijit.backend.event_stubs import event_text
from minijit.backend.frame_stubs import frame_text
from minijit.backend.image_stubs import image_text
from minijit.backend.leave_stubs import leave_text
from minijit.backend.make_stubs import make_text
from minijit.backend.prelude import HELPERS, helper_text
from minijit.backend.stub_tools import common_text
from minijit.backend.waiting_stubs import waiting_text

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses

_ENTRIES = (
    "on_start",
    "on_jump",
    "on_instruction",
    "miss",
    "watched",
    "changed",
    "reach",
    "bind",
    "checked",
    "plainly",
)
_WAYS_OUT = ("leave_call", "leave_loop", "leave_return", "leave_body", "leave_waiting", "leave_loop_waiting")
STUBS = (*HELPERS, *_ENTRIES, *_WAYS_OUT, "raise_self", "release")


def stub_text(at: StubAddresses) -> str:
    """The LLVM text of all stubs."""
    parts = (
        helper_text(at.symbol, at.kept, at.relied, at.others),
        common_text(at),
        event_text(at),
        call_text(at),
        check_text(at),
        make_text(at),
        frame_text(at),
        leave_text(at),
        image_text(at),
        waiting_text(at),
    )
    return "\n".join(parts)
