"""`make servers`: downloads and builds what the cache lacks for the local servers, without starting them."""

import sys
import tempfile
from functools import partial
from pathlib import Path

from framematch.core.errors import FramematchError
from framematch.stack.up import NAMES, install_servers, make_servers


def main() -> int:
    """Install all servers; a failure is printed as one line, and returns the error's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        servers = make_servers(NAMES, data_dir=Path(folder), model_repository=Path(folder))
        try:
            install_servers(servers, partial(print, flush=True))
        except FramematchError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
