"""The first stage of compilation: what the builder is asked for a root; and whether to ask gets anywhere.

In: a root's code, its profile and entry kinds, and what the driver knows of the world. Out: a `Build`. A whole
program's hot places are tried first with all that a recording would tell left open (`gets_anywhere`): most of what
cannot be compiled is found out by that, before LLVM is loaded and anything recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build.builder import Builder
from minijit.build.bytecodes import HANDLERS
from minijit.build.request import ABSENT, Request, Scope
from minijit.driver.attributes import CLASSES
from minijit.driver.entries import call_kinds, loop_kinds
from minijit.driver.present import Present
from minijit.events import ExitReason
from minijit.ir.bytecode import decode
from minijit.ir.kinds import held_fields
from minijit.ir.region import Callee, EntryPoint, Leave, Return
from minijit.ir.trace import Profile, Root

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType

    from minijit.build.request import Build
    from minijit.config import Config
    from minijit.cpython.frames import Frame
    from minijit.ir.bytecode import Code
    from minijit.ir.kinds import Kinds
    from minijit.ir.region import Block, Region
    from minijit.runtime.assume import Key


def build_root(
    code: Code,
    root: Root,
    profile: Profile,
    kinds: Kinds,
    config: Config,
    volatile: frozenset[Key],
    namespaces: tuple[dict[str, object], dict[str, object]],
    *,
    compile_unseen: bool,
    inlines: Callable[[FunctionType], bool],
    body: Callable[[FunctionType, Kinds], Callee | None],
    profiles: Callable[[CodeType], Profile | None] = lambda _code: None,
    look: Callable[[str, tuple[object, ...]], object] = lambda _name, _arguments: ABSENT,
) -> Build:
    """What the builder makes of a root for these entry kinds.

    `namespaces` are the globals and builtins that its frames have; `inlines` tells which functions may be inlined, and
    `body` gives those that are called; `profiles` says what was seen of the first, `look` what stands in the heap where
    nothing was.
    """
    is_loop = root.point is EntryPoint.LOOP
    own = frozenset() if is_loop else frozenset((id(namespaces[0]), name) for name in code.written_names)
    request = Request(
        scope=Scope(code, *namespaces, code.loop_names(root.offset) if is_loop else (), held_fields(kinds)),
        profile=profile,
        root=root,
        entry_kinds=kinds,
        compile_unseen=compile_unseen,
        max_blocks=config.region_blocks,
        max_versions=config.block_versions,
        volatile=volatile | own,
        inlines=inlines,
        max_inlined=config.inlined_instructions,
        body=body,
        classes=CLASSES,
        profiles=profiles,
        look=look,
    )
    return Builder(request, HANDLERS).build()


def gets_anywhere(frame: Frame, code: CodeType, header: int | None, config: Config) -> bool:
    """Whether a frame's code could be worth compiling, from where the frame stands now: its start, or a loop's header.

    Every branch counts as seen, every function as compiled, and what C functions give as a float, or else as an int: so
    that the answer is no only where it would be so after a recording.
    """
    decoded = decode(code)
    if header is None:
        root, kinds = Root(EntryPoint.CALL, 0), call_kinds(decoded, frame)
    elif header in decoded.loops:
        root, kinds = Root(EntryPoint.LOOP, header), loop_kinds(decoded, header, frame)
    else:
        return False
    if kinds is None:
        return False
    names = () if header is None else decoded.loop_names(header)
    present = Present(frame, decoded.locals_count, (*names, *held_fields(kinds)))
    return any(
        is_worthwhile(
            build_root(
                decoded,
                root,
                Profile(set(decoded.instructions), dict.fromkeys(decoded.instructions, guess)),
                kinds,
                config,
                frozenset(),
                frame.namespaces(),
                compile_unseen=True,
                inlines=lambda _: True,
                body=lambda function, _: Callee(function.__qualname__, 0),
                look=present.look,
            ).region
        )
        for guess in ("float", "int")
    )


def is_worthwhile(region: Region) -> bool:
    """Whether the region can get anywhere: round a loop, or to a return."""
    return any(_returns(region, b) or any(op.name == "poll" for op in b.ops) for b in region.blocks)


def _returns(region: Region, block: Block) -> bool:
    end = block.end
    is_return = isinstance(end, Leave) and region.exits[end.exit].reason is ExitReason.RETURNED
    return is_return or isinstance(end, Return)
