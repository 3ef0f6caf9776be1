# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""State dicts in the files of torch.save and torch.load, read and written without PyTorch.

Such a file is a zip archive of a pickle, data.pkl, and one member for the bytes of each storage. PyTorch itself is
hundreds of megabytes for a file of twenty, and has no wheel for every machine; and nobody should unpickle what they
have downloaded. So this knows the one form that a state dict has: of all that a pickle can name, what tensors are
rebuilt by; it refuses the rest by name before anything is called.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
import math
import pathlib
import pickle
import struct
from typing import Any, BinaryIO, NamedTuple
import zipfile

import jax.numpy as jnp
import numpy as np

_MAX_PICKLE = 1 << 24  # bytes; that of a model with a thousand tensors has a hundredth
_DTYPES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16, "LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16,
    "CharStorage": np.int8, "ByteStorage": np.uint8, "BoolStorage": np.bool_,
}


class NotReadable(ValueError):
  """The file is not what it must be. The message says why, without the file's name."""


class Tensor:
  """An array in a file, which is read when it is asked for: by np.asarray, or some of its rows by a slice.

  Attributes:
    shape: of it.
    dtype: as it is stored.
  """

  def __init__(self, shape: tuple[int, ...], dtype: Any, rows: Callable[[slice], np.ndarray]):
    """Args: see Attributes; rows, which reads some of them."""
    self.shape, self.dtype, self._rows = shape, np.dtype(dtype), rows

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    del copy  # what is read is nobody else's
    return self._rows(slice(None)).astype(dtype or self.dtype, copy=False)

  def __getitem__(self, rows: slice) -> np.ndarray:
    return self._rows(rows)


class _Storage(NamedTuple):
  """What a pickle says of a storage. Attributes: kind, of _DTYPES; key, the name of its member."""

  kind: Any
  key: Any


class _Rebuilt(NamedTuple):
  """What a pickle says of a tensor. Nothing of it has been checked."""

  storage: Any
  offset: Any
  shape: Any
  strides: Any


class _Unpickler(pickle.Unpickler):
  """Makes dicts, lists, numbers and text, and of tensors what is said of them."""

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) == ("collections", "OrderedDict"):
      return collections.OrderedDict
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      # A function of its own each time: a pickle may set attributes of what it gets.
      return lambda storage, offset, shape, strides, *_: _Rebuilt(storage, offset, shape, strides)
    if module == "torch" and name in _DTYPES:
      return name
    raise NotReadable(f"it holds more than tensors: {module}.{name}, which nothing here will call; ask for a plain "
                      "state dict or safetensors")

  def persistent_load(self, pid: Any) -> _Storage:
    if not (isinstance(pid, tuple) and len(pid) >= 3 and pid[0] == "storage"):
      raise NotReadable("a storage is named in a way that is not known")
    return _Storage(pid[1], pid[2])


