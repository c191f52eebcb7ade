"""Assumptions: which region relies on which entry of which namespace, and what changes too often to be relied on.

One registry. A change comes in as (namespace, name, new value); the regions that must be killed come out. Values are
known by address, which is enough: a namespace holds the assumed value until the change that breaks the assumption.
Names whose changes have broken regions `patience` times, in service or under way, become *volatile*: the builder then
reads them each time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

Key = tuple[int, str]
"""The address of a namespace's dict, and a name in it; or that of a function or a class, and its own name."""

ABSENT = 0
"""What a region assumed of a name that was not there: the address of no object."""
UNKNOWN = -1
"""What a function or a class is after it changed: nothing that anyone assumed."""


@dataclass(slots=True)
class Assumptions[R]:
    """Who relies on what. `R` is what gets killed; the registry only hands it back.

    Namespaces are known by address: a dict's watcher tells when it dies (`forget`), which may be in the midst of any
    other method, since a collection may begin anywhere. So what is looked through is copied first, by one call.
    """

    patience: int
    dependents: dict[Key, dict[int, tuple[R, int]]] = field(default_factory=dict)
    kills: Counter[Key] = field(default_factory=Counter)

    def add(self, key: Key, region: R, assumed: int) -> bool:
        """Notes that the region relies on `key` being `assumed`; whether it is the first to rely on the key."""
        first = key not in self.dependents
        self.dependents.setdefault(key, {})[id(region)] = (region, assumed)
        return first

    def remove(self, key: Key, region: R) -> bool:
        """Takes a region out; whether it was the last to rely on the key."""
        regions = self.dependents.get(key)
        if regions is None:
            return False
        regions.pop(id(region), None)
        return not regions and self.dependents.pop(key, None) is not None

    def broken_by(self, key: Key, new: int) -> list[R]:
        """The regions that a change of `key` to `new` (or ABSENT, or UNKNOWN) breaks; counts towards its volatility."""
        broken = [region for region, assumed in self._relying(key) if assumed != new]
        if broken:
            self.kills[key] += 1
        return broken

    def broken_with(self, address: int) -> list[R]:
        """The regions that rely on a function or a class, which has changed; counts likewise."""
        return [region for key in self.keys_of(address) for region in self.broken_by(key, UNKNOWN)]

    def count_for(self, region: R, key: Key) -> None:
        """`key` changed before the region was known to rely on it; which counts, unless it will count for others."""
        if self.relying_on(key) == [region]:
            self.kills[key] += 1

    def assumed_by(self, key: Key, region: R) -> int:
        """What a region assumes of a key that it relies on."""
        return self.dependents[key][id(region)][1]

    def relying_on(self, key: Key) -> list[R]:
        """The regions that rely on a key."""
        return [region for region, _ in self._relying(key)]

    def _relying(self, key: Key) -> list[tuple[R, int]]:
        return list(self.dependents.get(key, {}).values())

    def keys_of(self, namespace: int) -> list[Key]:
        """The keys of one namespace that someone relies on."""
        return [key for key in list(self.dependents) if key[0] == namespace]

    def forget(self, namespace: int) -> tuple[list[Key], list[R]]:
        """The namespace is gone; its address may come to stand for another. The keys that were relied on, and the
        regions that relied on them."""
        for key in [key for key in list(self.kills) if key[0] == namespace]:
            del self.kills[key]
        keys = [key for key in list(self.dependents) if key[0] == namespace]
        relied = [list(self.dependents.pop(key, {}).values()) for key in keys]
        return keys, [region for regions in relied for region, _ in regions]

    def volatile(self) -> frozenset[Key]:
        """The keys that changed too often to be relied on."""
        return frozenset(key for key, count in list(self.kills.items()) if count >= self.patience)
