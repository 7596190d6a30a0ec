"""Arrays in numpy's format (.npy), memory-mapped: processes of one host share their pages.

numpy's parser is not asked what a file is: nothing is read but the one header that belongs to the expected type and
shape. Values start at a multiple of 64 bytes.
"""

import io
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

ValueT = TypeVar("ValueT", np.float32, np.float16, np.int64, np.int32, np.uint8)

_PAGE_BYTES: Final = 4_096
_BLOCK_BYTES: Final = 16 * 2**20


def array_header(dtype: type[ValueT], shape: tuple[int, ...]) -> bytes:
    """What stands before the values of an array of this type and shape."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": _stored(dtype).str, "fortran_order": False, "shape": shape})
    return header.getvalue()


def write_array(path: Path, values: NDArray[ValueT]) -> None:
    """Write an array in the byte order of the format."""
    with path.open("wb") as file:
        file.write(array_header(values.dtype.type, values.shape))
        file.write(np.ascontiguousarray(values, _stored(values.dtype.type)).data)


def map_array(path: Path, dtype: type[ValueT], shape: tuple[int, ...]) -> NDArray[ValueT]:
    """The array in the file, read-only.

    Raises:
        ValueError: the file is of another type or size.
        OSError: it cannot be read.
    """
    header = array_header(dtype, shape)
    values = int(np.prod(shape, dtype=object))  # a manifest may say anything: no overflow
    with path.open("rb") as file:
        if file.read(len(header)) != header or path.stat().st_size != len(header) + values * _stored(dtype).itemsize:
            size = " x ".join(map(str, shape))
            raise ValueError(f"{path.name} is no file of {size} values of {dtype.__name__}")
    return np.memmap(path, _stored(dtype), "r", len(header), shape)


def touch_pages(values: NDArray[ValueT]) -> None:
    """Read each page of memory once, in order, so that later searches wait for no disk."""
    pages = values.reshape(-1).view(np.uint8)
    for start in range(0, len(pages), _BLOCK_BYTES):
        pages[start : start + _BLOCK_BYTES : _PAGE_BYTES].max(initial=0)


def _stored(dtype: type[ValueT]) -> np.dtype[ValueT]:
    return np.dtype(dtype).newbyteorder("<")
