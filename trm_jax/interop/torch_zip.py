# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads and writes state dicts in the files of torch.save and torch.load, without PyTorch.

Such a file is a zip archive of a pickle, data.pkl, and one member for the bytes of each storage. PyTorch itself is
hundreds of megabytes for a file of twenty, and has no wheel for every machine; and nobody should unpickle a downloaded
file. So this reader knows only the form of a state dict: of all names in a pickle it accepts those that rebuild
tensors, refuses any other in a message that names it, and calls nothing that a file names.
"""

from collections.abc import Callable, Mapping, Sequence
import math
import pathlib
import pickletools
import struct
from typing import Any, BinaryIO, NamedTuple
import zipfile

import jax.numpy as jnp
import numpy as np

_MAX_PICKLE = 1 << 22  # bytes; the pickle of a model with a thousand tensors has a twentieth of that
_MAX_DIMS = 32  # axes that every version of NumPy supports
_MAX_ELEMENTS = 1 << 59  # of a shape, not counting axes of length 0: NumPy counts bytes in 64 bits
_BYTE_ORDER = b"little"
_ENCRYPTED = 0x61  # the flags of a zip member that mean encryption
_KEYS = (str, int, float, bool, type(None))  # kinds of keys in dicts
_INSTEAD = "ask for a plain state dict or safetensors"
_DTYPES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16, "LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16,
    "CharStorage": np.int8, "ByteStorage": np.uint8, "BoolStorage": np.bool_,
}


class NotReadable(ValueError):
  """The file cannot be read as a state dict. The message says why, without the file's name."""


class Tensor:
  """An array in a file, which is read on demand: the whole by np.asarray, some of its rows by a slice.

  Attributes:
    shape: of the array.
    dtype: of the stored array.
  """

  def __init__(self, shape: tuple[int, ...], dtype: Any, rows: Callable[[slice], np.ndarray]):
    """Args: see Attributes; rows, a function that reads a slice of rows."""
    self.shape, self.dtype, self._rows = shape, np.dtype(dtype), rows

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    del copy  # nobody else has the memory that is read into
    return self._rows(slice(None)).astype(dtype or self.dtype, copy=False)

  def __getitem__(self, rows: slice) -> np.ndarray:
    return self._rows(rows)


class _Name(NamedTuple):
  """A class or function that a pickle names. It is never looked up."""

  module: str
  name: str


class _Storage(NamedTuple):
  """A pickle's description of a storage. Attributes: kind, a key of _DTYPES; key, the name of its member."""

  kind: str
  key: str


class _Rebuilt(NamedTuple):
  """A pickle's description of a tensor. None of it has been checked."""

  storage: Any
  offset: Any
  shape: Any
  strides: Any


_ORDERED_DICT = _Name("collections", "OrderedDict")
_REBUILD = _Name("torch._utils", "_rebuild_tensor_v2")


def read(path: pathlib.Path) -> dict[str, Tensor]:
  """Reads the tensors of a state dict, but not yet their values.

  Args:
    path: of a file written by torch.save of PyTorch 1.6 or newer.

  Raises:
    NotReadable: the file is of another kind, cut off, damaged, or holds more than tensors.
    OSError: it cannot be read.
  """
  members, folder, pickled = _opened(path)
  try:
    content = _content(pickled)
  except NotReadable:
    raise
  except Exception as e:  # a malformed pickle may cause any error, e.g. by popping an empty stack
    raise NotReadable("its pickle is malformed") from e
  if not isinstance(content, dict):
    kind = "one tensor" if isinstance(content, _Rebuilt) else type(content).__name__
    raise NotReadable(f"it holds {kind}, must hold a state dict, which is a dict from names to tensors")
  tensors = {}
  with path.open("rb") as file:
    for name, value in content.items():
      if not (isinstance(name, str) and isinstance(value, _Rebuilt)):
        raise NotReadable(f"{_shown(name)} is not a tensor but {type(value).__name__}; save only the model's state "
                          "dict")
      tensors[name] = _tensor(_shown(name), value, path, members, folder, file)
  return tensors


def _shown(name: Any) -> str:
  """Makes a name from the file short and puts it on one line, for messages."""
  if not isinstance(name, str):
    return f"a name of type {type(name).__name__}"
  return name if name.isprintable() and len(name) <= 200 else f"{name[:200]!r}"


