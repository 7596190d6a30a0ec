"""TLS and SASL for the local Kafka: further listeners, each with another kind of authentication."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from framematch.core.private_files import write_private
from framematch.stack.server import ReservedPort

# Listener names and their protocols. MUTUAL_TLS requires a client certificate.
LISTENERS = {"SSL": "SSL", "MUTUAL_TLS": "SSL", "SASL_SSL": "SASL_SSL", "SASL_PLAINTEXT": "SASL_PLAINTEXT"}

_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
# PLAIN sends the password as it is, so only over TLS.
MECHANISMS = {"SASL_SSL": ("PLAIN", *_SCRAM), "SASL_PLAINTEXT": _SCRAM}

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9._-]+")
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Certificates:
    """The broker's key (PKCS#8, not encrypted), its chain, and the authority of broker and clients, as PEM text."""

    key: str = field(repr=False)
    chain: str
    authority: str


@dataclass(frozen=True)
class KafkaSecurity:
    """The broker's certificates, and the password of each user for all mechanisms.

    Names and passwords consist of letters, digits, `.`, `_` and `-`, which need no quotes in Kafka's formats.
    """

    certificates: Certificates
    users: Mapping[str, str] = field(repr=False)
    _ports: Mapping[str, ReservedPort] = field(
        init=False, repr=False, default_factory=lambda: {name: ReservedPort() for name in LISTENERS}
    )

    def __post_init__(self) -> None:
        """Refuse names and passwords that would need quotes."""
        for name, password in self.users.items():
            if not (_PLAIN_TEXT.fullmatch(name) and _PLAIN_TEXT.fullmatch(password)):
                msg = f"user {name!r}: name and password are letters, digits, '.', '_' and '-'"
                raise ValueError(msg)

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each of `LISTENERS` as `host:port`."""
        return {name: port.address for name, port in self._ports.items()}

    def write_stores(self, folder: Path) -> None:
        """Write the PEM files that `properties` names."""
        write_private(folder / "keystore.pem", (self.certificates.key + self.certificates.chain).encode())
        write_private(folder / "truststore.pem", self.certificates.authority.encode())

    def properties(self, folder: Path) -> str:
        """Lines of server.properties, without the listeners themselves; they contain the users' passwords."""
        lines = [
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={folder / 'keystore.pem'}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={folder / 'truststore.pem'}",
            "listener.name.mutual_tls.ssl.client.auth=required",
        ]
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        scram = f"{_LOGIN}.scram.ScramLoginModule required;"
        logins = {"PLAIN": f"{_LOGIN}.plain.PlainLoginModule required {users};"} | dict.fromkeys(_SCRAM, scram)
        for listener, mechanisms in MECHANISMS.items():
            prefix = f"listener.name.{listener.lower()}"
            lines.append(f"{prefix}.sasl.enabled.mechanisms={','.join(mechanisms)}")
            lines += [f"{prefix}.{name.lower()}.sasl.jaas.config={logins[name]}" for name in mechanisms]
        return "\n".join(lines) + "\n"

    def format_arguments(self) -> list[str]:
        """Arguments with which StorageTool creates the SCRAM users; they contain passwords, so pass them in a file."""
        return [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for mechanism in _SCRAM
            for name, password in self.users.items()
        ]
