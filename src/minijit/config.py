"""Configuration: one row a tunable. What comes in: keyword arguments or `MINIJIT_*` environment variables; what goes
out: an immutable `Config`. Nothing else in minijit reads the environment.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__version__ = "0.1.0"
"""minijit's; here, since our own modules may not import the package of public names."""
_PREFIX = "MINIJIT_"
CHECK = "check"
"""What the variable MINIJIT has where calls are to be compared."""


class ConfigError(ValueError):
    """A setting has a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class Stress:
    """Ways to be hard on minijit: whatever is set here, a program does what it does without.

    `exits`: every so many-th guard fails although it holds; 0 for never. `kill`: how likely it is, each time a region
    is to be entered, that some region in service is killed. `bridges`: every exit is asked about at once, and bridged.
    `hot`: everything is recorded at its first execution, and then compiled. `osr`: a loop is left at every round, so
    that it is entered anew at every back edge. `check`: regions are evaluated after each pass, and beside their machine
    code.
    """

    exits: int = 0
    kill: float = 0.0
    bridges: bool = False
    hot: bool = False
    osr: bool = False
    check: bool = False

    @property
    def is_on(self) -> bool:
        """Whether any mode is."""
        return self != Stress()


@dataclass(frozen=True, slots=True)
class Limit:
    """Only the first `regions` regions that come up are compiled, the last of them with its first `passes` passes
    (None for all)."""

    regions: int
    passes: int | None = None


@cache
def parse_stress(text: str) -> Stress:
    """The modes that a list such as `exits:7,hot` names. Raises `ValueError` for what is none."""
    values: dict[str, Any] = {}
    for word in _words(text):
        name, colon, value = word.partition(":")
        read = {"exits": int, "kill": float}.get(name)
        if read is None and (colon or name not in ("bridges", "hot", "osr", "check")):
            raise ValueError(word)
        if name in values or not word.isascii() or "_" in word:
            raise ValueError(word)
        values[name] = True if read is None else read(value)
    if not 1 <= values.get("exits", 1) < 2**31 or not 0 < values.get("kill", 1) <= 1:
        raise ValueError(text)
    return Stress(**values)


@cache
def parse_limit(text: str) -> Limit | None:
    """What `REGIONS` or `REGIONS:PASSES` says, None for nothing. Raises `ValueError` for anything else."""
    if not text:
        return None
    parts = text.split(":")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(text)
    return Limit(*map(int, parts))


_PATTERNS = "comma-separated patterns of module or module.qualname"


@cache
def parse_patterns(text: str) -> tuple[str, ...]:
    """The patterns of a list. Raises `ValueError` for what no name of a function could match."""
    patterns = tuple(_words(text))
    if any(character.isspace() for pattern in patterns for character in pattern):
        raise ValueError(text)
    return patterns


def row(
    default: Any,
    help: str,
    *,
    least: int | None = None,
    most: int | None = None,
    words: str = "",
    parse: Callable[[str], object] | None = None,
) -> Any:
    """A tunable: its default (whose type is the row's type), what it does, the least and the most value allowed, and
    for texts the words that they are made of, or what reads them and raises `ValueError`."""
    metadata = {"help": help, "least": least, "most": most, "words": words.split(), "parse": parse}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All tunables. Each is also read from `MINIJIT_<NAME>`; a wrong value raises `ConfigError`."""

    call_threshold: int = row(30, "calls of a function before it is recorded", least=1)
    loop_threshold: int = row(120, "back edges of a loop before it is recorded", least=1)
    exit_threshold: int = row(60, "times an exit is taken before the policy is asked", least=1)
    miss_threshold: int = row(20, "calls with other types before a version for them is recorded", least=1)
    versions: int = row(4, "type versions of one root", least=1)
    bridges: int = row(8, "bridges of one root before it keeps what it has", least=0)
    compilations: int = row(24, "compilations of one root before it is given up", least=1)
    trace_steps: int = row(4000, "distinct steps of one recording", least=1)
    trace_rounds: int = row(4, "times round the root without a new step before a recording ends", least=1)
    region_blocks: int = row(300, "blocks of one region", least=1)
    inlined_instructions: int = row(100, "instructions of a function that is inlined where it is called", least=0)
    large: int = row(
        1200, "lines of LLVM text from which a region is compiled quickly, until its loops have run often", least=1
    )
    block_versions: int = row(4, "type versions of one bytecode offset before its types are widened", least=1)
    patience: int = row(2, "times that a global may break code before it is read each time", least=1)
    threshold: int = row(
        50_000, "starts of a code object, or back edges to a loop, before a whole program's is taken on", least=1
    )
    allow: str = row("", f"{_PATTERNS}: the only functions of a whole program to be taken on", parse=parse_patterns)
    deny: str = row("", f"{_PATTERNS}: those not to be taken on", parse=parse_patterns)
    cache: bool = row(True, "keep on disk what every start with MINIJIT=1 needs of machine code")
    guard: bool = row(False, "keep on disk what is in its first runs, and do not compile again what a process died of")
    compile_seconds: float = row(20.0, "seconds of compilation since minijit was enabled", least=0)
    code_bytes: int = row(2**26, "bytes of machine code that are in service at most", least=0)
    optimise: int = row(2, "LLVM optimisation level, 0 to 3", least=0, most=3)
    log: str = row("", "`trace` for one line an event on standard error", words="trace")
    dump: str = row(
        "",
        "stages to print, comma-separated: trace, region, passes, llvm, llvm-opt, asm, or all",
        words="trace region passes llvm llvm-opt asm all",
    )
    perf_map: bool = row(False, "name compiled regions in a map file for Linux perf")
    stats: bool = row(False, "say on standard error, when the process ends, what was done, and where most")
    check: bool = row(False, "verify every region after every pass")
    stress: str = row(
        "", "stress modes, comma-separated: exits:K, kill:P, bridges, hot, osr, check", parse=parse_stress
    )
    compare: bool = row(False, "do some calls both ways, compiled and interpreted, and compare: as MINIJIT=check does")
    seed: int = row(0, "what the random choices of `stress` and `compare` begin with", least=0)
    limit: str = row(
        "",
        "REGIONS or REGIONS:PASSES: compile only so many, and the last of them with so many passes",
        parse=parse_limit,
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name), item.name)

    @property
    def stressed(self) -> Stress:
        """The stress modes that are on."""
        return parse_stress(self.stress)

    @property
    def limits(self) -> Limit | None:
        """Up to where to compile, if not everything."""
        return parse_limit(self.limit)

    @property
    def allowed(self) -> tuple[str, ...]:
        """Patterns of the only functions of a whole program that may be taken on; empty for all."""
        return parse_patterns(self.allow)

    @property
    def denied(self) -> tuple[str, ...]:
        """Patterns of functions of a whole program that may not be taken on."""
        return parse_patterns(self.deny)

    @property
    def looks_around(self) -> bool:
        """Whether any function may be taken on that is not decorated."""
        return "*" not in self.denied

    @property
    def logs(self) -> bool:
        """Whether events are to be logged."""
        return "trace" in _words(self.log)

    def dumps(self, stage: str) -> bool:
        """Whether `stage` is to be printed."""
        return not {stage, "all"}.isdisjoint(_words(self.dump))


