"""A naive first version of a consumer, in a process of its own: `python -m benchmarks.consumer.naive TRITON_HTTP N`.

It processes N frames, one after the other: poll a record, decode and crop it, one HTTP request to Triton, one search,
one `find_one` for the nearest product, produce the match event and wait for its acknowledgement; the client commits
offsets every five seconds. Nothing is batched, nothing overlaps.

Everything else is what the consumer has: the same settings, Triton and model, decoding, preprocessing, index and
decision. Its libraries are the fast ones for such a loop: librdkafka with its defaults, PyMongo, and a kept-alive HTTP
connection to Triton that sends pixels as they are (the binary tensor extension), not as JSON.
"""

import asyncio
import http.client
import json
import sys
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer
from numpy.typing import NDArray
from pymongo import MongoClient

from consumers.stages.decode import read_jpeg
from framematch.catalog.mongo import connect
from framematch.catalog.product import PRODUCT_FIELDS, Product, to_product
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot
from framematch.core import exact_json
from framematch.core.kafka.topics import Topics
from framematch.core.logging import configure_logging
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings, require
from framematch.matching.decision import Decision
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import IMAGE_MODEL, served_name
from framematch.vision.preprocess import Preprocessor


def main(triton_http: str, frames: int) -> None:
    """Process so many frames of the topic from its start, and end."""
    configure_logging("warning", "console", service="naive")
    settings = load_settings()
    mongo_uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    model, preprocessor, matcher = asyncio.run(load(settings, mongo_uri))
    topics, servers = Topics(settings.kafka.topic_prefix), {"bootstrap.servers": settings.kafka.bootstrap_servers}
    mongo: MongoClient[dict[str, Any]] = MongoClient(mongo_uri)
    products, triton = mongo[settings.mongodb.database].products, http.client.HTTPConnection(triton_http)
    producer = Producer(servers)
    consumer = Consumer({**servers, "group.id": f"naive-{uuid.uuid4().hex[:8]}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topics.frames])
    for _ in range(frames):
        record: Any = consumer.poll()
        if error := record.error():
            raise KafkaException(error)
        picture = read_jpeg(record.value(), max_pixels=settings.consumer.max_pixels)
        pixels = preprocessor(picture.decode(preprocessor.reduction(picture.height, picture.width)))
        (decision,) = matcher.match(embed(triton, model, pixels))
        nearest = decision.candidates[0].product_id
        document = products.find_one({"_id": nearest}, PRODUCT_FIELDS)
        event = to_event(record, (picture.width, picture.height), decision, document)
        producer.produce(topics.matches, event, record.key(), headers=record.headers())
        producer.flush()
    consumer.close()


async def load(settings: Settings, mongo_uri: str) -> tuple[str, Preprocessor, Matcher]:
    """The name of the served model, the preprocessing, and the active index."""
    triton_url = require(settings.triton.url, "triton.url")
    async with await connect(mongo_uri) as mongo, await ImageEncoder.connect(triton_url) as encoder:
        database = mongo[settings.mongodb.database]
        storage = open_storage(settings.snapshots.url, database)
        snapshot = await load_snapshot(database, storage, state_dir() / "naive-snapshots")
        preprocessor = Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant)
        return served_name(IMAGE_MODEL, encoder.manifest.digest), preprocessor, Matcher(snapshot)


def embed(triton: http.client.HTTPConnection, model: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB uint8 [H, W, 3] -> float32 [1, D], by Triton's binary tensor extension: a JSON header before the pixels."""
    shape = [1, *pixels.shape]
    tensor = {"name": "pixels", "shape": shape, "datatype": "UINT8", "parameters": {"binary_data_size": pixels.nbytes}}
    output = {"name": "embedding", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    triton.request("POST", f"/v2/models/{model}/infer", header + pixels.tobytes(), length)
    response = triton.getresponse()
    body = response.read()
    if response.status != http.client.OK:
        raise http.client.HTTPException(f"Triton answered {response.status}: {body[:200]!r}")
    return np.frombuffer(body, np.float32, offset=int(response.headers["Inference-Header-Content-Length"]))[None]


def to_event(record: Any, size: tuple[int, int], decision: Decision, document: dict[str, Any] | None) -> bytes:
    """The match event of the whole picture: the fields that a reader of this benchmark needs, and as large."""
    headers, best = dict(record.headers()), decision.candidates[0].product_id
    product = Product(best, best) if document is None else replace(to_product(document)[0], views=())
    event = {
        "schema": "match.v1",
        "id": headers["ce_id"].decode(),
        "frame": {"captured_at": headers["ce_time"].decode(), "width": size[0], "height": size[1]},
        "decision": decision.kind,
        "score": decision.score,
        "margin": decision.margin,
        "product": product,
        "candidates": [{"product": found.product_id, "score": found.score} for found in decision.candidates],
        "metadata_state": "fresh",
        "timings_ms": {},
    }
    return exact_json.encode(event)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
