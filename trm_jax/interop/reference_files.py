# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads and writes files with the reference's parameters: those of torch.save, and safetensors."""

from collections.abc import Mapping
import os
import pathlib

import jax.numpy as jnp
import numpy as np

from trm_jax import errors
from trm_jax.errors import UserError
from trm_jax.interop import state_dict
from trm_jax.interop import torch_zip
from trm_jax.model.trm import TRM
from trm_jax.runtime import files

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "I64": np.int64,
           "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}

_INSTALL = 'pip install -e ".[hub]"'


def read_reference_file(path: str | os.PathLike) -> Mapping[str, torch_zip.Tensor]:
  """Reads the state dict in a checkpoint file of the reference (torch.save), without PyTorch, or in a safetensors file.

  Only tensors are read: a file that would run code on loading is refused. Their values are read when they are used, so
  the file must stay where it is until then; np.asarray turns a tensor into an array.

  Raises:
    UserError: the file is missing, cut off, damaged, of another kind, or holds more than tensors.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    raise UserError(f"{path}: a folder, must be a file with weights")
  if not path.is_file():
    raise UserError(f"{path}: no such file")
  try:
    return _read_safetensors(path) if path.suffix == ".safetensors" else torch_zip.read(path)
  except torch_zip.NotReadable as e:
    raise UserError(f"{path}: not a readable state dict ({e})") from e
  except OSError as e:
    raise errors.explained(f"{path}: cannot be read", e) from e


def _read_safetensors(path: pathlib.Path) -> dict[str, torch_zip.Tensor]:
  try:
    import safetensors  # pylint: disable=g-import-not-at-top
  except ImportError as e:
    raise UserError(f"{path}: reading it needs {e.name}; {_INSTALL}") from e
  try:
    file = safetensors.safe_open(path, "np")
    slices = {name: file.get_slice(name) for name in file.keys()}
  except safetensors.SafetensorError as e:
    if errors.cause_of(e).outside:
      raise errors.explained(f"{path}: cannot be read", e) from e
    raise torch_zip.NotReadable(f"cut off, damaged or not safetensors: {errors.in_one_line(e)}") from e
  if strange := [name for name, lying in slices.items() if lying.get_dtype() not in _DTYPES]:
    raise torch_zip.NotReadable(f"{strange[0]} has the dtype {slices[strange[0]].get_dtype()}")
  return {name: torch_zip.Tensor(tuple(lying.get_shape()), _DTYPES[lying.get_dtype()], lying.__getitem__)
          for name, lying in slices.items()}


def write_reference_file(model: TRM, path: str | os.PathLike, *, compiled: bool = True) -> None:
  """Writes a model for the reference's `load_checkpoint`, as torch.save does, or as safetensors, by the suffix.

  Args:
    model: any model whose recursion the reference has.
    path: of the file.
    compiled: True for the reference as it runs by default, False for a run with DISABLE_COMPILE. See `to_reference`.

  Raises:
    UserError: safetensors is missing, or the file cannot be written.
  """
  path, state = pathlib.Path(path), state_dict.to_reference(model, compiled=compiled)
  if path.suffix == ".safetensors":
    try:
      import safetensors.numpy  # pylint: disable=g-import-not-at-top
    except ImportError as e:
      raise UserError(f"{path}: writing it needs {e.name}; {_INSTALL}") from e
    with files.replacing(path) as file:
      file.write(safetensors.numpy.save(state))
  else:
    with files.replacing(path) as file:
      torch_zip.write(file, state)
