"""The mutants: deliberate bugs of the kinds that a compiler has, one place of the source each.

Each must be found by the random programs (see `mutants`). A row has a name, what is wrong, the module below `minijit`,
what stands there and what stands there instead. To be added to: whatever bug is found in minijit that no mutant is
like, and whatever is new and could be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` stands exactly once in the source of `minijit.<module>`."""

    name: str
    what: str
    module: str
    old: str
    new: str


_ROWS = (
    # What the machine's arithmetic does otherwise than Python's.
    Mutant(
        "floor-division-like-c",
        "// truncates",
        "backend.lower_ints",
        'e.define(op, f"sub i64 {quotient}, {lower}")',
        'e.define(op, f"add i64 {quotient}, 0")',
    ),
    Mutant(
        "modulo-like-c",
        "% has the dividend's sign",
        "backend.lower_ints",
        'e.define(op, f"add i64 {rest}, {more}")',
        'e.define(op, f"add i64 {rest}, 0")',
    ),
    *(
        Mutant(
            f"{name}-overflow",
            f"sums, differences or products of ints wrap ({name})",
            "backend.lower_ints",
            'e.leave_unless(e.let(f"xor i1 {overflow}, true"), op)',
            f'intrinsic == "s{name}" or e.leave_unless(e.let(f"xor i1 {{overflow}}, true"), op)',
        )
        for name in ("add", "sub", "mul")
    ),
    Mutant(
        "shift-overflow",
        "<< loses bits",
        "backend.lower_ints",
        'e.leave_unless(e.let(f"icmp eq i64 {back}, {value}"), op)',
        "pass",
    ),
    Mutant(
        "zero-divisor",
        "a zero divisor is not checked",
        "backend.lower_ints",
        'e.leave_unless(e.let(f"icmp ne i64 {divisor}, 0"), op)',
        "pass",
    ),
    Mutant(
        "inexact-division",
        "/ of ints rounds twice",
        "backend.lower_ints",
        'e.leave_unless(e.let(f"icmp ule i64 {moved}, {2 * EXACT_FLOATS}"), op)',
        "pass",
    ),
    Mutant(
        "int-meets-float",
        "an int is rounded before it is compared to a float",
        "backend.prelude",
        "%tie = select i1 %fraction, i32 -1, i32 0",
        "%tie = select i1 %fraction, i32 0, i32 0",
    ),
    Mutant(
        "large-ints-lose-a-digit",
        "an int of three digits is read as one of two",
        "backend.prelude",
        "%magnitude = phi i64 [ %two, %entry ], [ %all, %three ]",
        "%magnitude = phi i64 [ %two, %entry ], [ %two, %three ]",
    ),
    Mutant(
        "nan-is-equal",
        "a nan is not unequal to itself",
        "backend.lower_floats",
        'ROWS.plain("float_ne", "fcmp une double")',
        'ROWS.plain("float_ne", "fcmp one double")',
    ),
    Mutant(
        "sign-of-zero",
        "a zero rest of floats has no sign",
        "backend.lower_floats",
        'zero = e.let(f"call double @llvm.copysign.f64(double 0.0, double {divisor})")',
        'zero = e.let(f"call double @llvm.copysign.f64(double 0.0, double 1.0)")',
    ),
    Mutant(
        "round-half-away",
        "round goes away from zero at ties",
        "backend.lower_floats",
        '_rounded("float_round", "roundeven")',
        '_rounded("float_round", "round")',
    ),
    Mutant(
        "float-too-large-for-an-int",
        "int() of any float",
        "backend.lower_floats",
        'e.leave_unless(e.let(f"fcmp olt double {value}, {TWO_TO_63}"), op)',
        "pass",
    ),
    Mutant(
        "domain",
        "math functions give nan where they should raise",
        "backend.lower_floats",
        '    e.leave_unless(_finite(e, result), op)\n    e.define(op, f"fadd double {result}, -0.0")',
        '    e.define(op, f"fadd double {result}, -0.0")',
    ),
    # What the builder takes for granted.
    Mutant(
        "bools-are-ints",
        "True | False is an int",
        "build.numbers",
        "if left.kind is right.kind is Kind.BOOL and sign in _BOOL_OPS:",
        "if False:",
    ),
    Mutant(
        "large-constants-folded",
        "an int of 64 bits is known to be below 2**64, and that is not seen to rest on its overflow check",
        "build.numbers",
        "return b.op(always if holds else never, to_int(b, number), last)",
        "return Const(holds)",
    ),
    Mutant(
        "comparison-swapped",
        "a float compared to an int is compared the wrong way round",
        "build.numbers",
        'SWAPPED = {"<": ">",',
        'SWAPPED = {"<": ">=",',
    ),
    Mutant(
        "last-of-equals",
        "min and max of floats keep the last of equal ones",
        "build.calls",
        'replaces = b.op(f"float_{better}", operand, best)',
        """replaces = b.op(f"float_{better.replace('t', 'e')}", operand, best)""",
    ),
    Mutant(
        "range-one-short",
        "a range with a step loses its last value",
        "build.numbers",
        'padded = b.op("int_add", distance, rounding, reason=overflow)',
        "padded = distance",
    ),
    Mutant(
        "unbound-is-bound",
        "a name that is not bound on one way is taken for bound",
        "backend.lower_objects",
        '_pack(e, op, "unbound", "add i64 0, 0")',
        '_pack(e, op, "none", "add i64 0, 0")',
    ),
    Mutant(
        "attribute-of-the-wrong-item",
        "t[-1] is t[0]",
        "build.sequences",
        "b.state.push(items[index.value])",
        "b.state.push(items[max(index.value, 0)])",
    ),
    # Guards and entries.
    Mutant(
        "guard-left-out",
        "a number that is loaded is taken to be of the type that it had",
        "backend.lower_heap",
        "value = unbox(e, op.result.kind, e.use(op.args[0]), lambda condition: e.leave_unless(condition, op), FIXED)",
        "value = unbox(e, op.result.kind, e.use(op.args[0]), lambda condition: None, FIXED)",
    ),
    Mutant(
        "entry-without-types",
        "an entry does not look at types",
        "backend.lower_objects",
        'fail(e.let(f"icmp eq i64 {type_}, {id(python_type)}"))',
        "pass",
    ),
    Mutant(
        "entry-without-ranges",
        "an entry lets ints in that are larger than the region was made for",
        "backend.inputs",
        "            check(_within(e, value, INPUT_RANGES[kind]))\n            e.define",
        "            e.define",
    ),
    # Exits.
    Mutant(
        "locals-swapped",
        "snapshots have the first two locals swapped",
        "build.builder",
        "self._before = FrameState(offset, tuple(self.state.locals), tuple(self.state.stack))",
        "self._before = FrameState(\n                offset, tuple(self.state.locals[1::-1] + self.state.locals[2:]), tuple(self.state.stack)\n            )",
    ),
    Mutant(
        "exit-after-the-effect",
        "an exit goes on at the statement before, which is done twice",
        "build.builder",
        "self._before = FrameState(offset, tuple(self.state.locals), tuple(self.state.stack))\n        self._st",
        "before = offset if self._before is None or self.state.stack else self._before.offset\n"
        "        self._before = FrameState(before, tuple(self.state.locals), tuple(self.state.stack))\n        self._st",
    ),
    Mutant(
        "iterator-not-written-back",
        "a loop that is left on the stack has its iterator as it was entered",
        "backend.snapshots",
        "return (Make.HOME, self.placement.slot(home), self.positions[start], self.positions[length])",
        "return (Make.ENTRY, self.placement.slot(home))",
    ),
    Mutant(
        "name-not-written-back",
        "an exit leaves the first of a loop's names as it was entered",
        "backend.snapshots",
        "    for index, slot in writes(region, exit, placement):\n",
        "    for index, slot in writes(region, exit, placement):\n        if placement.outer(index) in placement.names[:1]:\n            continue\n",
    ),
    Mutant(
        "range-never-ends",
        "a round takes nothing from what is left of a range",
        "build.sequences",
        'left = b.op("int_sub_wrap", iterator.length, Const(1))',
        'left = b.op("int_sub_wrap", iterator.length, Const(0))',
    ),
    Mutant(
        "left-loop-early",
        "an exit for a way out of the loop goes on with the locals of before",
        "build.builder",
        "frame = state.statement or FrameState(offset, tuple(state.locals), tuple(state.stack))",
        "before = self._before.locals if self._before else tuple(state.locals)\n"
        "        frame = state.statement or FrameState(offset, before, tuple(state.stack))",
    ),
    Mutant(
        "any-as-int",
        "what is not known to be bool goes back as an int",
        "backend.lower_objects",
        """_pack(e, op, "bool", f"zext i1""",
        """_pack(e, op, "int", f"zext i1""",
    ),
    # References.
    Mutant(
        "reference-not-taken",
        "an argument that is returned is not counted",
        "backend.lower_exits",
        "    result = _plain_object(emitter, value)\n    emitter.incref(result)\n",
        "    result = _plain_object(emitter, value)\n",
    ),
    Mutant(
        "reference-kept",
        "leaving a call keeps a reference to each object made",
        "backend.leave_stubs",
        "ptr %objects)\n  call void @drop(ptr %objects, i64 %boxes)\n  ; Where",
        "ptr %objects)\n  ; Where",
    ),
    Mutant(
        "frame-without-references",
        "a frame that is made has its function without counting it",
        "backend.frame_stubs",
        "  call void @incref(ptr %function)\n",
        "",
    ),
    Mutant(
        "olds-kept",
        "what a loop's exit overwrites is not given back",
        "backend.leave_stubs",
        "  call void @drop(ptr %olds, i64 %most)\n",
        "",
    ),
    Mutant(
        "boxes-kept",
        "the arguments of a call of a builtin function are not given back",
        "backend.lower_objects",
        """        e.line(f"call void {e.c_function('Py_DecRef')}(ptr {box})")""",
        "        pass",
    ),
    # Calls of machine code.
    Mutant(
        "answers-uncounted",
        "an object that a callee gives is handed on to the interpreter without a reference",
        "backend.make_stubs",
        "reference:\n  %object = inttoptr i64 %bits to ptr\n  call void @incref(ptr %object)\n",
        "reference:\n  %object = inttoptr i64 %bits to ptr\n",
    ),
    Mutant(
        "waiting-at-the-call",
        "a frame whose callee was left makes the call again",
        "build.inline",
        "waiting = FrameState(i.next,",
        "waiting = FrameState(i.offset,",
    ),
    # Assumptions.
    Mutant(
        "stale-global",
        "a global that changes breaks nothing",
        "driver.broken",
        "if hash(key[1]) == change.hash:",
        "if False:",
    ),
    Mutant(
        "assumption-forgotten",
        "regions rest on nothing",
        "build.builder",
        "tuple(relies.assumptions.values()),",
        "(),",
    ),
    Mutant(
        "attributes-not-written",
        "attributes that have changed stay as they were where a region is left",
        "backend.snapshots",
        "        if placement.outer(index) is not None and held != Entry(index) and not isinstance(held, Hole):\n",
        "        if isinstance(placement.outer(index), str) and held != Entry(index) and not isinstance(held, Hole):\n",
    ),
    Mutant(
        "one-object-twice",
        "two arguments may be one object, whose attributes are variables of both",
        "backend.inputs",
        '                check(e.let(f"icmp ne ptr {object}, {other}"))\n',
        "                pass\n",
    ),
    Mutant(
        "shared-float-overwritten",
        "a float that an attribute has is overwritten though others hold it",
        "backend.heap_helpers",
        "  %is_own = icmp eq i64 %count, 1\n",
        "  %is_own = icmp ne i64 %count, 0\n",
    ),
    Mutant(
        "changed-under-one-name",
        "an instance that a region has made changes in the method that changes it, not where that was called",
        "build.state",
        "replace(c, locals=tuple(renewed(c.locals)), stack=",
        "replace(c, locals=c.locals, stack=",
    ),
    Mutant(
        "operands-reflected",
        "the operator of a class gets its operands the other way round",
        "build.operators",
        "found = [(first, [left, right]), ",
        "found = [(first, [right, left]), ",
    ),
    Mutant(
        "changes-not-looked-at",
        "a call entry does not look whether anything has changed",
        "backend.entry",
        'goes_to(e, "changed")(e.let(f"icmp eq i64 {written}, {settled}"))',
        "pass",
    ),
    # Passes.
    Mutant(
        "equal-constants",
        "constants that are equal are the same: 0.0 and -0.0, 1 and True",
        "ir.region",
        "return isinstance(other, Const) and self.value is other.value",
        "return isinstance(other, Const) and self.value == other.value",
    ),
    Mutant(
        "params-merge",
        "a parameter is what flows into it first",
        "opt.params",
        "if only is not None and arg != only:",
        "if False:",
    ),
    Mutant(
        "facts-kept",
        "what is known in one arm is believed in the other",
        "opt.imply",
        "        self.truth.rewind(truth)\n",
        "",
    ),
    Mutant(
        "counters-of-any-size",
        "any int counts as a small step",
        "opt.count",
        "return type(operand.value) is int and abs(operand.value) <= STEP",
        "return type(operand.value) is int",
    ),
    Mutant(
        "counters-from-anywhere",
        "a counter may begin anywhere",
        "opt.count",
        "return operand in self.starts\n",
        "return True\n",
    ),
    Mutant(
        "range-off-by-one",
        "what is at most n is taken for less than n",
        "opt.ranges",
        "place.known[operand] = narrowed",
        "place.known[operand] = narrowed[0], max(narrowed[0], narrowed[1] - 1)",
    ),
    Mutant(
        "range-of-the-other-arm",
        "not less is taken for more, not equal for equal",
        "opt.ranges",
        "self._compared(op.name if truth else OPPOSITE[op.name], op.args[0], op.args[1], place)",
        "self._compared(op.name if truth else SWAPPED[op.name], op.args[0], op.args[1], place)",
    ),
    Mutant(
        "unsigned-for-any",
        "one operand that is not negative makes a division unsigned",
        "opt.ranges",
        "if op.name in UNSIGNED and all(self.range(arg, place)[0] >= 0 for arg in op.args):",
        "if op.name in UNSIGNED and any(self.range(arg, place)[0] >= 0 for arg in op.args):",
    ),
    Mutant(
        "ranges-do-not-join",
        "a range does not grow upwards at joins",
        "opt.ranges",
        "low, high = min(old[0], new[0]), max(old[1], new[1])",
        "low, high = min(old[0], new[0]), old[1]",
    ),
    Mutant(
        "wraps-though-seen",
        "an op wraps though a comparison sees all of it",
        "opt.wrap",
        "            else:\n                seen.update(op.args)\n",
        "            else:\n                seen.update(op.args[1:])\n",
    ),
    Mutant(
        "mask-of-any-sign",
        "a negative mask is taken to cut the upper bits",
        "opt.wrap",
        "return any(isinstance(arg, Const) and isinstance(arg.value, int) and arg.value >= 0 for arg in op.args)",
        "return any(isinstance(arg, Const) and isinstance(arg.value, int) for arg in op.args)",
    ),
    Mutant(
        "strip-left-with-header",
        "a loop in strips that is left at a branch has the values with which the strip began",
        "opt.polls",
        "Leave(self.leaving(end.exit))",
        "Leave(end.exit)",
    ),
    Mutant(
        "strip-guard-with-header",
        "the same where a check fails",
        "opt.polls",
        "exit = None if op.exit is None else self.leaving(op.exit)",
        "exit = op.exit",
    ),
    Mutant(
        "strip-too-long",
        "a loop in strips runs a round too many",
        "opt.polls",
        'Op("int_min", (left, Const(STRIP)), self.rounds)',
        'Op("int_max", (left, Const(2)), self.rounds)',
    ),
    Mutant(
        "ends-for-any-step",
        "a loop that counts down knows its end as one that counts up",
        "opt.iterators",
        "ops.append(Op(ADD if pair.step == 1 else SUB, (edge.args[pair.next], left), end))",
        "ops.append(Op(ADD, (edge.args[pair.next], left), end))",
    ),
    Mutant(
        "exits-renumbered",
        "an exit that moves up takes its neighbour's snapshot",
        "opt.prune",
        "return Op(op.name, op.args, op.result, place[op.exit])",
        "return Op(op.name, op.args, op.result, max(place[op.exit] - 1, 0))",
    ),
)
CATALOGUE = {mutant.name: mutant for mutant in _ROWS}


