"""Downloads the jars of a pom.xml in this folder with Maven, once, into the cache."""

from pathlib import Path

from framematch.core.paths import cache_dir
from framematch.stack.cache import Report, cached_folder, digest_of, locked, run_tool
from framematch.stack.prerequisites import maven


def maven_jars(name: str, pom: Path, *, report: Report, note: str) -> Path:
    """The folder with all dependencies of `pom`; use it as `FOLDER/*` in a class path."""

    def fetch(folder: Path) -> None:
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        # Maven's own repository does not support concurrent writers.
        with locked(cache_dir() / "maven.lock"):
            run_tool([maven(report), "-q", "-B", "--strict-checksums", "-f", pom, *copy], what=f"fetching {name}")

    return cached_folder(name, digest_of(pom.read_bytes()), fetch, report=report, note=note)