def _opened(path: pathlib.Path) -> tuple[dict[str, zipfile.ZipInfo], str, bytes]:
  """Opens the archive. Returns its members by name, the folder that contains them, with a slash, and the pickle."""
  try:
    with zipfile.ZipFile(path) as archive:
      infos = archive.infolist()
      members = {info.filename: info for info in infos}
      pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
      # Checked before anything is read: compressed or overlapping members may be larger than any disk.
      if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED for info in infos):
        raise NotReadable("a zip archive that is compressed or encrypted; give the file as torch.save wrote it")
      if len(pickles) != 1 or members[pickles[0]].file_size > _MAX_PICKLE or len(members) < len(infos) or (
          sum(max(info.file_size, info.compress_size) for info in infos) > path.stat().st_size):
        raise NotReadable("a zip archive, but not one of torch.save")
      if damaged := archive.testzip():
        raise NotReadable(f"damaged: the bytes of {_shown(damaged)} are not those that were written")
      folder = pickles[0].removesuffix("data.pkl")
      if f"{folder}byteorder" in members:
        with archive.open(f"{folder}byteorder") as file:
          if file.read(len(_BYTE_ORDER) + 1) != _BYTE_ORDER:
            raise NotReadable("its numbers are big-endian; save it again on another machine")
      return members, folder, archive.read(pickles[0])
  except (NotReadable, OSError):
    raise
  except Exception as e:  # damage may cause any error, since zipfile checks little
    with path.open("rb") as file:
      start = file.read(2)
    raise NotReadable(
        "in the format of PyTorch before 1.6; load it and save it again with a newer version" if start == b"\x80\x02"
        else "cut off or damaged: download or copy it again" if start == b"PK"
        else "neither a file of torch.save nor named .safetensors") from e


def _content(pickled: bytes) -> Any:
  """The content of a pickle: dicts, lists, tuples, text and numbers, and descriptions of tensors.

  The module pickle calls whatever a file tells it to, and a file of a few bytes can make it fill the memory (by a huge
  index into the memo), or never end or crash while hashing a key (of nested tuples). This machine knows only the
  opcodes of a state dict; its only values are those above, and its only keys are text and numbers.

  Raises:
    NotReadable: the pickle contains something else.
    Exception: of any kind, if it is malformed.
  """
  stack, marks, memo = [], [], {}

  def above_mark() -> list[Any]:
    start = marks.pop()
    taken = stack[start:]
    del stack[start:]
    return taken

  for opcode, argument, _ in pickletools.genops(pickled):
    match opcode.name:
      case "PROTO" | "FRAME":
        pass
      case "MARK":
        marks.append(len(stack))
      case "NONE" | "NEWTRUE" | "NEWFALSE":
        stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
      case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
        stack.append(argument)
      case "EMPTY_DICT":
        stack.append({})
      case "EMPTY_LIST":
        stack.append([])
      case "EMPTY_TUPLE":
        stack.append(())
      case "TUPLE1" | "TUPLE2" | "TUPLE3":
        num = int(opcode.name[-1])
        stack[-num:] = [tuple(stack[-num:])]
      case "TUPLE":
        stack.append(tuple(above_mark()))
      case "APPEND":
        value = stack.pop()
        _checked(stack[-1], list).append(value)
      case "APPENDS":
        values = above_mark()
        _checked(stack[-1], list).extend(values)
      case "SETITEM":
        key, value = stack[-2:]
        del stack[-2:]
        _checked(stack[-1], dict)[_checked(key, *_KEYS)] = value
      case "SETITEMS":
        items = above_mark()
        _checked(stack[-1], dict).update(
            (_checked(key, *_KEYS), value) for key, value in zip(items[::2], items[1::2], strict=True))
      case "BINPUT" | "LONG_BINPUT":
        memo[argument] = stack[-1]
      case "MEMOIZE":
        memo[len(memo)] = stack[-1]
      case "BINGET" | "LONG_BINGET":
        stack.append(memo[argument])
      case "GLOBAL":
        stack.append(_named(*argument.split(" ", 1)))
      case "STACK_GLOBAL":
        stack[-2:] = [_named(*stack[-2:])]
      case "BINPERSID":
        stack.append(_storage(stack.pop()))
      case "REDUCE":
        function, arguments = _checked(stack[-2], _Name), _checked(stack[-1], tuple)
        if function == _REBUILD:
          stack[-2:] = [_Rebuilt(*arguments[:4])]
        elif function == _ORDERED_DICT and not arguments:
          stack[-2:] = [{}]
        else:
          raise NotReadable("its pickle is malformed")
      case "BUILD":  # sets the attribute _metadata of a state dict, which is not needed
        stack.pop()
        _checked(stack[-1], dict)
      case "STOP":
        return stack.pop()
      case _:
        raise NotReadable(f"its pickle has the opcode {opcode.name}, which no state dict needs; {_INSTEAD}")


