"""Clean Python environments with the wheel in them, as users and containers have them: nothing else is importable."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_UV = Path(sys.executable).with_name("uv")
_COMMAND_TIMEOUT_S = 90


@dataclass(frozen=True)
class Recipe:
    """How an environment is made.

    `extras` are those of the wheel, with the versions of requirements/dev.txt. `locks` are requirement files, which are
    installed with their hashes before the wheel, as the Dockerfiles do.
    """

    name: str
    extras: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    python: str = sys.executable


@dataclass(frozen=True)
class Installation:
    """An environment with framematch in it. Commands run outside of the checkout, so only the wheel is imported."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        """The command that the wheel installed."""
        return self.folder / "bin" / "framematch"

    def framematch(self, *arguments: str, environment: Mapping[str, str] | None = None) -> "Finished":
        """Run `framematch …` to its end."""
        return self.run(self.command, *arguments, environment=environment)

    def script(self, code: str, *arguments: str, environment: Mapping[str, str] | None = None) -> "Finished":
        """Run Python code to its end."""
        return self.run(self.python, "-c", code, *arguments, environment=environment)

    def run(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> "Finished":
        """Run a command to its end, with the settings in `environment` and no others."""
        done = subprocess.run(
            command, cwd=self.folder, env=clean_environment(self.folder, environment), capture_output=True, text=True,
            timeout=_COMMAND_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Everything that it printed, for the message of an assertion."""
        return self.stdout + self.stderr


def clean_environment(state: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a new user: no settings but those given, no Python path, no terminal width."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "COLUMNS": "200", "FRAMEMATCH_STATE_DIR": str(state / "state"), **(environment or {})}


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built into `folder` once; processes that come later wait and take the same one."""
    with _locked(folder):
        if not list(folder.glob("*.whl")):
            _uv("build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(recipe: Recipe, wheel: Path, folder: Path) -> Installation:
    """The environment of `recipe` in `folder`, made once; processes that come later wait and take the same one."""
    made = Installation(folder / "env")
    with _locked(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(made.folder, ignore_errors=True)
            _uv("venv", "--quiet", "--python", recipe.python, str(made.folder))
            pip = ("pip", "install", "--quiet", "--system-certs", "--python", str(made.python))
            if recipe.locks:
                _uv(*pip, "--require-hashes", *(part for lock in recipe.locks for part in ("-r", str(ROOT / lock))))
                _uv(*pip, "--no-deps", str(wheel))
            else:
                extras = f"[{','.join(recipe.extras)}]" if recipe.extras else ""
                _uv(*pip, "-c", str(ROOT / "requirements" / "dev.txt"), f"framematch{extras} @ {wheel.as_uri()}")
            (folder / "complete").touch()
    return made


def new_environment(folder: Path) -> Path:
    """A new environment with nothing but pip; returns its folder of programs."""
    _uv("venv", "--quiet", "--seed", "--system-certs", "--python", sys.executable, str(folder))
    return folder / "bin"


def missing_packages(installation: Installation) -> str:
    """What `pip check` says of the environment; empty when every requirement is met."""
    done = subprocess.run(
        [_UV, "pip", "check", "--python", installation.python], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _uv(*arguments: str) -> None:
    done = subprocess.run([_UV, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"uv {' '.join(arguments)}\n{done.stdout}{done.stderr}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Several test processes share what they build.
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
