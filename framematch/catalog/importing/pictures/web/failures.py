"""Why a picture could not be downloaded, and what follows from it."""

from dataclasses import dataclass

from framematch.catalog.importing.problems import ProblemKind


@dataclass(frozen=True)
class Failure:
    """A failed request.

    Attributes:
        reason: completes "image X …".
        retriable: a later try may help.
        is_outage: it says nothing about the picture, so one that is stored stays in the catalogue.
        host_answers: the host itself works.
        retry_after_s: what the server asks to wait.
    """

    kind: ProblemKind
    reason: str
    retriable: bool = False
    is_outage: bool = False
    host_answers: bool = True
    retry_after_s: float = 0.0


class DownloadError(Exception):
    """A request failed; it is caught where requests are repeated, and never leaves this package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def unreachable(reason: str, *, retriable: bool = True) -> DownloadError:
    """The host does not answer, or not as HTTP says."""
    return DownloadError(
        Failure(ProblemKind.UNREACHABLE, reason, retriable=retriable, is_outage=True, host_answers=False)
    )


def unusable(reason: str) -> DownloadError:
    """The answer is no picture; the picture may come back."""
    return DownloadError(Failure(ProblemKind.UNREACHABLE, reason, is_outage=True))
