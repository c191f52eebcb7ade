"""The first stage of compilation: what the builder is asked for a root; and whether to ask gets anywhere.

In: a root's code, its profile and entry kinds, and what the driver knows of the world. Out: a `Build`. A whole
program's hot places are tried first with all that a recording would tell left open (`gets_anywhere`): most of what
cannot be compiled is found out by that, before LLVM is loaded and anything recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from minijit.build.builder import Builder
from minijit.build.bytecodes import HANDLERS
from minijit.build.request import Request, Scope
from minijit.driver.attributes import CLASSES
from minijit.driver.entries import call_kinds, loop_kinds, without_classes
from minijit.driver.present import Present
from minijit.events import ExitReason
from minijit.ir.bytecode import decode
from minijit.ir.kinds import ABSENT, held_fields
from minijit.ir.region import Callee, EntryPoint, Leave, Return
from minijit.ir.trace import Profile, Root

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import CodeType, FunctionType

    from minijit.build.request import Build
    from minijit.config import Config
    from minijit.cpython.frames import Frame
    from minijit.ir.bytecode import Code
    from minijit.ir.kinds import Kinds
    from minijit.ir.region import Block, Region
    from minijit.runtime.assume import Key


@dataclass(frozen=True, slots=True)
class World:
    """What a build is told of everything but the root.

    `namespaces` are the globals and builtins that the root's frames have, and `volatile` the globals that change often.
    `inlines` tells which functions may be inlined, `profiles` what was seen of these, and `body` gives those that are
    called, among them all code that `is_apart`; `look` says what stands in the heap where nothing was seen. `open` are
    names that a loop writes and does not have to itself: builds find out more of them (`Findings`).
    """

    namespaces: tuple[dict[str, object], dict[str, object]]
    inlines: Callable[[FunctionType], bool]
    body: Callable[[FunctionType, Kinds], Callee | None]
    volatile: frozenset[Key] = frozenset()
    is_apart: Callable[[CodeType], bool] = lambda _code: False
    open: Collection[str] = ()
    profiles: Callable[[CodeType], Profile | None] = lambda _code: None
    look: Callable[[str, tuple[object, ...]], object] = lambda _name, _arguments: ABSENT


def build_root(
    code: Code, root: Root, profile: Profile, kinds: Kinds, *, config: Config, world: World, compile_unseen: bool
) -> Build:
    """What the builder makes of a root for these entry kinds."""
    is_loop = root.point is EntryPoint.LOOP
    names = code.loop_names(root.offset) if is_loop else ()
    written = frozenset(world.open) & set(names) if is_loop else code.written_names
    own = frozenset((id(world.namespaces[0]), name) for name in written)
    request = Request(
        scope=Scope(code, *world.namespaces, names, held_fields(kinds), written if is_loop else frozenset()),
        profile=profile,
        root=root,
        entry_kinds=kinds,
        compile_unseen=compile_unseen,
        max_blocks=config.region_blocks,
        max_versions=config.block_versions,
        volatile=world.volatile | own,
        inlines=world.inlines,
        max_inlined=config.inlined_instructions,
        body=world.body,
        is_apart=world.is_apart,
        classes=CLASSES,
        profiles=world.profiles,
        look=world.look,
    )
    return Builder(request, HANDLERS).build()


@dataclass(frozen=True, slots=True)
class Findings:
    """What builds find out about how they should have been asked for.

    `met` are classes whose attributes cannot be variables, `open` names that cannot; `set_apart` takes code that is not
    to be inlined, and tells whether any of it was. `touched` says which globals bodies look at that are called.
    """

    met: set[int]
    open: set[str]
    set_apart: Callable[[frozenset[CodeType]], bool]
    touched: Callable[[tuple[Callee, ...]], frozenset[Key]] = lambda _callees: frozenset()

    def take(self, built: Build, namespace: int) -> bool:
        """Takes note of a build; whether there is anything new."""
        touched = built.touched | self.touched(built.callees)
        shared = {name for name in built.names if (namespace, name) in touched}
        is_other = not (built.aliased <= self.met and shared <= self.open)
        self.met.update(built.aliased)
        self.open.update(shared)
        return self.set_apart(built.apart) or is_other


def build_settled(
    build: Callable[[Kinds], Build], kinds: Kinds, namespace: int, findings: Findings
) -> tuple[Build, Kinds]:
    """Builds a root, and again as long as that finds out anything: there are only so many classes, names and functions.
    The last build, and the kinds that it is for."""
    while True:
        built = build(kinds)
        if not findings.take(built, namespace):
            return built, kinds
        kinds = without_classes(kinds, findings.met)


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
    apart: set[int] = set()
    open: set[str] = set()
    world = World(
        frame.namespaces(),
        inlines=lambda _: True,
        body=lambda function, _: Callee(function.__qualname__, 0),
        is_apart=lambda code: id(code) in apart,
        open=open,
        look=present.look,
    )

    def set_apart(codes: frozenset[CodeType]) -> bool:
        before = len(apart)
        apart.update(map(id, codes))
        return len(apart) > before

    findings = Findings(set(), open, set_apart)
    for guess in ("float", "int"):
        profile = Profile(set(decoded.instructions), dict.fromkeys(decoded.instructions, guess))
        ask = partial(build_root, decoded, root, profile, config=config, world=world, compile_unseen=True)
        if is_worthwhile(build_settled(ask, kinds, id(world.namespaces[0]), findings)[0].region):
            return True
    return False


def is_worthwhile(region: Region) -> bool:
    """Whether the region can get anywhere: round a loop, or to a return."""
    return any(_returns(region, b) or any(op.name == "poll" for op in b.ops) for b in region.blocks)


def _returns(region: Region, block: Block) -> bool:
    end = block.end
    is_return = isinstance(end, Leave) and region.exits[end.exit].reason is ExitReason.RETURNED
    return is_return or isinstance(end, Return)
