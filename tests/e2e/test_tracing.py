"""The complete trace of a frame: from its capture in the edge to the match event of the consumer."""

from collections import defaultdict

from demo.dataset import DATA_DIR, load_photos
from tests.e2e.site import Site
from tests.integration.otlp_receiver import ReceivedSpan, otlp_receiver

PHOTOS = 6
CONSUMED = {"wait", "decode", "batch", "infer", "search", "enrich"}


async def test_every_match_event_belongs_to_the_trace_started_by_the_edge(site: Site) -> None:
    photos = site.folder / "photos"
    photos.mkdir()
    for number, photo in enumerate(load_photos()[:PHOTOS]):
        (photos / f"{number:04}.jpg").write_bytes((DATA_DIR / photo.file).read_bytes())
    with otlp_receiver() as receiver:
        consumer = site.start("consume", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        edge = site.start(
            "edge", "--camera", f"shelf={photos}", "--fps", "50", ready=False, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
        )
        records = await site.read(site.topics.matches, PHOTOS)
        consumer.stop()
        edge.stop()
    by_parent: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in receiver.spans:
        by_parent[span.parent_id].append(span)
    roots = by_parent[""]
    assert [root.name for root in roots] == ["framematch capture"] * PHOTOS
    published = set()
    for root in roots:
        children = {span.name: span for span in by_parent[root.span_id]}
        assert children.keys() == {"encode", "publish", "framematch consume"}
        consumed = children["framematch consume"]
        assert {span.name for span in by_parent[consumed.span_id]} == CONSUMED
        assert consumed.attributes["framematch.frame.id"] == root.attributes["framematch.frame.id"]
        assert root.started_ns < consumed.started_ns < consumed.ended_ns
        published.add(f"00-{root.trace_id}-{consumed.span_id}-01".encode())
    assert {dict(record.headers)["traceparent"] for record in records} == published
