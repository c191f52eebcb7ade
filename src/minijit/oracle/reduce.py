"""Makes a program small that shows something, so that it can be understood what it shows.

In: the text of a program, and a predicate that tells whether a text is still of interest. Out: a text for which the
predicate holds and of which nothing more can be taken away, as far as `edits` knows how. The predicate may be asked
about anything that compiles, but never twice about the same text: it must be ready for programs that fail or never end.

The way is hierarchical delta debugging (Misherghi and Su, 2006): the lists of the syntax tree, from the top down, each
without half of its items, without a quarter, and so on (Zeller's ddmin). So whole functions go first, before anything
is tried on what is in them. Then statements are replaced by their parts, names by values, expressions by parts of
themselves or by numbers; all of it again until nothing helps any more. A step is taken only if it leaves fewer nodes,
or as many in less text: so there is an end.
"""

from __future__ import annotations

import ast
import warnings
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minijit.oracle import edits

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.oracle.edits import Edit

    Predicate = Callable[[str], object]


class NotInteresting(ValueError):
    """The predicate does not hold for the program as it is."""


def reduce(text: str, is_interesting: Predicate) -> str:
    """The program made smaller. Raises `NotInteresting`, and `SyntaxError` for what is no program."""
    reducer = Reducer(ast.parse(text), is_interesting)
    if not is_interesting(reducer.text):
        raise NotInteresting("the program does not show what is looked for")
    while reducer.round():
        pass
    return reducer.text


@dataclass(slots=True)
class Reducer:
    """The program as it is now: a tree, and the text of it. `tried` are all texts that were thought of."""

    tree: ast.Module
    is_interesting: Predicate
    text: str = field(init=False)
    tried: set[str] = field(default_factory=set)
    _size: int = field(init=False)

    def __post_init__(self) -> None:
        self.text = ast.unparse(self.tree)
        self._size = edits.size(self.tree)

    def round(self) -> bool:
        """Tries everything once; whether anything helped."""
        before = self.text
        self._shrink_lists()
        for kind in edits.WHOLE:
            for edit in kind(self.tree):
                self.attempt(edit)
        self._shrink_expressions()
        return self.text != before

    def attempt(self, edit: Edit) -> bool:
        """Makes a change if what is left is smaller and still of interest; whether it was made."""
        undo = edit.apply()
        size = edits.size(self.tree)
        if size <= self._size:
            text = ast.unparse(self.tree)
            if (size, len(text)) < (self._size, len(self.text)) and self._is_good(text):
                self.text, self._size = text, size
                return True
        undo.apply()
        return False

    def _is_good(self, text: str) -> bool:
        if text in self.tried:
            return False
        self.tried.add(text)
        return _compiles(text) and bool(self.is_interesting(text))

    def _shrink_lists(self) -> None:
        """From the top down."""
        nodes: deque[ast.AST] = deque([self.tree])
        while nodes:
            node = nodes.popleft()
            for name in edits.lists(node):
                self._shrink_list(node, name)
            nodes.extend(ast.iter_child_nodes(node))

    def _shrink_list(self, node: ast.AST, name: str) -> None:
        """From the end, since what comes later needs what comes before."""
        chunk = len(getattr(node, name))
        while chunk:
            end = len(getattr(node, name))
            while end > 0:
                items: list[Any] = getattr(node, name)
                start = max(0, end - chunk)
                self.attempt(edits.with_items(node, name, items[:start] + items[end:]))
                end = start
            chunk //= 2

    def _shrink_expressions(self) -> None:
        for node, name, at in edits.expressions(self.tree):
            # What was put there may be made smaller in its turn.
            while any(self.attempt(edit) for edit in edits.smaller(node, name, at)):
                pass


def _compiles(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constants where variables were
        try:
            compile(text, "<program>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            return False
    return True
