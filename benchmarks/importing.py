"""Imports of catalogues of some sizes: `python -m benchmarks.importing`.

A catalogue is a CSV file with JPEGs of noise in 64 x 64 pixels, which are small to decode: each product has a picture
of its own (`own`), or twenty share one (`shared`). `framematch catalog import` imports it into an empty database
(`first`), and again (`again`), when nothing is written. Rates include the start of the command. Memory is the highest
resident memory of its process. `web` imports pictures from an HTTP server on this machine instead of a folder.

`naive` is what a user might write: read the rows with the csv module, and for each of them read, decode and store the
picture and the product, one call of MongoDB after the other.
"""

import asyncio
import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
from aiohttp import web
from PIL import Image
from pymongo import MongoClient

from benchmarks.cli import Benchmark, Part
from benchmarks.harness import Figure, Options, Results
from framematch.core.errors import FramematchError
from framematch.core.units import BYTES_PER_MB
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import ReservedPort
from framematch.stack.up import running_servers

ROWS = (1_000, 10_000, 100_000)
MEMORY_GOAL_MB = 500.0
_NAIVE_ROWS, _WEB_ROWS, _SHARING = 5_000, 2_000, 20
_SIDE, _BYTES_PER_KIB = 64, 1024
_COLUMNS = ("id", "name", "category", "price", "description", "image", "brand")
_DATABASE = "importing-benchmark"


@dataclass(frozen=True)
class Site:
    """A MongoDB server, and a folder for catalogues."""

    mongodb: MongoServer
    folder: Path


@dataclass(frozen=True)
class Import:
    """How long a command took, and the highest memory of its process."""

    seconds: float
    memory_mb: float


@contextmanager
def running_site(folder: Path, _model: str) -> Iterator[Site]:
    """The server, inside the context."""
    site = Site(MongoServer(folder / "mongodb"), folder)
    with running_servers([site.mongodb], data_dir=folder, report=print):
        yield site


def measure_sizes(site: Site, options: Options) -> Results:
    """Rows a second and memory of the first and the second import, for each size; the goal is for memory."""
    found = Results()
    for rows in options.rows:
        for kind, sharing in (("own", 1), ("shared", _SHARING)):
            file = write_catalogue(site.folder / f"{kind}-{rows}", rows, sharing)
            _drop(site)
            for which in ("first", "again"):
                done = import_file(site, file, "--images", str(file.parent))
                name = f"import_{which}_{kind}_{rows}"
                found.figures[name] = Figure.of([rows / done.seconds], "rows/s")
                found.figures[f"{name}.memory"] = Figure.of([done.memory_mb], "MB")
                found.at_most[f"{name}.memory"] = MEMORY_GOAL_MB
                print(f"{name}: {rows / done.seconds:.0f} rows/s, {done.memory_mb:.0f} MB", flush=True)
            shutil.rmtree(file.parent)
    return found


def compare_with_naive(site: Site, options: Options) -> Results:
    """Rows a second beside a loop that stores one row after the other."""
    found = Results()
    file = write_catalogue(site.folder / "naive", _NAIVE_ROWS, 1)
    rates: list[dict[str, float]] = []
    for number in range(options.rounds):
        sides = {"import": lambda: import_file(site, file, "--images", str(file.parent)).seconds,
                 "naive": lambda: naive_seconds(site, file)}  # fmt: skip
        rates.append({})
        for side in sorted(sides, reverse=number % 2 == 1):
            _drop(site)
            rates[-1][side] = _NAIVE_ROWS / sides[side]()
        print({side: round(rate) for side, rate in rates[-1].items()}, flush=True)
    found.compare("import_vs_naive", "import", "naive", rates, "rows/s")
    return found


