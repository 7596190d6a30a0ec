"""The project's exceptions: what went wrong, what to do about it, and whether a retry can help.

FramematchError
├── UsageError                   the command or its settings are wrong (exit code 2)
│   └── SettingsError            an unknown key, a missing or an invalid value
│       └── AddressNotSetError   the address of Kafka, MongoDB or Triton is not set
├── UnavailableError             a server or camera is unavailable; retriable
│   ├── KafkaUnavailableError
│   ├── TritonUnavailableError
│   ├── MongoUnavailableError
│   ├── StorageUnavailableError  the storage of the snapshots' files
│   └── CameraUnavailableError   could not be opened, timed out, or ended
├── IncompleteError              files or folders were not sent completely
├── DeadlineExceededError        a service did not stop within its deadline
├── WorkerError                  a worker process failed
├── StalledError                 no progress although all servers answer; a restart helps
├── PrerequisiteError            a required program or package is not installed
├── ModelError                   a model bundle or served model is unusable
│   ├── EmbeddingError           the served model returned an invalid embedding; retriable
│   └── ModelMismatchError       the index was built with another model or preprocessing
├── CatalogError                 products, images or an index snapshot are unusable
│   ├── StaleNamesError          somebody else has changed which snapshots are named
│   ├── StaleProductError        somebody else has changed, added or deleted the product
│   └── SnapshotInUseError       a snapshot cannot be deleted, as it has a name or is being built
├── DeadLetterError              a dead letter does not exist, or its bytes were not kept
├── ReplayError                  frames to decide again are not in Kafka, or cannot be read
├── PictureError                 bytes that are no picture, a damaged one, or one of an unknown kind
└── BadFrameError                bytes that are not a usable frame: they become a dead letter
"""

from typing import Any, ClassVar


class FramematchError(Exception):
    """Base class of every error that this project raises on purpose.

    `message` says what is wrong, `hint` what to do. Neither may contain a secret: pass URLs through
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
    """The command line or the settings are wrong; a retry fails in the same way."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, missing or invalid."""


class AddressNotSetError(SettingsError):
    """The address of a server that the command needs is not set."""


class UnavailableError(FramematchError):
    """A server or camera is unavailable; a later retry can help.

    `unreachable`: nothing answers at its address, so it may have to be started.
    """

    retriable = True

    def __init__(self, message: str, *, hint: str = "", unreachable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.unreachable = unreachable


class KafkaUnavailableError(UnavailableError):
    """No Kafka broker answers at the configured address, or it refuses the request."""


class TritonUnavailableError(UnavailableError):
    """Triton does not answer, or the model is not ready."""


class MongoUnavailableError(UnavailableError):
    """The MongoDB server does not answer."""


class StorageUnavailableError(UnavailableError):
    """The storage of the snapshots' files does not answer."""


class CameraUnavailableError(UnavailableError):
    """A camera cannot be opened, timed out, or its stream ended."""


class IncompleteError(FramematchError):
    """A file or folder failed, gave no frame, or not all its frames were sent."""


class DeadlineExceededError(FramematchError):
    """A service did not stop within its deadline; what it had not committed will be processed again."""


class StalledError(FramematchError):
    """There are records to process and every server answers, but nothing progresses; a restart helps."""


class WorkerError(FramematchError):
    """A worker process failed; what it had not committed will be processed again."""


class PrerequisiteError(FramematchError):
    """A required program or package is not installed."""


class ModelError(FramematchError):
    """A model bundle, a model repository or a served model is unusable."""


class EmbeddingError(ModelError):
    """The served model failed on a batch, or did not return finite unit vectors of the right shape.

    `bad_rows` are the rows of the batch without a valid embedding; None when the whole response is unusable.
    `embeddings` is the response, float32 [N, D], with all other rows valid; None when `bad_rows` is.
    """

    retriable = True

    def __init__(
        self, message: str, *, hint: str = "", bad_rows: tuple[int, ...] | None = None, embeddings: Any = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.bad_rows = bad_rows
        self.embeddings = embeddings


class ModelMismatchError(ModelError):
    """The index was built with a model, preprocessing, dimension or metric other than the one served."""


class CatalogError(FramematchError):
    """Products, their images or an index snapshot are unusable."""


class StaleNamesError(CatalogError):
    """The names of snapshots are not what the operator has seen: somebody else has changed them."""


class StaleProductError(CatalogError):
    """A product is not what the writer has seen: somebody else has changed, added or deleted it."""


class SnapshotInUseError(CatalogError):
    """A snapshot cannot be deleted, because a name points to it, or it is being built."""


class DeadLetterError(FramematchError):
    """A dead letter does not exist, or does not contain the bytes of its record."""


class ReplayError(FramematchError):
    """Frames to decide again are not in Kafka: never were, or are deleted; or some records cannot be read."""


class PictureError(FramematchError):
    """The bytes are no picture, or a damaged one. `message` completes "the picture …".

    `reason` is a short, stable label: `not_a_jpeg`, `not_a_picture`, `unsupported_format`, `too_many_bytes`,
    `too_many_pixels`, `truncated`, `undecodable`, `region`, `invalid_embedding`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadFrameError(FramematchError):
    """The bytes of a record are not a usable frame. `reason` is a short, stable label for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
