# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Parameters of the PyTorch reference, in and out.

    from trm_jax.interop import from_reference, read_reference_file
    state = read_reference_file("step_65100")
    model = from_reference(state, TRMConfig.from_reference(arch, state=state))  # arch: of its all_config.yaml
"""

from collections.abc import Mapping
import functools
import math
import os
import pathlib
import pickle
from typing import Any, NamedTuple

from flax import nnx
import jax.numpy as jnp
import numpy as np

from trm_jax import errors
from trm_jax.errors import UserError
from trm_jax.model.config import TRMConfig
from trm_jax.model.trm import InitialState, TRM

_PREFIX = "model.inner."
_COMPILED = "_orig_mod."  # what torch.compile puts in front of every name


class _Place(NamedTuple):
  """Where a parameter of the reference's is kept.

  Attributes:
    path: in the model.
    transposed: (out, in) there, (in, out) here.
    row: of the array at the path; None: it is all of it.
  """

  path: tuple[str | int, ...]
  transposed: bool = False
  row: int | None = None


def _names(config: TRMConfig) -> dict[str, _Place]:
  """Reference name -> where it is here."""
  names = {
      "embed_tokens.embedding_weight": _Place(("embed_tokens",)),
      "lm_head.weight": _Place(("lm_head",), transposed=True),
      "q_head.weight": _Place(("q_head",), transposed=True),
      "q_head.bias": _Place(("q_head_bias",)),
  }
  # The only state is called L there and the only network H, each in one model.
  names["L_init" if config.recursion == "single_z" else "H_init"] = _Place(("H_init",))
  if config.recursion == "two_z":
    names["L_init"] = _Place(("L_init",))
  elif config.recursion == "multi_scale_z":
    names |= {f"L{i + 1}_init": _Place(("L_init",), row=i) for i in range(config.L_cycles)}
  networks = [("H_level" if config.recursion == "none" else "L_level", "L_level", config.L_layers)]
  if config.H_layers:
    networks.append(("H_level", "H_level", config.H_layers))
  if config.pos_encodings == "learned":
    names["embed_pos.embedding_weight"] = _Place(("embed_pos",))
  if config.puzzle_emb_ndim:
    names["puzzle_emb.weights"] = _Place(("puzzle_emb",))
  for name, network, i in ((name, network, i) for name, network, layers in networks for i in range(layers)):
    there, here = f"{name}.layers.{i}.", (network, "layers", i)
    names[there + "mlp.gate_up_proj.weight"] = _Place((*here, "mlp", "gate_up"), transposed=True)
    names[there + "mlp.down_proj.weight"] = _Place((*here, "mlp", "down"), transposed=True)
    if config.mlp_t:
      names[there + "mlp_t.gate_up_proj.weight"] = _Place((*here, "mix", "gate_up"))
      names[there + "mlp_t.down_proj.weight"] = _Place((*here, "mix", "down"))
    else:
      names[there + "self_attn.qkv_proj.weight"] = _Place((*here, "mix", "qkv"), transposed=True)
      names[there + "self_attn.o_proj.weight"] = _Place((*here, "mix", "out"), transposed=True)
  return {_PREFIX + name: value for name, value in names.items()}


def _shape_there(shape: tuple[int, ...], transposed: bool) -> tuple[int, ...]:
  """The reference's shape of a parameter: matrices are (out, in), gate and up, and q, k and v, one after the other."""
  if transposed:
    return math.prod(shape[1:]), shape[0]
  return (math.prod(shape[:-1]), shape[-1]) if len(shape) > 2 else shape


@functools.lru_cache(maxsize=1)
def _abstract_model(config: TRMConfig) -> tuple[Any, Any]:
  """Structure and shapes: nothing is initialised only to be overwritten, nor traced again for the next checkpoint."""
  return nnx.split(nnx.eval_shape(lambda: TRM(config, rngs=nnx.Rngs(0))))


def _float32(array: Any) -> np.ndarray:
  if hasattr(array, "detach"):  # a tensor; PyTorch makes no NumPy array of one in bfloat16
    array = array.detach().cpu().float()
  return np.asarray(array, np.float32)


