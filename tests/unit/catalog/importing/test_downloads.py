"""Failed requests are repeated, and hosts that fail or ask to wait are spared."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from yarl import URL

from framematch.catalog.importing.pictures.web.body import ByteBudget
from framematch.catalog.importing.pictures.web.downloads import Downloads
from framematch.catalog.importing.pictures.web.failures import DownloadError, Failure
from framematch.catalog.importing.pictures.web.requests import Answer, Validators, WebLimits
from framematch.catalog.importing.problems import ProblemKind
from tests.support import eventually

PICTURE = Answer(b"x", Validators())
BUSY = Failure(ProblemKind.UNREACHABLE, "failed", retriable=True, is_outage=True, host_answers=False)
GONE = Failure(ProblemKind.NO_IMAGE, "is not there")
LIMITS = WebLimits(tries=4, failures_max=100)


class ScriptedRequests:
    """Answers with the given steps, the last one for ever."""

    def __init__(self, *steps: Answer | Failure) -> None:
        self.steps = steps
        self.asked: list[str] = []

    async def ask(self, url: URL, known: Validators | None) -> Answer:
        del known
        step = self.steps[min(len(self.asked), len(self.steps) - 1)]
        self.asked.append(str(url))
        if isinstance(step, Failure):
            raise DownloadError(step)
        return step


class FakeSleep:
    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def __call__(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)


async def failure_of(downloads: Downloads, url: str) -> Failure:
    with pytest.raises(DownloadError) as caught:
        await downloads.download(URL(url), None)
    return caught.value.failure


async def test_a_request_that_may_succeed_later_is_repeated() -> None:
    requests, sleep = ScriptedRequests(BUSY, BUSY, PICTURE), FakeSleep()
    assert await Downloads(requests, LIMITS, sleep=sleep).download(URL("http://a.example/"), None) == PICTURE
    assert len(requests.asked) == 3
    assert len(sleep.slept_s) == 2
    assert all(0 <= slept_s <= ceiling_s for slept_s, ceiling_s in zip(sleep.slept_s, (1.0, 2.0), strict=True))


async def test_after_four_tries_the_last_failure_counts() -> None:
    requests = ScriptedRequests(BUSY)
    failure = await failure_of(Downloads(requests, LIMITS, sleep=FakeSleep()), "http://a.example/")
    assert (failure.reason, len(requests.asked)) == ("failed", 4)


async def test_a_picture_that_is_gone_is_not_asked_for_again() -> None:
    requests = ScriptedRequests(GONE)
    assert await failure_of(Downloads(requests, LIMITS), "http://a.example/") == GONE
    assert len(requests.asked) == 1


async def test_a_host_that_asks_to_wait_is_not_asked_by_anybody_meanwhile() -> None:
    requests, sleep = ScriptedRequests(replace(BUSY, retry_after_s=7.0), PICTURE), FakeSleep()
    downloads = Downloads(requests, WebLimits(tries=1), sleep=sleep)
    await failure_of(downloads, "http://a.example/1")
    await downloads.download(URL("http://b.example/"), None)
    assert sleep.slept_s == []
    await downloads.download(URL("http://a.example/2"), None)
    assert [round(slept_s) for slept_s in sleep.slept_s] == [7]


async def test_a_host_that_asks_to_wait_too_long_is_not_waited_for() -> None:
    requests = ScriptedRequests(replace(BUSY, retry_after_s=3_600.0))
    await failure_of(Downloads(requests, LIMITS, sleep=FakeSleep()), "http://a.example/")
    assert len(requests.asked) == 1


async def test_a_host_that_fails_again_and_again_is_given_up_and_the_reason_says_so() -> None:
    requests = ScriptedRequests(BUSY)
    downloads = Downloads(requests, WebLimits(tries=2, failures_max=6), sleep=FakeSleep())
    failures = [await failure_of(downloads, f"http://a.example/{number}") for number in range(100)]
    assert len(requests.asked) == 6
    assert failures[-1].reason == (
        "was not asked for: a.example failed 6 times in a row, and was given up for this import. The last picture of "
        "it failed"
    )
    assert failures[-1].is_outage
    assert await failure_of(downloads, "http://b.example/") == replace(BUSY, retriable=False)


async def test_an_answer_in_between_shows_that_the_host_works() -> None:
    requests = ScriptedRequests(*[BUSY, BUSY, GONE] * 10)
    downloads = Downloads(requests, WebLimits(tries=3, failures_max=3), sleep=FakeSleep())
    for number in range(10):
        assert await failure_of(downloads, f"http://a.example/{number}") == GONE


class WaitingRequests:
    """Answers when `go` is set; `most` are the most requests at once, by host and in all."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now: list[str] = []
        self.most: dict[str, int] = {}

    async def ask(self, url: URL, known: Validators | None) -> Answer:
        del known
        self.now.append(str(url.host))
        for key, count in (("all", len(self.now)), (str(url.host), self.now.count(str(url.host)))):
            self.most[key] = max(self.most.get(key, 0), count)
        await self.go.wait()
        self.now.remove(str(url.host))
        return PICTURE


async def test_few_requests_go_to_a_host_at_once_and_a_slow_host_does_not_stop_others() -> None:
    requests = WaitingRequests()
    downloads = Downloads(requests, LIMITS)
    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            host = "slow.example" if number < 100 else f"h{number % 7}.example"
            tasks.create_task(downloads.download(URL(f"http://{host}/{number}"), None))
        await eventually(lambda: len(requests.now) == 16)
        requests.go.set()
    assert (requests.most["all"], requests.most["slow.example"], len(requests.most)) == (16, 4, 9)


async def test_bytes_in_memory_are_bounded_and_a_larger_picture_has_its_turn() -> None:
    budget = ByteBudget(10)
    order: list[int] = []

    async def hold(count: int, until: Callable[[], bool]) -> None:
        await budget.take(count)
        order.append(count)
        await eventually(until)
        await budget.give_back(count)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hold(6, lambda: len(order) == 2))
        tasks.create_task(hold(4, lambda: len(order) == 2))
        tasks.create_task(hold(99, lambda: True))
        tasks.create_task(hold(5, lambda: True))
    assert order[:2] == [6, 4]
    assert sorted(order) == [4, 5, 6, 99]
