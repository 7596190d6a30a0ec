"""A naive first version of a consumer, in a process of its own: `python -m benchmarks.consumer.naive OPTIONS`.

One frame after the other: poll a record, decode and crop it, one HTTP request to Triton, one search, one `find_one` for
the nearest product, produce the match event and wait for its acknowledgement; the client commits offsets every five
seconds. Nothing is batched, nothing overlaps.

Everything else is what the consumer has: the same Triton and model, decoding, preprocessing, index and decision. Its
libraries are the fast ones for such a loop: librdkafka with its defaults, PyMongo, and a kept-alive HTTP connection to
Triton that sends pixels as they are (the binary tensor extension), not as JSON.
"""

import asyncio
import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer
from numpy.typing import NDArray
from pymongo import MongoClient

from consumers.stages.decode import read_jpeg
from framematch.catalog.mongo import connect
from framematch.catalog.snapshot import Snapshot
from framematch.catalog.snapshot_store import load_snapshot
from framematch.core.logging import configure_logging
from framematch.core.settings import ConsumerSettings, MongoSettings
from framematch.core.units import MS_PER_S
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import IMAGE_MODEL
from framematch.vision.preprocess import Preprocessor

_POLL_S = 1.0
_MAX_PIXELS = ConsumerSettings().max_pixels
_PRODUCT_FIELDS = ("name", "category", "price", "description", "attributes")


class Options(msgspec.Struct, frozen=True):
    """The command line's only argument, as JSON; Triton's addresses are `host:port`."""

    bootstrap_servers: str
    topic_prefix: str
    group: str
    triton_grpc: str
    triton_http: str
    mongodb_uri: str
    snapshots: str
    frames: int


def main(options: Options) -> None:
    """Process so many frames of the topic from its start, and end."""
    configure_logging("warning", "console", service="naive")
    preprocessor, snapshot = asyncio.run(_load(options))
    mongo: MongoClient[dict[str, Any]] = MongoClient(options.mongodb_uri)
    servers = {"bootstrap.servers": options.bootstrap_servers}
    consumer = Consumer({**servers, "group.id": options.group, "auto.offset.reset": "earliest"})
    consumer.subscribe([f"{options.topic_prefix}.frames"])
    loop = NaiveLoop(
        preprocessor=preprocessor,
        matcher=Matcher(snapshot),
        triton=TritonHttp(options.triton_http),
        products=mongo[MongoSettings().database].products,
        producer=Producer(servers),
        topic=f"{options.topic_prefix}.matches",
    )
    try:
        loop.run(consumer, options.frames)
    finally:
        consumer.close()


async def _load(options: Options) -> tuple[Preprocessor, Snapshot]:
    async with await connect(options.mongodb_uri) as mongo, await ImageEncoder.connect(options.triton_grpc) as encoder:
        snapshot = await load_snapshot(mongo[MongoSettings().database], Path(options.snapshots))
        return Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant), snapshot


class TritonHttp:
    """The image model behind Triton's HTTP endpoint, asked for one picture at a time."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 [H, W, 3] -> float32 [1, D]."""
        header, body = infer_request(pixels)
        path = f"/v2/models/{IMAGE_MODEL}/infer"
        self._connection.request("POST", path, body, {"Inference-Header-Content-Length": str(header)})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"Triton answered {response.status}: {answer[:200]!r}")
        return np.frombuffer(answer, np.float32, offset=int(response.headers["Inference-Header-Content-Length"]))[None]


def infer_request(pixels: NDArray[np.uint8]) -> tuple[int, bytes]:
    """The length of the JSON header, and header and pixels as Triton's binary tensor extension wants them."""
    shape = [1, *pixels.shape]
    tensor = {"name": "pixels", "shape": shape, "datatype": "UINT8", "parameters": {"binary_data_size": pixels.nbytes}}
    output = {"name": "embedding", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    return len(header), header + pixels.tobytes()


@dataclass(frozen=True)
class NaiveLoop:
    """Processes one record after the other, each up to the acknowledgement of its event."""

    preprocessor: Preprocessor
    matcher: Matcher
    triton: TritonHttp
    products: Any  # a collection of PyMongo
    producer: Producer
    topic: str

    def run(self, consumer: Consumer, frames: int) -> None:
        """Process the next `frames` records."""
        done = 0
        while done < frames:
            record: Any = consumer.poll(_POLL_S)
            if record is None:
                continue
            if error := record.error():
                raise KafkaException(error)
            event = self._event(record.value(), dict(record.headers()))
            self.producer.produce(self.topic, json.dumps(event).encode(), record.key(), headers=record.headers())
            self.producer.flush()
            done += 1

    def _event(self, jpeg: bytes, headers: Mapping[str, bytes]) -> dict[str, Any]:
        """A match event of the whole picture; the fields that a reader of this benchmark needs, and as large."""
        timings_ms: dict[str, float] = {}
        with _timed("decode", timings_ms):
            picture = read_jpeg(jpeg, max_pixels=_MAX_PIXELS)
            pixels = self.preprocessor(picture.decode(self.preprocessor.reduction(picture.height, picture.width)))
        with _timed("infer", timings_ms):
            embedding = self.triton.embed(pixels)
        with _timed("search", timings_ms):
            (decision,) = self.matcher.match(embedding)
        with _timed("enrich", timings_ms):
            key = decision.candidates[0].product_id
            product = self.products.find_one({"_id": key}) or {}
        return {
            "schema": "match.v1",
            "id": headers["ce_id"].decode(),
            "frame": {"captured_at": headers["ce_time"].decode(), "width": picture.width, "height": picture.height},
            "decision": decision.kind,
            "score": decision.score,
            "margin": decision.margin,
            "product": {"id": key} | {name: product[name] for name in _PRODUCT_FIELDS if name in product},
            "candidates": [{"product": found.product_id, "score": found.score} for found in decision.candidates],
            "metadata_state": "fresh",
            "timings_ms": timings_ms,
        }


@contextmanager
def _timed(stage: str, timings_ms: dict[str, float]) -> Iterator[None]:
    started_s = time.perf_counter()
    yield
    timings_ms[stage] = round((time.perf_counter() - started_s) * MS_PER_S, 3)


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Options))
