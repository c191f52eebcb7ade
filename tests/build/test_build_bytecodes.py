"""Which instructions numeric code compiles to, and which of them end a region.

The corpus is a page of Python's forms over numbers, the examples and the benchmarks. An instruction that appears there
and has no handler stands in `WITHOUT_A_HANDLER`, with the form that leads to it: a list to read before deciding what to
support next, and to shorten afterwards.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from types import CodeType

from conftest import ROOT
from minijit.build.bytecodes import HANDLERS
from minijit.ir.bytecode import decode

FORMS = """
import math
RATE = 0.5
count = 0

def arithmetic(a, b):
    c = a + b - a * b / 2 // 3 % 4 ** 2
    c <<= 1
    c = c >> 2 & 3 | 4 ^ ~a
    return +c, -c, not c

def comparisons(a, b):
    return a < b <= 3 != a, a is None, b is not None, a == b, a > b, a >= b

def conditions(a, b):
    if a and b or not a:
        return a if b else -a
    elif a is None:
        return b
    while a and (b := a - 1) > 0:
        a = b
        if a == 7:
            continue
        if a == 8:
            break
    else:
        a = 0
    return a

def loops(n):
    s = 0
    for i in range(0, n, 2):
        for j in range(i):
            s += i * j
            if s > 100:
                return s
    return s

def tuples(a, b):
    t = a, b, 1
    x, y, z = t
    x, y = y, x
    return t[0] + t[-1], len(t)

def names(x):
    return math.sqrt(x) * RATE + math.pi + abs(min(x, 1.0)) + round(x, 2)

def deletes(a):
    b = a
    del b
    return a

def stores_a_global(a):
    global count
    count += a

def deletes_a_global():
    global count
    del count

def keywords(a):
    return round(a, ndigits=2)

def star(a, b):
    t = a, b
    options = {"key": abs, "default": a}
    return max(*t), max(*t, **options)

def asserts(a):
    assert a > 0, a
    if a > 10:
        raise ValueError(a)
    return a

def catches(a, b):
    try:
        return a / b
    except ZeroDivisionError:
        return 0.0
    finally:
        a = 1

def closes_over(a):
    def inner(b):
        return a + b
    return inner(1)

def counts(n):
    k = 0
    def step():
        nonlocal k
        k += 1
    for _ in range(n):
        step()
    return k

def comprehends(n):
    return sum([i * i for i in range(n)]), {i for i in range(n)}, {i: i for i in range(n)}

def generates(n):
    return sum(i * i for i in range(n))

def lists(n):
    a = [0.0] * n
    a[0] = 1.0
    a[1:2] = a[2:]
    b = [1, 2, n]
    first, *rest = b
    return a[0] + len(b), [*a, 1]

def contains(a):
    return a in (1, 2, 3), a not in (4, 5)

def formats(a):
    return f"{a:.2f}{a}"

def matches(a):
    match a:
        case 0:
            return 1
        case (x, y):
            return x
        case int():
            return a
    return 0

def imports(a):
    from math import sin
    return sin(a)

class Point:
    def __init__(self, x):
        self.x = x
    def moved(self, d):
        self.x += d
        return self.x
    def base(self):
        return super().__init__(0)

def type_alias(a: float) -> float:
    b: int = 1
    return a + b
"""

WITHOUT_A_HANDLER = {
    "BUILD_CONST_KEY_MAP": "{'a': a, 'b': b}",
    "BUILD_MAP": "{a: b}",
    "BUILD_SET": "{a, b}",
    "CALL_FUNCTION_EX": "f(*args)",
    "DELETE_GLOBAL": "del of a global",
    "DICT_MERGE": "f(*args, **options)",
    "GET_LEN": "case (x, y)",
    "IMPORT_FROM": "from math import sin",
    "IMPORT_NAME": "import",
    "LOAD_CLOSURE": "closures",
    "MAKE_CELL": "closures",
    "MAKE_FUNCTION": "def, lambda, generator expressions",
    "MAP_ADD": "{a: b for a in c}",
    "MATCH_CLASS": "case int()",
    "MATCH_SEQUENCE": "case (x, y)",
    "RETURN_GENERATOR": "generator expressions",
    "SET_ADD": "{f(a) for a in b}",
    "STORE_SLICE": "a[i:j] = b",
    "UNPACK_EX": "first, *rest = a",
    "YIELD_VALUE": "generator expressions",
}


def codes(code: CodeType, *, is_function: bool = False) -> Iterator[CodeType]:
    """The code objects of functions in a code object: modules and class bodies are not numeric code."""
    if is_function:
        yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant, is_function=bool(constant.co_flags & 0x2))


def used_by(text: str) -> dict[str, str]:
    """Which function uses an instruction."""
    found: dict[str, str] = {}
    for code in codes(compile(text, "<corpus>", "exec")):
        for instruction in decode(code).instructions.values():
            found.setdefault(instruction.name, code.co_qualname)
    return found


def test_instructions_without_a_handler() -> None:
    used = used_by(FORMS)
    missing = {name for name in used if name not in HANDLERS}
    listed = set(WITHOUT_A_HANDLER)
    assert missing - listed == set(), {name: used[name] for name in missing - listed}
    assert listed - missing == set()


def test_nothing_is_listed_that_has_a_handler() -> None:
    assert set(WITHOUT_A_HANDLER) & set(HANDLERS) == set()
    assert set(WITHOUT_A_HANDLER) | set(HANDLERS) <= set(dis.opmap)


KERNELS = set(
    "longest_start escape_time estimate_pi energy_drift sum_squares mandelbrot collatz gcd_sum nbody lcg_pi newton_sqrt "
    "horner trial_division hash_mix calendar logistic add sin_pow factorials".split()
)


def test_kernels_of_examples_and_benchmarks_have_handlers_throughout() -> None:
    files = [ROOT / "benchmarks" / "kernels.py", *sorted((ROOT / "examples").glob("[a-z]*.py"))]
    texts = dict(function for file in files for function in functions(file.read_text(encoding="utf-8")))
    missing = {name: set(used_by(texts[name])) - set(HANDLERS) for name in KERNELS}
    assert {name: instructions for name, instructions in missing.items() if instructions} == {}


def functions(text: str) -> Iterator[tuple[str, str]]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, ast.unparse(node)
