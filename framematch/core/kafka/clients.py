"""Creates configured Kafka clients, and translates their errors into ours."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from framematch.core.errors import KafkaUnavailableError, SettingsError
from framematch.core.kafka.client_pacing import pace
from framematch.core.kafka.consumer import Consumer
from framematch.core.kafka.diagnosis import diagnose
from framematch.core.settings import KafkaSettings
from framematch.core.settings_sources import require

log = structlog.get_logger()

# About nine frames of 100 kB per request. JPEGs do not compress further: LZ4 takes 27 times the CPU for no gain.
_PRODUCER_BATCH_BYTES = 900_000
_LIBRDKAFKA_BATCH_BYTES = 1_000_000
_MAX_QUEUE_KBYTES = 2_147_483_647  # the largest value that librdkafka accepts
_RECONNECT_MS = 1_000
_FETCH_BYTES_PER_PARTITION = 4_194_304
METADATA_MAX_AGE_MS = 15_000
"""How soon a client sees partitions that were added, and a topic that was created again."""
_STOP_TIMEOUT_S = 5.0
TRANSACTION_TIMEOUT_MS = 30_000
"""After this the broker aborts a transaction whose producer has died, and subscribers see what comes after it."""
HEADROOM_BYTES = 65_536
"""What a record's key, headers and framing may add to `max_message_bytes`."""


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The connection and security options of aiokafka's producer, consumer and admin client.

    Raises:
        SettingsError: there is no address, or the security settings are invalid.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": require(settings.bootstrap_servers, "kafka.bootstrap_servers"),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = require(settings.sasl_username, "kafka.sasl_username")
        password = require(settings.sasl_password, "kafka.sasl_password")
        options["sasl_plain_password"] = password.get_secret_value()
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    return options


def new_producer(settings: KafkaSettings, *, transactional_id: str | None = None) -> AIOKafkaProducer:
    """A producer that keeps order and sends no duplicates: idempotent, acknowledged by all in-sync replicas.

    It retries for as long as the broker is unavailable. When a record fails nevertheless, later records of the same
    partition fail too, and only a new producer can send them. With a `transactional_id` it sends only in transactions;
    a producer that is started later with the same id aborts its transaction and fences it.
    """
    producer = AIOKafkaProducer(
        **client_options(settings),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        acks="all",
        enable_idempotence=True,
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        linger_ms=0,  # callers send batches, and wait for them
        request_timeout_ms=settings.request_timeout_ms,
        max_batch_size=min(_PRODUCER_BATCH_BYTES, settings.max_message_bytes),
        max_request_size=settings.max_message_bytes + 2 * HEADROOM_BYTES,
    )
    pace(producer.client)
    return producer


def new_admin(settings: KafkaSettings) -> AIOKafkaAdminClient:
    """A client that describes and creates topics."""
    admin = AIOKafkaAdminClient(**client_options(settings), metadata_max_age_ms=METADATA_MAX_AGE_MS)
    pace(admin._client)  # noqa: SLF001  # aiokafka has no other way
    return admin


def librdkafka_options(settings: KafkaSettings) -> dict[str, Any]:
    """The options of librdkafka's producer, which needs a third of the CPU time for many large records.

    Its queue is unlimited, so the caller must bound it; its retries are unlimited, as the caller needs.

    Raises:
        SettingsError: there is no address, or the security settings are invalid.
    """
    checked = client_options(settings)
    options: dict[str, Any] = {
        "bootstrap.servers": checked["bootstrap_servers"],
        "security.protocol": settings.security_protocol,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",  # as in Java's producer and aiokafka: the same partition for a key
        "linger.ms": settings.linger_ms,
        "batch.size": min(_LIBRDKAFKA_BATCH_BYTES, settings.max_message_bytes),
        "message.max.bytes": settings.max_message_bytes + 2 * HEADROOM_BYTES,
        "message.timeout.ms": 0,
        "socket.timeout.ms": settings.request_timeout_ms,
        "socket.nagle.disable": True,
        "reconnect.backoff.max.ms": _RECONNECT_MS,
        "topic.metadata.refresh.interval.ms": METADATA_MAX_AGE_MS,
        "allow.auto.create.topics": False,  # with how many partitions would be the broker's choice
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": _MAX_QUEUE_KBYTES,
        "enable.metrics.push": False,
    }
    if "sasl_mechanism" in checked:
        options["sasl.mechanisms"] = checked["sasl_mechanism"]
        options["sasl.username"] = checked["sasl_plain_username"]
        options["sasl.password"] = checked["sasl_plain_password"]
    if "ssl_context" in checked:
        trusted = ssl.get_default_verify_paths()
        options["ssl.ca.location"] = settings.ssl_ca_file or trusted.cafile or trusted.capath or "probe"
    if "ssl_context" in checked and settings.ssl_certificate_file:
        options["ssl.certificate.location"] = settings.ssl_certificate_file
        options["ssl.key.location"] = settings.ssl_key_file or settings.ssl_certificate_file
    return options


