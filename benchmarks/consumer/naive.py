"""What a first version looks like, as a process of its own: `python -m benchmarks.consumer.naive …`.

One frame after the other, each through every stage before the next begins: poll a record, decode and crop it, one HTTP
request to Triton, one search, one `find_one` for the nearest product, produce the match event and wait until it is
acknowledged; offsets are committed by the client every five seconds. Nothing is batched, nothing overlaps.

All else is what the consumer has too: the same Triton and model, the same decoding, preprocessing, index, decision and
event. Its libraries are the fast ones for such a loop: librdkafka with its defaults, PyMongo, and a kept-alive
connection to Triton that sends pixels as they are (the binary tensor extension), not as JSON. The shapes that its few
lines of HTTP take for granted are those of one picture.
"""

import argparse
import asyncio
import http.client
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer
from numpy.typing import NDArray
from pymongo import MongoClient
from pymongo.collection import Collection

from consumers.stages.decode import Jpeg, read_jpeg
from framematch.catalog.mongo import connect
from framematch.catalog.snapshot import Snapshot
from framematch.catalog.snapshot_store import load_snapshot
from framematch.core.events import (
    CandidateInfo,
    FrameReference,
    MatchEvent,
    ModelInfo,
    ProductInfo,
    encode,
    frame_reference,
    match_headers,
    region_event_id,
)
from framematch.core.frames import Region, parse_frame
from framematch.core.kafka.topics import Topics
from framematch.core.logging import configure_logging
from framematch.core.settings import ConsumerSettings, MongoSettings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.matching.decision import Decision
from framematch.matching.matcher import Matcher
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import IMAGE_MODEL, ModelManifest
from framematch.vision.preprocess import Pixels, Preprocessor

_POLL_S = 1.0
_MS_PER_S = 1_000


def main() -> int:
    """Answer so many frames of the topic from its start, and end."""
    parser = argparse.ArgumentParser(description="Match frames one by one.")
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--topic-prefix", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--triton-grpc", required=True, help="host:port, for the manifest alone")
    parser.add_argument("--triton-http", required=True, help="host:port")
    parser.add_argument("--mongodb-uri", required=True)
    parser.add_argument("--snapshots", type=Path, required=True, help="folder for the index")
    parser.add_argument("--frames", type=int, required=True)
    arguments = parser.parse_args()
    configure_logging("warning", "console", service="naive")
    manifest, snapshot = asyncio.run(_load(arguments.triton_grpc, arguments.mongodb_uri, arguments.snapshots))
    mongo: MongoClient[dict[str, Any]] = MongoClient(arguments.mongodb_uri)
    servers = {"bootstrap.servers": arguments.bootstrap_servers}
    consumer = Consumer({**servers, "group.id": arguments.group, "auto.offset.reset": "earliest"})
    topics = Topics(arguments.topic_prefix)
    consumer.subscribe([topics.frames])
    answers = Answers(manifest, snapshot, TritonHttp(arguments.triton_http), mongo[MongoSettings().database].products)
    loop = NaiveLoop(answers, Producer(servers), topics.matches)
    try:
        loop.run(consumer, arguments.frames)
    finally:
        consumer.close()
    return 0


async def _load(triton_grpc: str, mongodb_uri: str, folder: Path) -> tuple[ModelManifest, Snapshot]:
    async with await connect(mongodb_uri) as mongo, await ImageEncoder.connect(triton_grpc) as encoder:
        return encoder.manifest, await load_snapshot(mongo[MongoSettings().database], folder)


class TritonHttp:
    """One model behind Triton's HTTP endpoint, asked for one picture at a time."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 [H, W, 3] -> float32 [1, D].

        Raises:
            http.client.HTTPException: Triton refused.
        """
        header, body = infer_request(pixels)
        path = f"/v2/models/{IMAGE_MODEL}/infer"
        self._connection.request("POST", path, body, {"Inference-Header-Content-Length": str(header)})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"Triton answered {response.status}: {answer[:200]!r}")
        return np.frombuffer(answer, np.float32, offset=int(response.headers["Inference-Header-Content-Length"]))[None]


