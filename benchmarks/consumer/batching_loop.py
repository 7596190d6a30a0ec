"""What a competent user would write in an afternoon: `python -m benchmarks.consumer.batching_loop TRITON_GRPC N`.

It processes N frames: take up to 32 records, decode and scale them with OpenCV in threads, send one request to Triton,
search once, read all products with one `$in` query, produce the events, flush, and commit the offsets. One step after
the other, so the model waits while the loop decodes and publishes.

Model, index and decision are the consumer's. It decodes each picture whole, as `cv2.imdecode` does, and scales it by
bilinear interpolation. It has no order of cameras, no checks of what comes in, no sightings, no retries, no metrics.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer
from numpy.typing import NDArray
from pymongo import MongoClient
from tritonclient.grpc import InferenceServerClient, InferInput

from benchmarks.consumer.naive import load, to_event
from framematch.catalog.product import PRODUCT_FIELDS
from framematch.core.kafka.topics import Topics
from framematch.core.logging import configure_logging
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings, require
from framematch.vision.preprocess import Preprocessor

RECORDS = 32
THREADS = 2


def main(triton_grpc: str, frames: int) -> None:
    """Process at least so many frames of the topic from its start, and end."""
    configure_logging("warning", "console", service="batching_loop")
    settings = load_settings()
    mongo_uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    model, preprocessor, matcher = asyncio.run(load(settings, mongo_uri))
    topics, servers = Topics(settings.kafka.topic_prefix), {"bootstrap.servers": settings.kafka.bootstrap_servers}
    mongo: MongoClient[dict[str, Any]] = MongoClient(mongo_uri)
    products, triton = mongo[settings.mongodb.database].products, InferenceServerClient(triton_grpc)
    producer = Producer(servers)
    group = {"group.id": f"loop-{uuid.uuid4().hex[:8]}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**servers, **group})
    consumer.subscribe([topics.frames])
    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        while done < frames:
            records = [record for record in consumer.consume(min(RECORDS, frames - done), 0.1) if check(record)]
            if not records:
                continue
            pictures = list(pool.map(lambda record: decode(record.value(), preprocessor), records))
            batch = np.stack([pixels for pixels, _ in pictures])
            decisions = matcher.match(np.concatenate([*embed(triton, model, batch, settings)]))
            nearest = {decision.candidates[0].product_id for decision in decisions}
            found = {one["_id"]: one for one in products.find({"_id": {"$in": list(nearest)}}, PRODUCT_FIELDS)}
            for record, (_, size), decision in zip(records, pictures, decisions, strict=True):
                event = to_event(record, size, decision, found.get(decision.candidates[0].product_id))
                producer.produce(topics.matches, event, record.key(), headers=record.headers())
            producer.flush()
            consumer.commit(asynchronous=False)
            done += len(records)
    consumer.close()


def check(record: Any) -> bool:
    """Whether it is a record; raises KafkaException for an error."""
    if error := record.error():
        raise KafkaException(error)
    return True


def decode(data: bytes, preprocessor: Preprocessor) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The picture as the model takes it, RGB uint8 [H, W, 3], the middle of it; and its width and height."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError(f"{len(data)} bytes are no picture")
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    size = (preprocessor.spec.crop_width, preprocessor.spec.crop_height)
    scaled = cv2.resize(picture[top : top + side, left : left + side], size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8), (width, height)


def embed(
    triton: InferenceServerClient, model: str, batch: NDArray[np.uint8], settings: Settings
) -> Iterator[NDArray[np.float32]]:
    """The embeddings, float32 [N, D] in all, of pictures uint8 [N, H, W, 3]; as many at once as the model takes."""
    for start in range(0, len(batch), settings.consumer.batch_size):
        part = batch[start : start + settings.consumer.batch_size]
        tensor = InferInput("pixels", list(part.shape), "UINT8")
        tensor.set_data_from_numpy(part)
        yield triton.infer(model, [tensor]).as_numpy("embedding")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