def read(path: pathlib.Path) -> dict[str, Tensor]:
  """The tensors of a state dict; their values are read later.

  Args:
    path: of a file that torch.save of PyTorch 1.6 or newer has written.

  Raises:
    NotReadable: it is no such file, cut off, damaged, or holds more than tensors.
    OSError: it cannot be read.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      if damaged := archive.testzip():
        raise NotReadable(f"damaged: the bytes of {damaged} are not those that were written")
      members = {info.filename: info for info in archive.infolist()}
      pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
      if len(pickles) != 1 or members[pickles[0]].file_size > _MAX_PICKLE:
        raise NotReadable("a zip archive, but not one of torch.save")
      folder = pickles[0].removesuffix("data.pkl")
      if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
        raise NotReadable("its numbers are big-endian; save it again on another machine")
      with archive.open(pickles[0]) as file:
        content = _unpickled(file)
  except zipfile.BadZipFile as e:
    with path.open("rb") as file:
      start = file.read(2)
    raise NotReadable(
        "in the form of PyTorch before 1.6; load and save it again with a newer one" if start == b"\x80\x02"
        else "cut off or damaged: download or copy it again" if start == b"PK"
        else "neither a file of torch.save nor named .safetensors") from e
  if not isinstance(content, dict):
    raise NotReadable(f"it holds a {type(content).__name__}, must hold a state dict: names with tensors")
  tensors = {}
  with path.open("rb") as file:
    for name, value in content.items():
      if not (isinstance(name, str) and isinstance(value, _Rebuilt)):
        raise NotReadable(f"{name!r} is a {type(value).__name__}, not a tensor: save the model's state dict alone")
      tensors[name] = _tensor(name, value, path, members, folder, file)
  return tensors


def _unpickled(file: Any) -> Any:
  try:
    return _Unpickler(file).load()
  except NotReadable:
    raise
  except Exception as e:  # whatever a file trips that is not what it says
    raise NotReadable(f"its pickle is malformed: {type(e).__name__}") from e


def _tensor(name: str, value: _Rebuilt, path: pathlib.Path, members: dict[str, zipfile.ZipInfo], folder: str, file: Any
            ) -> Tensor:
  """A tensor, after what is said of it has been checked.

  Args:
    name, value: of the tensor.
    path, file: in which it lies; the file is open.
    members: of the archive, by name.
    folder: in the archive, with a slash.
  """
  storage, offset, shape, strides = value
  info = members.get(f"{folder}data/{storage.key}") if isinstance(storage, _Storage) else None
  numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (-1,)
  if info is None or info.compress_type != zipfile.ZIP_STORED or storage.kind not in _DTYPES or (
      not all(type(number) is int and number >= 0 for number in numbers)):
    raise NotReadable(f"{name} is described in a way that is not known")
  dtype, size = np.dtype(_DTYPES[storage.kind]), math.prod(shape)
  if any(n > 1 and stride != usual for n, stride, usual in zip(shape, strides, _strides(shape))):
    raise NotReadable(f"{name} is a transposed or sliced view; save it again after .contiguous()")
  if (offset + size) * dtype.itemsize > info.file_size:
    raise NotReadable(f"{name} is larger than its bytes")
  file.seek(info.header_offset)
  header = file.read(30)  # ends with the lengths of the name and of what follows it
  start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30])) + offset * dtype.itemsize

  def rows(wanted: slice) -> np.ndarray:
    first, last, _ = wanted.indices(shape[0] if shape else 1)
    row = shape[1:]
    elements = np.fromfile(path, dtype, (last - first) * math.prod(row),
                           offset=start + first * math.prod(row) * dtype.itemsize)
    return elements.reshape((last - first, *row) if shape else ())

  return Tensor(shape, dtype, rows)


def _strides(shape: Sequence[int]) -> list[int]:
  """Of an array whose elements lie one after another, in elements."""
  return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def write(file: BinaryIO, state: Mapping[str, np.ndarray]) -> None:
  """Writes a state dict that torch.load reads, also with weights_only=True.

  Args:
    file: open, empty.
    state: arrays of the dtypes that tensors have.
  """
  kinds = {np.dtype(dtype): kind for kind, dtype in _DTYPES.items()}
  items = []
  with zipfile.ZipFile(file, "w") as archive:
    for key, (name, array) in enumerate(state.items()):
      storage = b"(%sctorch\n%s\n%s%s%stQ" % (_text("storage"), kinds[array.dtype].encode(), _text(str(key)),
                                             _text("cpu"), _integer(array.size))
      items.append(b"%sctorch._utils\n_rebuild_tensor_v2\n(%s%s%s%s\x89ccollections\nOrderedDict\n)RtR" % (
          _text(name), storage, _integer(0), _tuple(array.shape), _tuple(_strides(array.shape))))
      with archive.open(f"archive/data/{key}", "w", force_zip64=True) as member:
        member.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    archive.writestr("archive/data.pkl", b"\x80\x02}(%su." % b"".join(items))  # protocol 2: a dict of the items
    archive.writestr("archive/byteorder", "little")
    archive.writestr("archive/version", "3\n")


# Opcodes of a pickle.


def _text(text: str) -> bytes:
  return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
  return b"\x8a\x08" + struct.pack("<q", number)


def _tuple(numbers: Sequence[int]) -> bytes:
  return b"(" + b"".join(map(_integer, numbers)) + b"t"
