# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sizes and rules of one model. JAX is not imported here, so that a config can be read and checked without it."""

from collections.abc import Mapping
import dataclasses
import math
import typing
from typing import Any

from trm_jax.errors import UserError
from trm_jax.knobs import POSITIVE, SHARE, at_least, check, knob, one_of

ROPE_THETA = 10000.0
RMS_EPS = 1e-5

RECURSIONS = ("two_z", "single_z", "multi_scale_z", "none")

# The reference's models, by the file that `name` in their config names, and the knobs that they have here.
_REFERENCE_MODELS = {
    "trm": {},
    "trm_singlez": {"recursion": "single_z"},
    "trm_hier6": {"recursion": "multi_scale_z"},
    "hrm": {"gradient": "one_step"},
    "hrm_act_v1": {"gradient": "one_step"},  # as its own authors call it
    "transformers_baseline": {"recursion": "none"},
}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The knobs of a model. Defaults: the reference's Sudoku-Extreme model.

  Raises:
    UserError: no model can have this combination; the message names the field, its value and the rule.
  """

  hidden_size: int = knob(512, at_least(1))  # D
  # two_z: z_H and z_L; single_z: one state; multi_scale_z: a separate z_L for each of the L_cycles updates; none:
  # z_H <- f(z_H + x) once per supervision step; H_cycles and L_cycles are ignored, and it halts when
  # q_halt > q_continue (docs/parity.md).
  recursion: str = knob("two_z", one_of(*RECURSIONS))
  gradient: str = knob("cycle", one_of("cycle", "one_step"))  # through the last cycle, or its last two updates (two_z)
  L_layers: int = knob(2, at_least(1))  # blocks of the network
  H_layers: int = knob(0, at_least(0))  # blocks of a second network that updates z_H (two_z); 0: one network for both
  num_heads: int = knob(8, at_least(1))  # heads of attention; divides hidden_size
  expansion: float = knob(4.0, POSITIVE)  # SwiGLU's width is 2/3 of this times its input's, rounded up to k * 256
  inner_norm: bool = knob(False)  # SwiGLU: down(sigmoid(gate) * norm(gate * up)) in place of down(silu(gate) * up)
  mlp_t: bool = knob(True)  # a SwiGLU over positions mixes tokens, instead of attention
  pos_encodings: str = knob("none", one_of("none", "rope", "learned"))  # rope: only with attention
  H_cycles: int = knob(3, at_least(1))  # T: cycles per supervision step, all but the last without gradient
  L_cycles: int = knob(6, at_least(1))  # n: updates of z_L per cycle
  puzzle_emb_ndim: int = knob(512, at_least(0))  # features of a prefix row; 0: no prefix
  puzzle_emb_len: int = knob(16, at_least(0))  # P, prefix tokens; 0: the number that puzzle_emb_ndim fills
  halt_max_steps: int = knob(16, at_least(1))  # most supervision steps per puzzle
  halt_exploration_prob: float = knob(0.1, SHARE)  # share of training's row-steps that draw a minimum of steps
  q_continue: bool = knob(False)  # also learn q_continue, and halt when q_halt > q_continue
  random_init: bool = knob(False)  # each puzzle starts from its own states, drawn like H_init for all positions (EqR)
  # Standard deviation of the noise that is added to the result of each application of the network in training (EqR).
  state_noise: float = knob(0.0, at_least(0))
  dtype: str = knob("bfloat16", one_of("bfloat16", "float32", "float16"))  # dtype of products; the rest is float32

  def __post_init__(self):
    check(self, "model.")

    def require(holds: bool, field: str, rule: str):
      if not holds:
        raise UserError(f"model.{field} = {getattr(self, field)!r}: {rule}")

    for field, value in (("gradient", "cycle"), ("H_layers", 0)):
      require(self.recursion == "two_z" or getattr(self, field) == value, field,
              f"must be {value} where model.recursion = {self.recursion}; another value needs two_z")
    require(self.state_noise < math.inf, "state_noise", "must be finite")
    if self.mlp_t:
      require(self.pos_encodings != "rope", "pos_encodings",
              "rope rotates queries and keys, but model.mlp_t = True has none; use none or learned, or mlp_t = False")
    else:
      require(self.hidden_size % self.num_heads == 0, "num_heads",
              f"must divide model.hidden_size = {self.hidden_size}")
      require(self.pos_encodings != "rope" or self.hidden_size // self.num_heads % 2 == 0, "num_heads",
              f"rope needs an even head dimension, not {self.hidden_size} / {self.num_heads}")
    require(self.puzzle_emb_ndim > 0 or self.puzzle_emb_len == 0, "puzzle_emb_len",
            "must be 0 where model.puzzle_emb_ndim = 0 (no prefix)")
    require(self.puzzle_emb_ndim <= self.prefix_len * self.hidden_size, "puzzle_emb_ndim",
            f"does not fit in model.puzzle_emb_len = {self.puzzle_emb_len} tokens of {self.hidden_size} features")

  @property
  def one_size(self) -> str:
    """Why the model takes only puzzles with as many cells as those that it was trained on; "" if it takes others."""
    what = "its MLP over tokens has" if self.mlp_t else "its learned positions have"
    return f"{what} weights for each cell" if self.mlp_t or self.pos_encodings == "learned" else ""

  @property
  def prefix_len(self) -> int:
    """P, the number of prefix tokens."""
    return self.puzzle_emb_len or math.ceil(self.puzzle_emb_ndim / self.hidden_size)

  @property
  def latent_states(self) -> tuple[int, ...] | None:
    """Axes of z_L between B and L: (), or (n,) if each latent update has its own state; None: no z_L."""
    return {"two_z": (), "multi_scale_z": (self.L_cycles,)}.get(self.recursion)

  def __str__(self):
    """The model in one line."""
    words = ["TRM", "mlp" if self.mlp_t else "attention"]
    if self.recursion == "none":
      words.append("no recursion")
    else:
      words += [self.recursion] * (self.recursion != "two_z") + [f"T={self.H_cycles} n={self.L_cycles}"]
      words += ["one-step gradient"] * (self.gradient == "one_step")
    layers = f"({self.L_layers}+{self.H_layers})" if self.H_layers else self.L_layers
    return " ".join([*words, f"{layers}x{self.hidden_size}", self.dtype])

  def sized(self, **sizes: Any) -> "TRMConfig":
    """The model with the fields that TRMConfig adds, which puzzles and devices decide."""
    return TRMConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ModelConfig)}, **sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TRMConfig(ModelConfig):
  """All that defines one model.

  Raises:
    UserError: see ModelConfig.
  """

  vocab_size: int = knob(rule=at_least(1))  # tokens, padding included
  seq_len: int = knob(rule=at_least(1))  # S, cells of one puzzle
  num_puzzle_identifiers: int = knob(1, at_least(1))  # puzzles (or tasks) with their own prefix
  attention: str = knob("xla", one_of("xla", "cudnn"))  # its implementation; cudnn: fused, NVIDIA GPUs, 16 bits
  kernels: str = knob("xla", one_of("xla", "pallas"))  # code of SwiGLUs; pallas: fused, one NVIDIA GPU, 16 bits
  # If an MLP mixes tokens, the states of the recursion are (L, B, D), which suits CPUs and GPUs, or (B, L, D), which
  # suits TPUs (docs/performance.md). Both give the same results.
  positions_first: bool = knob(True)

  def __post_init__(self):
    super().__post_init__()
    if self.attention == "cudnn" and self.dtype == "float32":
      raise UserError(f"model.attention = {self.attention!r}: needs model.dtype = bfloat16 or float16")

  @property
  def prefix_table_rows(self) -> int:
    """Rows of the prefix table. Big tables are rounded up, so that any number of devices that can split a batch of 768
    or 1,024 can also split the table. No puzzle uses the rows after the last identifier."""
    rows, multiple = self.num_puzzle_identifiers, 3 * 1024
    return rows if rows < multiple else math.ceil(rows / multiple) * multiple

  @property
  def token_axis(self) -> int:
    """The axis L of the recursion's states, (L, B, D) or (B, L, D)."""
    return 0 if self.mlp_t and self.positions_first else 1

  @property
  def positions(self) -> int:
    """L = P + S."""
    return self.prefix_len + self.seq_len

  @classmethod
  def from_reference(cls, arch: Mapping[str, Any], *, state: Mapping[str, Any] | None = None,
                     dataset: Mapping[str, Any] | None = None) -> "TRMConfig":
    """The config of one of the reference's models.

    vocab_size, seq_len and num_puzzle_identifiers are not in the reference's all_config.yaml, since it takes them from
    its data set. Here they come from the weights, from the data set, or from `arch` if they were added to it; whatever
    has one of them must agree. The weights have seq_len only where the token MLP or learned positions depend on it.

    Args:
      arch: the reference's names and values, as `arch` in its all_config.yaml.
      state: the reference's parameters by name, as `interop.read_reference_file` returns them.
      dataset: the content of the dataset.json that its data set has for each split.

    Raises:
      UserError: a name is unknown, the model cannot have a value, or a size is missing or contradicted.
    """
    config = {name: value for name, value in arch.items() if value is not None}
    kinds = typing.get_type_hints(cls) | {"name": str, "forward_dtype": str, "no_ACT_continue": bool}
    for name, kind in kinds.items():
      if name in config and type(config[name]) not in ((int, float) if kind is float else (kind,)):
        raise UserError(f"reference config: {name} is of type {type(config[name]).__name__}, must be of type "
                        f"{kind.__name__}")
    fixed = {"rope_theta": ROPE_THETA, "rms_norm_eps": RMS_EPS, "act_enabled": True,
             "act_inference": False}
    for name, value in fixed.items():
      if config.pop(name, value) != value:
        raise UserError(f"reference config: {name} must be {value}")
    name = config.pop("name", "trm")
    model = name.partition("@")[0].rpartition(".")[2]
    if model not in _REFERENCE_MODELS:
      raise UserError(f"reference config: name = {name!r}: not a model of the reference; use one of "
                      f"{', '.join(_REFERENCE_MODELS)}")
    H_layers = config.pop("H_layers", 0)
    hrm = model in ("hrm", "hrm_act_v1")
    if hrm or model == "transformers_baseline":  # these models cannot choose either
      config |= {"puzzle_emb_len": 0, "no_ACT_continue": not hrm}
    if model == "transformers_baseline":
      config["L_layers"] = H_layers
      config.pop("H_cycles", None)
    if model == "trm_hier6" and config.get("L_cycles") != 6:
      raise UserError(f"reference config: L_cycles = {config.get('L_cycles')!r}: trm_hier6 has six states")
    # Settings of training, and of networks that our model lacks.
    for name in ("batch_size", "causal", "loss"):
      config.pop(name, None)
    values = _REFERENCE_MODELS[model] | {
        "H_layers": H_layers if hrm else 0,
        "dtype": config.pop("forward_dtype", "bfloat16"),
        "q_continue": not config.pop("no_ACT_continue", True),
        # The reference's own defaults, for names that its config leaves out.
        "mlp_t": config.pop("mlp_t", False),
        "puzzle_emb_ndim": config.pop("puzzle_emb_ndim", 0),
        "puzzle_emb_len": config.pop("puzzle_emb_len", 16),
    }
    if values["puzzle_emb_ndim"] == 0:
      values["puzzle_emb_len"] = 0
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(map(str, set(config) - names))
    if unknown:
      raise UserError(f"reference config: unknown names {', '.join(unknown)}; use one of {', '.join(sorted(names))}")
    required = {"L_layers", "hidden_size", "num_heads", "expansion", "pos_encodings", "halt_max_steps",
                "halt_exploration_prob"} | (set() if model == "transformers_baseline" else {"H_cycles", "L_cycles"})
    if missing := sorted(required - set(config)):
      raise UserError(f"reference config: {', '.join(missing)} missing; give the arch of an all_config.yaml")
    prefix_len = values["puzzle_emb_len"] or math.ceil(
        values["puzzle_emb_ndim"] / max(1, config["hidden_size"]))
    return cls(**config | values | _reference_sizes(config, state or {}, dataset or {}, prefix_len))


