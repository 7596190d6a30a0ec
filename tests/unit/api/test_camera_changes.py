"""What becomes of a request for a camera: its record, or what is wrong with it."""

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from framematch.api.cameras.changes import Draft, problems_of, wanted_from
from framematch.api.problems import Problem
from framematch.core.camera_settings import decode_wanted, encode_wanted
from framematch.core.sealing import SourceSeal

SEAL = SourceSeal(SecretStr(Fernet.generate_key().decode()))
CANARY = "hunter2-canary"
URL = f"rtsp://user:{CANARY}@10.0.0.5/{CANARY}"


def test_a_source_is_sealed_and_shown_without_its_secrets() -> None:
    wanted = wanted_from("till-1", Draft("shop-1", {"fps": 2}, URL), None, SEAL, 3)
    assert (wanted.generation, wanted.edge, wanted.source.shown) == (3, "shop-1", "rtsp://***@10.0.0.5/…")
    assert SEAL.open("till-1", wanted.source.sealed or "") == URL
    assert CANARY.encode() not in encode_wanted(wanted)
    assert decode_wanted("till-1", encode_wanted(wanted)) == wanted


def test_a_source_stays_when_none_is_given_and_a_secret_needs_no_key() -> None:
    first = wanted_from("till-1", Draft("shop-1", {}, "@till-1.url"), None, None, 3)
    assert (first.source.secret, first.source.sealed, first.source.shown) == ("till-1.url", None, "@till-1.url")
    second = wanted_from("till-1", Draft("shop-2", {}), first, None, 4)
    assert (second.source, second.generation) == (first.source, 4)


@given(st.integers(1, 2**53 - 2), st.integers(1, 2**53 - 2))
def test_a_generation_is_above_the_one_before_whoever_wrote_that(before: int, proposed: int) -> None:
    old = wanted_from("till-1", Draft("shop-1", {}, "@x"), None, None, before)
    new = wanted_from("till-1", Draft("shop-1", {}), old, None, proposed)
    assert new.generation >= max(before + 1, proposed)


@pytest.mark.parametrize(
    ("draft", "pointer"),
    [
        (Draft("e", {"fps": -1}, URL), "/settings/fps"),
        (Draft("e", {"motion": {"min_area": 7}}, URL), "/settings/motion/min_area"),
        (Draft("e", {"masks": [{"polygon": [[0, 0]]}]}, URL), "/settings/masks/0/polygon"),
        (Draft("e", {"a/b~c": CANARY}, URL), "/settings/a~1b~0c"),
        (Draft("e", {"source": URL}, URL), "/settings/source"),
        (Draft("e", {}), "/source"),
        (Draft("e", {}, "/etc/passwd"), "/source"),
        (Draft("e", {}, f"@../{CANARY}"), "/source"),
        (Draft("e", {}, f"ftp://u:{CANARY}@h/1"), "/source"),
        (Draft("e", {"masks": [{"polygon": [[0.5, 0.5]] * 9_000}]}, URL), ""),
    ],
)
def test_what_is_wrong_is_named_by_its_pointer_and_never_quoted(draft: Draft, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        wanted_from("till-1", draft, None, SEAL, 1)
    assert caught.value.status == 400
    assert [one.pointer for one in caught.value.errors] == ([pointer] if pointer else [])
    assert CANARY not in f"{caught.value}{caught.value.errors}"


def test_everything_wrong_is_named_at_once() -> None:
    errors = problems_of(Draft("e", {"fps": 0, "max_side": 1}, "nowhere"), has_source=False, can_seal=True)
    assert {one.pointer for one in errors} == {"/settings/fps", "/settings/max_side", "/source"}


def test_without_a_key_a_url_is_refused_rather_than_stored_in_clear() -> None:
    [error] = problems_of(Draft("e", {}, URL), has_source=False, can_seal=False)
    assert "cameras_key" in error.detail
    assert problems_of(Draft("e", {}, "@x"), has_source=False, can_seal=False) == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
settings_keys = st.sampled_from(["fps", "max_side", "motion", "regions", "masks", "rtsp_transport", "key_frames_only"])


@given(st.dictionaries(settings_keys | st.text(st.characters(codec=None), max_size=5), json_values, max_size=4))
def test_any_settings_are_either_a_record_that_decodes_or_a_problem(settings: dict[str, object]) -> None:
    try:
        wanted = wanted_from("till-1", Draft("shop-1", settings, "@x"), None, None, 1)
    except Problem as problem:
        named = bool(problem.errors)
    else:
        named = decode_wanted("till-1", encode_wanted(wanted)) == wanted
    assert named
