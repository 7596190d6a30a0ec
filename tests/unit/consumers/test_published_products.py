"""Whatever a product's document contains, the events with it are valid by the published schemas."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import bson
import jsonschema
import msgspec
import numpy as np
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.errors import BSONError
from hypothesis import assume, example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumers.delivery.record_encoder import RecordEncoder
from consumers.in_flight_frame import Decided, InFlightFrame
from consumers.metrics import ConsumerMetrics
from consumers.stages.results import FrameResult, ResultBuilder
from framematch.catalog.products import ProductStore
from framematch.core.events import MatchEvent, SightingEvent, decode, json_schema
from framematch.core.frames import Frame
from framematch.core.health import new_registry
from framematch.core.settings import KafkaSettings, SightingSettings
from framematch.matching.decision import Candidate, Decision, Thresholds, decide
from framematch.matching.enrich import MetadataCache
from framematch.matching.sightings import SightingTracker
from tests.unit.catalog.test_values import BSON
from tests.unit.consumers.sample_frames import make_served, record

VIEW = {"image": "00ff", "width": 24, "height": 24}
GOOD = {"_id": "milk", "name": "Milk", "views": [VIEW]}
THRESHOLDS = Thresholds(0.5, 0.1)
MATCH = decide((Candidate("milk", 0.9),), THRESHOLDS)

VALIDATORS = {
    name: jsonschema.Draft202012Validator(json_schema(name), format_checker=jsonschema.FormatChecker())
    for name in ("match.v1", "sighting.v1")
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1).flatmap(lambda n: st.sampled_from([n, Int64(n)])),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.datetimes(),
    st.decimals(places=2, min_value=-1000, max_value=1000).map(Decimal128),
    st.sampled_from(
        [Decimal128("NaN"), Decimal128("1E+6000"), ObjectId(b"twelve bytes"), bson.DatetimeMS(2**60), "1.49", "NaN"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
documents = st.fixed_dictionaries(
    {"_id": st.just("milk")},
    optional={
        **dict.fromkeys(("name", "category", "price", "description", "added"), values),
        "attributes": st.dictionaries(st.text(max_size=5), values, max_size=4) | values,
        "views": st.lists(st.just(VIEW) | st.just({**VIEW, "added": 1}) | values, max_size=2) | values,
    },
)


class FakeCollection:
    """A collection with one document, which went through BSON."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(bson.decode(bson.encode(document), codec_options=BSON))
        self.queries = 0

    def find(self, _query: object, _fields: object) -> "FakeCollection":
        """The cursor."""
        self.queries += 1
        return self

    def batch_size(self, _size: int) -> "FakeCollection":
        """The cursor."""
        return self

    async def to_list(self) -> list[dict[str, Any]]:
        """The document."""
        return [self._document]


def store(document: Mapping[str, Any]) -> ProductStore:
    database: Any = SimpleNamespace(products=FakeCollection(document))
    return ProductStore(database)


async def published(cache: MetadataCache, *decisions: Decision) -> list[dict[str, Any]]:
    """The match events and sightings of two frames with these decisions, checked against schema and Python type."""
    results = ResultBuilder(metadata=cache, metrics=ConsumerMetrics(new_registry()))
    tracker, encoder = SightingTracker(SightingSettings()), RecordEncoder(KafkaSettings(), group_id="g")
    events = []
    for number in range(2):
        frame = InFlightFrame(record(number), "till-1", 0, Frame("till-1", 1_000_000 * number, number))
        frame.served = make_served(thresholds=THRESHOLDS)
        frame.regions = tuple((region, 0, 1, 1) for region in range(len(decisions)))
        frame.outcome = Decided(decisions, {})
        observed = tracker.observe(results.match_events(frame, await results.look_up([frame])))
        for sent in encoder.encode(FrameResult.of(frame, observed.events, observed.sightings)):
            event = msgspec.json.decode(sent.value or b"")
            VALIDATORS[event["schema"]].validate(event)
            decode(sent.value or b"", MatchEvent if event["schema"] == "match.v1" else SightingEvent)
            events.append(event)
    return events


