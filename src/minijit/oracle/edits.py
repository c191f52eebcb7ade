"""What may be done to a program to make it smaller, as changes of its syntax tree.

In: a tree. Out: `Edit`s, each of which may make a program that does something else, or none at all: who tries them
decides (see `reduce`). An edit is a few fields of nodes with other values, so that it is done and undone in place. Some
are made for the state of the tree in which they are asked for, so they are generated one after the other.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = tuple[ast.AST, str, Any]

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
DEEPEST = 40
"""How many expressions within one are tried in its place."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Fields of nodes, and the values that they are to have."""

    changes: tuple[Change, ...]

    def apply(self) -> Edit:
        """Does it; the edit that undoes it."""
        undo = Edit(tuple((node, name, getattr(node, name)) for node, name, _ in self.changes))
        for node, name, value in self.changes:
            setattr(node, name, value)
        return undo


def with_field(node: ast.AST, name: str, value: Any) -> Edit:
    return Edit(((node, name, value),))


def size(tree: ast.AST) -> int:
    """How many nodes a tree has."""
    return sum(1 for _ in ast.walk(tree))


# Lists


def lists(node: ast.AST) -> list[str]:
    """The fields of a node that are lists."""
    return [name for name, value in ast.iter_fields(node) if isinstance(value, list) and value]


def with_items(node: ast.AST, name: str, items: list[Any]) -> Edit:
    """A list with other items. A body must not be empty."""
    if not items and name == "body" and not isinstance(node, ast.Module):
        items = [ast.Pass()]
    return with_field(node, name, items)


# Statements


def statements(tree: ast.AST) -> Iterator[Edit]:
    """Parts of a statement in its place."""
    for node in ast.walk(tree):
        for name in lists(node):
            items = getattr(node, name)
            if isinstance(items[0], ast.stmt):
                for statement in items:
                    yield from _parts_instead(node, name, statement)


def _parts_instead(node: ast.AST, name: str, statement: ast.stmt) -> Iterator[Edit]:
    for part in _parts(statement):
        items = getattr(node, name)
        if statement not in items:
            return
        at = items.index(statement)
        yield with_field(node, name, [*items[:at], *part, *items[at + 1 :]])


