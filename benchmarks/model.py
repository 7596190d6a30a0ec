"""What serving a model costs beside computing it: `python -m benchmarks.model`.

Subject: the image model in the real Triton, over gRPC with enough requests in flight. Reference: ONNX Runtime alone, in
this process, with the same graph, batches and number of threads. Both in fp32 and in int8, with the demo's model and
with one that has the shape of CLIP ViT-B/32 and random weights.

All four take turns in each round, and ratios are of one round. The served models take no larger batches than are sent,
so that each request is one run of the model, as it is for the reference; Triton's statistics must confirm it. Beside
that: how far int8 turns the embeddings of pictures, and how long Triton takes to load a model.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import tritonclient.grpc
import uvloop
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cli import Benchmark, Part
from benchmarks.harness import Figure, Options, Results, steady_rate, take_turns
from benchmarks.models import build_model
from benchmarks.triton import executions_since, noise, read_executions, run_bare
from demo.dataset import DATA_DIR, load_photos
from framematch.core.errors import FramematchError
from framematch.vision.manifest import IMAGE_MODEL
from stack.triton import TritonServer
from stack.up import running_servers

PRECISIONS = ("fp32", "int8")
MODELS = ("b32", "demo")
GOAL = 0.9
_MAIN_BATCH = 32
# One batch is computed and one is on its way, with two more so that it never runs dry.
_IN_FLIGHT = 4
_MIN_BATCHES, _MAX_BATCHES = 4, 4_000
_LOAD_TIMEOUT_S = 300.0
_JUDGING_PHOTOS = slice(32, 48)  # int8 is calibrated with earlier ones

Pixels = NDArray[np.uint8]


class ServedModel:
    """One Triton, and the same model in ONNX Runtime; `load` comes first."""

    session: onnxruntime.InferenceSession

    def __init__(self, folder: Path, model: str, precision: str) -> None:
        self.triton = TritonServer(folder / f"triton-{precision}", folder / precision / "model_repository")
        self._model = model if precision == "fp32" else f"{model}-{precision}"

    def load(self, batch_size: int) -> float:
        """Build the model for batches of this size and have Triton load it; returns the seconds of the loading."""
        build_model(self._model, self.triton.model_repository, max_batch_size=batch_size)
        started_s = time.monotonic()
        with tritonclient.grpc.InferenceServerClient(self.triton.url) as client:
            client.load_model(IMAGE_MODEL, client_timeout=_LOAD_TIMEOUT_S)
        loaded_s = time.monotonic() - started_s
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads, options.intra_op_num_threads = 1, len(os.sched_getaffinity(0))
        # As in Triton: spinning threads would take the cores from the other side.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = self.triton.model_repository / IMAGE_MODEL / "1" / "model.onnx"
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return loaded_s

    def embed(self, pixels: Pixels) -> NDArray[np.float32]:
        """By ONNX Runtime: uint8 [N, H, W, 3] -> unit vectors float32 [N, D]."""
        embeddings: NDArray[np.float32] = self.session.run(["embedding"], {"pixels": pixels})[0]
        return embeddings

    def alone(self, batch: Pixels, batches: int) -> float:
        """Images/s of ONNX Runtime in this process."""
        done_s: list[float] = []
        for _ in range(batches):
            embeddings = self.embed(batch)
            done_s += [time.monotonic()] * len(embeddings)
        return steady_rate(done_s, warm_up=len(batch))

    def served(self, batch: Pixels, batches: int) -> float:
        """Images/s through Triton."""
        return uvloop.run(self._served(batch, batches))

    async def _served(self, batch: Pixels, batches: int) -> float:
        before = await read_executions(self.triton.url)
        done_s = await run_bare(self.triton.url, batch, batches=batches, in_flight=_IN_FLIGHT)
        added = await executions_since(self.triton.url, before, pictures=len(done_s))
        if added.runs != batches:
            raise FramematchError(f"Triton ran the model {added.runs} times for {batches} requests")
        return steady_rate(done_s, warm_up=len(batch))


Site = dict[str, ServedModel]
"""One Triton for each precision, so that both can take turns; the idle one takes no CPU."""


@contextmanager
def running_site(folder: Path, model: str) -> Iterator[Site]:
    """Both servers while the block runs; neither has a model yet."""
    site = {precision: ServedModel(folder, model, precision) for precision in PRECISIONS}
    with running_servers([served.triton for served in site.values()], data_dir=folder, report=print):
        yield site


def measure(site: Site, options: Options) -> Results:
    """Served against alone and int8 against fp32 for each size of batch, the cosines of int8, and the load times."""
    found = Results(at_least={"served_vs_onnxruntime": GOAL}, settings={"requests_in_flight": _IN_FLIGHT})
    load_s: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for batch_size in (1, _MAIN_BATCH) if options.quick else (1, 8, _MAIN_BATCH):
        for precision, served in site.items():
            load_s[precision].append(served.load(batch_size))
        _compare(site, batch_size, options, found)
    pictures = _photos(*uvloop.run(noise(site["fp32"].triton.url, 1)).shape[1:3])
    fp32, int8 = (site[precision].embed(pictures) for precision in PRECISIONS)
    found.figures[options.named("int8_vs_fp32_cosine")] = Figure.of(np.sum(fp32 * int8, axis=1).tolist(), "cosine")
    for precision, values in load_s.items():
        found.figures[f"{options.named('model_load_s')}.{precision}"] = Figure.of(values, "s")
    return found


def _compare(site: Site, batch_size: int, options: Options, found: Results) -> None:
    sides: dict[str, Callable[[], float]] = {}
    for precision, served in site.items():
        batch = uvloop.run(noise(served.triton.url, batch_size))
        batches_per_s = served.alone(batch, _MIN_BATCHES) / batch_size
        run_s = 0.5 if options.quick else 2.0
        batches = min(max(round(run_s * batches_per_s) + 1, _MIN_BATCHES), _MAX_BATCHES)
        sides[f"served_{precision}"] = partial(served.served, batch, batches)
        sides[f"onnxruntime_{precision}"] = partial(served.alone, batch, batches)
    rates = take_turns(f"batch {batch_size}", sides, rounds=options.rounds, unit="images/s")
    for name, subject, reference in (
        ("served_vs_onnxruntime", "served_fp32", "onnxruntime_fp32"),
        ("served_vs_onnxruntime_int8", "served_int8", "onnxruntime_int8"),
        ("int8_vs_fp32", "served_int8", "served_fp32"),
    ):
        figure = options.named(name) + ("" if batch_size == _MAIN_BATCH else f"_batch_{batch_size}")
        found.compare(figure, subject, reference, rates, "images/s")


def _photos(height: int, width: int) -> Pixels:
    """Photos that int8 was not calibrated with, RGB, scaled to the model's size."""
    files = [DATA_DIR / photo.file for photo in load_photos()[_JUDGING_PHOTOS]]
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((width, height))) for file in files])


BENCHMARK = Benchmark(
    name="model",
    description="Compare the served model with ONNX Runtime alone, in fp32 and in int8.",
    parts={"serving": Part(measure, MODELS, MODELS)},
    running_site=running_site,
    models=MODELS,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
