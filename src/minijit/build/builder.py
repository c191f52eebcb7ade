"""The builder: abstract interpretation of the recorded bytecode, from the root's entry on, into a region.

In: a code object with the namespaces of its globals, its profile (which offsets a recording has seen), and a root with
its entry kinds. Out: a `Build`: the region, and the assumptions it rests on.

The walk makes block versions on demand (see `versions`): a straight run of instructions is interpreted with the kinds
it was reached with; at a join, the state's shape decides whether an existing version serves or a new one is made. An
edge that no recording took ends in an exit. Where a loop is the root, everything outside of the loop is an exit too.

What each instruction does is said by one function an instruction, in `bytecodes`; they call the methods of `Builder`
and know nothing of blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from minijit.build import closures, numbers, stores
from minijit.build.draft import Draft
from minijit.build.reliance import Reliance
from minijit.build.request import Build
from minijit.build.state import SOME, Caller, State, Wanted
from minijit.build.versions import Versions
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, ITERATED, RANGE_STEPS, ClassKind, EntryKind, FunctionKind, Kind, SlotKind
from minijit.ir.ops import PYTHON_TYPES
from minijit.ir.region import (
    Branch,
    Callee,
    Composite,
    Const,
    Edge,
    Entry,
    EntryPoint,
    FrameState,
    Hole,
    ItemIterator,
    Jump,
    Leave,
    LoopIterator,
    Op,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Terminator,
    Value,
    VirtualInstance,
    VirtualMethod,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minijit.build.request import Request, Scope
    from minijit.ir.bytecode import Code, Instruction


_OBSERVED = {python_type.__name__: kind for kind, python_type in PYTHON_TYPES.items()}


class Builder:
    """Builds one region. Instructions see `state` (the frame), `request`, and the methods below the line."""

    def __init__(self, request: Request, handlers: Mapping[str, Callable[[Builder, Instruction], None]]) -> None:
        self.request = request
        self.state = State(request.scope, [])
        self._handlers = handlers
        self._slot_kinds = request.slot_kinds
        self.relies = Reliance(self._slot_kinds, request.classes)
        self._draft = Draft()
        self.samples: dict[Operand, object] = {}
        self._versions = Versions(request, self._draft, self.samples)
        self._visited: set[int] = set()
        self._depth = 0
        self.offset = request.root.offset
        self.keywords: tuple[str, ...] = ()
        self._postponed = False
        self._before: FrameState | None = None
        self._statement_exits: dict[tuple[ExitReason, str], int] = {}
        self._entry_objects: dict[int, Value] = {}
        self._indices: dict[object, Const] = {}
        self._walks: dict[tuple[object, ...], int] = {}
        loop = request.scope.code.loops.get(request.root.offset)
        self._inside = loop.body if loop is not None and request.root.point is EntryPoint.LOOP else None

    def build(self) -> Build:
        """Walks everything that can be reached."""
        self._start()
        while self._versions.work:
            self._run(*self._versions.work.pop())
        blocks, exits = self._draft.finished()
        request, relies = self.request, self.relies
        kinds = tuple(kind if isinstance(kind, EntryKind) else EntryKind.OBJECT for kind in self._slot_kinds)
        return Build(
            Region(request.scope.code.code.co_name, request.root.point, kinds, blocks, exits),
            tuple(relies.assumptions.values()),
            request.scope.names,
            request.scope.fields,
            tuple((slot, kind) for slot, kind in enumerate(self._slot_kinds) if isinstance(kind, ClassKind)),
            tuple(relies.modules.values()),
            tuple(relies.inlined.values()),
            tuple(relies.given.values()),
            tuple(relies.callees.values()),
            tuple(relies.classes.values()),
            tuple(relies.met.values()),
            frozenset(relies.aliased),
            frozenset(relies.apart),
            frozenset((*relies.assumptions, *relies.looked_up)),
            self._depth,
            tuple(relies.unheard.values()),
            frozenset(self._visited),
        )

    def _start(self) -> None:
        """The entry block: its parameters are the inputs, and it jumps to the root's first version."""
        params: list[Value] = []
        entry = self._draft.new_block(())
        slots = [self._entry_slot(index, kind, params) for index, kind in enumerate(self._slot_kinds)]
        self._draft.blocks[entry].params = tuple(params)
        count, code = self.request.scope.locals_count, self.request.scope.code
        slots.extend([Hole.UNBOUND] * (count - len(slots)))
        if self.request.root.point is EntryPoint.CALL:
            # Attributes are behind the cells.
            first = code.locals_count - closures.captured(code)
            slots[first : code.locals_count] = closures.own_cells(self, code)
        for place, name in enumerate(self.request.scope.names, code.locals_count):
            if name in self.request.scope.open:
                slots[place] = Entry(place)
        self.state = State(self.request.scope, slots[:count], slots[count:])
        self._before = FrameState(self.request.root.offset, tuple(self.state.locals), tuple(self.state.stack))
        self.end(Jump(self.edge(self.request.root.offset, join=True)))

    def _entry_slot(self, index: int, kind: SlotKind, params: list[Value]) -> Slot:
        def new(kind: Kind) -> Value:
            params.append(self.fresh(kind))
            return params[-1]

        match kind:
            case EntryKind.INT | EntryKind.SMALL_INT | EntryKind.NATURAL | EntryKind.SHORT:
                return new(Kind.INT)
            case EntryKind.FLOAT:
                return new(Kind.FLOAT)
            case EntryKind.BOOL:
                return new(Kind.BOOL)
            case EntryKind.NONE:
                return Const(None)
            case EntryKind.RANGE_ITERATOR:
                return RangeIterator(new(Kind.INT), new(Kind.INT), new(Kind.INT), index)
            case EntryKind.RANGE_UP | EntryKind.RANGE_DOWN:
                start, stop = new(Kind.INT), new(Kind.INT)
                up = kind is EntryKind.RANGE_UP
                # As of `range(start, stop)`; short ints cannot overflow.
                size = self.op("int_sub_wrap", *((stop, start) if up else (start, stop)))
                return RangeIterator(start, Const(RANGE_STEPS[kind]), self.op("int_max", size, Const(0)), index)
            case EntryKind.LIST_ITERATOR | EntryKind.TUPLE_ITERATOR:
                items = new(Kind.OBJECT)
                self.samples[items] = self.request.look("entry_items", (index,))
                return ItemIterator(items, new(Kind.INT), ITERATED[kind], index)
            case EntryKind.REFERENCE:
                return Reference(new(Kind.OBJECT), SOME)
            case EntryKind.OBJECT | FunctionKind() | ClassKind():
                return Entry(index)
            case EntryKind.UNBOUND:
                return Hole.UNBOUND

    def _run(self, block: int, offset: int, state: State) -> None:
        """Interprets instructions into a block until it ends."""
        self._draft.at, self.state, self._before = block, state, None
        code = state.scope.code
        first, self._postponed = True, False
        while self._draft.block.end is None and not self._postponed:
            if not first and offset in code.joins:
                self.end(Jump(self.edge(offset)))
                return
            first = False
            if self.is_outside(self.state, offset):
                self._leave_at(offset, ExitReason.LEFT_LOOP)
                return
            instruction, self.offset = code.instructions[offset], offset
            if not state.callers:
                self._visited.add(offset)
            self._snapshot(offset)
            handler = self._handlers.get(instruction.name)
            if handler is None:
                self.unsupported(instruction.name)
                return
            handler(self, instruction)
            offset = instruction.next

    def _snapshot(self, offset: int) -> None:
        """Takes the snapshot for the exits to come, where a statement begins: the stack holds nothing but what loops
        and `with` have there.

        A statement's exits share it: nothing that compiled code does before them has an effect, so that the interpreter
        can do the whole statement again. (What has one begins a statement anew.) Fewer snapshots mean less code and
        fewer values that must be kept. So do those of the calls that are inlined in it, and all as long as something is
        moot.
        """
        state = self.state
        if state.statement is not None:
            if self._before is not state.statement:
                self._before, self._statement_exits = state.statement, {}
            if not state.callers and not state.has_moot:
                self._be_done()
                self.begin_statement(offset)
            return
        if self._before is None or all(isinstance(slot, LoopIterator | VirtualMethod) for slot in self.state.stack):
            self.begin_statement(offset)

    def _leave_at(self, offset: int, reason: ExitReason, detail: str = "") -> None:
        state = self.state
        frame = state.statement or FrameState(offset, tuple(state.locals), tuple(state.stack))
        self.end(Leave(self._draft.new_exit(reason, frame, self._detailed(detail))))

    def _detailed(self, detail: str) -> str:
        """What is told of an exit: in which inlined function it is."""
        return f"{detail} in {self.code.code.co_qualname}".strip() if self.state.callers else detail

    # ---- what instructions use

    @property
    def code(self) -> Code:
        """The code object of the instruction at hand."""
        return self.state.scope.code

    def observed_kind(self, offset: int) -> Kind | None:
        """The kind that recordings saw on top of the stack at an offset of the region's own frame."""
        return None if self.state.callers else _OBSERVED.get(self.request.profile.tops.get(offset, ""))

    def observed(self, offset: int, sample: object) -> tuple[type, ...]:
        """The classes of what is loaded: those that recordings saw on top of the stack at an offset of the frame at
        hand; else that of a sample, if there is one."""
        profile = self.request.profiles(self.code.code) if self.state.callers else self.request.profile
        found = () if profile is None else profile.classes_at(offset)
        if not found and sample is ABSENT and self.state.callers:
            self.relies.unheard[id(self.code.code)] = self.code.code
        return found if found or sample is ABSENT else (type(sample),)

    def times(self, what: str, i: Instruction) -> int:
        """How often an instruction has asked this, in all its versions."""
        walk = what, self.state.path, i.offset
        self._walks[walk] = self._walks.get(walk, 0) + 1
        return self._walks[walk]

    def fresh(self, kind: Kind) -> Value:
        """A new machine value."""
        return self._draft.fresh(kind)

    def identity(self) -> int:
        """The identity of a new virtual object."""
        return self._draft.identity()

    def exit(self, reason: ExitReason, detail: str = "") -> int:
        """The exit for this reason: the interpreter does the statement again."""
        key = (reason, detail)
        if key not in self._statement_exits:
            self._statement_exits[key] = self._draft.new_exit(reason, self.before, self._detailed(detail))
        return self._statement_exits[key]

    def op(
        self, name: str, *args: Operand, reason: ExitReason | None = None, kind: Kind | None = None, detail: str = ""
    ) -> Value:
        """Appends an op and gives its result. `reason` is that of its exit; `kind` that of a result the row leaves
        open."""
        found = self._draft.op(name, args, None if reason is None else self.exit(reason, detail), kind)
        if found.kind is Kind.OBJECT:
            self.samples[found] = self.request.look(name, tuple(map(self.sample, args)))
        return found

    def sample(self, operand: Operand) -> object:
        """What an operand could be; ABSENT where nobody can tell."""
        return operand.value if isinstance(operand, Const) else self.samples.get(operand, ABSENT)

    def call_body(self, callee: Callee, arguments: list[Operand], waiting: FrameState) -> Value:
        """Appends a call of other machine code, and gives its answer. The frame is `waiting` while that is under way:
        so it is finished by the interpreter if the callee is left."""
        self.relies.on_body(callee)
        result, exit = self.fresh(Kind.ANY), self._draft.new_exit(ExitReason.CALLEE_LEFT, waiting)
        self._draft.block.ops.append(Op("call_body", (Const(callee), *arguments), result, exit))
        # It may store anything anywhere.
        self.state.loaded = {}
        return result

    def begin_statement(self, offset: int) -> None:
        """From now on the interpreter goes on here, with what the state holds now."""
        self._before = FrameState(offset, tuple(self.state.locals), tuple(self.state.stack))
        self._statement_exits = {}

    def entry_object(self, slot: int) -> Value:
        """What the entry has found in a slot, by its address."""
        if slot not in self._entry_objects:
            value = self.fresh(Kind.OBJECT)
            self._draft.blocks[0].ops.append(Op("entry_object", (Const(slot),), value))
            self._entry_objects[slot] = value
            self.samples[value] = self.request.look("entry_object", (slot,))
        return self._entry_objects[slot]

    def index(self, number: Const) -> Const:
        """The same constant for equal numbers: an index is a place, which two constants would be two of."""
        return self._indices.setdefault(number.value, number)

    def is_object(self, entry: Entry) -> bool:
        """Whether a slot's entry has not looked at what is there."""
        return self._slot_kinds[entry.slot] is EntryKind.OBJECT

    def is_handled(self, offset: int) -> bool:
        """Whether a handler would get what is raised at an offset, but not what is raised where the loop is entered."""
        return self._inside is not None and self.code.handler(offset) is not None

    def effect(self, name: str, *args: Operand, reason: ExitReason, detail: str = "") -> None:
        """Appends an op that has no result."""
        self._draft.block.ops.append(Op(name, args, None, self.exit(reason, detail)))

    @property
    def before(self) -> FrameState:
        """Where the interpreter goes on if the statement is left."""
        assert self._before is not None
        return self._before

    def is_outside(self, state: State, offset: int) -> bool:
        """Whether the frame of a state is the region's own, and an offset not in the loop that is compiled."""
        return self._inside is not None and not state.callers and offset not in self._inside

    def is_known(self, state: State, offset: int) -> bool:
        """Whether a recording has been at an offset of the frame of a state, or it is compiled all the same."""
        # What inlined functions do is in no profile of ours.
        return self.request.compile_unseen or bool(state.callers) or offset in self.request.profile.seen

    def end(self, end: Terminator) -> None:
        """Ends the block."""
        self._draft.block.end = end

    def unsupported(self, detail: str, reason: ExitReason = ExitReason.UNSUPPORTED) -> None:
        """Ends the block: the interpreter goes on from the statement's beginning."""
        if reason is ExitReason.UNSUPPORTED and id(self.code.code) in self.relies.unheard:
            # More may be possible when more is known of this inlined function.
            reason = ExitReason.UNSEEN
        self.end(Leave(self.exit(reason, detail)))

    def branch(self, condition: Operand, then: tuple[int, State], otherwise: tuple[int, State]) -> None:
        """Ends the block with a branch to two offsets, each with the state it is reached with."""
        sides = []
        for offset, state in (then, otherwise):
            self.state = state
            sides.append(self.edge(offset, conditional=True))
        self.end(Branch(condition, *sides))

    def is_repeated(self, offset: int) -> bool:
        """Whether an offset of an inlined function, or a call of one that it is in, is in a loop of such a function."""
        inner = [(self.code, offset), *((caller.scope.code, caller.next) for caller in self.state.callers[1:])]
        return bool(self.state.callers) and any(at in loop.body for code, at in inner for loop in code.loops.values())

    @property
    def is_overwriting(self) -> bool:
        """Whether the statement at hand stores something over what is no number, or nothing yet, as was found out."""
        return self._before is not None and self._before.offset in self.request.profile.overwritten

    @property
    def is_full(self) -> bool:
        """Whether the region has reached its block budget: what is under way is finished, and nothing begun."""
        return self._versions.is_full

    def split(self, condition: Operand) -> tuple[int, int]:
        """Ends the block with a branch inside one instruction; the blocks of the two sides, to be entered with
        `resume`."""
        numbers = tuple(self._draft.new_block(()) for _ in range(2))
        self.end(Branch(condition, Edge(numbers[0], ()), Edge(numbers[1], ())))
        return numbers[0], numbers[1]

    def resume(self, block: int) -> None:
        """Goes on in a block made by `split`, with the current state."""
        self._draft.at = block

    @property
    def here(self) -> int:
        """The block at hand."""
        return self._draft.at

    def later(self, block: int, offset: int, state: State) -> None:
        """A block made by `split` goes on at an offset; the present walk ends with this instruction."""
        self._postponed = True
        if offset not in state.scope.code.joins:
            self._versions.work.append((block, offset, state))
            return
        self._draft.at, self.state = block, state
        self.end(Jump(self.edge(offset)))

    def aside(self, block: int, offset: int, state: State) -> None:
        """The same, but the present walk goes on."""
        here, before, postponed = self.here, self.state, self._postponed
        self.later(block, offset, state)
        self._draft.at, self.state, self._postponed = here, before, postponed

    def postpone(self) -> None:
        """The present walk ends with this instruction: all that follows was put `aside`."""
        self._postponed = True

    def edge(self, offset: int, *, conditional: bool = False, join: bool = False) -> Edge:
        """An edge from the current block and state to a bytecode offset."""
        if conditional and not self.is_known(self.state, offset) and not self.is_outside(self.state, offset):
            return self._exit_edge(offset, ExitReason.UNTAKEN)
        if self.is_outside(self.state, offset):
            return self._exit_edge(offset, ExitReason.LEFT_LOOP)
        if not join and offset not in self.code.joins:
            if self.is_full:
                return self._exit_edge(offset, ExitReason.TOO_MANY_BLOCKS)
            block = self._draft.new_block(())
            self._versions.work.append((block, offset, self.state.copy()))
            return Edge(block, ())
        version = self._versions.find(self.state, offset)
        if version is None:
            return self._exit_edge(offset, ExitReason.TOO_MANY_BLOCKS)
        return self._versions.edge(self.state, version)

    def back_edge(self, header: int) -> Edge:
        """An edge back to a loop header, by way of its latch, which polls: one for all back edges of a version."""
        if self.is_outside(self.state, header):
            return self._exit_edge(header, ExitReason.LEFT_LOOP)
        version = self._versions.find(self.state, header)
        if version is None:
            return self._exit_edge(header, ExitReason.TOO_MANY_BLOCKS)
        return self._versions.edge(self.state, self._versions.latch(self.state, header, version))

    def return_value(self, value: Slot) -> None:
        """Ends the block: the region's function returns. Attributes get their values then."""
        if not self.request.scope.fields:
            self.end(Return(self._answer(value)))
            return
        first = self.request.scope.locals_count - len(self.request.scope.fields)
        locals = (*[Hole.UNBOUND] * first, *self.state.locals[first:])
        self.end(Leave(self._draft.new_exit(ExitReason.RETURNED, FrameState(0, locals, (value,)))))

    def _answer(self, value: Slot) -> Slot:
        """What the region returns: a body makes what its caller is to find by its address."""
        if self.request.root.point is not EntryPoint.BODY or not isinstance(value, Composite):
            return value
        made = stores.all_made(self, [value])
        return value if made is None else Reference(made[0], SOME)

    # ---- attributes

    def class_of(self, slot: Slot) -> ClassKind | None:
        """The class of an object that the entry has found, of one that the region makes, or that it has met, if its
        attributes are known."""
        match slot:
            case Entry(number):
                kind = self._slot_kinds[number]
                return kind if isinstance(kind, ClassKind) else None
            case VirtualInstance(cls):
                return self.relies.classes[id(cls.value)]
            case Reference(_, Const(cls)):
                return self.relies.on_instance(cls) if isinstance(cls, type) else None
            case _:
                return None

    # ---- inlined calls

    def call_into(self, scope: Scope, arguments: list[Slot], next: int, wanted: Wanted) -> None:
        """Goes on at the beginning of a function that is called, whose locals are these; the call's operands are off
        the stack, and its result is wanted at `next`."""
        state = self.state
        caller = Caller(state.scope, self.offset, next, tuple(state.locals), tuple(state.stack), wanted)
        callers = (*state.callers, caller)
        self._depth = max(self._depth, len(callers))
        inner = State(scope, arguments, [], callers, self.before, state.pending, state.loaded)
        self.later(self._draft.at, 0, inner)

    def return_from(self, value: Slot) -> None:
        """Goes on in the caller of an inlined function."""
        *around, caller = self.state.callers
        given = self._given(value, caller.wanted)
        if given is None:
            self.unsupported("RETURN_VALUE")
            return
        state = State(caller.scope, list(caller.locals), [*caller.stack, *given], tuple(around))
        state.loaded, state.pending = self.state.loaded, self.state.pending
        state.statement = self.state.statement
        self.state = state
        if not around and not state.has_moot:
            self._be_done()
        self.later(self._draft.at, caller.next, self.state)

    def _be_done(self) -> None:
        """What the frames have done since the beginning of the statement will not be done again."""
        self.state.statement = None
        stores.carry_out(self)
        self.state.settle()

    def _given(self, value: Slot, wanted: Wanted) -> list[Slot] | None:
        """What a caller gets on its stack for what an inlined function returns; None if the interpreter would have
        something to say to that."""
        match wanted:
            case Wanted.RESULT | Wanted.CALLED:
                return [value]
            case Wanted.NOTHING:
                return []
            case Wanted.NONE:
                return [] if isinstance(value, Const) and value.value is None else None
            case Wanted.OPERAND:
                return [value] if self._is_operand(value) else None
            case Wanted.INVERSE:
                truth = numbers.truth(self, value) if self._is_operand(value) else None
                if isinstance(truth, Const):
                    return [Const(not truth.value)]
                return None if truth is None else [self.op("bool_not", truth)]
            case Wanted.TRUTH:
                is_bool = isinstance(value, Value | Const) and value.kind is Kind.BOOL
                return [value] if is_bool else None
            case Wanted.LENGTH:
                length = numbers.scalar(value)
                if length is None or length.kind is not Kind.INT:
                    return None
                self.effect("guard_true", self.op("int_ge", length, Const(0)), reason=ExitReason.DOMAIN)
                return [length]
            case _:
                assert_never(wanted)

    def _is_operand(self, value: Slot) -> bool:
        """Whether it is not NotImplemented."""
        if isinstance(value, Const):
            return value.value is not NotImplemented
        if isinstance(value, Reference):
            return value.cls not in (SOME, Const(type(NotImplemented)))
        return not isinstance(value, Entry) or self.class_of(value) is not None

    # ---- blocks and versions

    def _exit_edge(self, offset: int, reason: ExitReason) -> Edge:
        """An edge to a block that leaves at once."""
        here, block = self._draft.at, self._draft.new_block(())
        self._draft.at = block
        self._leave_at(offset, reason)
        self._draft.at = here
        return Edge(block, ())
