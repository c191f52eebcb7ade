"""Configuration: each row by keyword and from the environment; what it cannot be is said by name."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest

from conftest import RunPython
from minijit.config import Config, ConfigError, Limit, Stress, from_environment

ROWS = dataclasses.fields(Config)
KINDS = {row.name: type(row.default) for row in ROWS}
GOOD: dict[type, tuple[tuple[str, object], ...]] = {
    int: (("3", 3), ("1", 1)),
    float: (("2.5", 2.5), ("3", 3.0), ("0", 0.0), ("inf", float("inf"))),
    bool: (("1", True), ("0", False)),
    str: (("trace", "trace"), ("", "")),
}
BAD: dict[type, tuple[str, ...]] = {
    int: ("", "many", "2.5", "0x10", "1e3", "true"),
    float: ("", "long", "1,5", "0x1"),
    bool: ("", "yes", "true", "2", "True"),
    str: ("traces", "1", "Trace", "trace;", "trace traces"),
}
OF_ANOTHER_TYPE: dict[type, tuple[object, ...]] = {
    int: ("3", 2.5, 3.0, True, None),
    float: ("3", True, None),
    bool: (1, 0, "1", None),
    str: (1, None, b"trace", True),
}


GOOD_TEXTS: dict[str, tuple[tuple[str, object], ...]] = {
    row: tuple((text, text) for text in texts)
    for row, texts in {
        "stress": ("", "exits:7", "kill:0.25", "kill:1", "exits:1,kill:1e-3,bridges,hot,osr,check", " hot , osr "),
        "limit": ("", "0", "12", "3:0"),
        "allow": ("", "numbers", "a.b.c, d*,e.<locals>.?"),
        "deny": ("", "*"),
    }.items()
}
BAD_TEXTS = {
    "stress": (
        "exits",
        "exits:",
        "exits:0",
        "exits:99999999999999999999",
        "exits:-1",
        "exits:2.5",
        "kill:0",
        "kill:2",
        "kill:nan",
        "hot:1",
        "warm",
        "exits:7,exits:3",
        "exits:1_0",
    ),
    "allow": ("a b", "a,b c,d"),
    "deny": ("not this",),
    "limit": ("-1", "x", "1:", ":1", "1:2:3", "1.5", "²"),
}


def environment(row: str, text: str) -> dict[str, str]:
    return {f"MINIJIT_{row.upper()}": text}


ROW_NAMES = [row.name for row in ROWS]


def test_every_row_has_a_kind_a_default_and_a_sentence() -> None:
    for row in ROWS:
        assert KINDS[row.name] in GOOD
        assert row.metadata["help"], row.name
        assert "  " not in row.metadata["help"]


def test_defaults_are_allowed() -> None:
    assert from_environment({}) == Config()


@pytest.mark.parametrize("row", ROW_NAMES)
def test_from_the_environment(row: str) -> None:
    for text, value in GOOD_TEXTS.get(row, GOOD[KINDS[row]]):
        config = from_environment(environment(row, text))
        assert getattr(config, row) == value
        assert type(getattr(config, row)) is KINDS[row]
        assert config == dataclasses.replace(Config(), **{row: value})


@pytest.mark.parametrize("row", ROW_NAMES)
def test_a_wrong_text_names_the_variable(row: str) -> None:
    for text in BAD_TEXTS.get(row, BAD[KINDS[row]]):
        with pytest.raises(ConfigError, match=rf"^MINIJIT_{row.upper()} takes .*, not {text!r}$"):
            from_environment(environment(row, text))


@pytest.mark.parametrize("row", ROW_NAMES)
def test_a_value_of_another_type_names_the_row(row: str) -> None:
    for value in OF_ANOTHER_TYPE[KINDS[row]]:
        with pytest.raises(ConfigError, match=rf"^{row} takes (an int|a number|True or False|a string), not "):
            Config(**{row: value})


BOUNDED = [(row.name, row.metadata["least"]) for row in ROWS if row.metadata["least"] is not None]


def test_all_numbers_have_a_bound() -> None:
    assert {name for name, _ in BOUNDED} == {name for name, kind in KINDS.items() if kind in (int, float)}


@pytest.mark.parametrize(("row", "least"), BOUNDED)
def test_bounds(row: str, least: int) -> None:
    assert getattr(Config(**{row: least}), row) == least
    with pytest.raises(ConfigError, match=rf"^{row} must be at least {least}, not {least - 1}$"):
        Config(**{row: least - 1})


@pytest.mark.parametrize(("row", "least"), BOUNDED)
def test_a_bound_that_a_variable_breaks_names_the_variable(row: str, least: int) -> None:
    with pytest.raises(ConfigError, match=rf"^MINIJIT_{row.upper()} must be at least {least}, not "):
        from_environment(environment(row, str(least - 1)))


def test_an_upper_bound() -> None:
    with pytest.raises(ConfigError, match=r"^optimise must be at most 3, not 4$"):
        Config(optimise=4)
    with pytest.raises(ConfigError, match=r"^MINIJIT_OPTIMISE must be at most 3, not 4$"):
        from_environment({"MINIJIT_OPTIMISE": "4"})


@pytest.mark.parametrize("text", ["nan", "-inf", "-0.5"])
def test_seconds_that_are_none(text: str) -> None:
    """A budget of nan would never be reached, nor kept."""
    with pytest.raises(ConfigError, match=r"^MINIJIT_COMPILE_SECONDS must be at least 0, not "):
        from_environment({"MINIJIT_COMPILE_SECONDS": text})
    with pytest.raises(ConfigError, match=r"^compile_seconds must be at least 0, not "):
        Config(compile_seconds=float(text))


def test_an_int_will_do_for_a_number() -> None:
    assert Config(compile_seconds=3).compile_seconds == 3


def test_an_unknown_keyword_is_an_error() -> None:
    with pytest.raises(TypeError, match="call_treshold"):
        Config(call_treshold=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Config(3)  # type: ignore[misc]


def test_a_configuration_does_not_change() -> None:
    config: Any = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.call_threshold = 3


def test_other_variables_are_none_of_our_business() -> None:
    assert from_environment({"MINIJIT": "1", "CALL_THRESHOLD": "0", "PATH": ""}) == Config()


def test_a_misspelt_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match="MINIJIT_CALL_TRESHOLD is no setting; did you mean MINIJIT_CALL_THRESHOLD"):
        from_environment({"MINIJIT_CALL_TRESHOLD": "3"})


def test_a_wrong_environment_is_told_at_the_first_use(run_python: RunPython) -> None:
    program = "import minijit\nprint('imported')\nminijit.jit(lambda: 1)\n"
    done = run_python(program, env={"MINIJIT_CALL_THRESHOLD": "many"})
    assert (done.returncode, done.stdout) == (1, "imported\n")
    assert done.stderr.endswith("ConfigError: MINIJIT_CALL_THRESHOLD takes an int, not 'many'\n")


def test_the_process_is_asked_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MINIJIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MINIJIT_VERSIONS", "7")
    assert from_environment() == Config(versions=7)


# The log and dumps


@pytest.mark.parametrize(("log", "wanted"), [("", False), ("trace", True), (" trace", True), ("trace,trace", True)])
def test_what_is_accepted_for_the_log_is_meant(log: str, wanted: bool) -> None:
    assert Config(log=log).logs is wanted
    assert from_environment({"MINIJIT_LOG": log}).logs is wanted


STAGES = ("trace", "region", "passes", "llvm", "llvm-opt", "asm")


@pytest.mark.parametrize(
    ("dump", "stages"),
    [
        ("", ()),
        ("all", STAGES),
        ("trace", ("trace",)),
        ("llvm", ("llvm",)),
        ("llvm-opt", ("llvm-opt",)),
        ("region,passes", ("region", "passes")),
        ("asm,trace", ("asm", "trace")),
        ("region, passes", ("region", "passes")),
    ],
)
def test_stages_to_dump(dump: str, stages: tuple[str, ...]) -> None:
    config = Config(dump=dump)
    assert {stage for stage in STAGES if config.dumps(stage)} == set(stages)


@pytest.mark.parametrize("dump", ["regions", "trace,regions", "ALL", "trace;asm", "all,typo"])
def test_an_unknown_stage_is_an_error(dump: str) -> None:
    listed = "takes trace, region, passes, llvm, llvm-opt, asm, all, not "
    with pytest.raises(ConfigError, match=f"^dump {listed}"):
        Config(dump=dump)
    with pytest.raises(ConfigError, match=f"^MINIJIT_DUMP {listed}"):
        from_environment({"MINIJIT_DUMP": dump})


def test_all_stages_are_dumped(run_python: RunPython) -> None:
    """What the row says about its stages is what there is."""
    help = {row.name: row.metadata["help"] for row in ROWS}["dump"]
    assert all(stage in help for stage in (*STAGES, "all"))
    program = """
