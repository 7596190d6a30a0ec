"""Bounds the pictures and the bytes of requests in flight; what is beyond is refused at once, so no queue grows."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from prometheus_client import CollectorRegistry, Counter, Gauge

from framematch.api.problems import Problem

_RATE_S, _RATE_MIN_S = 10.0, 1.0
_RETRY_AFTER_MAX_S = 60
_FIRST_SLOTS = 32
_MIN_SLOTS = 4.0
_REDUCED = 0.9


class AdmissionMetrics:
    """What is in flight, and what was given up. What is refused is counted in `rejected`, by reason."""

    def __init__(self, registry: CollectorRegistry, rejected: Counter | None = None) -> None:
        self.rejected = rejected
        self.pictures = Gauge("framematch_api_pictures_in_flight", "Pictures that are being matched", registry=registry)
        self.slots = Gauge("framematch_api_picture_slots", "Pictures that may be matched at once", registry=registry)
        self.body_bytes = Gauge(
            "framematch_api_body_bytes_in_flight", "Bytes of bodies of requests that have no answer yet",
            registry=registry,
        )  # fmt: skip
        self.abandoned = Counter(
            "framematch_api_abandoned", "Requests whose client left before the answer", registry=registry
        )


class Admission:
    """Counts what is in flight. A request holds its bytes as they come, and slots for its pictures once they are known.

    So a slow upload holds what it has sent, and no slot.

    There are as many slots as the servers can serve in time, at most `pictures_max`: one more for each picture that
    was answered within `target_s`, and a tenth less, at most once in that time, when one was not. So nobody is let in
    to wait for a deadline that is missed.
    """

    def __init__(
        self,
        *,
        pictures_max: int,
        body_bytes_max: int,
        metrics: AdmissionMetrics,
        target_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = metrics
        self._pictures_max = pictures_max
        self._body_bytes_max = body_bytes_max
        self._target_s = target_s
        self._slots = float(min(_FIRST_SLOTS, pictures_max))
        self._reduced_at_s = -float("inf")
        self._pictures = 0
        self._body_bytes = 0
        self._clock = clock
        self._done: deque[tuple[float, int]] = deque()

    def check(self, *, pictures: bool, body_bytes: int) -> None:
        """Refuse a request before its body is read that has no chance.

        Raises:
            Problem: 429, with the time after which it may be repeated.
        """
        if pictures and self._pictures >= self._slots:
            raise self._full("pictures")
        if self._body_bytes + body_bytes > self._body_bytes_max:
            raise self._full("bytes of requests")

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Inside the context a function adds bytes that have come; it raises Problem (429) when there are too many."""
        held = 0

        def add(size: int) -> None:
            nonlocal held
            if self._body_bytes + size > self._body_bytes_max:
                raise self._full("bytes of requests")
            held += size
            self._body_bytes += size
            self.metrics.body_bytes.set(self._body_bytes)

        try:
            yield add
        finally:
            self._body_bytes -= held
            self.metrics.body_bytes.set(self._body_bytes)

    @contextmanager
    def pictures(self, number: int) -> Iterator[None]:
        """Hold slots for these pictures inside the context.

        Raises:
            Problem: 429, when there are not as many free.
        """
        # A request with many pictures gets in when it is alone.
        if self._pictures + number > (self._slots if self._pictures else self._pictures_max):
            raise self._full("pictures")
        self._pictures += number
        self.metrics.pictures.set(self._pictures)
        started_s, answered = self._clock(), False
        try:
            yield
            answered = True
        finally:
            self._pictures -= number
            self.metrics.pictures.set(self._pictures)
            self._note(number)
            self._adapt(number, self._clock() - started_s, answered=answered)

    def _adapt(self, number: int, took_s: float, *, answered: bool) -> None:
        now_s = self._clock()
        if took_s > self._target_s:
            if now_s - self._reduced_at_s > self._target_s:
                self._slots = max(_MIN_SLOTS, _REDUCED * self._slots)
                self._reduced_at_s = now_s
        elif answered:
            self._slots = min(float(self._pictures_max), self._slots + number)
        self.metrics.slots.set(self._slots)

    def _note(self, number: int) -> None:
        now_s = self._clock()
        self._done.append((now_s, number))
        while self._done[0][0] < now_s - _RATE_S:
            self._done.popleft()

    def _full(self, what: str) -> Problem:
        """The problem, with the time that what is in flight needs at the rate of the last seconds."""
        if self.metrics.rejected is not None:
            self.metrics.rejected.labels("full").inc()
        now_s = self._clock()
        done = [(at_s, number) for at_s, number in self._done if at_s >= now_s - _RATE_S]
        # After a pause, the time since the first answer: the pause says nothing of how much can be done.
        over_s = max(now_s - done[0][0], _RATE_MIN_S) if done else _RATE_S
        rate = sum(number for _, number in done) / over_s
        wait_s = ceil(self._pictures / rate) if rate else 1
        return Problem(
            429, "full", f"too many {what} are in flight", hint="Repeat the request later, or with fewer pictures",
            headers={"Retry-After": str(max(1, min(wait_s, _RETRY_AFTER_MAX_S)))},
        )  # fmt: skip
