# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Maps the parameters of the PyTorch reference, by name, to those of our model."""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.errors import UserError
from trm_jax.model.config import TRMConfig
from trm_jax.model.trm import InitialState, TRM, abstract

_PREFIX = "model.inner."
_COMPILED = "_orig_mod."  # torch.compile puts this in front of every name
_AT_ONCE = 1 << 24  # elements that are read from a file at a time
_ALIGNED = 64  # an array whose address is a multiple of this many bytes becomes a CPU device's without a copy


class _Place(NamedTuple):
  """The place of a reference parameter in our model.

  Attributes:
    path: in the model.
    transposed: whether it is (out, in) there and (in, out) here.
    row: index of its row in the array at the path; None: it is the whole array.
  """

  path: tuple[str | int, ...]
  transposed: bool = False
  row: int | None = None


def _names(config: TRMConfig) -> dict[str, _Place]:
  """The place of each parameter in our model, by its reference name."""
  names = {
      "embed_tokens.embedding_weight": _Place(("embed_tokens",)),
      "lm_head.weight": _Place(("lm_head",), transposed=True),
      "q_head.weight": _Place(("q_head",), transposed=True),
      "q_head.bias": _Place(("q_head_bias",)),
  }
  # A model with a single state calls it L there; one without recursion calls its only network H.
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
  """The reference's shape of a parameter: matrices are (out, in); gate and up, and q, k and v, are concatenated."""
  if transposed:
    return math.prod(shape[1:]), shape[0]
  return (math.prod(shape[:-1]), shape[-1]) if len(shape) > 2 else shape


def float32(array: Any) -> np.ndarray:
  """Converts an array, or a tensor of PyTorch, to float32."""
  if hasattr(array, "detach"):  # PyTorch cannot turn a tensor in bfloat16 into a NumPy array
    array = array.detach().cpu().float()
  return np.asarray(array, np.float32)


def _check_finite(name: str, wrong: int, shape: tuple[int, ...]) -> None:
  """Raises UserError if some values of a parameter of this shape are not finite in float32."""
  if wrong:
    raise UserError(f"reference parameters: {name} has {wrong:,} of {math.prod(shape):,} values that are not finite "
                    "numbers; its training has diverged, or the file is damaged: take another checkpoint, or get the "
                    "file again")


def _table(name: str, array: Any, rows: int) -> np.ndarray:
  """Reads and checks a prefix table and appends rows of zeros. The table may be larger than all else together, so it
  is read in pieces into memory that a CPU device takes over, and there is never a second copy."""
  num, size = array.shape
  memory = np.empty(rows * size * 4 + _ALIGNED, np.uint8)
  table = memory[-memory.ctypes.data % _ALIGNED :][: rows * size * 4].view(np.float32).reshape(rows, size)
  step, wrong = max(1, _AT_ONCE // size), 0
  for start in range(0, num, step):
    stop = min(num, start + step)
    table[start:stop] = float32(array[start:stop])
    wrong += np.count_nonzero(~np.isfinite(table[start:stop]))
  _check_finite(name, wrong, (num, size))
  table[num:] = 0
  return table


def plain_names(state: Mapping[str, Any]) -> dict[str, Any]:
  """Removes from the names of a state dict the prefix that torch.compile adds.

  Raises:
    UserError: a parameter exists both with the prefix and without it.
  """
  plain = {name.removeprefix(_COMPILED): value for name, value in state.items()}
  if len(plain) < len(state):
    twin = next(name for name in plain if name in state and _COMPILED + name in state)
    raise UserError(f"reference parameters: {twin} is there twice, with {_COMPILED} in front and without it; leave out "
                    "one of them")
  return plain


def misfit(state: Mapping[str, Any], config: TRMConfig) -> str:
  """Why a state dict does not fit such a model; "" if it does.

  Args:
    state: the result of `plain_names`.
    config: of the model.
  """
  if max(config.H_layers, config.L_layers) > len(state):
    return f"{len(state)} parameters are too few for {max(config.H_layers, config.L_layers)} layers"
  names = _names(config)
  missing, unknown = sorted(names.keys() - state.keys()), sorted(state.keys() - names.keys())
  if missing or unknown:
    return f"missing {_few(missing)}, unknown {_few(unknown)}"
  flat = dict(nnx.to_flat_state(abstract(config)[1]))
  for name, place in names.items():
    there, here = tuple(state[name].shape), _shape_there(_shape_here(place, flat, config), place.transposed)
    if there != here:
      return f"{name} has the shape {there}, must have {here}"
    if "float" not in str(state[name].dtype):
      return f"{name} has the dtype {state[name].dtype}, must have one of floating-point numbers"
  return ""


def _few(names: list[str]) -> str:
  """The first names of a list, for a message."""
  return (f"{names[:4]}" if names else "none") + f" and {len(names) - 4} more" * (len(names) > 4)


def _shape_here(place: _Place, flat: Mapping[Any, Any], config: TRMConfig) -> tuple[int, ...]:
  """The shape here of a reference parameter: the prefix table without padding, or one row of an array."""
  shape = flat[place.path].shape
  if place.path == ("puzzle_emb",):
    return config.num_puzzle_identifiers, shape[1]
  return shape if place.row is None else shape[1:]


def from_reference(state: Mapping[str, Any], config: TRMConfig) -> TRM:
  """Makes a model with the reference's parameters, in float32, whatever floating-point dtypes they have there.

  Args:
    state: the reference's state dict: names to arrays (NumPy, or tensors of PyTorch). Names may have the prefix
      "_orig_mod." of torch.compile.
    config: of the model that the parameters belong to.

  Raises:
    UserError: a parameter is missing or unknown, has another shape, or values that are not finite.
  """
  state = plain_names(state)
  if problem := misfit(state, config):
    raise UserError(f"reference parameters do not fit the config: {problem}; give the config that they were trained "
                    "with, or the file of this config's model")
  graphdef, variables = abstract(config)
  flat = dict(nnx.to_flat_state(variables))
  arrays = {}
  for name, place in _names(config).items():
    if place.path == ("puzzle_emb",):
      # Nobody else uses this memory, so device_put may take it over; asarray would copy it.
      arrays[place.path] = jax.device_put(_table(name, state[name], flat[place.path].shape[0]))
      continue
    array = float32(state[name])
    _check_finite(name, np.count_nonzero(~np.isfinite(array)), array.shape)
    array = (array.T if place.transposed else array).reshape(_shape_here(place, flat, config))
    if place.row is not None:
      arrays.setdefault(place.path, np.empty(flat[place.path].shape, np.float32))[place.row] = array
    else:
      arrays[place.path] = array
  for path, array in arrays.items():
    # jnp.array copies memory that others may write to; asarray would not promise that.
    flat[path] = flat[path].replace(array if isinstance(array, jax.Array) else jnp.array(array))
  return nnx.merge(graphdef, nnx.from_flat_state(flat))


def to_reference(model: TRM, *, compiled: bool = True) -> dict[str, np.ndarray]:
  """The model's parameters as the reference's state dict, in its layout: matrices are (out, in).

  Parameters and the prefix table are float32. H_init and L_init have the config's dtype: the reference takes over the
  dtypes of what it loads, and with initial states in float32 it would compute everything in float32.

  Args:
    model: any model whose recursion the reference has.
    compiled: True for the names of the reference's model after torch.compile (with the prefix "_orig_mod."), which it
      uses unless DISABLE_COMPILE is set; False for those of the uncompiled model.
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