def _checked(value: Any, *kinds: type) -> Any:
  """Returns a value whose type is exactly one of these kinds, not derived from them."""
  if type(value) not in kinds:
    raise NotReadable("its pickle is malformed")
  return value


def _named(module: Any, name: Any) -> _Name:
  named = _Name(_checked(module, str), _checked(name, str))
  if named not in (_ORDERED_DICT, _REBUILD) and not (module == "torch" and name in _DTYPES):
    raise NotReadable(f"it holds more than tensors: {_shown(f'{module}.{name}')}, which is never called here; "
                      f"{_INSTEAD}")
  return named


def _storage(pid: Any) -> _Storage:
  """The storage that a pickle names by the tuple ("storage", kind, key, …)."""
  if not (type(pid) is tuple and len(pid) >= 3 and pid[0] == "storage" and type(pid[1]) is _Name
          and pid[1].module == "torch" and type(pid[2]) is str):
    raise NotReadable("a storage has a name of unknown form")
  return _Storage(pid[1].name, pid[2])


def _tensor(name: str, value: _Rebuilt, path: pathlib.Path, members: dict[str, zipfile.ZipInfo], folder: str, file: Any
            ) -> Tensor:
  """Checks the description of a tensor and returns the tensor.

  Args:
    name, value: of the tensor.
    path, file: of the archive; the file is open.
    members: of the archive, by name.
    folder: in the archive, with a slash.
  """
  storage, offset, shape, strides = value
  info = members.get(f"{folder}data/{storage.key}") if type(storage) is _Storage else None
  if info is None or not (type(shape) is type(strides) is tuple and len(shape) == len(strides) <= _MAX_DIMS) or (
      not all(type(number) is int and 0 <= number < 1 << 63 for number in (offset, *shape, *strides))) or (
          math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS):
    raise NotReadable(f"{name} has a description of unknown form")
  dtype, size = np.dtype(_DTYPES[storage.kind]), math.prod(shape)
  if size and any(n > 1 and stride != usual for n, stride, usual in zip(shape, strides, _strides(shape))):
    raise NotReadable(f"{name} is a transposed or sliced view; save it again after .contiguous()")
  if (offset + size) * dtype.itemsize > info.file_size:
    raise NotReadable(f"{name} is larger than its storage")
  file.seek(info.header_offset)
  header = file.read(30)  # ends with the lengths of the name and of the extra field
  start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30])) + offset * dtype.itemsize

  def rows(wanted: slice) -> np.ndarray:
    first, last, _ = wanted.indices(shape[0] if shape else 1)
    row = shape[1:]
    elements = np.fromfile(path, dtype, (last - first) * math.prod(row),
                           offset=start + first * math.prod(row) * dtype.itemsize)
    return elements.reshape((last - first, *row) if shape else ())

  return Tensor(shape, dtype, rows)


def _strides(shape: Sequence[int]) -> list[int]:
  """The strides, in elements, of a contiguous array."""
  return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def write(file: BinaryIO, state: Mapping[str, np.ndarray]) -> None:
  """Writes a state dict that torch.load reads, also with weights_only=True.

  Args:
    file: an open, empty file.
    state: arrays whose dtypes are in _DTYPES.
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


# Values as opcodes of a pickle.


def _text(text: str) -> bytes:
  return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
  return b"\x8a\x08" + struct.pack("<q", number)


def _tuple(numbers: Sequence[int]) -> bytes:
  return b"(" + b"".join(map(_integer, numbers)) + b"t"
