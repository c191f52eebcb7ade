"""The documents are true: their programs run and print what they say, the files that they name exist, tables are whole.

In: README.md, CHANGELOG.md, and all below docs. A block of Python that starts at the margin is a program, run from a
file of its own, so that line numbers in explanations are those of the block; the block without a language behind it, if
it comes before the next program, is its output, up to what differs between machines and runs (see `steady`). Blocks
within lists are pieces of minijit's own source and are not run.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, RunPython
from minijit.config import Config

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *ROOT.glob("docs/**/*.md")]
SOURCES = ROOT / "src" / "minijit"
WIDTH = 120


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """A program in a document, and what it prints according to that; None if the document does not say."""

    document: Path
    number: int
    text: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.document.name}-{self.number}"


def programs(document: Path) -> list[Program]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    following: list[tuple[str, str | None]] = [*blocks[1:], ("none", None)][: len(blocks)]
    found = [
        (text, output if language == "" else None)
        for (kind, text), (language, output) in zip(blocks, following, strict=True)
        if kind == "python"
    ]
    return [Program(document, number, text, output) for number, (text, output) in enumerate(found, 1)]


PROGRAMS = [program for document in DOCUMENTS for program in programs(document)]


def steady(text: str) -> str:
    """The text without what differs: the size of machine code, and how often it was entered."""
    return re.sub(r"\d+ bytes, (never entered|entered (once|\d+ times))", "...", text).strip()


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program(program: Program, run_python: RunPython, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    # A piece that goes on where another program stopped has at least the import.
    text = program.text if "import minijit\n" in program.text else f"import minijit\n{program.text}"
    script.write_text(text)
    done = run_python(script)
    assert (done.returncode, done.stderr) == (0, "")
    if program.output is not None and not program.output.startswith("minijit: "):  # the log is not the output
        assert steady(done.stdout) == steady(program.output)


def test_there_are_programs() -> None:
    assert {program.document.name for program in PROGRAMS} == {"README.md", "recipes.md", "architecture.md"}
    assert sum(program.output is not None for program in PROGRAMS) >= 3


def test_the_log_in_the_architecture(run_python: RunPython, tmp_path: Path) -> None:
    """The story of the loop, event by event, times apart."""

    def events(text: str) -> list[str]:
        return re.sub(r" (size|build_ms|llvm_ms|detail)=[\d.]*", "", text).splitlines()

    (program,) = programs(ROOT / "docs" / "architecture.md")
    assert program.output is not None
    script = tmp_path / "program.py"
    script.write_text(program.text)
    logged = events(run_python(script, env={"MINIJIT_LOG": "trace"}).stderr)
    wanted = events(program.output)
    assert logged[: len(wanted)] == wanted
    assert all(line.startswith("minijit: killed ") for line in logged[len(wanted) :])


# Names


def quoted(document: Path) -> set[str]:
    """What stands between single backquotes, code blocks apart."""
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_that_are_named_exist(document: Path) -> None:
    paths = {name for name in quoted(document) if re.fullmatch(r"(src|tests|docs|examples|benchmarks)/[\w./-]+", name)}
    missing = [path for path in paths if not (ROOT / path).exists()]
    units = {path.name for path in SOURCES.iterdir() if path.is_dir()}
    modules = {name for name in quoted(document) if re.fullmatch(rf"({'|'.join(units)})/\w+(\.py)?", name)}
    missing += [name for name in modules if not (SOURCES / name).with_suffix(".py").exists()]
    assert missing == []


def test_the_architecture_names_every_file() -> None:
    named = quoted(ROOT / "docs" / "architecture.md")
    files = {str(path.relative_to(SOURCES).with_suffix("")) for path in SOURCES.glob("*/*.py")}
    assert sorted(files - named - {name for name in files if name.endswith("__init__")}) == []


def test_the_readme_has_every_setting() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows == [
        (field.name, f"MINIJIT_{field.name.upper()}", shown(field.default), field.metadata["help"])
        for field in dataclasses.fields(Config)
    ]


def shown(default: Any) -> str:
    if default == "":
        return "(empty)"
    return str(int(default)) if isinstance(default, bool) else str(default)


def test_the_readme_names_the_defects_that_are_expected_to_fail() -> None:
    """As many as there are tests that are expected to fail."""
    expected = 0
    for path in ROOT.glob("tests/**/test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        expected += sum(isinstance(node, ast.Attribute) and node.attr == "xfail" for node in ast.walk(tree))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("Known defects")
    listed = re.findall(r"^- ", rest.partition("\n## ")[0], re.MULTILINE)
    assert len(listed) == expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_lines_are_short_enough_to_read(document: Path) -> None:
    """Tables apart, which cannot be broken, and blocks of code and output."""
    text = re.sub(r"^```\w*\n.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > WIDTH and not line.startswith("|")] == []