def _reference_sizes(arch: Mapping[str, Any], state: Mapping[str, Any], dataset: Mapping[str, Any], prefix_len: int
                     ) -> dict[str, int]:
  """The sizes that depend on the data set, from whatever has them; see TRMConfig.from_reference."""
  shown_by = {  # the end of a parameter's name, its axis, and how much longer than the size that axis is
      "vocab_size": [("embed_tokens.embedding_weight", 0, 0)],
      "seq_len": [("layers.0.mlp_t.gate_up_proj.weight", 1, prefix_len), ("embed_pos.embedding_weight", 0, prefix_len)],
      "num_puzzle_identifiers": [("puzzle_emb.weights", 0, 0)],
  }
  sizes, missing = {}, []
  for size, places in shown_by.items():
    found = {source: values[size] for source, values in (("arch", arch), ("dataset.json", dataset)) if size in values}
    for end, axis, more in places:
      found |= {name: array.shape[axis] - more for name, array in state.items()
                if name.endswith(end) and len(array.shape) > axis}
    if len(set(found.values())) > 1:
      raise UserError(f"reference config: {size} differs: "
                      + ", ".join(f"{value} according to {source}" for source, value in found.items()))
    if found:
      sizes[size] = next(iter(found.values()))
    elif size != "num_puzzle_identifiers" or prefix_len:
      missing.append(size)
  if missing == ["seq_len"]:
    raise UserError("reference config: seq_len is missing: the weights of attention without learned positions do not "
                    "show it; give dataset=, the content of the data set's dataset.json, or add seq_len to the arch "
                    "(Sudoku: 81, mazes and ARC-AGI: 900)")
  if missing:
    raise UserError(f"reference config: {', '.join(missing)} missing: they depend on the data set; give state=, the "
                    "weights, or dataset=, the content of the data set's dataset.json")
  return sizes


def swiglu_width(size: int, expansion: float) -> int:
  """Inner width of a SwiGLU over `size` features: 2/3 of expansion * size, rounded up to a multiple of 256."""
  return math.ceil(round(expansion * size * 2 / 3) / 256) * 256
