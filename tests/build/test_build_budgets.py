"""Nothing makes the builder go on for ever: blocks, versions, nested tuples, and code in the wild."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import random
import statistics
import textwrap
from types import CodeType, FunctionType, ModuleType

import pytest
from builder_tools import BLOCKS, build, function_of
from random_functions import random_function

from minijit.build.state import MAX_DEPTH
from minijit.events import ExitReason
from minijit.ir.bytecode import decode
from minijit.ir.check import check_region
from minijit.ir.region import Region, VirtualTuple

SPARE = 2
"""A full region still finishes what is under way: at most so many times its budget."""


def reasons(region: Region) -> set[ExitReason]:
    return {way.reason for way in region.exits}


def many_kinds(uses: int) -> str:
    """Three variables of which each may become a float, and a sum that uses the first of them often."""
    return f"""\
def f(n, a, b, c):
    for i in range(n):
        if i & 1: a = 1.5
        if i & 2: b = 1.5
        if i & 4: c = 1.5
        x = {" + ".join("a" * uses)} + b + c
    return x
"""


def test_using_a_value_often_makes_no_more_versions() -> None:
    """Its kind is asked for once, at the first use behind the join."""
    sizes = {uses: len(build(many_kinds(uses), *["int"] * 4).region.blocks) for uses in (2, 5, 20)}
    assert len(set(sizes.values())) == 1
    assert sizes[2] < BLOCKS


def rotating(*lengths: int) -> str:
    """Tuples of which each has one float in it and is rotated in each round: as many shapes as the product of
    their lengths."""
    lines = ["def f(n):"]
    lines += [f"    t{k} = (0.5, {'1, ' * (k - 1)})" for k in lengths]
    lines += ["    for i in range(n):"]
    lines += [f"        t{k} = ({''.join(f't{k}[{j}], ' for j in range(1, k))}t{k}[0])" for k in lengths]
    return "\n".join([*lines, "    return n"]) + "\n"


SHAPES = rotating(2, 3, 5, 7, 11, 13)


@pytest.mark.parametrize(
    ("source", "blocks"),
    [*((SHAPES, blocks) for blocks in (1, 5, 50, BLOCKS)), *((many_kinds(9), blocks) for blocks in (1, 5, 50))],
)
def test_block_budget(source: str, blocks: int) -> None:
    function = function_of(source)
    region = build(function, *["int"] * function.__code__.co_argcount, blocks=blocks, versions=1000).region
    assert len(region.blocks) <= SPARE * blocks + 10
    assert ExitReason.TOO_MANY_BLOCKS in reasons(region)


def test_block_budget_of_random_functions() -> None:
    for seed in range(60):
        function = function_of(random_function(seed))
        for blocks in (1, 3, 10, 40):
            region = build(function, "int", "float", "bool", blocks=blocks).region
            assert len(region.blocks) <= SPARE * blocks + 10


def test_a_budget_of_one_block_leaves_at_once() -> None:
    region = build("def f(a):\n    return a\n", "int", blocks=1).region
    assert reasons(region) == {ExitReason.TOO_MANY_BLOCKS}
    assert [way.frame.offset for way in region.exits] == [0]


def test_more_versions_than_allowed_lose_their_kinds() -> None:
    """Eight shapes at one join; with a limit of n there are n of them and one in which all is of kind `any`."""
    source = many_kinds(1)
    sizes = [len(build(source, *["int"] * 4, versions=versions).region.blocks) for versions in (1, 2, 4, 100)]
    assert len(set(sizes)) == len(sizes)


def depth(slot: object) -> int:
    return 1 + max(map(depth, slot.items), default=0) if isinstance(slot, VirtualTuple) else 0


@pytest.mark.parametrize(
    "change", ["t = (t, n)", "t = (n, t)", "t = (t, t)", "t, u = (u, n), t", "t = ((t,),)", "t = (t, (1, t))"]
)
def test_tuples_that_grow_round_a_loop(change: str) -> None:
    source = f"def f(n):\n    t = u = ()\n    while n > 0:\n        {change}\n        n -= 1\n    return t\n"
    region = build(source, "int").region
    depths = [depth(slot) for way in region.exits for slot in way.frame.slots()]
    assert max(depths) <= MAX_DEPTH
    assert "BUILD_TUPLE: nested too deeply" in {way.detail for way in region.exits}
    assert len(region.blocks) <= SPARE * BLOCKS


# Code in the wild


def code_objects(code: CodeType) -> list[CodeType]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [code, *(one for part in inner for one in code_objects(part))]


@pytest.mark.parametrize("module", [statistics, random, ast, textwrap, dataclasses, argparse], ids=lambda m: m.__name__)
def test_regions_of_the_standard_library(module: ModuleType) -> None:
    """Whatever the code does, the builder makes a region of it that the verifier has nothing against."""
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as file:
        top = compile(file.read(), module.__file__, "exec")
    choices = random.Random(1)
    for code in code_objects(top):
        function = FunctionType(code, vars(module), closure=tuple(map(cell, code.co_freevars)))
        count = code.co_argcount + code.co_kwonlyargcount
        kinds = choices.choices(["int", "float", "bool", "none", "object"], k=count)
        build(function, *kinds)
        decoded = decode(code)
        for header in decoded.loops:
            slots = decoded.locals_count + decoded.depths[header]
            at_header = choices.choices(["int", "float", "bool", "none", "object", "unbound"], k=slots)
            at_header[decoded.locals_count :] = ["range_iterator"] * decoded.depths[header]
            assert check_region(build(function, *at_header, header=header).region) == ()


def cell(name: str) -> object:
    return (lambda: name).__closure__[0]  # type: ignore[index]
