"""Imports a service sooner: without what costs time and memory at each start and is of no use."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def service_imports() -> Iterator[None]:
    """Import a service and its libraries inside the block.

    The garbage collector is off meanwhile, as modules create 400,000 objects and no garbage: it would take a sixth of
    the time. Afterwards it leaves them alone, which makes its later runs shorter.
    """
    gc.disable()
    try:
        _import_structlog()
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import_structlog() -> None:
    """Import structlog without Rich, which it imports for tracebacks in colour: our log has them as text."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own way to say that a module cannot be imported
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