@dataclass(frozen=True, slots=True)
class StageMutant(Mutant):
    """One of which it is known what the tools must say: the stage that is to blame, the function of
    `programs/stages.txt` that it concerns, and whether it shows only with LLVM's passes."""

    stage: str
    function: str
    needs_llvm: bool = False


_IF_SHIFT = 'if any(op.name == "int_lshift" for block in region.blocks for op in block.ops):'
_STAGE_ROWS = (
    StageMutant(
        "pass-wraps-products",
        "products wrap, masked or not",
        "opt.wrap",
        '    if not any(op.name == "int_and" and _masks(op) for block in region.blocks for op in block.ops):\n'
        "        return region\n"
        "    seen = _seen(region)\n",
        '    seen = _seen(region) - {op.result for block in region.blocks for op in block.ops if op.name == "int_mul"}\n',
        stage="wrap",
        function="product",
    ),
    StageMutant(
        "xor-is-or",
        "^ is built as |",
        "build.numbers",
        '"^": ("int_xor", None),',
        '"^": ("int_or", None),',
        stage="build",
        function="bits",
    ),
    StageMutant(
        "products-wrap",
        "the machine code of products wraps",
        "backend.lower_ints",
        'e.leave_unless(e.let(f"xor i1 {overflow}, true"), op)',
        'intrinsic == "smul" or e.leave_unless(e.let(f"xor i1 {overflow}, true"), op)',
        stage="lower",
        function="product",
    ),
    StageMutant(
        "overflow-denied",
        "a sum is looked at to find out whether it has overflowed, after LLVM was told that it does not",
        "backend.lower_ints",
        '        arguments = ", ".join(e.typed(a) for a in op.args)\n',
        """        if name == "int_add":
            left, right = map(e.use, op.args)
            total = e.let(f"add nsw i64 {left}, {right}")
            e.leave_unless(e.let(f"icmp sge i64 {total}, {left}"), op)
            e.define(op, f"add i64 {total}, 0")
            return
        arguments = ", ".join(e.typed(a) for a in op.args)
""",
        stage="lower",
        function="total",
        needs_llvm=True,
    ),
    StageMutant(
        "pass-crashes",
        "a pass ends the process when it meets a left shift",
        "opt.count",
        "    facts = _facts(region)\n    counted",
        f"    {_IF_SHIFT}\n        import os; os.kill(os.getpid(), 11)\n    facts = _facts(region)\n    counted",
        stage="count",
        function="shifted",
    ),
)
STAGES = {mutant.name: mutant for mutant in _STAGE_ROWS}
"""Bugs in known stages: what `bisect`, `reduce` and `check` are tried on. The random programs need not find them."""
