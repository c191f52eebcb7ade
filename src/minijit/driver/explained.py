"""What `explain` is told: the facts of a root, read off its state at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.driver.state import FunctionState
from minijit.report.facts import ExitFacts, RootFacts, VersionFacts

if TYPE_CHECKING:
    from minijit.driver.state import Installed, RootState


def facts(state: RootState) -> RootFacts:
    """The state of a root as `explain` takes it."""
    return RootFacts(
        root=state.root,
        versions=tuple(_version_facts(version) for version in state.versions),
        history=tuple(state.history),
        given_up=state.given_up,
        suppressed=state.suppressed,
        count=state.site.get("count"),
        hot_at=state.site.get("hot_at"),
        misses=state.words.get("misses"),
        is_recorded=state.code.recorded is state,
        is_parked=isinstance(state, FunctionState) and bool(state.versions) and not state.installed,
    )


def _version_facts(version: Installed) -> VersionFacts:
    return VersionFacts(
        kinds=version.kinds,
        size=version.machine.size,
        entries=version.entries,
        exits=tuple(
            ExitFacts(way.reason, way.offset, way.detail, version.records.count(index))
            for index, way in enumerate(version.exits)
        ),
        offsets=version.offsets,
        assumed=tuple(name for _, name in version.assumptions),
    )
