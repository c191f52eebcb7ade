"""What the watchers report, and what it breaks: regions that relied on what has changed are taken out of service.

Two ways in. Changes of namespaces are noted natively and dealt with here before anything enters a region again
(`settle`; see `cpython.changes`). Changes of functions, and the end of a function or a namespace, come as calls
(`on_watch`); when such a call returns, nothing that relied on the old state runs any more. If another thread has the
turn, the roots concerned are *held* until the work is done in their turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from minijit.cpython.watch import DictEvent, FunctionEvent, Watched
from minijit.events import KillReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.cpython.changes import Change
    from minijit.driver.decisions import Decisions
    from minijit.driver.registry import Registry
    from minijit.driver.state import FunctionState, Installed, RootState
    from minijit.driver.turn import Turn
    from minijit.runtime.assume import Key
    from minijit.runtime.stress import Strikes


@dataclass(frozen=True, slots=True, repr=False)
class Broken:
    """Of the regions of a registry."""

    registry: Registry
    decisions: Decisions
    turn: Turn
    strikes: Strikes | None

    def begin(self) -> None:
        """Regions can be entered from now on."""
        if self.strikes is not None:
            self.registry.natives.changes.strike_in(self.strikes.entries())

    # ---- namespaces that change

    def settle(self) -> None:
        """Deals with all changes of namespaces that have been noted. What comes up meanwhile is dealt with as well."""
        if self.registry.in_service is None:
            return
        changes = self.registry.natives.changes
        while changes.are_due:
            noted = changes.noted()
            for change in noted.changes:
                self._break(change)
            if not noted.are_all:
                self._break_everything()
            if self.strikes is not None and changes.has_struck:
                self._strike(self.strikes)
            changes.settle(noted.until)

    def _strike(self, strikes: Strikes) -> None:
        """Under stress: an entry has brought about the end of some region."""
        installed = strikes.victim([version for root in self.registry.roots() for version in root.versions])
        if installed is not None:
            self.decisions.kill(installed, KillReason.STRESS, "")
        self.registry.natives.changes.strike_in(strikes.entries())

    def _break(self, change: Change) -> None:
        assumptions = self.registry.service.assumptions
        if change.hash is None:
            self._break_all(assumptions.keys_of(change.namespace))
            return
        for key in assumptions.keys_of(change.namespace):
            if hash(key[1]) == change.hash:
                for installed in assumptions.broken_by(key, change.new):
                    self.decisions.kill(installed, KillReason.GLOBAL, key[1])

    def _break_everything(self) -> None:
        self._break_all(list(self.registry.service.assumptions.dependents))

    def _break_all(self, keys: list[Key]) -> None:
        """Any of these may have changed: which, nobody knows, so none of them is the less reliable for it."""
        for key in keys:
            for installed in self.registry.service.assumptions.relying_on(key):
                self.decisions.kill(installed, KillReason.GLOBAL, key[1])

    # ---- functions that change, and ends

    def on_watch(self, kind: int, event: int, subject: int, new: object) -> None:
        """A watcher's filter found something that concerns us."""
        work: Callable[[], object]
        # Another thread may switch minijit off meanwhile.
        service = self.registry.in_service
        if service is None:
            return
        if kind == Watched.DICT and event == DictEvent.DEALLOCATED:
            regions = service.forget_namespace(subject)
            work, roots = partial(self._namespace_gone, regions), [region.owner for region in regions]
        elif kind == Watched.FUNCTION:
            state, change = self.registry.functions.get(subject), FunctionEvent(event)
            if state is not None and change is FunctionEvent.DESTROY:
                # Weak references are gone by now; nothing may touch it after this.
                state.reference = None
            regions = []
            if change is not FunctionEvent.MODIFY_KWDEFAULTS:  # on which nobody relies
                regions = service.inlining(subject, ends=change is FunctionEvent.DESTROY)
            roots = [region.owner for region in regions] + ([state] if state is not None else [])
            work = partial(self._function_changed, change, state, new, regions)
        elif kind == Watched.TYPE:
            regions = service.using(subject)
            work, roots = partial(self._class_changed, subject, regions), [region.owner for region in regions]
        else:
            return
        if self.turn.take():
            try:
                work()
            finally:
                self.turn.pass_on()
            return
        for root in roots:
            root.hold()
        self.turn.do(partial(self._changed_late, work, roots))

    def _changed_late(self, work: Callable[[], object], roots: list[RootState]) -> None:
        """A change that had to wait for its turn: what it broke has been held since."""
        if self.registry.in_service is None:
            return
        try:
            work()
        finally:
            for root in roots:
                root.holds -= 1
                if root.versions:
                    self.registry.service.relink(root)

    def _namespace_gone(self, regions: list[Installed]) -> None:
        for installed in regions:
            self.decisions.kill(installed, KillReason.GLOBAL, "the namespace is gone")

    def _class_changed(self, cls: int, regions: list[Installed]) -> None:
        for installed in regions:
            changed = next(kind for kind in installed.classes if kind.address == cls)
            self.decisions.kill(installed, KillReason.CLASS, changed.name)

    def _function_changed(
        self, event: FunctionEvent, state: FunctionState | None, new: Any, regions: list[Installed]
    ) -> None:
        for installed in regions:
            self.decisions.kill(installed, KillReason.CODE, "of a function that is inlined")
        current = self.registry.functions.get(state.address) if state is not None else None
        if state is None or current is None:
            return
        if event is FunctionEvent.DESTROY and current is state:
            self.registry.gone(state)
        # Of two changes that had to wait, the first has made another state of the same function.
        elif event is FunctionEvent.MODIFY_CODE and current.function is state.function is not None:
            self.registry.recode(current, new)
