"""Triton Inference Server from its PyPI wheel, with its own environment for the python backend."""

import os
import re
import secrets
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar

import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from framematch.core.errors import PrerequisiteError, TritonUnavailableError
from framematch.core.triton_key import restriction_arguments
from framematch.stack.cache import Report, cached_folder, digest_of, run_tool
from framematch.stack.process import Command
from framematch.stack.server import LOOPBACK, ReservedPort, Server, listens

REQUIREMENTS = Path(__file__).with_name("triton-requirements.txt")
MAX_PYTHON_VERSION = (3, 12)  # the latest with wheels of numpy below 2
_PING_TIMEOUT_S = 2.0


def ping(url: str) -> None:
    """Check at Triton's gRPC endpoint that the server and its loaded models are ready.

    Raises:
        TritonUnavailableError: it does not answer, or is not ready.
    """
    if not listens(url):
        raise TritonUnavailableError(f"nothing listens at {url}", hint="Start Triton, or set TRITON_URL")
    client = tritonclient.grpc.InferenceServerClient(url)
    try:
        ready = client.is_server_ready(client_timeout=_PING_TIMEOUT_S)
    except InferenceServerException as error:
        raise TritonUnavailableError(f"Triton does not answer at {url}: {error}", hint="See its log") from None
    finally:
        client.close()
    if not ready:
        raise TritonUnavailableError(f"Triton at {url} is not ready", hint="See its log")


class TritonServer(Server):
    """Triton with one model repository; `url` is its gRPC endpoint.

    All models of the repository are loaded at the start; a client can load others later
    (`--model-control-mode=explicit`). One that cannot be loaded is reported by `triton_check`. The repository may be
    empty.
    """

    name: ClassVar[str] = "triton"
    log_noise: ClassVar[re.Pattern[str]] = re.compile(r"[+|]|I\d{4} |\s*$")  # tables and successes
    ready_timeout_s: ClassVar[float] = 120.0  # ready only after all models are loaded

    def __init__(self, folder: Path, model_repository: Path) -> None:
        self._ports = {service: ReservedPort() for service in ("grpc", "http", "metrics")}
        super().__init__(folder, self._ports["grpc"].address, self._ports.values())
        self.url = self.address
        """The gRPC endpoint as `host:port`."""
        self.http_address = self._ports["http"].address
        """The HTTP endpoint as `host:port`."""
        self.metrics_url = f"http://{self._ports['metrics'].address}/metrics"
        """The URL of its Prometheus metrics."""
        self.model_repository = model_repository.resolve()
        self.repository_key = secrets.token_urlsafe(24)
        """The key without which it neither loads models nor maps shared memory."""
        # The prefix of shared memory that a killed Triton leaves behind.
        self._shared_memory = f"framematch-{digest_of(str(self.folder))}-"

    def install(self, report: Report = print) -> None:
        """See `install_triton`."""
        install_triton(report)

    def configure(self) -> None:
        """Create the repository if it is missing, and delete the shared memory that a killed Triton left."""
        self.model_repository.mkdir(parents=True, exist_ok=True)
        for left_over in Path("/dev/shm").glob(f"{self._shared_memory}*"):  # noqa: S108  # the kernel's folder for it
            left_over.unlink(missing_ok=True)

    def command(self) -> Command:
        """Tritonserver on loopback, with its environment's Python first on PATH for the python backend."""
        root = install_triton()
        libraries = (_site_packages(root) / "nvidia_pytriton.libs", python_library_dir())
        server = root / "tritonserver"
        arguments = [
            str(server / "bin" / "tritonserver"),
            f"--model-repository={self.model_repository}",
            "--model-control-mode=explicit",
            "--load-model=*",
            # A model that cannot be loaded does not keep the others from being served.
            "--exit-on-error=false",
            "--strict-readiness=false",
            f"--backend-directory={server / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
        ]
        for service, port in self._ports.items():
            arguments += [f"--{service}-address={LOOPBACK}", f"--{service}-port={port.number}"]
        arguments += restriction_arguments(self.repository_key)
        environment = {
            "PATH": os.pathsep.join((str(root / "venv" / "bin"), os.environ.get("PATH", os.defpath))),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        }
        return Command(tuple(arguments), environment)

    def wait_ready(self) -> None:
        """Also remove the key from the process list, once Triton has read it: other users of the machine see that."""
        super().wait_ready()
        self.hide_argument(self.repository_key)

    def ping(self) -> None:
        """See `framematch.stack.triton.ping`."""
        ping(self.url)


def install_triton(report: Report = print) -> Path:
    """The cached folder with `tritonserver/` and `venv/`, built when it is missing.

    Raises:
        PrerequisiteError: Triton's backend does not support the running Python.
    """
    if sys.version_info[:2] > MAX_PYTHON_VERSION:
        raise PrerequisiteError(
            f"the local Triton needs Python 3.11 or 3.12, and this is {sys.version.split()[0]}",
            hint="Make the project's environment with 'python3.12 -m venv .venv', or set TRITON_URL to another Triton",
        )
    python_library_dir()
    lock = REQUIREMENTS.read_bytes()
    return cached_folder(
        "triton",
        digest_of(lock, sys.version, sys.base_prefix),
        _build,
        report=report,
        note="fetching Triton Inference Server 2.51 and its Python environment (100 MB, usually under a minute)",
    )


def python_library_dir() -> Path:
    """The folder of the shared library libpython, which Triton's python backend is linked with.

    Raises:
        PrerequisiteError: this Python has no shared library.
    """
    library = f"libpython{_minor_version()}.so.1.0"
    folders = {sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL"), f"{sys.base_prefix}/lib"}
    folders |= {str(folder) for folder in Path("/usr/lib").glob("*-linux-gnu")}
    for folder in filter(None, folders):
        if (Path(folder) / library).exists():
            return Path(folder)
    raise PrerequisiteError(
        f"{library} is not installed, and Triton's python backend needs it",
        hint=f"Run: apt-get install -y libpython{_minor_version()}",
    )


def _build(folder: Path) -> None:
    venv = folder / "venv"
    run_tool([sys.executable, "-m", "venv", venv], what="making Triton's Python environment")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    run_tool([venv / "bin" / "python", *install, "-r", REQUIREMENTS], what="fetching Triton")
    server = folder / "tritonserver"
    shutil.move(_site_packages(folder) / "pytriton" / "tritonserver", server)
    stub = shutil.copy2(
        server / "python_backend_stubs" / _minor_version() / "triton_python_backend_stub",
        server / "backends" / "python",
    )
    for program in (Path(stub), server / "bin" / "tritonserver"):
        program.chmod(0o755)


def _site_packages(root: Path) -> Path:
    return root / "venv" / "lib" / f"python{_minor_version()}" / "site-packages"


def _minor_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
