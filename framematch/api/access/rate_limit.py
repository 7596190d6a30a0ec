"""The rate limit of each key: so many requests, or pictures, a minute."""

import math

from framematch.api.access.principal import Principal
from framematch.api.access.refusals import too_many
from framematch.api.access.sliding_window import Budget, SlidingWindow


class RateLimit:
    """At most `per_minute` of each principal, unless his key has another limit; 0: no limit.

    A request costs 1, which the guard charges, and each further picture in it 1 more.
    """

    def __init__(self, per_minute: int, window: SlidingWindow | None = None) -> None:
        self._per_minute = per_minute
        self._window = SlidingWindow() if window is None else window

    def charge(self, principal: Principal, cost: int = 1) -> None:
        """Take `cost`, or nothing of it.

        Raises:
            Problem: 429.
        """
        if not (limit := self._limit(principal)) or cost < 1:
            return
        budget = self._window.take(principal.identity, limit, cost)
        if not budget.suffices:
            text = f"more than {limit} requests or pictures within a minute"
            hint = "Wait as long as Retry-After says, or ask an administrator for a higher limit"
            raise too_many("rate_limited", text, hint, budget.wait_s)

    def headers(self, principal: Principal) -> dict[str, str]:
        """What is left, for the answer; nothing without a limit.

        `RateLimit-Reset` is in how many seconds the whole limit is available again.
        """
        if not (limit := self._limit(principal)):
            return {}
        budget: Budget = self._window.look(principal.identity, limit)
        return {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(budget.remaining),
            "RateLimit-Reset": str(math.ceil(budget.reset_s)),
        }

    def _limit(self, principal: Principal) -> int:
        own = principal.requests_per_minute
        return self._per_minute if own is None else own
