"""`make servers`: fetches and builds what the cache lacks for the local servers, and starts none of them."""

import sys
import tempfile
from pathlib import Path

from framematch.core.errors import FramematchError
from stack.up import NAMES, install_servers, make_servers


def main() -> int:
    """Install all servers; exit code 1 when one could not be."""
    with tempfile.TemporaryDirectory() as folder:
        servers = make_servers(NAMES, data_dir=Path(folder), model_repository=Path(folder))
        try:
            install_servers(servers, _report)
        except FramematchError as error:
            print(f"{error.message}. {error.hint}", file=sys.stderr)
            return 1
    return 0


def _report(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
