"""The rate limit of each key: so many requests, or pictures, a minute."""

import math

from framematch.api.access.principal import Principal
from framematch.api.access.refusals import AccessRefusedError
from framematch.api.access.sliding_window import Budget, SlidingWindow


class RateLimit:
    """At most `per_minute` of each principal, unless his key has another limit; 0: no limit.

    A request costs 1, and each further picture in it 1 more.
    """

    def __init__(self, per_minute: int, window: SlidingWindow | None = None) -> None:
        self._per_minute = per_minute
        self._window = window or SlidingWindow()

    def charge(self, principal: Principal, cost: int = 1) -> Budget | None:
        """Take `cost`; returns what is left, or None without a limit.

        Raises:
            AccessRefusedError: 429. Nothing was taken.
        """
        limit = self._per_minute if principal.requests_per_minute is None else principal.requests_per_minute
        if not limit:
            return None
        budget = self._window.take(principal.identity, limit, cost)
        if not budget.suffices:
            raise RateLimitedError(budget)
        return budget


class RateLimitedError(AccessRefusedError):
    """A principal has used up his limit; `budget` says when it suffices again."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(
            429,
            "rate_limited",
            f"more than {budget.limit} requests or pictures within a minute",
            hint="Wait as long as Retry-After says, or ask an administrator for a higher limit",
            retry_after_s=budget.wait_s,
        )
        self.budget = budget


def rate_limit_headers(budget: Budget | None) -> list[tuple[bytes, bytes]]:
    """`RateLimit-Limit`, `-Remaining` and `-Reset`: in how many seconds the whole limit is available again."""
    if budget is None:
        return []
    return [
        (b"ratelimit-limit", str(budget.limit).encode()),
        (b"ratelimit-remaining", str(budget.remaining).encode()),
        (b"ratelimit-reset", str(math.ceil(budget.reset_s)).encode()),
    ]
