"""Tells errors by which Kafka refuses a frame from errors after which it is sent again."""

from aiokafka.errors import (
    InvalidMessageError,
    InvalidTimestampError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
)

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
# Both may also come from a broker or a network in trouble. aiokafka knows no name for INVALID_RECORD (87), and makes it
# an UnknownError.
_UNSURE = (InvalidMessageError, UnknownError)
_TRIES = 4


def refusal(error: BaseException) -> str | None:
    """`too_large` or `refused` when Kafka refuses what was sent; None when sending it again can help.

    A broker refuses a batch as a whole: only a frame that was alone in its batch is known to be the one.
    """
    if isinstance(error, _TOO_LARGE):
        return "too_large"
    return "refused" if isinstance(error, (InvalidTimestampError, *_UNSURE)) else None


def final(error: BaseException, refusals: int) -> bool:
    """Whether the `refusals`th refusal of a frame is its last, given that it was alone."""
    return not isinstance(error, _UNSURE) or refusals >= _TRIES
