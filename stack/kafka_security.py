"""TLS and SASL for the local Kafka: listeners beside the plain one, each with another way for clients to come in."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stack.server import ReservedPort

# A listener's own name and the protocol that it speaks. MUTUAL_TLS asks for a client's certificate.
LISTENERS = {"SSL": "SSL", "MUTUAL_TLS": "SSL", "SASL_SSL": "SASL_SSL", "SASL_PLAINTEXT": "SASL_PLAINTEXT"}

_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
# PLAIN shows the password to whoever listens, unless TLS hides it.
MECHANISMS = {"SASL_SSL": ("PLAIN", *_SCRAM), "SASL_PLAINTEXT": _SCRAM}

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9._-]+")
_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Certificates:
    """The broker's, as PEM text: its key (PKCS#8, not encrypted) and chain, and who signs it and its clients."""

    key: str = field(repr=False)
    chain: str
    authority: str


@dataclass(frozen=True)
class KafkaSecurity:
    """What a broker shows its clients, and the password of each user, which holds for all mechanisms.

    Names and passwords are letters, digits, `.`, `_` and `-`: what needs no quotes in any of Kafka's formats.
    """

    certificates: Certificates
    users: Mapping[str, str] = field(repr=False)
    _ports: Mapping[str, ReservedPort] = field(
        init=False, repr=False, default_factory=lambda: {name: ReservedPort() for name in LISTENERS}
    )

    def __post_init__(self) -> None:
        """Refuse what would need quotes."""
        for name, password in self.users.items():
            if not (_PLAIN_TEXT.fullmatch(name) and _PLAIN_TEXT.fullmatch(password)):
                msg = f"user {name!r}: name and password are letters, digits, '.', '_' and '-'"
                raise ValueError(msg)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each of `LISTENERS` is, as `host:port`."""
        return {name: port.address for name, port in self._ports.items()}

    def write_stores(self, folder: Path) -> None:
        """Write the PEM files that `properties` names."""
        write_private(folder / "keystore.pem", self.certificates.key + self.certificates.chain)
        write_private(folder / "truststore.pem", self.certificates.authority)

    def properties(self, folder: Path) -> str:
        """Lines of server.properties, without the listeners themselves; they hold the users' passwords."""
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
        """Arguments of StorageTool that make the SCRAM users; to be given in a file, because they hold passwords."""
        return [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for mechanism in _SCRAM
            for name, password in self.users.items()
        ]


def write_private(path: Path, text: str) -> None:
    """Write a file that others on the machine cannot read."""
    with suppress(FileNotFoundError):
        path.unlink()
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")
