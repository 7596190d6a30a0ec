"""Java programs from Maven: the jars that a pom.xml of this folder names, fetched once into the cache."""

from pathlib import Path

from stack.cache import Report, cached_folder, digest_of, run_tool
from stack.prerequisites import maven


def maven_jars(name: str, pom: Path, *, report: Report, note: str) -> Path:
    """The folder of all jars that `pom` depends on; use it as `FOLDER/*` in a class path."""

    def fetch(folder: Path) -> None:
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        run_tool([maven(report), "-q", "-B", "--strict-checksums", "-f", pom, *copy], what=f"fetching {name}")

    return cached_folder(name, digest_of(pom.read_bytes()), fetch, report=report, note=note)
