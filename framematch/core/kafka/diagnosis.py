"""Finds out why a connection to Kafka failed: the client library reports only that it could not connect."""

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import IllegalSaslStateError, KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from framematch.core.units import MS_PER_S

_DEADLINE_S = 6.0
_CONNECT_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 1.0
# With TLS 1.3 a server refuses the client's certificate after the handshake, by an alert; otherwise it sends nothing.
_ALERT_TIMEOUT_S = 1.0
# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_NAME_MISMATCH = {62, 64}

Options = dict[str, Any]


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, as the end of a sentence, and what to check; without secrets."""

    what: str
    hint: str


async def diagnose(options: Options) -> Diagnosis | None:
    """Find out why a client with these options (`framematch.core.kafka.clients.client_options`) cannot connect.

    Asks the first broker that accepts a connection, within a few seconds. None when nothing is known beyond that no
    broker answers.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_DEADLINE_S):
            for host, port, _ in collect_hosts(options["bootstrap_servers"], randomize=False):
                try:
                    return await _diagnose_one(host, port, options)
                except socket.gaierror:
                    return Diagnosis(f"the host name {host!r} is not known", "Check kafka.bootstrap_servers")
                except OSError:
                    continue
    return None


async def _diagnose_one(host: str, port: int, options: Options) -> Diagnosis | None:
    if (context := options.get("ssl_context")) is not None:
        return (
            await asyncio.to_thread(_check_tls, host, port, context)
            or await _check_protocol(host, port, options)
            or await asyncio.to_thread(_check_tls, host, port, context, alert_timeout_s=_ALERT_TIMEOUT_S)
        )
    if (found := await _check_protocol(host, port, options)) is not None:
        return found
    if await asyncio.to_thread(_speaks_tls, host, port):
        protocol = options["security_protocol"].replace("PLAINTEXT", "SSL")
        return Diagnosis(
            "the broker speaks TLS there", f"Set kafka.security_protocol to {protocol}, and kafka.ssl_ca_file"
        )
    return None


def _check_tls(
    host: str, port: int, context: ssl.SSLContext, *, alert_timeout_s: float | None = None
) -> Diagnosis | None:
    """Do the TLS handshake as the client does, and with `alert_timeout_s` wait for an alert; None when all is well."""
    with socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                if alert_timeout_s is not None:
                    secure.settimeout(alert_timeout_s)
                    secure.recv(1)
        except ssl.SSLCertVerificationError as error:
            return _untrusted(host, error)
        except ssl.SSLError as error:
            return _refused_handshake(error)
        except TimeoutError:
            return None
        except OSError:  # the broker closed the connection on our first bytes
            return _no_tls()
    return None


def _untrusted(host: str, error: ssl.SSLCertVerificationError) -> Diagnosis:
    if error.verify_code in _NAME_MISMATCH:
        return Diagnosis(
            f"the broker's certificate is not for the host {host!r}",
            "Use a name of the certificate in kafka.bootstrap_servers and in the broker's advertised.listeners",
        )
    return Diagnosis(
        f"the broker's certificate is not trusted: {error.verify_message}",
        "Check that kafka.ssl_ca_file contains the authority that signed it",
    )


def _refused_handshake(error: ssl.SSLError) -> Diagnosis:
    reason = error.reason or ""
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA")):
        return Diagnosis(
            f"the broker requires a client certificate that it trusts ({reason.lower().replace('_', ' ')})",
            "Check kafka.ssl_certificate_file and kafka.ssl_key_file",
        )
    if "ALERT" in reason:
        return Diagnosis(
            f"the broker ends the TLS handshake ({reason.lower().replace('_', ' ')})",
            "Check kafka.ssl_certificate_file, and which versions of TLS the broker allows",
        )
    return _no_tls()


def _no_tls() -> Diagnosis:
    return Diagnosis("the broker does not speak TLS there", "Check the port and kafka.security_protocol")


def _speaks_tls(host: str, port: int) -> bool:
    """Whether the other side starts a TLS handshake; its certificate is not checked, and nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


async def _check_protocol(host: str, port: int, options: Options) -> Diagnosis | None:
    """Connect and request metadata as the client does; None when that works, or fails for an unknown reason."""
    connection = AIOKafkaConnection(
        host,
        port,
        request_timeout_ms=int(_CONNECT_TIMEOUT_S * MS_PER_S),
        **{name: value for name, value in options.items() if name != "bootstrap_servers"},
    )
    try:
        found = await _connect(connection, options)
    finally:
        closed = connection.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await closed  # with TLS both sides close first
    return found


async def _connect(connection: AIOKafkaConnection, options: Options) -> Diagnosis | None:
    protocol, connected = options["security_protocol"], False
    try:
        await connection.connect()
        connected = True
        await connection.send(MetadataRequest([]))
    except SaslAuthenticationFailed:
        return Diagnosis(
            f"the broker refuses user {options['sasl_plain_username']!r} by {options['sasl_mechanism']}",
            "Check kafka.sasl_username, kafka.sasl_password and kafka.sasl_mechanism",
        )
    except UnsupportedSaslMechanismError:
        return Diagnosis(
            f"the broker does not offer {options['sasl_mechanism']} there", "Check kafka.sasl_mechanism and the port"
        )
    except IllegalSaslStateError:
        without = protocol.removeprefix("SASL_")
        return Diagnosis("the broker takes no password there", f"Set kafka.security_protocol to {without}")
    except KafkaError:
        if not connected or protocol.startswith("SASL"):
            return None
        with_password = "SASL_SSL" if protocol == "SSL" else "SASL_PLAINTEXT"
        return Diagnosis(
            "the broker closes the connection, as one does that requires a password",
            f"Check the port, or set kafka.security_protocol to {with_password} and kafka.sasl_username",
        )
    return None
