"""Files with pictures or secrets: only their owner may read them, whatever the umask is."""

import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_private_folder(folder: Path) -> None:
    """Create a folder, and those above it, for its owner alone. One that exists keeps its rights."""
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    folder.mkdir(exist_ok=True)  # an error if it is a file


def create_private(path: Path) -> None:
    """Create an empty file for its owner alone. One that exists keeps its content and its rights."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, FILE_MODE))


def write_private(path: Path, data: bytes) -> None:
    """Write a file for its owner alone; one that exists loses the rights of others."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(data)
