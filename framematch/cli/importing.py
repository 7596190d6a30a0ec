"""Imports a service sooner: without what costs time and memory at each start and is of no use."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec


@contextmanager
def service_imports() -> Iterator[None]:
    """Import a service and its libraries inside the block.

    The garbage collector is off meanwhile, as modules create 400,000 objects and no garbage: it would take a sixth of
    the time. Afterwards it leaves them alone, which makes its later runs shorter.
    """
    gc.disable()
    try:
        _import_without("rich", "structlog")  # for tracebacks in colour, and ours are text
        if find_spec("OpenSSL") is None:
            _import_without("cryptography", "pymongo")  # for OCSP, which needs OpenSSL's package too
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import_without(optional: str, module: str) -> None:
    """Import `module` as if the package `optional`, which it tries to import and we do not need, were missing."""
    if module in sys.modules or optional in sys.modules:
        return
    sys.modules[optional] = None  # type: ignore[assignment]  # Python's own way to say that it cannot be imported
    try:
        import_module(module)
    finally:
        del sys.modules[optional]
