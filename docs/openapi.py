"""Writes docs/openapi.json, the document of the REST API: `python -m docs.openapi`.

It refuses to write a document that breaks clients of the committed one. `--accept-breaking` writes it nevertheless, for
a new major version. `--since REF` compares with the document of another commit, such as the last release.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from docs.openapi_changes import breaking_changes
from framematch.api.app import routed_app

PATH = Path(__file__).with_name("openapi.json")


def app_document() -> dict[str, Any]:
    """The document of the application as it is now; no server is needed for it."""
    document: dict[str, Any] = routed_app().openapi()
    return document


def committed_document() -> dict[str, Any]:
    """The document in the repository."""
    document: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return document


def as_text(document: dict[str, Any]) -> str:
    """The document as it is committed: one line for each value, so that a change is easy to read."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the document; the exit code is 1 when it would break clients."""
    parser = argparse.ArgumentParser(prog="python -m docs.openapi", description="Write docs/openapi.json.")
    parser.add_argument("--accept-breaking", action="store_true", help="write it though it breaks clients")
    parser.add_argument("--since", metavar="REF", help="compare with the document of this commit, and write nothing")
    arguments = parser.parse_args()
    now = app_document()
    if arguments.since:
        place = f"{arguments.since}:docs/{PATH.name}"
        shown = subprocess.run(["git", "show", place], cwd=PATH.parent, capture_output=True, text=True, check=True)
        before: dict[str, Any] | None = json.loads(shown.stdout)
    else:
        before = committed_document() if PATH.exists() else None
    changes = breaking_changes(before, now) if before else []
    sys.stderr.writelines(f"breaks clients: {change}\n" for change in changes)
    if arguments.since or (changes and not arguments.accept_breaking):
        return 1 if changes else 0
    PATH.write_text(as_text(now), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
