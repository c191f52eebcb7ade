"""Which places of a whole program are taken on: the scout offers what is hot, and this is where it is refused.

In: code that is hot in a live frame. Out: its function is known to the registry, or it is not; why not needs no event,
since nothing of it was ever promised. Functions of minijit itself, and those that the settings `allow` and `deny` leave
out, are refused.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING

from minijit.cpython import raw
from minijit.driver.process import OURS
from minijit.ir.bytecode import decode
from minijit.runtime.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from minijit.cpython.frames import Frame
    from minijit.driver.registry import Registry


MANY = 10_000
"""How many places are remembered at most."""


@dataclass(frozen=True, slots=True)
class Offers:
    """To a registry."""

    registry: Registry
    _taken: Counter[tuple[object, ...]] = field(default_factory=Counter)

    def take_on(self, frame: Frame) -> bool:
        """Takes the function of a frame on, unless it is refused; whether it is known now."""
        function = raw.borrow(frame.function)
        if not isinstance(function, FunctionType) or not self.allows(function):
            return False
        if id(function) in self.registry.functions:
            return True
        if self._comes_too_often(function.__code__):
            return False
        self.registry.add(function, Policy(self.registry.config))
        if len(decode(function.__code__).loops) > 1:
            # To the scout, those that only move things about were not worth counting.
            self.registry.monitoring.hear_all(function.__code__)
        return True

    def _comes_too_often(self, code: CodeType) -> bool:
        """Whether functions of this code come and go: text that is executed again and again, code in one namespace
        after the other. To compile each anew costs more than it gives; there may be as many as one may be compiled."""
        if len(self._taken) > MANY:
            self._taken.clear()
        place = code.co_filename, code.co_qualname, code.co_firstlineno, hash(code.co_code)
        state = self.registry.codes.get(id(code))
        # What has compiled code for the next function of it costs nothing.
        self._taken[place] += state is None or state.spare is None
        return self._taken[place] > self.registry.config.compilations

    def allows(self, function: FunctionType) -> bool:
        """Whether a function is none of ours, and not left out by the settings."""
        if is_ours(function):
            return False
        config = self.registry.config
        name = f"{function.__globals__.get('__name__')}.{function.__code__.co_qualname}"
        return (not config.allowed or _matches(name, config.allowed)) and not _matches(name, config.denied)


def is_ours(function: FunctionType) -> bool:
    """Whether a function is one of minijit's."""
    return function.__code__.co_filename.startswith(OURS)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern is that of a name, or of what it is in."""
    return any(fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(name, f"{p}.*") for p in patterns)
