"""Pictures to Triton in shared memory against through gRPC: `python -m benchmarks.shared_memory`.

One running Triton and one client, which sends batches by the one way and by the other in turns. Compared are frames a
second, and frames for each second of CPU time of client and Triton together: the latter also tells on a busy machine.
The model `light` computes next to nothing, so its ratio is the most that a very fast GPU could gain.
"""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.consumer.models import MODELS, Model
from benchmarks.harness import Comparison, Round, argument_parser, describe_machine, take_turns
from benchmarks.processes import tree_cpu_s
from benchmarks.report import publish
from benchmarks.results import Results
from framematch.core.errors import FramematchError
from framematch.core.logging import configure_logging
from framematch.core.settings import ConsumerSettings
from framematch.model_build.bundles.bundle import Bundle
from framematch.vision.encoder import ImageEncoder
from stack.triton import TritonServer

MEASURED = ("light", "demo", "b32")
LEAST_BATCHES = 3
REQUEST_TIMEOUT_S = 120.0  # of a large model on a busy machine


@dataclass(frozen=True)
class Plan:
    """How often and how long each way is measured."""

    rounds: int
    run_s: float


QUICK = Plan(rounds=7, run_s=2)
FULL = Plan(rounds=15, run_s=8)


@dataclass(frozen=True)
class Run:
    """What one run gave: `frames_per_cpu_s` is by the CPU time of client and Triton."""

    frames_per_s: float
    frames_per_cpu_s: float


@dataclass
class Ways:
    """Sends `batches` batches to Triton by either way; `crops` is one batch, uint8 [N, H, W, 3]."""

    triton: TritonServer
    crops: NDArray[np.uint8]
    in_flight: int
    batches: int = LEAST_BATCHES
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def shared_memory(self) -> float:
        """Frames a second."""
        return self._measure("shared_memory", shared=True)

    def grpc(self) -> float:
        """Frames a second."""
        return self._measure("grpc", shared=False)

    def _measure(self, name: str, *, shared: bool) -> float:
        run = uvloop.run(self._send(shared=shared))
        self.runs.setdefault(name, []).append(run)
        return run.frames_per_s

    async def _send(self, *, shared: bool) -> Run:
        async with await ImageEncoder.connect(self.triton.url, request_timeout_s=REQUEST_TIMEOUT_S) as encoder:
            if shared:
                await encoder.share_memory(self.in_flight)
            await encoder.embed(self.crops)
            began_s, cpu_began_s = time.monotonic(), self._cpu_s()
            numbers = iter(range(self.batches))

            async def send_in_turn() -> None:
                for _ in numbers:  # shared: each batch is sent once
                    await encoder.embed(self.crops)

            async with asyncio.TaskGroup() as group:
                for _ in range(self.in_flight):
                    group.create_task(send_in_turn())
            frames = self.batches * len(self.crops)
            return Run(frames / (time.monotonic() - began_s), frames / (self._cpu_s() - cpu_began_s))

    def _cpu_s(self) -> float:
        return time.process_time() + tree_cpu_s(self.triton.pid)


def main() -> int:
    """Measure the models that the command line names."""
    parser = argument_parser("shared_memory", "Compare shared memory with gRPC on the way to Triton.")
    parser.add_argument("--model", choices=MODELS, action="append", help=f"several times; default: {MEASURED}")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server is stopped on the way out
    plan = QUICK if arguments.quick else FULL
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    machine = describe_machine()
    configure_logging("warning", "console", service="benchmark")
    results = Results(settings={"quick": arguments.quick, "rounds": plan.rounds})
    try:
        for name in arguments.model or MEASURED:
            with tempfile.TemporaryDirectory(prefix="framematch-benchmark-") as folder:
                results.merge(name, measure(name, MODELS[name], plan, Path(folder)))
    except FramematchError as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    publish(results, machine=machine, json_file=arguments.json, plot_file=arguments.plot)
    return 0


def measure(name: str, model: Model, plan: Plan, folder: Path) -> Results:
    """Serve the model, and compare both ways.

    Raises:
        FramematchError: the model cannot be built or served.
    """
    consumer = ConsumerSettings()
    bundle = model.build(folder, max_batch_size=consumer.batch_size)
    triton = TritonServer(folder / "triton", folder / "model_repository")
    try:
        triton.start()
        ways = Ways(triton, noise(bundle, consumer.batch_size), consumer.batches_in_flight)
        ways.batches = max(LEAST_BATCHES, round(ways.grpc() * plan.run_s / consumer.batch_size))
        ways.runs.clear()
        sides = {"shared_memory": ways.shared_memory, "grpc": ways.grpc}
        for number, rates in enumerate(take_turns(sides, rounds=plan.rounds), 1):
            said = " and ".join(f"{rate:.1f}" for rate in rates.values())
            print(f"{name}, round {number} of {plan.rounds}: {said} frames/s", flush=True)
    finally:
        triton.stop()
    return compared(name, ways.runs, settings={"frames_a_run": ways.batches * consumer.batch_size})


def noise(bundle: Bundle, pictures: int) -> NDArray[np.uint8]:
    """One batch; what is in a picture does not change how long it takes."""
    spec = bundle.preprocess
    return np.random.default_rng(0).integers(0, 256, (pictures, spec.crop_height, spec.crop_width, 3), np.uint8)


def compared(name: str, runs: Mapping[str, list[Run]], *, settings: dict[str, int]) -> Results:
    """Both ratios of one model."""
    pairs = list(zip(runs["shared_memory"], runs["grpc"], strict=True))
    rates = tuple(Round(shared.frames_per_s, grpc.frames_per_s) for shared, grpc in pairs)
    by_cpu = tuple(Round(shared.frames_per_cpu_s, grpc.frames_per_cpu_s) for shared, grpc in pairs)
    found = Results(settings=settings)
    found.add(Comparison(f"shared_memory_vs_grpc_{name}", "shared_memory", "grpc", "frames/s", rates))
    found.add(Comparison(f"shared_memory_vs_grpc_cpu_{name}", "shared_memory", "grpc", "frames/CPU s", by_cpu))
    return found


if __name__ == "__main__":
    sys.exit(main())
