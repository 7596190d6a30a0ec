"""Forms are read from memory, within bounds, as browsers and curl send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.api.multipart import FIELD_BYTES_MAX, PARTS_MAX, Part, is_form, read_form
from framematch.api.problems import Problem

TYPE = "multipart/form-data; boundary=b"


def part(name: str, data: bytes, *, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def read(body: bytes, content_type: str = TYPE) -> list[Part]:
    return read_form(content_type, body, files={"image": 2})


@given(st.lists(st.binary(max_size=200).filter(lambda data: b"--b" not in data), max_size=2))
def test_files_arrive_as_they_are(files: list[bytes]) -> None:
    body = form(*(part("image", data, more='; filename="a.jpg"\r\nContent-Type: image/jpeg') for data in files))
    assert read(body) == [Part("image", data) for data in files]


def test_parts_are_in_their_order_with_their_names() -> None:
    body = form(part("top_k", b"3"), part("image", b"a"), part("regions", b"[]"))
    assert [one.name for one in read(body)] == ["top_k", "image", "regions"]


def test_a_quoted_boundary_and_a_preamble_are_fine() -> None:
    assert read(b"\r\n" + form(part("image", b"x")), 'multipart/form-data; charset=utf-8; boundary="b"')


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "ends before its last boundary"),
        (b"no form at all", "cannot be read"),
        (part("image", b"x"), "ends before its last boundary"),
        (form(*[part("image", b"x")] * 3), "more than 2 parts 'image'"),
        (form(*[part("other", b"")] * (PARTS_MAX + 1)), f"more than {PARTS_MAX} parts"),
        (form(part("other", bytes(FIELD_BYTES_MAX + 1))), f"more than {FIELD_BYTES_MAX} bytes"),
        (form(part("", b"x")), "has no name"),
        (form(b"--b\r\nContent-Type: a/b\r\n\r\nx\r\n"), "has no name"),
        (form(b"--b\r\n" + b"X-A: b\r\n" * 30 + b"\r\nx\r\n"), "cannot be read"),
        (form(part("image", b"x", more="; a=" + "y" * 9_000)), "cannot be read"),
    ],
)
def test_what_is_no_form_or_too_much_of_one_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(Problem, match=says) as refused:
        read(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_form")


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(Problem, match="no boundary"):
        read(b"", "multipart/form-data")


@given(st.binary(max_size=400))
def test_any_bytes_are_parts_or_a_problem(body: bytes) -> None:
    try:
        read(b"--b\r\n" + body)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017  # either is fine


@pytest.mark.parametrize(
    ("content_type", "form"),
    [(TYPE, True), ("Multipart/Form-Data ; boundary=x", True), ("application/json", False), ("", False)],
)
def test_a_form_is_known_by_its_type(content_type: str, form: bool) -> None:
    assert is_form(content_type) is form
