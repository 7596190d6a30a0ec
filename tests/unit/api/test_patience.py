"""How long a request is worked for."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from framematch.api.admission import Admission
from framematch.api.patience import requested_timeout_s, while_wanted
from framematch.api.problems import Problem
from tests.unit.api.fake_services import admission_metrics


class Connection:
    """A request whose body was read; `leave` ends the connection."""

    def __init__(self, **headers: str) -> None:
        self._gone = asyncio.Event()
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "headers": raw}, self._receive)

    def leave(self) -> None:
        self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def admission(registry: CollectorRegistry) -> Admission:
    return Admission(pictures_max=1, body_bytes_max=1, metrics=admission_metrics(registry))


class Work:
    """Never ends by itself."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = False

    async def run(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


async def test_work_that_ends_in_time_is_the_answer(admission: Admission) -> None:
    async def work() -> int:
        return 7

    assert await while_wanted(Connection().request, work(), timeout_s=60, admission=admission) == 7


async def test_an_error_of_the_work_is_the_requests(admission: Admission) -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await while_wanted(Connection().request, work(), timeout_s=60, admission=admission)


async def test_a_timeout_inside_the_work_is_its_own_error_and_not_the_deadline(admission: Admission) -> None:
    async def work() -> None:
        raise TimeoutError("of MongoDB")

    with pytest.raises(TimeoutError, match="of MongoDB"):
        await while_wanted(Connection().request, work(), timeout_s=60, admission=admission)


async def test_at_the_deadline_the_work_ends_with_504(admission: Admission) -> None:
    work, connection = Work(), Connection(x_request_timeout="0.01")
    with pytest.raises(Problem, match=r"no answer after 0\.01 s") as expired:
        await while_wanted(connection.request, work.run(), timeout_s=60, admission=admission)
    assert (expired.value.status, work.cancelled) == (504, True)


async def test_the_work_ends_when_the_client_leaves(admission: Admission, registry: CollectorRegistry) -> None:
    work, connection = Work(), Connection()
    request = while_wanted(connection.request, work.run(), timeout_s=60, admission=admission)
    waiting = asyncio.ensure_future(request)
    await work.started.wait()
    connection.leave()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert work.cancelled
    assert registry.get_sample_value("framematch_api_abandoned_total") == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"X-Request-Timeout": "2.5"}, 2.5),
        ({"Prefer": "wait=3"}, 3),
        ({"Prefer": 'respond-async, Wait = "4"; x=y'}, 4),
        ({"Prefer": "return=minimal"}, None),
        ({"X-Request-Timeout": "1", "Prefer": "wait=9"}, 1),
    ],
)
def test_a_request_may_ask_for_less_time(headers: dict[str, str], expected: float | None) -> None:
    assert requested_timeout_s(Headers(headers)) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "soon"])
@pytest.mark.parametrize("form", [("X-Request-Timeout", "{}"), ("Prefer", "wait={}")])
def test_what_is_no_time_is_refused(text: str, form: tuple[str, str]) -> None:
    name, value = form
    with pytest.raises(Problem, match=f"header {name}: should be a number"):
        requested_timeout_s(Headers({name: value.format(text)}))