def _parts(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    body, orelse, finally_ = (getattr(statement, name, []) for name in ("body", "orelse", "finalbody"))
    yield from (part for part in (body, orelse, body + orelse, body + finally_) if part)
    for handler in getattr(statement, "handlers", []):
        yield handler.body
    for case in getattr(statement, "cases", []):
        yield case.body
    for value in (
        getattr(statement, "value", None),
        getattr(statement, "test", None),
        getattr(statement, "iter", None),
    ):
        if isinstance(value, ast.expr) and not isinstance(statement, ast.Expr):
            yield [ast.Expr(value)]
    if isinstance(statement, ast.AugAssign):
        yield [ast.Assign([statement.target], statement.value, lineno=0)]


def unpackings(tree: ast.AST) -> Iterator[Edit]:
    """`a, b = x, y` without one of its pairs."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple() as left], value=ast.Tuple() as right):
                for position in reversed(range(len(left.elts))):
                    if position < len(left.elts) == len(right.elts) > 1:
                        yield _without_pair(node, left, right, position)
            case _:
                continue


def _without_pair(node: ast.Assign, left: ast.Tuple, right: ast.Tuple, position: int) -> Edit:
    targets, values = _without(left.elts, position), _without(right.elts, position)
    if len(targets) == 1:
        return Edit(((node, "targets", targets), (node, "value", values[0])))
    return Edit(((left, "elts", targets), (right, "elts", values)))


def _without[T](items: list[T], position: int) -> list[T]:
    return items[:position] + items[position + 1 :]


# Names


def constants(tree: ast.AST) -> Iterator[Edit]:
    """`x = 5` gone, and 5 wherever `x` is read; also for `x = y`."""
    for node in ast.walk(tree):
        for name in lists(node):
            for statement in getattr(node, name):
                match statement:
                    case ast.Assign(targets=[ast.Name(id=known)], value=(ast.Constant() | ast.Name()) as value):
                        items = [item for item in getattr(node, name) if item is not statement]
                        yield Edit((*with_items(node, name, items).changes, *_in_place_of(tree, known, value)))
                    case _:
                        continue


def _in_place_of(tree: ast.AST, name: str, value: ast.expr) -> tuple[Change, ...]:
    """The changes that put a value wherever a name is read."""

    def is_read(node: Any) -> bool:
        return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)

    changes: list[Change] = []
    for node in ast.walk(tree):
        for field, old in ast.iter_fields(node):
            if is_read(old):
                changes.append((node, field, copy.deepcopy(value)))
            elif isinstance(old, list) and any(map(is_read, old)):
                changes.append((node, field, [copy.deepcopy(value) if is_read(item) else item for item in old]))
    return tuple(changes)


# Functions


def parameters(tree: ast.AST) -> Iterator[Edit]:
    """A function without one of its parameters: where it is read stands what some call gives, or 1."""
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS):
            for parameter in reversed(function.args.args):
                yield from _without_parameter(tree, function, parameter)


def _without_parameter(tree: ast.AST, function: Any, parameter: ast.arg) -> Iterator[Edit]:
    position, defaults = function.args.args.index(parameter), function.args.defaults
    # Defaults are those of the last parameters.
    own = position - len(function.args.args) + len(defaults)
    calls = [call for call in _calls(tree, function.name) if len(call.args) > position]
    known = [*(call.args[position] for call in calls), *defaults[max(own, 0) :][: own >= 0]]
    given = [value for value in known if isinstance(value, ast.Constant)]
    changes = (
        (function.args, "args", _without(function.args.args, position)),
        (function.args, "defaults", _without(defaults, own) if own >= 0 else defaults),
        *((call, "args", _without(call.args, position)) for call in calls),
    )
    # Calls within the function are changed as calls only: elsewhere in it the value stands for the parameter.
    taken = {id(call) for call in calls}
    for value in (*given[:1], ast.Constant(1)):
        reads = _in_place_of(ast.Module(function.body, []), parameter.arg, value)
        yield Edit((*(change for change in reads if id(change[0]) not in taken), *changes))


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def inlinings(tree: ast.AST) -> Iterator[Edit]:
    """The body of a function without parameters in place of a statement that calls it."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and not node.args.args}
    for node in ast.walk(tree):
        for name in lists(node):
            for statement in list(getattr(node, name)):
                match statement:
                    case ast.Expr(ast.Call(func=ast.Name(id=called))) if called in functions:
                        yield _inlined(node, name, statement, functions[called], None)
                    case ast.Assign(targets=[ast.Name() as target], value=ast.Call(func=ast.Name(id=called))):
                        if called in functions:
                            yield _inlined(node, name, statement, functions[called], target)
                    case _:
                        continue


def _inlined(node: ast.AST, name: str, call: ast.stmt, function: ast.FunctionDef, target: ast.Name | None) -> Edit:
    body = [_global(statement) for statement in copy.deepcopy(function.body)]
    match body[-1]:
        case ast.Return(value=ast.expr() as value):
            # `f = f` is of no use.
            is_same = isinstance(value, ast.Name) and target is not None and value.id == target.id
            result: list[ast.stmt] = [ast.Expr(value) if target is None else ast.Assign([target], value, lineno=0)]
            body[-1:] = [] if is_same else result
        case _:
            pass
    items = [item for item in getattr(node, name) if item is not function]
    at = next((at for at, item in enumerate(items) if item is call), len(items))
    return with_field(node, name, [*items[:at], *body, *items[at + 1 :]])


def _global(statement: ast.stmt) -> ast.stmt:
    """What was a variable of the function around is a global one then."""
    for node in ast.walk(statement):
        for name in lists(node):
            items = [ast.Global(item.names) if isinstance(item, ast.Nonlocal) else item for item in getattr(node, name)]
            setattr(node, name, items)
    return statement


# Expressions


def expressions(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Where expressions are that are read: a node, a field, and the place in it if that is a list."""
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr) and _is_read(value):
                yield node, name, None
            elif isinstance(value, list):
                yield from ((node, name, at) for at, item in enumerate(value) if _is_read(item))


def _is_read(node: Any) -> bool:
    return isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def expression_at(node: ast.AST, name: str, at: int | None) -> ast.expr | None:
    """What is there now; None if there is nothing any more."""
    value = getattr(node, name)
    if at is None:
        return value if _is_read(value) else None
    return value[at] if at < len(value) and _is_read(value[at]) else None


def smaller(node: ast.AST, name: str, at: int | None) -> Iterator[Edit]:
    """Something smaller in the place of an expression: one that is within it, or a number."""
    expression = expression_at(node, name, at)
    if expression is None:
        return
    within = (part for part in ast.walk(expression) if part is not expression and _is_read(part))
    for part in (*islice(within, DEEPEST), *map(ast.Constant, _numbers(node, expression))):
        value: Any = part
        if at is not None:
            items = getattr(node, name)
            value = [*items[:at], part, *items[at + 1 :]]
        yield with_field(node, name, value)


def _numbers(node: ast.AST, expression: ast.expr) -> tuple[Any, ...]:
    match expression:
        case ast.Constant(value=bool() | None):
            return (0, 1)
        case ast.Constant(value=int() as value):
            return (0, 1, 2, *(value // 10**digits for digits in (9, 6, 3, 1)))
        case ast.Constant(value=float() as value):
            return (0, 1, 0.0, 1.0, 0.5)
        case ast.Constant(value=str()):
            return ("",)
        case _ if isinstance(node, ast.While):
            return (0,)  # for ever is of no use
    return (0, 1, 1.5)


type Edits = Callable[[ast.AST], Iterator[Edit]]
WHOLE: tuple[Edits, ...] = (statements, unpackings, constants, parameters, inlinings)
"""The edits of statements and definitions."""
