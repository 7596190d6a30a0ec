"""The Python API for subscribers: `from framematch import subscribe`."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

from framematch.core.errors import UsageError
from framematch.core.event_reader import Selection, open_events
from framematch.core.events import DecisionKind, MatchEvent, SightingEvent, SightingKind
from framematch.core.kafka.offsets import StartAt
from framematch.core.kafka.topics import Topics
from framematch.core.settings import KafkaSettings
from framematch.core.settings_sources import load_settings


@asynccontextmanager
async def subscribe(
    *,
    cameras: str | Iterable[str] = (),
    products: str | Iterable[str] = (),
    decisions: DecisionKind | Iterable[DecisionKind] = (),
    group_id: str | None = None,
    start: StartAt = "latest",
    bootstrap_servers: str | None = None,
    topic_prefix: str | None = None,
    config: Path | None = None,
) -> AsyncIterator[AsyncIterator[MatchEvent]]:
    """Open a subscription to match events, which never end.

    Use `async with subscribe() as events:`, and inside `async for event in events:`. Settings come from the
    environment, a YAML file and the running local stack, as for every command (docs/settings.md). An event that cannot
    be decoded is logged and skipped.

    Args:
        cameras: ids of the cameras to select. Empty: all.
        products: ids of the products to select, by their matches. Empty: all events, also those without a product.
        decisions: `match`, `ambiguous`, `unknown`. Empty: all.
        group_id: the members of a consumer group share the events, and the group commits its offsets. An event is
            handled when the loop requests the next one, so after a crash some are repeated, with the same `id`. None:
            every subscriber sees every event, and nothing is committed.
        start: `earliest`, with the oldest event that Kafka has, or `latest`, with new ones. A group with committed
            offsets continues there.
        bootstrap_servers: `host:port`, several separated by commas; overrides the settings.
        topic_prefix: overrides the settings.
        config: a settings file, as for `framematch --config`; TLS and SASL are in its section `kafka`.

    Raises:
        SettingsError: a setting is unknown, missing or invalid.
        UsageError: there is no such decision or start.
        KafkaUnavailableError: at the start no broker answers, or it refuses us. Later outages are waited out.
    """
    kafka = _kafka(config, bootstrap_servers, topic_prefix)
    selection = select_matches(cameras, products, decisions)
    _one_of("start", start, StartAt)
    topic = Topics(kafka.topic_prefix).matches
    async with open_events(kafka, topic, selection, group_id=group_id, start=start) as reader:
        yield (received.event async for received in reader)


@asynccontextmanager
async def subscribe_sightings(
    *,
    cameras: str | Iterable[str] = (),
    products: str | Iterable[str] = (),
    kinds: SightingKind | Iterable[SightingKind] = (),
    group_id: str | None = None,
    start: StartAt = "latest",
    bootstrap_servers: str | None = None,
    topic_prefix: str | None = None,
    config: Path | None = None,
) -> AsyncIterator[AsyncIterator[SightingEvent]]:
    """Open a subscription to sightings: a product comes into view, stays, and leaves. Otherwise as `subscribe`.

    `kinds`: `started`, `updated`, `ended`. Empty: all.
    """
    kafka = _kafka(config, bootstrap_servers, topic_prefix)
    selection = select_sightings(cameras, products, kinds)
    _one_of("start", start, StartAt)
    topic = Topics(kafka.topic_prefix).sightings
    async with open_events(kafka, topic, selection, group_id=group_id, start=start) as reader:
        yield (received.event async for received in reader)


def select_matches(
    cameras: str | Iterable[str] = (), products: str | Iterable[str] = (), decisions: str | Iterable[str] = ()
) -> Selection[MatchEvent]:
    """Select the match events of these cameras, products and decisions; an empty argument selects all.

    Raises:
        UsageError: there is no such decision.
    """
    wanted_products, wanted_decisions = _names(products), _names(decisions)
    for decision in wanted_decisions:
        _one_of("decision", decision, DecisionKind)

    def fits(event: MatchEvent) -> bool:
        product = event.product.id if event.product else None
        return _among(product, wanted_products) and _among(event.decision, wanted_decisions)

    return Selection(MatchEvent, _names(cameras), fits)


def select_sightings(
    cameras: str | Iterable[str] = (), products: str | Iterable[str] = (), kinds: str | Iterable[str] = ()
) -> Selection[SightingEvent]:
    """Select the sightings of these cameras, products and kinds; an empty argument selects all.

    Raises:
        UsageError: there is no such kind.
    """
    wanted_products, wanted_kinds = _names(products), _names(kinds)
    for kind in wanted_kinds:
        _one_of("kind of sighting", kind, SightingKind)

    def fits(event: SightingEvent) -> bool:
        return _among(event.product.id, wanted_products) and _among(event.kind, wanted_kinds)

    return Selection(SightingEvent, _names(cameras), fits)


def _kafka(config: Path | None, bootstrap_servers: str | None, topic_prefix: str | None) -> KafkaSettings:
    given = {"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix}
    return load_settings(config, {"kafka": {name: value for name, value in given.items() if value is not None}}).kafka


def _names(given: str | Iterable[str]) -> frozenset[str]:
    """A string is one name, not an iterable of its characters."""
    return frozenset([given] if isinstance(given, str) else given)


def _among(name: str | None, wanted: frozenset[str]) -> bool:
    return not wanted or name in wanted


def _one_of(what: str, name: str, kind: Any) -> None:
    if name not in get_args(kind):
        raise UsageError(f"there is no {what} {name!r}", hint=f"Use one of {', '.join(get_args(kind))}")
