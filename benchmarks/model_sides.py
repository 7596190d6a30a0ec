"""The sides of the model's benchmark: the served model and ONNX Runtime alone, each in fp32 and in int8."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.bare_triton import executions_since, read_executions, run_bare
from benchmarks.harness import Side
from benchmarks.steady import BatchDone, steady_rate
from framematch.core.errors import FramematchError
from framematch.core.settings_sources import require
from framematch.model_build.bundles.bundle import Bundle
from framematch.model_build.graphs.towers import Tower
from framematch.model_build.onnx_session import OnnxSession
from framematch.model_build.reload import Reload, reload_models
from framematch.model_build.repository.build_options import BuildOptions, CpuPlan
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.model_build.repository.tune import available_cores
from framematch.vision.manifest import IMAGE_MODEL, Precision
from stack.up import running_stack

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
# One batch is computed and one is on its way in, with two more so that it never runs dry.
IN_FLIGHT = 4
WARM_UP_BATCHES = 1
_LEAST_BATCHES = 3
_MOST_BATCHES = 4_000

Crops = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Server:
    """One running Triton and its model repository."""

    url: str
    repository: Path

    def load(self, bundle: Bundle, tower: Tower, precision: Precision, *, max_batch_size: int) -> float:
        """Build the image model and have Triton load it; the seconds that the loading took.

        Raises:
            FramematchError: Triton does not serve it.
        """
        options = BuildOptions(
            precision=precision, max_batch_size=max_batch_size, cpu_plan=CpuPlan(threads=available_cores())
        )
        manifest = build_model_repository(
            replace(bundle, text=None), self.repository, options, towers={IMAGE_MODEL: tower}
        )
        began = time.monotonic()
        outcome = asyncio.run(reload_models(self.url, manifest))
        if outcome is not Reload.LOADED:
            raise FramematchError(f"Triton {outcome.value}")
        return time.monotonic() - began


@contextmanager
def running_servers(folder: Path) -> Iterator[dict[Precision, Server]]:
    """One Triton for each precision, so that both can take turns; none has a model yet. The idle one takes no CPU."""
    with ExitStack() as exits:
        servers = {}
        for precision in PRECISIONS:
            repository = folder / f"models-{precision}"
            stack = running_stack(data_dir=folder / precision, model_repository=repository, names=("triton",))
            url = require(exits.enter_context(stack).triton_url, "triton.url")
            servers[precision] = Server(url, repository)
        yield servers


def sides(
    servers: Mapping[Precision, Server], sessions: Mapping[Precision, OnnxSession], crops: Crops, *, run_s: float
) -> dict[str, Side]:
    """By name, `served_fp32` and so on. A run takes about `run_s`, three batches at least, on either side.

    All crops are of one batch's size, which is also the most that the served models take: each request is one run.
    """
    found: dict[str, Side] = {}
    for precision in PRECISIONS:
        rate = _alone(sessions[precision], crops, batches=WARM_UP_BATCHES + _LEAST_BATCHES)
        batches = _batches(rate / len(crops[0]), run_s)
        found[f"served_{precision}"] = _served_side(servers[precision].url, crops, batches)
        found[f"onnxruntime_{precision}"] = _alone_side(sessions[precision], crops, batches)
    return found


def _batches(batches_per_s: float, run_s: float) -> int:
    return WARM_UP_BATCHES + min(max(round(run_s * batches_per_s), _LEAST_BATCHES), _MOST_BATCHES)


def _served_side(url: str, crops: Crops, batches: int) -> Callable[[], float]:
    return lambda: uvloop.run(_served(url, crops, batches))


def _alone_side(session: OnnxSession, crops: Crops, batches: int) -> Callable[[], float]:
    return lambda: _alone(session, crops, batches=batches)


async def _served(url: str, crops: Crops, batches: int) -> float:
    """Images/s through Triton's gRPC; its own statistics must count every picture, and one run for each request."""
    before = await read_executions(url)
    done = await run_bare(url, crops, batches=batches, in_flight=IN_FLIGHT)
    did = await executions_since(url, before, pictures=batches * len(crops[0]))
    if did.runs != batches:
        raise FramematchError(f"Triton ran the model {did.runs} times for {batches} requests")
    return steady_rate(done, warm_up=WARM_UP_BATCHES)


def _alone(session: OnnxSession, crops: Crops, *, batches: int) -> float:
    """Images/s of the session in this process."""
    done = []
    for number in range(batches):
        rows = session.embed({"pixels": crops[number % len(crops)]})
        done.append(BatchDone(time.monotonic(), len(rows)))
    return steady_rate(done, warm_up=WARM_UP_BATCHES)
