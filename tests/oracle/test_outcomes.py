"""When outcomes are the same: nothing but the bits of a nan may be different."""

from __future__ import annotations

import itertools
import math
import struct
import sys
import traceback

import pytest

from minijit.oracle.outcomes import LONGEST, are_same, is_from, told, written

ALL_DIFFERENT = [
    *(0, 1, 2, True, False, 0.0, -0.0, 1.0, math.inf, math.nan, None, "1", b"1", "", b"", ()),
    *(
        (0,),
        (0.0,),
        (-0.0,),
        ((0,),),
        (0, 0),
        2**70,
        2.0**70,
        1j,
        complex(0.0, -0.0),
        range(3),
        range(0, 3, 2),
        len,
        abs,
    ),
]


def raised(text: str) -> BaseException:
    """The exception, with the text's own frames in its traceback."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any sort
        exec(text, {})
    error = caught.value
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def test_what_is_different() -> None:
    for one, other in itertools.combinations(ALL_DIFFERENT, 2):
        assert not are_same(one, other), (one, other)


def test_what_is_the_same() -> None:
    for value in ALL_DIFFERENT:
        assert are_same(value, value)
    assert are_same(10**30, 10**30 + int("0"))
    assert are_same((1.5, ("a",)), (float("1.5"), ("".join("a"),)))
    other_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0]
    assert are_same((math.nan,), (other_nan,))


def test_exceptions() -> None:
    texts = ["1 // 0", "1 / 0", "\n1 // 0", "raise ValueError", "raise ValueError(0)", "raise ValueError(0.0)", "x"]
    texts += ["def f(): return 1 // 0\nf()", "def f(): return 1 // 0\n\nf()"]
    for one, other in itertools.combinations(texts, 2):
        assert not are_same(raised(one), raised(other)), (one, other)
    for text in texts:
        assert are_same(raised(text), raised(text))


def test_whose_exception_it_is() -> None:
    def codes(error: BaseException) -> set[object]:
        return {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}

    own = raised("1 // 0")
    assert is_from(codes(own), own)
    assert not is_from(codes(raised("2 // 0")), own)
    assert not is_from(codes(own), ValueError("of no frame"))
    deeper = raised("def f(): 1 // 0\nf()")
    assert len(codes(deeper)) == 2
    assert is_from(codes(deeper), deeper)
    for code in codes(deeper):
        assert not is_from({code}, deeper)
    for text in ("raise MemoryError", "raise RecursionError", "raise OSError", "class E(ValueError): pass\nraise E"):
        foreign = raised(text)
        assert not is_from(codes(foreign), foreign), text
    assert is_from(codes(own), 3)


@pytest.mark.parametrize("value", [1, -(2**63), 1.5, -0.0, "a'b", None, (), (1,), (1, (2.5, "x")), 3**2000])
def test_values_are_written_as_expressions(value: object) -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        text = written(value)
    finally:
        sys.set_int_max_str_digits(limit)
    assert are_same(eval(text), value)


def test_what_is_long_is_cut() -> None:
    assert len(written("a" * 10 * LONGEST)) < LONGEST + 100


def test_outcomes_in_words() -> None:
    assert told(-0.0) == "-0.0 (float)"
    assert told(True) == "True (bool)"
    assert told((1, 2.5)) == "(1, 2.5) (tuple)"
    assert told(raised("\nint('')")).endswith(" at line 2")