import minijit
@minijit.jit
def f(a):
    return a * 2
for a in range(100):
    f(a)
"""
    shown = run_python(program, env={"MINIJIT_DUMP": "all"}).stderr
    heads = {line.removeprefix("---- ") for line in shown.splitlines() if line.startswith("---- ")}
    assert {"trace", "region", "after params", "llvm", "llvm-opt", "asm"} <= heads
    assert {head for head in heads if not head.startswith("after ")} <= set(STAGES)
    one = run_python(program, env={"MINIJIT_DUMP": "llvm-opt"}).stderr
    assert {line for line in one.splitlines() if line.startswith("---- ")} == {"---- llvm-opt"}
    assert not run_python(program).stderr


def test_the_mode_that_compares_is_a_setting() -> None:
    assert from_environment({"MINIJIT": "check"}) == Config(compare=True)
    assert from_environment({"MINIJIT": "check", "MINIJIT_COMPARE": "0"}) == Config()
    assert from_environment({"MINIJIT": "1", "MINIJIT_COMPARE": "1"}) == Config(compare=True)


def test_stress_modes() -> None:
    assert Config().stressed == Stress()
    assert not Config().stressed.is_on
    assert Config(stress="exits:7, hot").stressed == Stress(exits=7, hot=True)
    assert Config(stress="kill:0.5,bridges,osr,check").stressed == Stress(kill=0.5, bridges=True, osr=True, check=True)
    assert Config(stress="osr").stressed.is_on


def test_limits() -> None:
    assert Config().limits is None
    assert Config(limit="3").limits == Limit(3)
    assert Config(limit="3:0").limits == Limit(3, 0)