def infer_request(pixels: NDArray[np.uint8]) -> tuple[int, bytes]:
    """Bytes of the JSON header, and header and pixels as Triton's binary tensor extension has them."""
    shape = [1, *pixels.shape]
    tensor = {"name": "pixels", "shape": shape, "datatype": "UINT8", "parameters": {"binary_data_size": pixels.nbytes}}
    output = {"name": "embedding", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    return len(header), header + pixels.tobytes()


@dataclass(frozen=True)
class Answer:
    """What was found in a frame, and the time of each step."""

    region: Region
    decision: Decision
    product: ProductInfo
    timings_ms: dict[str, float]


class Answers:
    """From a JPEG to a decision and its product, step by step."""

    def __init__(
        self, manifest: ModelManifest, snapshot: Snapshot, triton: TritonHttp, products: Collection[dict[str, Any]]
    ) -> None:
        self.matcher = Matcher(snapshot)
        self.model = ModelInfo(manifest.name, manifest.digest)
        self._preprocessor = Preprocessor(manifest.preprocess, snapshot.manifest.preprocessing_variant)
        self._triton = triton
        self._products = products
        self._max_pixels = ConsumerSettings().max_pixels

    def answer(self, jpeg: bytes) -> Answer:
        """The whole picture is one region."""
        timings_ms: dict[str, float] = {}
        with _timed("decode", timings_ms):
            picture = read_jpeg(jpeg, max_pixels=self._max_pixels)
            pixels = self._crop(picture)
        with _timed("infer", timings_ms):
            embedding = self._triton.embed(pixels)
        with _timed("search", timings_ms):
            (decision,) = self.matcher.match(embedding)
        with _timed("enrich", timings_ms):
            product = self._product(decision.candidates[0].product_id)
        return Answer((0, 0, picture.width, picture.height), decision, product, timings_ms)

    def _crop(self, picture: Jpeg) -> Pixels:
        reduction = self._preprocessor.reduction(picture.height, picture.width)
        return self._preprocessor(picture.decode(reduction))

    def _product(self, key: str) -> ProductInfo:
        found = self._products.find_one({"_id": key}) or {"name": key}
        names = ("name", "category", "price", "description", "attributes")
        return ProductInfo(id=key, **{name: found[name] for name in names if name in found})


class NaiveLoop:
    """Answers one record after the other, each to the acknowledgement of its event."""

    def __init__(self, answers: Answers, producer: Producer, topic: str) -> None:
        self._answers = answers
        self._producer = producer
        self._topic = topic

    def run(self, consumer: Consumer, frames: int) -> None:
        """Answer the next `frames` records.

        Raises:
            KafkaException: the broker refused something.
        """
        answered = 0
        while answered < frames:
            record = consumer.poll(_POLL_S)
            if record is None:
                continue
            if error := record.error():
                raise KafkaException(error)
            self._answer(record)
            answered += 1

    def _answer(self, record: Any) -> None:  # a Message; its types allow for what a record of ours never lacks
        frame = parse_frame(record.key(), record.headers())
        place = frame_reference(frame, record.topic(), record.partition(), record.offset())
        event = self._event(place, self._answers.answer(record.value()))
        headers: Any = match_headers(event, to_rfc3339(now_us()))
        self._producer.produce(self._topic, encode(event), record.key(), headers=headers)
        self._producer.flush()

    def _event(self, reference: FrameReference, answer: Answer) -> MatchEvent:
        decision, matcher = answer.decision, self._answers.matcher
        return MatchEvent(
            schema="match.v1",
            id=region_event_id(reference, answer.region),
            frame=reference,
            region=answer.region,
            decision=decision.kind,
            score=decision.score,
            margin=decision.margin,
            threshold=matcher.thresholds.match,
            product=answer.product if decision.kind == "match" else None,
            candidates=tuple(CandidateInfo(c.product_id, c.score) for c in decision.candidates),
            snapshot=matcher.manifest.id,
            model=self._answers.model,
            metadata_state="fresh",
            timings_ms=answer.timings_ms,
        )


@contextmanager
def _timed(stage: str, timings_ms: dict[str, float]) -> Iterator[None]:
    began_s = time.perf_counter()
    yield
    timings_ms[stage] = round((time.perf_counter() - began_s) * _MS_PER_S, 3)


if __name__ == "__main__":
    sys.exit(main())
