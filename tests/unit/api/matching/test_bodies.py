"""The bodies of match and search: the same pictures as JSON and as a form, and one pointer for each mistake."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from framematch.api.matching.bodies import MatchBody, SearchBody, read_file, read_match, read_search
from framematch.api.problems import Problem
from framematch.catalog.product import ProductFilter
from framematch.matching.match_pictures import Picture

JSON = "application/json"
FORM = "multipart/form-data; boundary=b"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def form(*parts: tuple[str, bytes | str]) -> bytes:
    body = b""
    for name, data in parts:
        text = data.encode() if isinstance(data, str) else data
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + text + b"\r\n"
    return body + b"--b--\r\n"


def match_json(value: Any) -> MatchBody:
    return read_match(JSON, json.dumps(value).encode())


def search_json(value: Any) -> SearchBody:
    return read_search("application/json; charset=utf-8", json.dumps(value).encode())


PICTURES = (Picture(b"one", ((1, 2, 3, 4),)), Picture(b"two"))


def test_a_match_is_the_same_as_json_and_as_a_form() -> None:
    as_json = match_json(
        {"images": [{"content": b64(b"one"), "regions": [[1, 2, 3, 4]]}, {"content": b64(b"two")}], "top_k": 3}
    )
    parts = (("image", b"one"), ("regions", "[[[1,2,3,4]],[]]"), ("image", b"two"), ("top_k", "3"))
    assert as_json == read_match(FORM, form(*parts)) == MatchBody(PICTURES, 3)
    assert as_json.slots == 2


@pytest.mark.parametrize("regions", ["[[1,2,3,4]]", "[[[1,2,3,4]]]"])
def test_the_regions_of_one_picture_may_stand_alone(regions: str) -> None:
    assert read_match(FORM, form(("image", b"one"), ("regions", regions))).pictures == PICTURES[:1]


@pytest.mark.parametrize(
    "text", [b64(b"one"), "b25\nl", " b25l\r\n", "data:image/jpeg;base64,b25l", "data:;base64,b25l"]
)
def test_base64_is_taken_as_tools_write_it(text: str) -> None:
    assert match_json({"images": [{"content": text}]}).pictures == (Picture(b"one"),)


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ([], "/"),
        ({}, "/images"),
        ({"images": []}, "/images"),
        ({"images": [{"content": "b25l"}] * 17}, "/images"),
        ({"images": [{"content": ""}]}, "/images/0/content"),
        ({"images": [{"content": "b25l"}, {"content": "!"}]}, "/images/1/content"),
        ({"images": [{"content": "b25"}]}, "/images/0/content"),
        ({"images": [{"content": "bäl="}]}, "/images/0/content"),
        ({"images": [{"url": "http://x/"}]}, "/images/0/content"),
        ({"images": [{"content": "b25l", "url": "http://x/"}]}, "/images/0/url"),
        ({"images": [{"content": "b25l", "regions": [[0, 0, 0, 1]]}]}, "/images/0/regions/0/2"),
        ({"images": [{"content": "b25l", "regions": [[-1, 0, 1, 1]]}]}, "/images/0/regions/0/0"),
        ({"images": [{"content": "b25l", "regions": [[0, 0, 1]]}]}, "/images/0/regions/0/3"),
        ({"images": [{"content": "b25l", "regions": [[0, 0, 1, 1]] * 65}]}, "/images/0/regions"),
        ({"images": [{"content": "b25l", "regions": [[0, 0, 1, 1]] * 33}] * 2}, "/images"),
        ({"images": [{"content": "b25l"}], "top_k": 101}, "/top_k"),
        ({"images": [{"content": "b25l"}], "top_k": 0}, "/top_k"),
        ({"images": [{"content": "b25l"}], "topk": 1}, "/topk"),
    ],
)
def test_each_mistake_in_json_has_its_pointer(value: Any, pointer: str) -> None:
    with pytest.raises(Problem) as refused:
        match_json(value)
    assert (refused.value.status, refused.value.errors[0].pointer) == (400, pointer)
    assert "http://x/" not in str(refused.value.errors)


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ([], "/image"),
        ([("image", b"x"), ("url", "http://x/")], "/url"),
        ([("image", b"x"), ("top_k", "many")], "/top_k"),
        ([("image", b"x"), ("top_k", b"\xff")], "/top_k"),
        ([("image", b"x"), ("top_k", "1"), ("top_k", "2")], "/top_k"),
        ([("image", b"x"), ("regions", "[[0,0,1,1]")], "/regions"),
        ([("image", b"x"), ("regions", "7")], "/regions"),
        ([("image", b"x"), ("regions", "[[[0,0,1,1]],[]]")], "/regions"),
        ([("image", b"x"), ("image", b"y"), ("regions", "[[0,0,1,1]]")], "/regions"),
        ([("image", b"x"), ("regions", "[" * 5_000)], "/regions"),
    ],
)
def test_each_mistake_in_a_form_has_its_pointer(parts: list[tuple[str, bytes | str]], pointer: str) -> None:
    with pytest.raises(Problem) as refused:
        read_match(FORM, form(*parts))
    assert refused.value.errors[0].pointer == pointer


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem, match="the body is not JSON"):
        read_match(JSON, body)


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "text/plain", "application/x-www-form-urlencoded"])
def test_another_type_is_415(content_type: str) -> None:
    for read in (read_match, read_search, read_file):
        with pytest.raises(Problem) as refused:
            read(content_type, b"{}")
        assert refused.value.status == 415


def test_a_search_is_the_same_as_json_and_as_a_form() -> None:
    wanted = {"category": "Apple", "price": {"lte": 2.5}, "attributes": {"brand": "Arla"}}
    as_json = search_json({"image": b64(b"one"), "filter": wanted, "top_k": 3, "min_score": 0.5})
    parts = (("image", b"one"), ("filter", json.dumps(wanted)), ("top_k", "3"), ("min_score", "0.5"))
    products = ProductFilter("Apple", price_max=Decimal("2.5"), attributes=(("brand", "Arla"),))
    assert as_json == read_search(FORM, form(*parts)) == SearchBody(None, Picture(b"one"), products, 3, 0.5)


def test_a_text_of_a_form_is_no_json() -> None:
    assert read_search(FORM, form(("text", '7 "up"'))) == SearchBody('7 "up"', None, ProductFilter(), 10, None)


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({}, "/text"),
        ({"text": "a", "image": "b25l"}, "/text"),
        ({"text": "a" * 1_001}, "/text"),
        ({"text": "a", "filter": {"price": {"gte": -1}}}, "/filter/price/gte"),
        ({"text": "a", "filter": {"$where": "1"}}, "/filter/$where"),
        ({"text": "a", "filter": {"attributes": {"a": {"$ne": 1}}}}, "/filter/attributes/a"),
        ({"text": "a", "min_score": 2}, "/min_score"),
    ],
)
def test_each_mistake_in_a_search_has_its_pointer(value: Any, pointer: str) -> None:
    with pytest.raises(Problem) as refused:
        search_json(value)
    assert refused.value.errors[0].pointer == pointer


def test_the_seeds_form_has_one_file() -> None:
    assert read_file(FORM, form(("file", b"one"))) == MatchBody((Picture(b"one"),), None)
    for parts in ([], [("image", b"x")]):
        with pytest.raises(Problem):
            read_file(FORM, form(*parts))