def measure_web(site: Site, options: Options) -> Results:
    """Pictures a second from a local HTTP server: all new, and none changed since."""
    file = write_catalogue(site.folder / "web", _WEB_ROWS, 1)
    first_s: list[float] = []
    again_s: list[float] = []
    with serving(file.parent) as address:
        by_web = file.with_name("web.csv")
        by_web.write_text(file.read_text(encoding="utf-8").replace("pictures/", f"{address}/pictures/"), "utf-8")
        for number in range(min(options.rounds, 3)):
            _drop(site)
            for seconds in (first_s, again_s):
                seconds.append(import_file(site, by_web, "--allow-host", "127.0.0.1").seconds)
            print(f"round {number + 1}: {_WEB_ROWS / first_s[-1]:.0f}, then {_WEB_ROWS / again_s[-1]:.0f} a second")
    found = Results()
    found.figures["web_first"] = Figure.of([_WEB_ROWS / seconds for seconds in first_s], "pictures/s")
    found.figures["web_again"] = Figure.of([_WEB_ROWS / seconds for seconds in again_s], "pictures/s")
    return found


def write_catalogue(folder: Path, rows: int, sharing: int) -> Path:
    """Write a catalogue of so many rows, of which `sharing` have the same picture; returns its file."""
    (folder / "pictures").mkdir(parents=True)
    for number in range(-(-rows // sharing)):
        pixels = np.random.default_rng(number).integers(0, 256, (_SIDE // 8, _SIDE // 8, 3), np.uint8)
        _, encoded = cv2.imencode(".jpg", cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))
        (folder / "pictures" / f"{number}.jpg").write_bytes(encoded.tobytes())
    file = folder / "catalogue.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(_COLUMNS)
        for number in range(rows):
            text = f"Product {number} of the range, " + "with a text as shops have it. " * 6
            price = f"{number % 900 / 100 + 1:.2f}"
            image = f"pictures/{number // sharing}.jpg"
            writer.writerow((f"p{number:07}", f"Product {number}", f"Range {number % 40}", price, text, image, "Mill"))
    return file


def import_file(site: Site, file: Path, *arguments: str) -> Import:
    """Run the command.

    Raises:
        FramematchError: it failed, or left rows out.
    """
    environment = {
        **os.environ,
        "FRAMEMATCH_MONGODB__URI": site.mongodb.uri,
        "FRAMEMATCH_MONGODB__DATABASE": _DATABASE,
        "FRAMEMATCH_STATE_DIR": str(site.folder / "state"),
    }
    command = [sys.executable, "-m", "framematch", "catalog", "import", str(file), *arguments]
    started_s = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b"" if process.stdout is None else process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise FramematchError(f"the import ended with exit code {process.returncode}: {said.decode()[-500:]}")
    return Import(time.monotonic() - started_s, usage.ru_maxrss * _BYTES_PER_KIB / BYTES_PER_MB)


def naive_seconds(site: Site, file: Path) -> float:
    """How long the loop takes."""
    started_s = time.monotonic()
    client: MongoClient[dict[str, Any]] = MongoClient(site.mongodb.uri)
    with client, file.open(encoding="utf-8", newline="") as opened:
        database = client[_DATABASE]
        for row in csv.DictReader(opened):
            data = (file.parent / row["image"]).read_bytes()
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            digest = hashlib.sha256(data).hexdigest()
            image = {"data": data, "width": picture.width, "height": picture.height}
            database.images.replace_one({"_id": digest}, image, upsert=True)
            database.products.replace_one({"_id": row["id"]}, {**row, "image": digest}, upsert=True)
    return time.monotonic() - started_s


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of an HTTP server with the files of `folder`."""
    loop, port = asyncio.new_event_loop(), ReservedPort()
    application = web.Application()
    application.router.add_static("/", folder)
    runner = web.AppRunner(application)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", port.number).start())
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port.number}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _drop(site: Site) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(site.mongodb.uri)
    with client:
        client.drop_database(_DATABASE)


BENCHMARK = Benchmark(
    name="importing",
    description="Measure imports of catalogues: rows a second, memory, downloads.",
    parts={
        "sizes": Part[Site](measure_sizes),
        "naive": Part[Site](compare_with_naive),
        "web": Part[Site](measure_web),
    },
    running_site=running_site,
    rows=ROWS,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
