"""Parsing the text form of regions (see `ir/text`).

In: text, and a function that says what `@name` stands for. Out: a region, or a `TextError` that names the
line and what was expected there. A region that parses may still be wrong: that is the verifier's to say
(`ir/check`); the parser only insists on what it needs to make one, such as that each value that is used is
defined somewhere.
"""

from __future__ import annotations

import builtins
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from minijit.events import ExitReason
from minijit.ir.kinds import EntryKind, Field, Kind
from minijit.ir.ops import TABLE
from minijit.ir.region import (
    Attribute,
    Block,
    Branch,
    Const,
    Edge,
    Entry,
    EntryPoint,
    Exit,
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
    VirtualRange,
    VirtualTuple,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class TextError(ValueError):
    """A text is no region: says where (line and column count from 1), and what was expected there."""

    def __init__(self, line: int, column: int, expected: str, found: str) -> None:
        self.what = f"expected {expected}, found {found or 'the end of the line'}"
        super().__init__(f"line {line}: {self.what}")
        self.line = line
        self.column = column
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for an object that a text names and that cannot be had here."""

    name: str


_STRING = r'"(?:[^"\\]|\\.)*"'
_CODE = re.compile(rf'(?:[^"#]|{_STRING})*')
_TOKEN = re.compile(
    rf"""\s*( {_STRING} | @[\w.]+ | -?0x[0-9a-f]+ | -?\d+(?:\.\d+)?(?:e[+-]?\d+)? | -?(?:inf|nan)\b
           | [A-Za-z_][\w.]* | [(),:=|\[\]] | \S )""",
    re.VERBOSE,
)
_NUMBERED = re.compile(r"(v|b|e|entry|tuple\.|instance\.|method\.|range\.|range_iter\.|list_iter\.|tuple_iter\.)(\d+)")
_KINDS = {kind.value: kind for kind in Kind}
_ENTRY_KINDS = {kind.value: kind for kind in EntryKind}
_POINTS = {point.value: point for point in EntryPoint}
_REASONS = {reason.label: reason for reason in ExitReason}
_HOLES = {hole.value: hole for hole in Hole}
_WORDS: dict[str, object] = {"True": True, "False": False, "None": None}


def builtin_or_opaque(name: str) -> object:
    """What `@name` stands for by default: `math`, something in it, a builtin, else an `Opaque`."""
    if name == "math":
        return math
    prefix, _, last = name.rpartition(".")
    home = {"": builtins, "math": math}.get(prefix)
    return vars(home)[last] if home is not None and last in vars(home) else Opaque(name)


def parse_region(text: str, resolve: Callable[[str], object] = builtin_or_opaque) -> Region:
    """The region that a text describes; `resolve` gives the object for each `@name`. Raises `TextError`."""
    lines = [_line(number, raw) for number, raw in enumerate(text.splitlines(), 1)]
    return _Parser([line for line in lines if line.tokens], resolve).region()


def _line(number: int, raw: str) -> _Line:
    """The tokens of a line, and where they begin."""
    code = _CODE.match(raw)
    assert code is not None  # it matches the empty string
    # A region's name is whatever stands there, such as `f.<locals>.<lambda>`.
    header = re.match(r'\s*(region)\s+([^\s"#]+)', code.group())
    found = [] if header is None else [(header[group], header.start(group)) for group in (1, 2)]
    tokens = _TOKEN.finditer(code.group(), 0 if header is None else header.end())
    found += [(token[1], token.start(1)) for token in tokens]
    rest = raw[code.end() :]  # a comment, or a string that does not end
    if rest and not rest.startswith("#"):
        found.append((rest, code.end()))
    ends = [start + len(token) for token, start in found[-1:]]
    columns = [column + 1 for column in (*(start for _, start in found), *ends)]
    return _Line(number, [token for token, _ in found], columns)


@dataclass(slots=True)
class _Line:
    """The tokens of one line, the column of each and of the line's end, and how far they have been read."""

    number: int
    tokens: list[str]
    columns: list[int]
    at: int = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def fail(self, expected: str) -> NoReturn:
        raise TextError(self.number, self.columns[self.at], expected, self.next)

    def take(self) -> str:
        token = self.next
        self.at += 1
        return token

    def skip(self, token: str) -> bool:
        """Takes the token if it is next."""
        if self.next != token:
            return False
        self.at += 1
        return True

    def expect(self, token: str) -> None:
        if not self.skip(token):
            self.fail(f"`{token}`")

    def end(self) -> None:
        if self.next:
            self.fail("the end of the line")

    def word[T](self, words: dict[str, T], expected: str) -> T:
        """One of a closed set of words."""
        if self.next not in words:
            self.fail(expected)
        return words[self.take()]

    def number_after(self, prefix: str, expected: str) -> int:
        """The number of `v1`, `b2`, `e3`."""
        match = _NUMBERED.fullmatch(self.next)
        if match is None or match[1] != prefix:
            self.fail(expected)
        self.take()
        return int(match[2])

    def string(self, expected: str) -> str:
        if not self.next.startswith('"'):
            self.fail(expected)
        try:
            value = json.loads(self.next)
        except json.JSONDecodeError:
            self.fail(expected)
        self.take()
        return str(value)

    def several[T](self, item: Callable[[_Line], T], *closing: str) -> tuple[T, ...]:
        """Items between commas up to one of the closing tokens, which is taken."""
        items: list[T] = []
        while self.next not in closing:
            if items:
                self.expect(",")
                if self.next in closing:
                    break
            items.append(item(self))
        self.take()
        return tuple(items)


class _Parser:
    """Reads lines into a region. Values may be used above their definitions, so these are looked up first."""

    def __init__(self, lines: list[_Line], resolve: Callable[[str], object]) -> None:
        self.lines = lines
        self.resolve = resolve
        self.at = 0
        self.values: dict[int, Value] = {}
        self.constants: dict[object, Const] = {}
        for line in lines:
            self.find_definitions(line)

    def find_definitions(self, line: _Line) -> None:
        for at, (token, after) in enumerate(zip(line.tokens, line.tokens[1:], strict=False)):
            match = _NUMBERED.fullmatch(token)
            if match is None or match[1] != "v" or after != ":":
                continue
            probe = _Line(line.number, line.tokens, line.columns, at + 2)
            value = Value(int(match[2]), probe.word(_KINDS, "a kind"))
            # Two definitions of one kind are left to the verifier.
            if self.values.setdefault(value.number, value) != value:
                raise TextError(line.number, line.columns[at], "one kind for each value", f"a second one for {token}")

    def line(self, expected: str) -> _Line:
        if self.at == len(self.lines):
            last = self.lines[-1].number if self.lines else 0
            raise TextError(last + 1, 1, expected, "the end of the text")
        return self.lines[self.at]

    def region(self) -> Region:
        line = self.line("`region`")
        line.expect("region")
        if not line.next:
            line.fail("a name")
        name = line.string("a name") if line.next.startswith('"') else line.take()
        point = line.word(_POINTS, "`call` or `loop`")
        line.expect("(")
        kinds = line.several(lambda x: x.word(_ENTRY_KINDS, "an entry kind"), ")")
        line.end()
        self.at += 1
        blocks: list[Block] = []
        while self.at < len(self.lines) and _is_numbered(self.lines[self.at], "b"):
            blocks.append(self.block(len(blocks)))
        exits: list[Exit] = []
        while self.at < len(self.lines):
            exits.append(self.exit(self.lines[self.at], len(exits)))
            self.at += 1
        return Region(name, point, kinds, tuple(blocks), tuple(exits))

    def block(self, number: int) -> Block:
        line = self.line("a block")
        if line.number_after("b", "a block") != number:
            raise TextError(line.number, line.columns[0], f"block b{number}", line.tokens[0])
        line.expect("(")
        params = line.several(self.definition, ")")
        line.expect(":")
        line.end()
        self.at += 1
        ops: list[Op] = []
        while True:
            line = self.line("an op, `jump`, `branch`, `return` or `leave`")
            self.at += 1
            end = self.terminator(line)
            if end is None:
                ops.append(self.op(line))
            line.end()
            if end is not None:
                return Block(params, tuple(ops), end)

    def terminator(self, line: _Line) -> Terminator | None:
        if line.skip("jump"):
            return Jump(self.edge(line))
        if line.skip("branch"):
            return Branch(self.operand(line), self.edge(line), self.edge(line))
        if line.skip("return"):
            return Return(self.slot(line))
        if line.skip("leave"):
            return Leave(line.number_after("e", "an exit"))
        return None

    def op(self, line: _Line) -> Op:
        result = None
        if _is_numbered(line, "v"):
            result = self.definition(line)
            line.expect("=")
        if line.next not in TABLE:
            line.fail("an op, `jump`, `branch`, `return` or `leave`")
        name = line.take()
        args: list[Operand] = []
        while line.next not in ("", "|"):
            if args:
                line.expect(",")
            args.append(self.operand(line))
        exit = line.number_after("e", "an exit") if line.skip("|") else None
        return Op(name, tuple(args), result, exit)

    def definition(self, line: _Line) -> Value:
        value = self.value(line)
        line.expect(":")
        line.word(_KINDS, "a kind")
        return value

    def value(self, line: _Line) -> Value:
        if not _is_numbered(line, "v") or int(line.next[1:]) not in self.values:
            line.fail("a value that is defined somewhere")
        return self.values[line.number_after("v", "a value")]

    def edge(self, line: _Line) -> Edge:
        target = line.number_after("b", "a block")
        line.expect("(")
        return Edge(target, line.several(self.operand, ")"))

    def exit(self, line: _Line, number: int) -> Exit:
        if line.next != f"e{number}":
            line.fail(f"a block, or exit e{number}")
        line.take()
        line.expect(":")
        reason = line.word(_REASONS, "an exit reason")
        if not re.fullmatch(r"@\d+", line.next):
            line.fail("`@` and a bytecode offset")
        offset = int(line.take()[1:])
        detail = "" if line.next == "[" else line.string("`[` or a detail in quotes")
        line.expect("[")
        before = line.several(self.slot, "|")
        stack = line.several(self.slot, "]")
        line.end()
        return Exit(reason, FrameState(offset, before, stack), detail)

    def slot(self, line: _Line) -> Slot:
        if line.skip("("):
            return VirtualTuple(line.several(self.slot, ")"))
        if line.next in _HOLES:
            return _HOLES[line.take()]
        if _is_numbered(line, "entry"):
            return Entry(line.number_after("entry", "an entry slot"))
        if _is_numbered(line, "tuple."):
            identity = line.number_after("tuple.", "a number that tells equal tuples apart")
            line.expect("(")
            return VirtualTuple(line.several(self.slot, ")"), identity)
        for name, read in (("instance", self.instance), ("method", self.method), ("range", self.range)):
            if _is_numbered(line, f"{name}."):
                return read(line, line.number_after(f"{name}.", f"a number that tells equal {name}s apart"))
            if line.skip(name):
                return read(line, 0)
        if line.skip("reference"):
            return self.reference(line)
        for name in ("range_iter", "list_iter", "tuple_iter"):
            found = self.iterator(line, name)
            if found is not None:
                return found
        return self.operand(line)

    def iterator(self, line: _Line, name: str) -> LoopIterator | None:
        """An iterator that is called so, if one is next."""
        home = line.number_after(f"{name}.", "an entry slot") if _is_numbered(line, f"{name}.") else None
        if home is None and not line.skip(name):
            return None
        if name == "range_iter":
            return RangeIterator(*self.three(line), home)
        return ItemIterator(*self.two(line), list if name == "list_iter" else tuple, home)

    def range(self, line: _Line, identity: int) -> VirtualRange:
        return VirtualRange(*self.three(line), identity)

    def instance(self, line: _Line, identity: int) -> VirtualInstance:
        line.expect("(")
        cls = self.constant(line)
        if line.next != ")":
            line.expect(",")
        return VirtualInstance(cls, line.several(self.attribute, ")"), identity)

    def method(self, line: _Line, identity: int) -> VirtualMethod:
        line.expect("(")
        function = self.constant(line)
        line.expect(",")
        owner = self.slot(line)
        line.expect(")")
        return VirtualMethod(function, owner, identity)

    def attribute(self, line: _Line) -> Attribute:
        name = line.take()
        if not name.isidentifier():
            line.at -= 1
            line.fail("an attribute's name")
        is_value = line.word({"value": True, "slot": False}, "`value` or `slot`")
        if not line.next.isdecimal():
            line.fail("how many bytes into it")
        offset = int(line.take())
        line.expect("=")
        return Attribute(Field(name, offset, is_value), self.slot(line))

    def reference(self, line: _Line) -> Reference:
        line.expect("(")
        value = self.operand(line)
        line.expect(",")
        cls = self.constant(line)
        line.expect(")")
        return Reference(value, cls)

    def two(self, line: _Line) -> tuple[Operand, Operand]:
        first, second = self.operands(line, 2)
        return first, second

    def three(self, line: _Line) -> tuple[Operand, Operand, Operand]:
        first, second, third = self.operands(line, 3)
        return first, second, third

    def operands(self, line: _Line, count: int) -> list[Operand]:
        """So many in brackets."""
        line.expect("(")
        found = [self.operand(line)]
        while len(found) < count:
            line.expect(",")
            found.append(self.operand(line))
        line.expect(")")
        return found

    def operand(self, line: _Line) -> Operand:
        if _is_numbered(line, "v"):
            return self.value(line)
        return self.constant(line)

    def constant(self, line: _Line) -> Const:
        token = line.next
        if token in _WORDS:
            return self.intern(line, token, _WORDS[token])
        if token.startswith('"'):
            text = line.string("a string")
            line.at -= 1
            return self.intern(line, (str, text), text)
        if re.fullmatch(r"@[A-Za-z_][\w.]*", token):
            return self.named(line, token)
        if re.fullmatch(r"-?\d+|-?0x[0-9a-f]+", token):
            number = int(token, 0)
            return self.intern(line, (int, number), number)
        try:
            real = float(token)
        except ValueError:
            line.fail("a value or a constant")
        return self.intern(line, (float, struct.pack("d", real)), real)

    def named(self, line: _Line, token: str) -> Const:
        if token not in self.constants:
            self.constants[token] = Const(self.resolve(token[1:]))
        line.take()
        return self.constants[token]

    def intern(self, line: _Line, key: object, value: object) -> Const:
        """One object for equal literals: floats are told apart by their bits."""
        line.take()
        return self.constants.setdefault(key, Const(value))


def _is_numbered(line: _Line, prefix: str) -> bool:
    match = _NUMBERED.fullmatch(line.next)
    return match is not None and match[1] == prefix
