"""TLS and SASL with a real broker: who may connect, and the errors for others."""

import asyncio
import logging
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from framematch.core.errors import FramematchError, KafkaUnavailableError, SettingsError
from framematch.core.kafka.clients import client_options, new_consumer, new_producer, started
from framematch.core.kafka.topics import Topics, ensure_topics
from framematch.core.logging import configure_logging
from framematch.core.settings import KafkaSettings
from framematch.stack.kafka import KafkaServer
from framematch.stack.kafka_security import MECHANISMS, Certificates, KafkaSecurity
from tests.conftest import running
from tests.integration.commands import framematch

pytestmark = pytest.mark.integration

USER, CANARY, WRONG = "edge", "hunter2-canary", "wrong-canary"
LOGIN = {"sasl_username": USER, "sasl_password": CANARY}


class Site:
    """A broker with all its listeners, and the files of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority, stranger = trustme.CA(), trustme.CA()
        self.ca = self._write("ca.pem", authority.cert_pem)
        self.strange_ca = self._write("strange-ca.pem", stranger.cert_pem)
        client = authority.issue_cert("edge@shop.example")
        self.client_certificate = self._write("client.pem", client.cert_chain_pems[0])
        self.client_key = self._write("client.key", client.private_key_pem)
        self.strange_client = self._write(
            "strange.pem", stranger.issue_cert("x@y.example").private_key_and_cert_chain_pem
        )
        broker = authority.issue_cert("127.0.0.1")
        chain = "".join(part.bytes().decode() for part in broker.cert_chain_pems)
        key = serialization.load_pem_private_key(broker.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificates = Certificates(key.decode(), chain, authority.cert_pem.bytes().decode())
        self.security = KafkaSecurity(certificates, {USER: CANARY})
        self.server = KafkaServer(folder / "kafka", self.security)

    def settings(self, listener: str, protocol: str | None = None, **changes: Any) -> KafkaSettings:
        """Settings for `listener` with `changes`; TLS trusts the broker."""
        protocol = protocol or ("SSL" if listener == "MUTUAL_TLS" else listener)
        address = self.server.bootstrap_servers if listener == "PLAINTEXT" else self.security.addresses[listener]
        values: dict[str, Any] = {"bootstrap_servers": address, "security_protocol": protocol}
        values |= {"ssl_ca_file": self.ca} if protocol.endswith("SSL") else {}
        values |= LOGIN if protocol.startswith("SASL") else {}
        if listener == "MUTUAL_TLS":
            values |= {"ssl_certificate_file": self.client_certificate, "ssl_key_file": self.client_key}
        return KafkaSettings.model_validate(values | changes)

    def _write(self, name: str, blob: trustme.Blob) -> str:
        blob.write_to_path(self.folder / name)
        return str(self.folder / name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("kafka-security"))
    with running(made.server):
        yield made


WAYS_IN = [
    ("SSL", None),
    ("MUTUAL_TLS", None),
    *((listener, mechanism) for listener, mechanisms in MECHANISMS.items() for mechanism in mechanisms),
]


@pytest.mark.parametrize(("listener", "mechanism"), WAYS_IN)
async def test_topics_are_created_and_records_are_read_back(site: Site, listener: str, mechanism: str | None) -> None:
    prefix = f"secure-{uuid.uuid4().hex[:8]}"
    changes: dict[str, Any] = {"topic_prefix": prefix, "partitions": 1} | (
        {"sasl_mechanism": mechanism} if mechanism else {}
    )
    settings = site.settings(listener, **changes)
    assert set(await ensure_topics(settings)) == set(Topics(prefix).all)
    async with started(new_producer(settings), settings) as producer:
        await producer.send_and_wait(Topics(prefix).frames, b"picture", key=b"till-1")
    consumer = new_consumer(settings, Topics(prefix).frames, auto_offset_reset="earliest", group_id=prefix)
    async with started(consumer, settings):
        async with asyncio.timeout(60):
            record = await consumer.getone()
    assert (record.key, record.value) == (b"till-1", b"picture")


REFUSALS: dict[str, tuple[tuple[str, dict[str, Any]], str, str]] = {
    "wrong password, PLAIN": (
        ("SASL_SSL", {"sasl_mechanism": "PLAIN", "sasl_password": WRONG}),
        "refuses user 'edge' by PLAIN", "kafka.sasl_password",
    ),
    "wrong password, SCRAM-SHA-256": (
        ("SASL_SSL", {"sasl_mechanism": "SCRAM-SHA-256", "sasl_password": WRONG}),
        "refuses user 'edge' by SCRAM-SHA-256", "kafka.sasl_password",
    ),
    "wrong password, without TLS": (
        ("SASL_PLAINTEXT", {"sasl_password": WRONG}),
        "refuses user 'edge' by SCRAM-SHA-512", "kafka.sasl_password",
    ),
    "unknown user": (("SASL_SSL", {"sasl_username": "nobody"}), "refuses user 'nobody'", "kafka.sasl_username"),
    "a mechanism that is not offered": (
        ("SASL_PLAINTEXT", {"sasl_mechanism": "PLAIN"}), "does not offer PLAIN", "kafka.sasl_mechanism",
    ),
    "a password where none is taken": (
        ("SSL", {"protocol": "SASL_SSL"}), "takes no password", "kafka.security_protocol to SSL",
    ),
    "no password where one is wanted": (
        ("SASL_SSL", {"protocol": "SSL"}), "requires a password", "kafka.security_protocol to SASL_SSL",
    ),
    "the system's authorities": (("SSL", {"ssl_ca_file": None}), "is not trusted", "kafka.ssl_ca_file"),
    "a wrong authority": (("SASL_SSL", {"ssl_ca_file": "strange_ca"}), "is not trusted", "kafka.ssl_ca_file"),
    "plaintext where TLS is spoken": (
        ("SSL", {"protocol": "PLAINTEXT"}), "speaks TLS", "kafka.security_protocol to SSL",
    ),
    "a password without TLS where TLS is spoken": (
        ("SASL_SSL", {"protocol": "SASL_PLAINTEXT"}), "speaks TLS", "kafka.security_protocol to SASL_SSL",
    ),
    "TLS where plaintext is spoken": (("PLAINTEXT", {"protocol": "SSL"}), "does not speak TLS", "the port"),
    "no client certificate": (
        ("MUTUAL_TLS", {"ssl_certificate_file": None, "ssl_key_file": None}),
        "requires a client certificate", "kafka.ssl_certificate_file",
    ),
    "a client certificate of someone else": (
        ("MUTUAL_TLS", {"ssl_certificate_file": "strange_client", "ssl_key_file": None}),
        "requires a client certificate that it trusts", "kafka.ssl_certificate_file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refused_client_learns_why_and_what_to_check(site: Site, case: str) -> None:
    (listener, changes), why, hint = REFUSALS[case]
    files = {name: getattr(site, value) for name, value in changes.items() if value in {"strange_ca", "strange_client"}}
    settings = site.settings(listener, **changes | files)
    with pytest.raises(KafkaUnavailableError, match=why) as raised:
        await ensure_topics(settings)
    assert hint in raised.value.hint
    assert settings.bootstrap_servers is not None
    assert settings.bootstrap_servers in raised.value.message
    assert "\n" not in str(raised.value)
    assert not any(secret in str(raised.value) for secret in (CANARY, WRONG))


async def test_a_certificate_for_another_host_is_refused_and_named(site: Site) -> None:
    settings = site.settings("SSL", bootstrap_servers=site.security.addresses["SSL"].replace("127.0.0.1", "localhost"))
    with pytest.raises(KafkaUnavailableError, match="not for the host 'localhost'"):
        await ensure_topics(settings)


async def test_the_first_reachable_broker_is_asked_when_another_is_unreachable(site: Site) -> None:
    unreachable = "127.0.0.1:1"
    settings = site.settings(
        "SSL", bootstrap_servers=f"{unreachable},{site.security.addresses['SSL']}", ssl_ca_file=None
    )
    with pytest.raises(KafkaUnavailableError, match="is not trusted"):
        await ensure_topics(settings)


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(KafkaUnavailableError, match=r"'kafka\.invalid' is not known"):
        await ensure_topics(KafkaSettings(bootstrap_servers="kafka.invalid:9092"))


@pytest.mark.parametrize("mechanism", MECHANISMS["SASL_SSL"])
@pytest.mark.parametrize("password", [CANARY, WRONG])
async def test_no_log_shows_a_password_even_at_debug_level(
    site: Site, capsys: pytest.CaptureFixture[str], mechanism: str, password: str
) -> None:
    configure_logging("debug", "json")
    settings = site.settings("SASL_SSL", sasl_mechanism=mechanism, sasl_password=password)
    with pytest.raises(FramematchError) if password == WRONG else nullcontext():
        await ensure_topics(settings)
    logging.getLogger("aiokafka.conn").error("the log works")
    written = "".join(capsys.readouterr())
    assert "the log works" in written
    assert password not in written
    assert password not in repr(settings)


def test_the_brokers_passwords_are_hidden_from_other_users(site: Site) -> None:
    arguments = Path(f"/proc/{site.server.pid}/cmdline").read_bytes().decode()
    assert "kafka" in arguments
    assert CANARY not in arguments
    holders = [path for path in site.server.folder.iterdir() if path.is_file() and CANARY in path.read_text()]
    assert [path.name for path in holders] == ["server.properties"]
    assert (holders[0].stat().st_mode & 0o077) == 0
    assert CANARY not in repr(site.security)


def test_the_doctor_connects_to_a_secured_broker(site: Site) -> None:
    code, said = doctor(site.settings("SASL_SSL", topic_prefix="doctor"))
    assert code == 1  # no MongoDB, no Triton
    assert f"{site.security.addresses['SASL_SSL']} by SASL_SSL" in said
    assert "missing doctor.frames" in said


def test_the_doctor_says_why_a_broker_refuses_us(site: Site) -> None:
    _, said = doctor(site.settings("SASL_SSL"), FRAMEMATCH_KAFKA__SASL_PASSWORD=WRONG)
    assert "refuses user 'edge' by SCRAM-SHA-512" in said
    assert "Check kafka.sasl_username" in said
    assert WRONG not in said


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"ssl_ca_file": "/nowhere/ca.pem"}, r"kafka\.ssl_ca_file \(/nowhere/ca\.pem\): No such file"),
        ({"ssl_ca_file": __file__}, "kafka.ssl_ca_file"),
        ({"ssl_certificate_file": "/nowhere/client.pem"}, "kafka.ssl_certificate_file or ssl_key_file"),
        ({"ssl_key_file": "/nowhere/client.key"}, "without kafka.ssl_certificate_file"),
        ({"sasl_username": None}, "kafka.sasl_username"),
        ({"sasl_password": None}, "kafka.sasl_password"),
    ],
)
def test_invalid_settings_are_refused_before_connecting(site: Site, changes: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        client_options(site.settings("SASL_SSL", **changes))


def test_a_key_with_a_pass_phrase_is_refused_without_a_prompt(site: Site) -> None:
    key = serialization.load_pem_private_key(Path(site.client_key).read_bytes(), None)
    locked = site.folder / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(CANARY.encode()),
        )
    )
    with pytest.raises(SettingsError, match="ssl_key_file") as raised:
        client_options(site.settings("MUTUAL_TLS", ssl_key_file=str(locked)))
    assert "pass phrase" in raised.value.hint


def doctor(kafka: KafkaSettings, **environment: str) -> tuple[int, str]:
    """Exit code and output of `framematch doctor` with these settings, given by the environment."""
    values = kafka.model_dump(exclude_defaults=True)
    if kafka.sasl_password:
        values["sasl_password"] = kafka.sasl_password.get_secret_value()
    settings = {f"FRAMEMATCH_KAFKA__{name.upper()}": str(value) for name, value in values.items()}
    done = framematch({"COLUMNS": "250", **settings, **environment}, "doctor")
    return done.returncode, done.stdout + done.stderr
