"""What a service does not need is not imported, and nothing else changes by that."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from framematch.cli.importing import service_imports

_PROGRAM = """
import sys
from framematch.cli.importing import service_imports
with service_imports():
    import pymongo, structlog
assert not {"cryptography", "pygments", "rich"} & set(sys.modules)
import cryptography.x509, rich.text
structlog.get_logger().info("still_logged", text=str(rich.text.Text("by Rich")))
"""


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_the_garbage_collector_leaves_alone_what_was_imported_and_runs_afterwards() -> None:
    with service_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count()


def test_it_runs_again_when_an_import_fails() -> None:
    with pytest.raises(ImportError), service_imports():
        raise ImportError("no package")
    assert gc.isenabled()


def test_libraries_do_without_packages_that_commands_can_import_later() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True)
    assert "still_logged" in done.stdout
    assert "by Rich" in done.stdout
