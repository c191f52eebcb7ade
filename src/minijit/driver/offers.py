"""Which places of a whole program are taken on: the scout offers what is hot, and this is where it is refused.

In: code that is hot in a live frame. Out: its function is known to the registry, or it is not; why not needs no event,
since nothing of it was ever promised. Functions of minijit itself, and those that the settings `allow` and `deny` leave
out, are refused.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING

from minijit.cpython import raw
from minijit.driver.process import OURS
from minijit.runtime.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minijit.cpython.frames import Frame
    from minijit.driver.registry import Registry


@dataclass(frozen=True, slots=True)
class Offers:
    """To a registry."""

    registry: Registry

    def take_on(self, frame: Frame) -> bool:
        """Takes the function of a frame on, unless it is refused; whether it is known now."""
        function = raw.borrow(frame.function)
        if not isinstance(function, FunctionType) or not self.allows(function):
            return False
        if id(function) not in self.registry.functions:
            self.registry.add(function, Policy(self.registry.config))
        return True

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