def from_reference(state: Mapping[str, Any], config: TRMConfig) -> TRM:
  """A model with the reference's parameters.

  Args:
    state: the reference's state dict: names to arrays (NumPy, or tensors of PyTorch). Names may carry the
      "_orig_mod." that torch.compile puts in front.
    config: of the model the parameters belong to.

  Raises:
    UserError: names that are missing or left over, or a shape that does not fit.
  """
  state = {name.removeprefix(_COMPILED): value for name, value in state.items()}
  names = _names(config)
  missing, unknown = sorted(names.keys() - state.keys()), sorted(state.keys() - names.keys())
  if missing or unknown:
    raise UserError("reference parameters do not fit the config: "
                    f"missing {missing or 'none'}, unknown {unknown or 'none'}")
  graphdef, variables = _abstract_model(config)
  flat = dict(nnx.to_flat_state(variables))
  arrays = {}
  for name, (path, transposed, row) in names.items():
    array, shape = _float32(state[name]), flat[path].shape
    if row is not None:
      shape = shape[1:]
    padding = 0
    if path == ("puzzle_emb",):
      padding, shape = shape[0] - config.num_puzzle_identifiers, (config.num_puzzle_identifiers, shape[1])
    if array.shape != _shape_there(shape, transposed):
      raise UserError(f"reference parameter {name}: shape {array.shape} does not fit the config's model")
    array = (array.T if transposed else array).reshape(shape)
    if padding:
      array = np.pad(array, ((0, padding), (0, 0)))
    if row is not None:
      arrays.setdefault(path, np.empty(flat[path].shape, np.float32))[row] = array
    else:
      arrays[path] = array
  for path, array in arrays.items():
    flat[path] = flat[path].replace(jnp.array(array))  # a copy: asarray may share memory
  model = nnx.merge(graphdef, nnx.from_flat_state(flat))
  return model


def to_reference(model: TRM, *, compiled: bool = True) -> dict[str, np.ndarray]:
  """The model's parameters as the reference's state dict, in its layout: matrices are (out, in).

  Parameters and the prefix table are float32. H_init and L_init have the config's dtype: the reference takes over the
  dtypes of what it loads, and with initial states in float32 it would compute everything in float32.

  Args:
    model: any whose recursion the reference has.
    compiled: with the names that the reference's model has after torch.compile ("_orig_mod." in front), which is how it
      runs unless DISABLE_COMPILE is set. False: the names of the model that is not compiled.
  """
  flat = dict(nnx.to_flat_state(nnx.state(model)))
  state = {}
  for name, (path, transposed, row) in _names(model.config).items():
    array = np.asarray(flat[path][...])
    if row is not None:
      array = array[row]
    if path == ("puzzle_emb",):
      array = array[: model.config.num_puzzle_identifiers]
    shape = _shape_there(array.shape, transposed)
    array = array.reshape(shape[::-1]).T if transposed else array.reshape(shape)
    dtype = jnp.dtype(model.config.dtype) if isinstance(flat[path], InitialState) else np.float32
    state[_COMPILED * compiled + name] = np.array(array, dtype, order="C")  # a copy: writable, as PyTorch asks for
  return state


def read_reference_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """State dict of a checkpoint file of the reference (torch.save) or of a safetensors file; arrays in float32.

  Only tensors are read: a file that would run code on loading is refused. Needs the extra [torch].

  Raises:
    UserError: missing, truncated or not such a file.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f"{path}: no such file")
  try:
    if path.suffix == ".safetensors":
      from safetensors import SafetensorError  # pylint: disable=g-import-not-at-top
      from safetensors.numpy import load_file  # pylint: disable=g-import-not-at-top

      try:
        tensors = load_file(path)
      except SafetensorError as e:
        raise OSError(e) from e
    else:
      import torch  # pylint: disable=g-import-not-at-top

      tensors = torch.load(path, map_location="cpu", weights_only=True)
    return {name: _float32(tensor) for name, tensor in tensors.items()}
  except ImportError as e:
    raise UserError(f"{path}: reading it needs {e.name}; pip install -e '.[torch]'") from e
  except (RuntimeError, EOFError, OSError, AttributeError, pickle.UnpicklingError) as e:
    if errors.cause_of(e).outside:
      raise errors.explained(f"{path}: cannot be read", e) from e
    reason = str(e).splitlines()[0] if str(e) else type(e).__name__
    raise UserError(f"{path}: not a readable state dict ({reason})") from e


def write_reference_file(model: TRM, path: str | os.PathLike, *, compiled: bool = True) -> None:
  """Writes the model for the reference's `load_checkpoint`: by torch.save, or as safetensors if the suffix says so.

  Args:
    model: any whose recursion the reference has.
    path: of the file.
    compiled: for the reference as it runs by default; False: for a run with DISABLE_COMPILE. See `to_reference`.

  Raises:
    UserError: a package is missing.
  """
  path, state = pathlib.Path(path), to_reference(model, compiled=compiled)
  try:
    if path.suffix == ".safetensors":
      from safetensors.numpy import save_file  # pylint: disable=g-import-not-at-top

      save_file(state, path)
    else:
      import torch  # pylint: disable=g-import-not-at-top

      # By way of float32, since PyTorch takes no bfloat16 from NumPy.
      torch.save({name: torch.from_numpy(_float32(array)).to(getattr(torch, array.dtype.name))
                  for name, array in state.items()}, path)
  except ImportError as e:
    raise UserError(f"{path}: writing it needs {e.name}; pip install -e '.[torch]'") from e
  except Exception as e:  # safetensors and PyTorch have errors of their own for what the disk says
    cause = errors.cause_of(e)
    if not (cause.outside or cause.kind in (errors.Kind.PATH, errors.Kind.MISSING)):
      raise
    raise errors.explained(f"{path}: cannot be written", e, "choose another place") from e
