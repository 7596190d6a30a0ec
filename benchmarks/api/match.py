"""How close match comes to Triton alone, how far it is ahead of the seed's handler, and how long answers take.

Sides take turns over the same running servers; the others are idle meanwhile. Each sends one picture in a request, by
32 clients at once:

- api: photos to `POST /v1/match` over HTTP: decoded, cropped, embedded, searched, decided, with metadata;
- bare_triton: pictures that are cropped already to Triton over gRPC, by as many calls at once; answers are dropped;
- seed: the same photos to the handler of the project's first draft (`benchmarks.api.seed`).

The clients, which run on the same cores, cost about the same on all sides (`cpu.*.client`). But that of `bare_triton`
has pictures that nobody has to decode: no API can be faster than it, where the model uses all cores.
"""

import time
import urllib.error
import urllib.request
from functools import partial

import uvloop

from benchmarks.api.clients import run_clients
from benchmarks.api.cpu import CpuMeter
from benchmarks.api.site import READY_S, Site
from benchmarks.harness import Figure, Options, Results, Side, percentile, take_turns
from benchmarks.triton import noise, run_bare
from framematch.core.errors import FramematchError

CLIENTS = 32
LATENCY_CLIENTS = (1, 8, 32, 128)
_PROBE, _QUICK_S, _FULL_S = 200, 4, 12
_MIN_PICTURES = 300
_PER_CLIENT = 8


def measure_speed(site: Site, options: Options) -> Results:
    """Pictures a second at 32 clients and their ratios, and the CPU time of each process for a picture."""
    with site.seed() as seed:
        _wait_for(seed.url)
        pictures = _pictures(site, options)
        sides: dict[str, Side] = {
            "api": partial(_http_rate, f"{site.api.url}/v1/match", "image", site, pictures),
            "bare_triton": lambda: uvloop.run(_bare_rate(site, pictures)),
            "seed": partial(_http_rate, f"{seed.url}/match-product", "file", site, pictures),
        }
        for side in sides.values():
            side()  # warm
        meter, triton = CpuMeter(pictures), {"triton": site.triton.pid}
        groups = {"api": {"service": site.api.pid}, "bare_triton": {}, "seed": {"service": seed.pid}}
        sides = {name: meter.metered(name, side, groups[name] | triton) for name, side in sides.items()}
        rates = take_turns("speed", sides, rounds=options.rounds, unit="pictures/s")
    found = Results(
        at_least={"api_vs_bare_triton": 0.85, "api_vs_seed": 1.8}, settings={"pictures": pictures, "clients": CLIENTS}
    )
    found.compare("api_vs_bare_triton", "api", "bare_triton", rates, "pictures/s")
    found.compare("api_vs_seed", "api", "seed", rates, "pictures/s")
    found.figures |= meter.figures()
    return found


def measure_latency(site: Site, options: Options) -> Results:
    """The time of an answer with 1, 8, 32 and 128 clients, who send the next picture at once."""
    found = Results(settings={"clients": LATENCY_CLIENTS})
    url = f"{site.api.url}/v1/match"
    for clients in LATENCY_CLIENTS:
        pictures = max(_MIN_PICTURES, _PER_CLIENT * clients)
        runs = []
        for number in range(options.rounds):
            run = uvloop.run(run_clients(url, "image", site.photos, clients=clients, pictures=pictures))
            print(f"latency, {clients} clients, round {number + 1}: {run.per_s:.1f} pictures/s, {run.refused} refused")
            runs.append(run)
        for percent in (50, 99):
            values = [percentile(run.times_ms, percent) for run in runs]
            found.figures[f"match_p{percent}.{clients}_clients"] = Figure.of(values, "ms")
    return found


def _pictures(site: Site, options: Options) -> int:
    """As many as take a few seconds."""
    rate = uvloop.run(_bare_rate(site, _PROBE))
    return max(_MIN_PICTURES, round(rate * (_QUICK_S if options.quick else _FULL_S)))


def _http_rate(url: str, field: str, site: Site, pictures: int) -> float:
    return uvloop.run(run_clients(url, field, site.photos, clients=CLIENTS, pictures=pictures)).per_s


async def _bare_rate(site: Site, pictures: int) -> float:
    batch = await noise(site.triton.url, 1)
    started_s = time.monotonic()
    done_s = await run_bare(site.triton.url, batch, batches=pictures, in_flight=CLIENTS)
    return pictures / (max(done_s) - started_s)


def _wait_for(url: str) -> None:
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/openapi.json", timeout=5).close()  # noqa: S310  # our own loopback URL
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > deadline_s:
                raise FramematchError(f"the seed's handler does not answer: {error}") from error
            time.sleep(0.2)
        else:
            return
