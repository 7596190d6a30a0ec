"""Where a key may be sent, and where it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.api.access.credentials import check_address, credential_of
from framematch.api.access.keys import key_text
from framematch.api.problems import Problem

KEY = key_text("0123456789ab", "k" * 43)  # the same in every process that collects the tests
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0xxxxxx.c2lnbmF0dXJl"


def headers(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in pairs]


@pytest.mark.parametrize(
    "pairs",
    [
        [("authorization", f"Bearer {KEY}")],
        [("authorization", f"bearer   {KEY} ")],
        [("x-api-key", KEY)],
        [("x-api-key", KEY), ("authorization", f"Bearer {KEY}")],
        [("x-api-key", KEY), ("x-api-key", KEY)],
    ],
)
def test_a_key_is_found_in_either_header(pairs: list[tuple[str, str]]) -> None:
    assert credential_of(headers(("host", "api"), *pairs)) == KEY


def test_without_a_header_there_is_no_key() -> None:
    assert credential_of(headers(("cookie", f"key={KEY}"))) is None


@pytest.mark.parametrize(
    "pairs",
    [
        [("x-api-key", KEY), ("authorization", f"Bearer {TOKEN}")],
        [("x-api-key", KEY), ("x-api-key", "another")],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {TOKEN}")],
    ],
)
def test_two_keys_that_differ_are_a_bad_request(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem, match="two keys or tokens") as found:
        credential_of(headers(*pairs))
    assert found.value.status == 400


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer ", "Bearer a b", "", KEY, "Bearer \xe9", "Token x"])
def test_an_authorization_of_another_kind_is_refused_with_a_hint(value: str) -> None:
    with pytest.raises(Problem) as found:
        credential_of(headers(("authorization", value)))
    assert (found.value.status, found.value.code) == (401, "key_malformed")
    assert "invalid_token" in found.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize("value", ["", " ", "a b", "\xff"])
def test_an_x_api_key_that_is_no_word_is_refused(value: str) -> None:
    with pytest.raises(Problem, match="X-API-Key"):
        credential_of(headers(("x-api-key", value)))


@pytest.mark.parametrize(
    "query",
    [
        "api_key=x", "API_KEY=x", "apikey=", "key=1", "token=a", "access_token=a", "a=1&token=b", "a=1;token=b",
        "api%5Fkey=x", f"camera={KEY}", f"camera={KEY.replace('_', '%5F')}", f"q=a+{KEY}", KEY, f"x={TOKEN}",
        f"{KEY}=x", "password=x", "X-API-Key=x",
    ],
)  # fmt: skip
def test_a_key_in_the_query_string_is_refused_and_not_repeated(query: str) -> None:
    with pytest.raises(Problem, match="the query string contains") as found:
        check_address("/v1/matches", query.encode())
    assert (found.value.status, found.value.code) == (400, "key_in_address")
    assert KEY not in str(found.value)


def test_a_key_in_the_path_is_refused() -> None:
    with pytest.raises(Problem, match="the path contains"):
        check_address(f"/v1/api_keys/{KEY}", b"")


@pytest.mark.parametrize(
    "query", ["", "page_token=abc", "camera=till-1&q=monkey+token", "filter=key", "keys=a", "%ff%"]
)
def test_other_addresses_pass(query: str) -> None:
    check_address("/v1/api_keys/0123456789ab:rotate", query.encode())


@given(st.binary())
def test_no_query_string_breaks_the_check(query: bytes) -> None:
    try:
        check_address("/v1/matches", query)
    except Problem as problem:
        assert problem.code == "key_in_address"  # noqa: PT017  # most examples raise nothing