def new_consumer(settings: KafkaSettings, *topics: str, **options: Any) -> Consumer:
    """A consumer without automatic commits; `options` are those of `Consumer` and aiokafka's (`group_id`, …)."""
    largest = max(_FETCH_BYTES_PER_PARTITION, settings.max_message_bytes + HEADROOM_BYTES)
    return Consumer(
        *topics,
        **client_options(settings),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        enable_auto_commit=False,
        **{"max_partition_fetch_bytes": largest, **options},
    )


async def start_client(client: Any, settings: KafkaSettings, *, explain: bool = True) -> None:
    """Start an aiokafka producer, consumer or admin client, and clean up when that fails.

    With `explain` it then connects a few times more to find out why; not for what is retried.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us, with the reason as far as it is known.
    """
    try:
        await client.start()
    except asyncio.CancelledError:
        await stop_client(client)
        raise
    except KafkaError as error:
        await stop_client(client)  # it still has open sockets
        raise (await no_connection(settings, error) if explain else unavailable(settings, error)) from None


async def no_connection(settings: KafkaSettings, error: KafkaError) -> KafkaUnavailableError:
    """The error for a client that could not start; asks the broker for the reason, for a few seconds."""
    cause = await diagnose(client_options(settings)) if isinstance(error, KafkaConnectionError) else None
    if cause is None:
        return unavailable(settings, error)
    return KafkaUnavailableError(
        f"no connection to Kafka at {settings.bootstrap_servers} by {settings.security_protocol}: {cause.what}",
        hint=cause.hint,
    )


@asynccontextmanager
async def started(client: Any, settings: KafkaSettings) -> AsyncIterator[Any]:
    """Run an aiokafka producer, consumer or admin client inside the context.

    Raises:
        KafkaUnavailableError: no broker answers, or it refuses us.
    """
    await start_client(client, settings)
    try:
        yield client
    finally:
        await stop_client(client)


@contextmanager
def kafka_errors(settings: KafkaSettings) -> Iterator[None]:
    """Raise KafkaUnavailableError for the client library's errors inside the block."""
    try:
        yield
    except KafkaError as error:
        raise unavailable(settings, error) from error


def unavailable(settings: KafkaSettings, error: KafkaError) -> KafkaUnavailableError:
    """Translate aiokafka's `error`; the message has the broker's address, the hint what to check."""
    where = f"at {settings.bootstrap_servers} by {settings.security_protocol}"
    if isinstance(error, KafkaConnectionError | KafkaTimeoutError | NodeNotReadyError):
        hint = "Check KAFKA_BOOTSTRAP_SERVERS and the broker"
        return KafkaUnavailableError(f"Kafka does not answer {where}", hint=hint, unreachable=True)
    if isinstance(
        error, TopicAuthorizationFailedError | GroupAuthorizationFailedError | ClusterAuthorizationFailedError
    ):
        message = f"Kafka {where} does not allow this to {settings.sasl_username or 'us'} ({error})"
        return KafkaUnavailableError(message, hint="docs/operations.md lists the rights that each service needs")
    message = f"Kafka {where} answers with an error ({type(error).__name__}: {error})"
    return KafkaUnavailableError(message, hint="See the broker's log")


async def stop_client(client: Any, *, timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """Stop an aiokafka client within `timeout_s`, and abandon what it has not sent.

    A producer with unsent records would wait for its broker forever. Errors are logged, as one raised here would hide
    the error that led here.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    except (TimeoutError, KafkaError) as error:
        why = str(error) or f"not within {timeout_s:g} s"
        log.warning("kafka_close_abandoned", client=type(client).__name__, reason=why)
        if isinstance(client, AIOKafkaProducer):
            await client.client.close()


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """The trusted authorities and the client's certificate; SettingsError when a file is missing or invalid."""
    if settings.ssl_key_file and not settings.ssl_certificate_file:
        raise SettingsError(
            "kafka.ssl_key_file is set without kafka.ssl_certificate_file", hint="Set both, for mutual TLS"
        )
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
    except OSError as error:
        raise _bad_file("kafka.ssl_ca_file", settings.ssl_ca_file, error) from None
    if settings.ssl_certificate_file:
        try:
            # Without a pass phrase here, OpenSSL would ask for that of an encrypted key at the terminal.
            context.load_cert_chain(settings.ssl_certificate_file, settings.ssl_key_file, password="")
        except OSError as error:
            files = " and ".join(filter(None, (settings.ssl_certificate_file, settings.ssl_key_file)))
            raise _bad_file("kafka.ssl_certificate_file or ssl_key_file", files, error) from None
    return context


def _bad_file(setting: str, path: str | None, error: OSError) -> SettingsError:
    return SettingsError(
        f"cannot load {setting} ({path}): {error.strerror or error}",
        hint="Give the path of a PEM file; a key must have no pass phrase and must belong to its certificate",
    )