def _check(item: dataclasses.Field[Any], value: Any, name: str) -> None:
    """Raises `ConfigError`, which calls the row `name`, for a value that the row cannot have."""
    wanted = type(item.default)
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise ConfigError(f"{name} takes {_article(wanted)}, not {value!r}")
    least, most, words = (item.metadata[key] for key in ("least", "most", "words"))
    # Asked this way round, since nothing is true of nan.
    if least is not None and not value >= least:
        raise ConfigError(f"{name} must be at least {least}, not {value!r}")
    if most is not None and not value <= most:
        raise ConfigError(f"{name} must be at most {most}, not {value!r}")
    parse = item.metadata["parse"]
    if parse is None:
        if isinstance(value, str) and not set(_words(value)).issubset(words):
            raise ConfigError(f"{name} takes {', '.join(words)}, not {value!r}")
        return
    try:
        parse(value)
    except ValueError:
        raise ConfigError(f"{name} takes {item.metadata['help']}, not {value!r}") from None


def _words(text: str) -> list[str]:
    """The words of a list with commas."""
    return [word for word in map(str.strip, text.split(",")) if word]


def _article(kind: type) -> str:
    return {"int": "an int", "float": "a number", "bool": "True or False", "str": "a string"}[kind.__name__]


def from_environment(environment: Mapping[str, str] | None = None) -> Config:
    """The configuration that the environment asks for; the default if the interpreter was started with `-E` or `-I`.

    Raises `ConfigError`, which names the variable, for a value that it cannot have, and for a variable of ours that is
    no setting.
    """
    source = environment
    if source is None:
        # As the interpreter does, which has been told not to read it.
        source = {} if sys.flags.ignore_environment else os.environ
    rows = {f"{_PREFIX}{item.name.upper()}": item for item in dataclasses.fields(Config)}
    values: dict[str, Any] = {}
    if source.get("MINIJIT") == CHECK:
        values["compare"] = True
    for name in source:
        if not name.startswith(_PREFIX):
            continue
        if name not in rows:
            raise ConfigError(f"{name} is no setting; did you mean {_nearest(name, list(rows))}?")
        item = rows[name]
        values[item.name] = _parse(name, source[name], type(item.default))
        _check(item, values[item.name], name)
    return Config(**values)


def environment_with(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours, with other variables on top of what there is."""
    return {**os.environ, **settings}


def set_environment(settings: Mapping[str, str]) -> None:
    """Sets variables of this process, which is one of ours that was made for them."""
    os.environ.update(settings)


def _nearest(name: str, names: list[str]) -> str:
    import difflib  # only on the way to an error

    return difflib.get_close_matches(name, names, 1, 0)[0]


def _parse(name: str, text: str, wanted: type) -> object:
    if wanted is bool:
        if text in ("0", "1"):
            return text == "1"
        raise ConfigError(f"{name} takes 0 or 1, not {text!r}")
    try:
        return wanted(text)
    except ValueError:
        raise ConfigError(f"{name} takes {_article(wanted)}, not {text!r}") from None
