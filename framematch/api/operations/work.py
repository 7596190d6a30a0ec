"""What the work of an operation gets: settings, database, its parameters, and how to report and to be interrupted."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from framematch.api.operations.files import OperationFiles
from framematch.api.operations.operation import Operation, Progress
from framematch.catalog.mongo import Database
from framematch.core.errors import FramematchError
from framematch.core.settings import Settings

_MIN_ELAPSED_S = 0.5  # a rate over less time says nothing


class InterruptedWorkError(FramematchError):
    """The work was asked to stop, and has left everything in order."""


class ProgressMeter:
    """Takes the progress of the work, and interrupts it between two steps."""

    def __init__(self, unit: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.unit = unit
        self.interrupted = False
        self._clock = clock
        self._started: tuple[float, int] | None = None
        self._done, self._total = 0, 0

    def report(self, done: int, total: int) -> None:
        """Take what is done, and the whole.

        Raises:
            InterruptedWorkError: the work is to stop.
        """
        if self._started is None:
            self._started = self._clock(), done
        self._done, self._total = done, total
        if self.interrupted:
            raise InterruptedWorkError("the operation was interrupted")

    def progress(self) -> Progress:
        """The progress now. The rate is the mean since the first report."""
        if self._started is None:
            return Progress(unit=self.unit)
        at_s, done_before = self._started
        elapsed_s, done = self._clock() - at_s, self._done - done_before
        rate = done / elapsed_s if elapsed_s >= _MIN_ELAPSED_S and done > 0 else None
        rest_s = None if rate is None else max(0, self._total - self._done) / rate
        return Progress(self._done, self._total, self.unit, _rounded(rate), _rounded(rest_s))


@dataclass(frozen=True)
class Work:
    """The work of one operation."""

    settings: Settings
    database: Database
    operation: Operation
    meter: ProgressMeter = field(default_factory=ProgressMeter)

    @property
    def files(self) -> OperationFiles:
        """The files of operations."""
        return OperationFiles(self.database)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the request asked for."""
        return self.operation.parameters


DoWork = Callable[[Work], Awaitable[dict[str, Any]]]
"""Does the work and returns its result, as JSON. It may be interrupted, and then be done again from its start."""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
