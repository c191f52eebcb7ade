"""What a region rests on: the assumptions that a build lists, and what becomes of names that are not to be assumed."""

from __future__ import annotations

import builtins
import math
from types import FunctionType
from typing import Any

import pytest
from builder_tools import build, expression_of, function_of, region_of

from minijit.build.request import Assumption, Build
from minijit.ir.bytecode import decode
from minijit.ir.region import Const


def assumed(made: Build, function: FunctionType) -> list[str]:
    return [describe(assumption, function) for assumption in made.assumptions]


def describe(assumption: Assumption, function: FunctionType) -> str:
    homes: dict[int, str] = {
        id(function.__globals__): "globals",
        id(vars(builtins)): "builtins",
        id(vars(math)): "math",
    }
    value = "absent" if assumption.value is None else getattr(assumption.value.value, "__name__", "a value")
    return f"{homes[id(assumption.namespace)]}.{assumption.name}: {value}"


CASES = {
    "a global": (
        "k = 7\ndef f(a):\n    return a + k\n",
        ["globals.k: a value"],
    ),
    "a builtin rests on the absence of a global": (
        "def f(a):\n    return abs(a)\n",
        ["globals.abs: absent", "builtins.abs: abs"],
    ),
    "a builtin that a global shadows": (
        "abs = round\ndef f(a):\n    return abs(a)\n",
        ["globals.abs: round"],
    ),
    "an attribute of a module": (
        "import math\ndef f(a):\n    return math.sin(a) + math.sin(a)\n",
        ["globals.math: math", "math.sin: sin"],
    ),
    "what a module does not have": (
        "import math\ndef f(a):\n    return math.nothing\n",
        ["globals.math: math", "math.nothing: absent"],
    ),
    "a name that nobody has": (
        "def f(a):\n    return nobody\n",
        ["globals.nobody: absent", "builtins.nobody: absent"],
    ),
    "each name once": (
        "k = 7\ndef f(a):\n    while a < k:\n        a += k\n    return a - k\n",
        ["globals.k: a value"],
    ),
    "nothing behind a branch that no recording took": (
        "k = 7\ndef f(a):\n    if a:\n        return k\n    return 0\n",
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_assumptions(name: str) -> None:
    source, wanted = CASES[name]
    function = function_of(source)
    seen = {2, 3, 5} if "branch" in name else None
    assert assumed(build(function, "float", seen=seen), function) == wanted


def test_an_assumption_holds_the_very_object() -> None:
    function = function_of("k = 2**70\ndef f(a):\n    return k\n")
    (assumption,) = build(function, "int").assumptions
    assert assumption.value == Const(function.__globals__["k"])
    assert assumption.namespace is function.__globals__


# Volatile names


def test_a_volatile_global_is_not_assumed() -> None:
    function = function_of("k = 7\ndef f(a):\n    return a + k\n")
    made = build(function, "int", volatile=["k"])
    assert made.assumptions == ()
    assert expression_of(made.region, ("a",)).startswith("int_add(a, unbox_int(load_global(")


@pytest.mark.parametrize(("value", "kind"), [(7, "int"), (0.5, "float"), (True, "bool")])
def test_a_volatile_global_is_of_the_kind_that_it_has_now(value: object, kind: str) -> None:
    function = function_of("def f(a):\n    return k\n")
    function.__globals__["k"] = value
    region = region_of(function, "int", volatile=["k"])
    ops = [op.name for block in region.blocks for op in block.ops]
    assert ops[-2:] == ["load_global", f"unbox_{kind}"]


@pytest.mark.parametrize("value", ["text", 2**64, None, math.sin])
def test_a_volatile_global_that_is_no_number_is_an_object(value: object) -> None:
    function = function_of("def f(a):\n    return k\n")
    function.__globals__["k"] = value
    made = build(function, "int", volatile=["k"])
    assert "load_global" in [op.name for block in made.region.blocks for op in block.ops]
    assert made.assumptions == ()
    assert made.touched == {(id(function.__globals__), "k")}


def test_a_volatile_name_that_is_not_there_is_not_taken_from_the_builtins() -> None:
    """Whether the global is there may change from one moment to the next."""
    function = function_of("def f(a):\n    return abs(a)\n")
    made = build(function, "int", volatile=["abs"])
    assert expression_of(made.region, ("a",)) == "leave: unsupported LOAD_GLOBAL abs"
    assert made.assumptions == ()


def test_volatility_belongs_to_a_namespace() -> None:
    """The same name in another dict may be assumed: the key has the dict's address."""
    function = function_of("import math\npi = 3\ndef f(a):\n    return math.pi\n")
    made = build(function, "int", volatile=["pi"])
    assert [a.name for a in made.assumptions] == ["math", "pi"]


# What the function itself stores

STORES: dict[str, tuple[str, ...]] = {
    "def f(a):\n    global k\n    k = a\n    return k\n": ("k",),
    "def f(a):\n    global k\n    k += 1\n": ("k",),
    "def f(a):\n    global k, m\n    k = m\n": ("k",),
    "def f(a):\n    global k\n    del k\n": ("k",),
    "def f(a):\n    global k\n    for k in range(a):\n        pass\n": ("k",),
    "k = 1\ndef f(a):\n    return k\n": (),
}


@pytest.mark.parametrize("source", STORES)
def test_globals_that_the_code_stores(source: str) -> None:
    assert decode(function_of(source).__code__).written_names == set(STORES[source])


def test_a_hundred_names_in_an_extended_argument() -> None:
    """Names beyond the 256th are found as well."""
    names = [f"k{number}" for number in range(300)]
    source = "def f(a):\n    global k299\n    k299 = 1\n    return " + " + ".join(names[:-1]) + "\n"
    function = function_of(source)
    assert decode(function.__code__).written_names == {"k299"}
    function.__globals__.update(dict.fromkeys(names, 1))
    made = build(function_of_last_line(function, names), "int")
    assert {a.name for a in made.assumptions} == set(names)


def function_of_last_line(function: FunctionType, names: list[str]) -> FunctionType:
    """The sum of all names, over the same globals."""
    namespace: dict[str, Any] = function.__globals__
    exec("def f(a):\n    return " + " + ".join(names) + "\n", namespace)
    made: FunctionType = namespace["f"]
    return made
