"""What serving a model costs beside computing it: `python -m benchmarks.model`.

Subject: the image model in the real Triton, over gRPC with enough requests in flight. Reference: ONNX Runtime alone, in
this process, with the same graph, batches and number of threads. Both in fp32 and in int8, with a model that has the
shape of CLIP ViT-B/32 and random weights, and with the demo's.

All four take turns in each round, and ratios are of one round. The served models take no larger batches than are sent,
so that each request is one run of the model, as it is for the reference; Triton's statistics must confirm it.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import tritonclient.grpc
import uvloop
from numpy.typing import NDArray

from benchmarks.cli import Benchmark, Part
from benchmarks.harness import Options, Results, Side, steady_rate, take_turns
from benchmarks.models import build_model, newest_model
from benchmarks.triton import noise, read_statistics, run_bare, statistics_since
from framematch.core.errors import FramematchError
from framematch.core.triton_key import KeyHeader
from framematch.stack.triton import TritonServer
from framematch.stack.up import running_servers

PRECISIONS = ("fp32", "int8")
MODELS = ("b32", "demo")
GOAL = 0.9
_MAIN_BATCH = 32
# One batch is computed and one is on its way, with two more so that it never runs dry.
_IN_FLIGHT = 4
_MIN_BATCHES, _MAX_BATCHES = 4, 4_000
_LOAD_TIMEOUT_S = 300.0

Pixels = NDArray[np.uint8]


class ServedModel:
    """A Triton with one model, and the same model in ONNX Runtime; call `load` first."""

    session: onnxruntime.InferenceSession

    def __init__(self, folder: Path, model: str, precision: str) -> None:
        self.triton = TritonServer(folder / f"triton-{precision}", folder / precision / "model_repository")
        self._model = model if precision == "fp32" else f"{model}-{precision}"

    def load(self, batch_size: int) -> None:
        """Build the model for batches of this size, and load it in Triton and in ONNX Runtime."""
        build_model(self._model, self.triton.model_repository, max_batch_size=batch_size)
        model = newest_model(self.triton.model_repository)
        with tritonclient.grpc.InferenceServerClient(self.triton.url) as client:
            client.register_plugin(KeyHeader(self.triton.repository_key))
            client.load_model(model.name, client_timeout=_LOAD_TIMEOUT_S)
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads, options.intra_op_num_threads = 1, len(os.sched_getaffinity(0))
        # As in Triton: spinning threads would take the cores from the other side.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = model / "1" / "model.onnx"
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def alone(self, batch: Pixels, batches: int) -> float:
        """Images/s of ONNX Runtime in this process; `batch` is uint8 [N, H, W, 3]."""
        done_s: list[float] = []
        for _ in range(batches):
            self.session.run(["embedding"], {"pixels": batch})
            done_s += [time.monotonic()] * len(batch)
        return steady_rate(done_s, warm_up=len(batch))

    def served(self, batch: Pixels, batches: int) -> float:
        """Images/s through Triton."""
        return uvloop.run(self._served(batch, batches))

    async def _served(self, batch: Pixels, batches: int) -> float:
        before = await read_statistics(self.triton.url)
        done_s = await run_bare(self.triton.url, batch, batches=batches, in_flight=_IN_FLIGHT)
        added = await statistics_since(self.triton.url, before, pictures=len(done_s))
        if added.runs != batches:
            raise FramematchError(f"Triton ran the model {added.runs} times for {batches} requests")
        return steady_rate(done_s, warm_up=len(batch))


Site = dict[str, ServedModel]
"""One Triton for each precision, so that both can take turns; the idle one takes no CPU."""


@contextmanager
def running_site(folder: Path, model: str) -> Iterator[Site]:
    """Both servers while the block runs; no model is loaded yet."""
    site = {precision: ServedModel(folder, model, precision) for precision in PRECISIONS}
    with running_servers([served.triton for served in site.values()], data_dir=folder, report=print):
        yield site


def measure(site: Site, options: Options) -> Results:
    """Served against alone, and int8 against fp32, for each batch size; the figures of 32 have no suffix."""
    found = Results(at_least={"served_vs_onnxruntime": GOAL}, settings={"requests_in_flight": _IN_FLIGHT})
    for batch_size in (1, _MAIN_BATCH) if options.quick else (1, 8, _MAIN_BATCH):
        for served in site.values():
            served.load(batch_size)
        sides = _sides(site, batch_size, options)
        rates = take_turns(f"batch {batch_size}", sides, rounds=options.rounds, unit="images/s")
        suffix = "" if batch_size == _MAIN_BATCH else f"_batch_{batch_size}"
        for name, subject, reference in (
            ("served_vs_onnxruntime", "served_fp32", "onnxruntime_fp32"),
            ("served_vs_onnxruntime_int8", "served_int8", "onnxruntime_int8"),
            ("int8_vs_fp32", "served_int8", "served_fp32"),
        ):
            found.compare(name + suffix, subject, reference, rates, "images/s")
    return found


def _sides(site: Site, batch_size: int, options: Options) -> dict[str, Side]:
    """All four, each with as many batches as take about 2 s (0.5 s when quick)."""
    sides: dict[str, Side] = {}
    for precision, served in site.items():
        batch = uvloop.run(noise(served.triton.url, batch_size))
        batches_per_s = served.alone(batch, _MIN_BATCHES) / batch_size
        run_s = 0.5 if options.quick else 2.0
        batches = min(max(round(run_s * batches_per_s) + 1, _MIN_BATCHES), _MAX_BATCHES)
        sides[f"served_{precision}"] = partial(served.served, batch, batches)
        sides[f"onnxruntime_{precision}"] = partial(served.alone, batch, batches)
    return sides


BENCHMARK = Benchmark(
    name="model",
    description="Compare the served model with ONNX Runtime alone, in fp32 and in int8.",
    parts={"serving": Part(measure, MODELS)},
    running_site=running_site,
    models=MODELS,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main())
