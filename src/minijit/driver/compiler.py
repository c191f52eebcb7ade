"""From a profile to a region in service: builder, passes, lowering and engine in their order, with dumps between
them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from minijit.build.request import namespaces_of
from minijit.driver.building import Findings, build_root, build_settled, is_worthwhile
from minijit.driver.dumps import show
from minijit.driver.natives import RegionTooLarge
from minijit.driver.state import BodyState, Failure, FunctionState
from minijit.events import AbortReason, ExitReason
from minijit.ir.check import require_valid
from minijit.ir.region import Leave
from minijit.ir.text import print_region
from minijit.opt.pipeline import optimise

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from minijit.build.request import Build
    from minijit.config import Config
    from minijit.driver.building import World
    from minijit.driver.natives import Natives
    from minijit.driver.state import Installed, Reach, RootState
    from minijit.ir.kinds import Kinds
    from minijit.ir.region import Callee, Region
    from minijit.ir.trace import Profile


SNAPSHOT_SLOTS = 10_000
"""How many slots all exits of a region may have: what is done with a region takes as long as these are many, up to a
second."""


INLINED = (1.0, 0.25)
"""Of what may be inlined, how much is: where all of it makes too large a region, less."""


@dataclass(frozen=True, slots=True)
class Success:
    """A region, not yet linked into anything, and what it was made from and rests on."""

    installed: Installed
    build: Build
    build_seconds: float
    llvm_seconds: float


def _dumper(config: Config) -> Callable[[str, str], None] | None:
    """Prints the engine's stages that the configuration asks for; None if it asks for none of them."""
    if not any(config.dumps(stage) for stage in ("llvm", "llvm-opt", "asm")):
        return None

    def dump(stage: str, text: str) -> None:
        if config.dumps(stage):
            show(stage, text)

    return dump


def compile_root(
    state: RootState,
    kinds: Kinds,
    natives: Natives,
    config: Config,
    world: World,
    *,
    compile_unseen: bool,
    reach: Callable[[tuple[Callee, ...]], Reach],
    findings: Findings,
    number: int,
) -> Success | Failure:
    """Compiles a root for these entry kinds.

    `reach` tells what bodies need that are called; `findings` are those of builds of the root's code; `number` is that
    of the compilation. Nothing is in service afterwards.
    """
    started = time.perf_counter()
    # Other threads see more meanwhile, which is for the next build.
    code, profile = state.code, state.code.profile.copy()
    world = replace(world, profiles=_copies(world.profiles))
    for share in INLINED:
        less = replace(config, inlined_instructions=int(share * config.inlined_instructions))
        ask = partial(
            build_root, code.code, state.root, profile, config=less, world=world, compile_unseen=compile_unseen
        )
        build, kinds = build_settled(ask, kinds, id(world.namespaces[0]), findings)
        if not _is_too_large(build.region):
            break
    region = build.region
    if config.dumps("region"):
        show("region", print_region(region))
    if config.check:
        require_valid(region, "build")
    if not is_worthwhile(region):
        return replace(_nothing(region), unheard=build.unheard)
    if _is_too_large(region):
        raise RegionTooLarge
    region = _optimised(region, state, config, number)
    build_seconds = time.perf_counter() - started
    started += build_seconds
    installed = natives.install(state, kinds, build, region, world.namespaces, reach(build.callees), _dumper(config))
    made = time.perf_counter() - started
    return Success(installed, build, build_seconds, made)


def _copies(known: Callable[[CodeType], Profile | None]) -> Callable[[CodeType], Profile | None]:
    """What was seen of code objects, each when it is asked for first. (Equal ones are not the same.)"""
    copies: dict[int, Profile | None] = {}

    def profile(code: CodeType) -> Profile | None:
        if id(code) not in copies:
            found = known(code)
            copies[id(code)] = None if found is None else found.copy()
        return copies[id(code)]

    return profile


def _is_too_large(region: Region) -> bool:
    return sum(len(exit.frame.slots()) for exit in region.exits) > SNAPSHOT_SLOTS


def _optimised(region: Region, state: RootState, config: Config, number: int) -> Region:
    """The region after the passes that `limit` leaves; under stress, they are checked (see `oracle.check`), or loops
    left at each back edge."""
    limits = config.limits
    passes = limits.passes if limits is not None and number == limits.regions else None
    all_polls, dump = config.stressed.osr, _pass_dumper(config)
    if not config.stressed.check:
        return optimise(region, check=config.check, passes=passes, all_polls=all_polls, dump=dump)
    from minijit.oracle import check

    subject = check.Subject(state.name, state.root.offset, number, config.seed, config.optimise)
    return check.optimised(region, subject, passes=passes, all_polls=all_polls, dump=dump)


def _pass_dumper(config: Config) -> Callable[[str, Region], None] | None:
    if not config.dumps("passes"):
        return None
    return lambda name, region: show(f"after {name}", print_region(region))


def _nothing(region: Region) -> Failure:
    """A region that gets nowhere, with the first obstacle that it ran into: `explain` reads this detail."""
    leaves = [region.exits[block.end.exit] for block in region.blocks if isinstance(block.end, Leave)]
    # What no recording took stands in nobody's way.
    aside = (ExitReason.UNTAKEN, ExitReason.RAISED, ExitReason.LEFT_LOOP)
    obstacles = [exit for exit in leaves if exit.reason not in aside] or leaves
    if not obstacles:
        return Failure(AbortReason.NOTHING)
    exit = obstacles[0]
    return Failure(AbortReason.NOTHING, f"{exit.reason.label} {exit.detail}".strip(), exit.frame.offset)


def root_namespaces(state: RootState) -> tuple[dict[str, object], dict[str, object]] | None:
    """The globals and builtins that a root's frames have; None if its function is gone."""
    if isinstance(state, BodyState):
        states = [state.code.functions[state.of]] if state.of in state.code.functions else []
    else:
        states = [state] if isinstance(state, FunctionState) else list(state.code.functions.values())
    function = states[0].function if states else None
    return None if function is None else namespaces_of(function)
