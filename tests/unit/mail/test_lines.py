from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.mail.lines import dot_stuff, has_line_longer_than, with_crlf

_LINES = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\x00"]), max_size=40).map(b"".join)


@given(_LINES)
def test_no_bare_cr_or_lf_is_left(content: bytes) -> None:
    rest = with_crlf(content).replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest


@given(_LINES)
def test_what_is_right_already_is_the_same_object(content: bytes) -> None:
    normal = with_crlf(content)
    assert with_crlf(normal) is normal


@given(_LINES)
def test_on_the_wire_the_end_comes_once_at_the_end_and_every_leading_dot_is_doubled(content: bytes) -> None:
    wire = dot_stuff(content)
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
    lines = wire[:-3].split(b"\r\n")
    assert all(line.startswith(b"..") for line in lines if line.startswith(b"."))
    unstuffed = b"\r\n".join(line.removeprefix(b".") for line in lines)
    normal = with_crlf(content)
    assert unstuffed == (normal if not normal or normal.endswith(b"\r\n") else normal + b"\r\n")


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=10), st.integers(1, 10))
def test_a_long_line_is_found_wherever_it_stands(lines: list[bytes], octets: int) -> None:
    lines = [line.replace(b"\r", b"-") for line in lines]
    expected = any(len(line) > octets for line in lines)
    assert has_line_longer_than(octets, b"\r\n".join(lines)) == expected
    assert has_line_longer_than(octets, b"".join(line + b"\r\n" for line in lines)) == expected
