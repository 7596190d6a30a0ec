"""One tree of errors: what went wrong, what to do about it, and whether trying again can help.

FramematchError
├── UsageError                   the command or its settings are wrong (exit code 2)
│   └── SettingsError            an unknown key, a missing or an invalid value
├── UnavailableError             a server or camera is away; retriable
│   ├── KafkaUnavailableError
│   ├── TritonUnavailableError
│   ├── MongoUnavailableError
│   └── CameraUnavailableError   could not be opened, timed out, or ended
├── DeadlineExceededError        a service was still busy after it was told to stop
├── WorkerError                  a process of several did not end as it should
├── StalledError                 nothing moves, and no server is to blame; a new start helps
├── PrerequisiteError            a program or package that the job needs is not installed
├── ModelError                   a bundle or a served model that cannot be used
│   ├── EmbeddingError           an answer of the served model that is no embedding; retriable
│   └── ModelMismatchError       the index was built with another model or preprocessing
├── CatalogError                 products, images or an index snapshot that cannot be used
├── DeadLetterError              a dead letter that is not there, or whose bytes were not kept
└── BadFrameError                bytes that are not a usable frame: a dead letter, never a stop
"""

from typing import Any, ClassVar


class FramematchError(Exception):
    """Base of every error that this project raises on purpose.

    `message` says what is wrong, `hint` what to do. Neither may hold a secret: pass URLs through
    `framematch.core.redact.redact_url` first.
    """

    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class UsageError(FramematchError):
    """The command line or the settings are wrong; running the same again gives the same."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, missing or invalid."""


class UnavailableError(FramematchError):
    """A server or camera is unavailable; a later retry can help.

    `unreachable`: nothing answers at its address, so it may have to be started.
    """

    retriable = True

    def __init__(self, message: str, *, hint: str = "", unreachable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.unreachable = unreachable


class KafkaUnavailableError(UnavailableError):
    """No Kafka broker answers at the configured address."""


class TritonUnavailableError(UnavailableError):
    """Triton does not answer, or does not have the model ready."""


class MongoUnavailableError(UnavailableError):
    """The MongoDB server does not answer."""


class CameraUnavailableError(UnavailableError):
    """A camera could not be opened, sent nothing in time, or its stream ended."""


class DeadlineExceededError(FramematchError):
    """What was in flight did not finish in time after a stop; what was not committed will be done again."""


class StalledError(FramematchError):
    """There is work, every server answers, and nothing moves: a new process can go on."""


class WorkerError(FramematchError):
    """One of several processes did not finish after a stop; what it did not commit will be done again."""


class PrerequisiteError(FramematchError):
    """A program or package that this job needs is not installed."""


class ModelError(FramematchError):
    """A model bundle, a model repository or a served model cannot be used."""


class EmbeddingError(ModelError):
    """The served model failed on a batch, or returned anything but finite unit vectors of the right shape.

    `bad_rows` are the rows of the batch that have no embedding, None when the whole answer is unusable. `embeddings` is
    the answer, float32 [N, D], in which all other rows are good; None when `bad_rows` is.
    """

    retriable = True

    def __init__(
        self, message: str, *, hint: str = "", bad_rows: tuple[int, ...] | None = None, embeddings: Any = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.bad_rows = bad_rows
        self.embeddings = embeddings


class ModelMismatchError(ModelError):
    """The index was built with another model, preprocessing, dimension or metric than the one served."""


class CatalogError(FramematchError):
    """Products, their images or an index snapshot cannot be used."""


class DeadLetterError(FramematchError):
    """A dead letter is not there, or has not the bytes of its record."""


class BadFrameError(FramematchError):
    """The bytes of a record are not a usable frame. `reason` is a short, stable label for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