def publish(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return asyncio.run(published(MetadataCache(store(document)), MATCH))


@given(documents)
@example({"_id": "milk"})
@example({**GOOD, "price": float("nan"), "category": ["Milk"], "name": None, "attributes": None})
def test_every_document_of_a_product_gives_valid_events(document: dict[str, Any]) -> None:
    try:
        bson.encode(document)
    except (BSONError, UnicodeEncodeError):
        assume(False)
    first, sighting_frame, sighting = publish(document)
    for shown in (first["product"], sighting_frame["product"], sighting["product"]):
        assert shown["id"] == "milk"


@pytest.mark.parametrize(
    "views",
    [None, "missing", {}, "00ff", [None], ["00ff"], [{}], [{**VIEW, "width": None}], [{**VIEW, "height": 0}],
     [{**VIEW, "image": 5}]],
    ids=repr,
)  # fmt: skip
def test_a_document_without_proper_views_is_no_product(views: Any) -> None:
    document = {key: value for key, value in {**GOOD, "price": 1.5, "views": views}.items() if value != "missing"}
    with capture_logs() as logs:
        event = publish(document)[0]
    assert (event["metadata_state"], event["product"]["name"], event["product"]["price"]) == ("missing", "milk", None)
    [entry] = logs
    assert (entry["event"], entry["product"]) == ("product_unreadable", "'milk'")
    assert (
        "view" in entry["error"] or "width" in entry["error"] or "height" in entry["error"] or "image" in entry["error"]
    )


def test_a_field_of_the_wrong_type_is_left_out_of_the_event_and_named() -> None:
    with capture_logs() as logs:
        event = publish(
            {**GOOD, "price": float("nan"), "category": ["Milk"], "attributes": {"a": 1, "b": float("inf")}}
        )[0]
    assert event["metadata_state"] == "fresh"
    assert event["product"] == {
        "id": "milk", "name": "Milk", "category": None, "price": None, "description": None,
        "attributes": {"a": 1, "b": None}, "currency": None, "skus": [],
    }  # fmt: skip
    [entry] = logs
    assert (entry["event"], entry["product"]) == ("product_fields_left_out", "milk")
    for part in ("category is ['Milk']", "price is nan", "attributes.b is inf"):
        assert part in entry["error"]


@pytest.mark.parametrize("name", [None, "", "  ", ["Milk"]])
def test_the_id_stands_for_a_name_that_is_none(name: Any) -> None:
    with capture_logs() as logs:
        event = publish({**GOOD, "name": name})[0]
    assert event["product"]["name"] == "milk"
    assert [entry["event"] for entry in logs] == ["product_fields_left_out"]


def test_foreign_fields_are_ignored_at_every_level() -> None:
    with capture_logs() as logs:
        event = publish({**GOOD, "added": 1, "views": [{**VIEW, "added": {"deep": 1}}]})[0]
    assert (event["metadata_state"], event["product"]["name"], logs) == ("fresh", "Milk", [])


async def test_a_bad_document_is_logged_once_however_often_it_is_read() -> None:
    now_s = 0.0
    products = store({"_id": "milk"})
    cache = MetadataCache(products, ttl_s=1.0, clock=lambda: now_s)
    with capture_logs() as logs:
        for _ in range(5):
            now_s += 10.0
            await cache.lookup(["milk"])
    assert len(logs) == 1


@pytest.mark.parametrize(("score", "shown"), [(1.0000001, 1.0), (-1.0000001, -1.0), (0.87654321, 0.876543), (0.5, 0.5)])
async def test_a_similarity_has_six_digits_and_is_never_above_1(score: float, shown: float) -> None:
    single = float(np.float32(score))
    decision = decide((Candidate("milk", single), Candidate("oats", single - 1 / 3)), Thresholds(-2.0, 0.1))
    event = (await published(MetadataCache(store(GOOD)), decision))[0]
    assert (event["score"], event["candidates"][0]["score"]) == (shown, shown)
    assert all(number == round(number, 6) for number in (event["margin"], event["threshold"]))
