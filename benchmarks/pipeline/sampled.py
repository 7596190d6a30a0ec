"""Runs `framematch` and samples its CPU time by thread and function: `python -m benchmarks.pipeline.sampled consume …`.

A hundred times a second each thread's own CPU clock is read, and what it has used since is put down to the function
that it is in. So the time of a thread is exact, and that of a function approximate: a thread is seen more often where
it lets others run. Threads that are not Python's, such as gRPC's, are not seen; what they use is what the process has
used beyond the others.

`BENCHMARK_SAMPLES` names the file that is written at the end: a line of JSON for each second.
"""

import os
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType

import msgspec

from framematch.__main__ import main

FILE_VARIABLE = "BENCHMARK_SAMPLES"
_INTERVAL_S = 0.01
_SWITCH_S = 0.0005
_NS_PER_MS = 1e6


class SampledSecond(msgspec.Struct):
    """What each thread used in one second since the epoch: `ms` of CPU time by thread and function."""

    second: int
    ms: dict[str, dict[str, float]]


class Sampler:
    """Samples from `start` to `stop`, in a thread of its own."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._used_ns: dict[int, int] = {}
        self._seconds: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[SampledSecond]:
        """End; everything that was seen."""
        self._stopped.set()
        self._thread.join()
        return [
            SampledSecond(second, {name: _in_ms(functions) for name, functions in threads.items()})
            for second, threads in sorted(self._seconds.items())
        ]

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            threads = self._seconds[int(time.time())]
            # No thread of these can end before its clock is read: for that it needs the lock that we hold.
            for ident, frame in sys._current_frames().items():  # noqa: SLF001  # the documented way to see all threads
                used_ns = time.clock_gettime_ns(time.pthread_getcpuclockid(ident))
                spent_ns = used_ns - self._used_ns.get(ident, 0)
                self._used_ns[ident] = used_ns
                if spent_ns:
                    threads[names.get(ident, "other")][function_of(frame)] += spent_ns


def _in_ms(functions_ns: Counter[str]) -> dict[str, float]:
    return {function: ns / _NS_PER_MS for function, ns in functions_ns.items()}


def function_of(frame: FrameType) -> str:
    """The module and name of the function that runs."""
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"


def run() -> None:
    """Run framematch's command line, and write the samples when it ends."""
    sys.setswitchinterval(_SWITCH_S)  # the sampler gets its turn in the middle of a function too, not at its end alone
    sampler = Sampler()
    sampler.start()
    try:
        main()
    finally:
        lines = b"\n".join(msgspec.json.encode(second) for second in sampler.stop())
        Path(os.environ[FILE_VARIABLE]).write_bytes(lines)


if __name__ == "__main__":
    run()
