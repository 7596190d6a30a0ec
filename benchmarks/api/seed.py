"""The API as the project's first draft describes it: `python -m benchmarks.api.seed TRITON_HTTP PORT`.

A FastAPI handler takes one picture, decodes and crops it with Pillow, sends one HTTP request to Triton, compares the
embedding with all others in a flat L2 index of FAISS, and reads the nearest product with one `find_one`. Its functions
are synchronous, as FastAPI's tutorial has them: they run in its pool of 40 threads, each with a connection of its own.
"""

import asyncio
import http.client
import io
import sys
import threading
from typing import Annotated, Any

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI, File
from PIL import Image
from pymongo import MongoClient

from benchmarks.consumer.naive import embed
from framematch.catalog.mongo import connect
from framematch.catalog.snapshots.snapshot import Snapshot
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot
from framematch.core.logging import configure_logging
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings, require
from framematch.vision.encoder import ImageEncoder
from framematch.vision.manifest import IMAGE_MODEL, served_name
from framematch.vision.preprocess import Preprocessor


def create_app(triton_http: str) -> FastAPI:
    """The application, with the catalogue's index."""
    settings = load_settings()
    mongo_uri = require(settings.mongodb.uri, "mongodb.uri").get_secret_value()
    model, preprocessor, snapshot = asyncio.run(_load(settings, mongo_uri))
    index = faiss.IndexFlatL2(snapshot.manifest.dimension)
    index.add(snapshot.index.read(np.arange(snapshot.manifest.vectors)))
    rows = snapshot.rows
    product_of = dict(zip(rows.vectors, rows.product_ids, strict=True))
    mongo: MongoClient[dict[str, Any]] = MongoClient(mongo_uri)
    products, own = mongo[settings.mongodb.database].products, threading.local()
    app = FastAPI()

    @app.post("/match-product")
    def match_product(file: Annotated[bytes, File()]) -> dict[str, Any]:
        if not hasattr(own, "triton"):
            own.triton = http.client.HTTPConnection(triton_http)
        with Image.open(io.BytesIO(file)) as image:
            pixels = preprocessor(np.asarray(image.convert("RGB")))
        distances, vectors = index.search(embed(own.triton, model, pixels), 5)
        nearest = product_of[int(vectors[0, 0])]
        product = products.find_one({"_id": nearest}) or {}
        return {"product_id": nearest, "distance": float(distances[0, 0]), "name": product.get("name")}

    return app


async def _load(settings: Settings, mongo_uri: str) -> tuple[str, Preprocessor, Snapshot]:
    triton_url = require(settings.triton.url, "triton.url")
    async with await connect(mongo_uri) as mongo, await ImageEncoder.connect(triton_url) as encoder:
        database = mongo[settings.mongodb.database]
        storage = open_storage(settings.snapshots.url, database)
        snapshot = await load_snapshot(database, storage, state_dir() / "seed-snapshots")
        preprocessor = Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant)
        return served_name(IMAGE_MODEL, encoder.manifest.digest), preprocessor, snapshot


if __name__ == "__main__":
    configure_logging("warning", "console", service="seed")
    uvicorn.run(create_app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
