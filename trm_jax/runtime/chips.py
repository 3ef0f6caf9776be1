# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Cloud TPU chips with the vendor's figures, and the slices that can be rented."""

from collections.abc import Sequence
import dataclasses
import importlib.util
import math
import os
from typing import Any

from trm_jax.errors import UserError

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip; with all its cores it is one JAX device.

  Attributes:
    peak_flops: dense bfloat16 FLOP/s.
    hbm_bytes: memory, as published.
    usable_bytes: memory that the compiler lets a program use.
    hbm_bandwidth: bytes/s.
    ici_bandwidth: bytes/s that it can send to its neighbours, over all its links.
    cores: what the number in an accelerator type counts for each chip: 2 where it counts cores, else 1.
    accelerator: the start of its accelerator types.
    slices: published shapes.
    options: for jax.experimental.topologies.get_topology_desc.
    clock: cycles/s; None if it is not published.
  """

  peak_flops: float
  hbm_bytes: int
  usable_bytes: int
  hbm_bandwidth: float
  ici_bandwidth: float
  cores: int
  accelerator: str
  slices: tuple[str, ...]
  options: dict[str, Any] = dataclasses.field(default_factory=dict)
  clock: float | None = None


_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
_SQUARES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")

# Rates, memory and shapes are from https://docs.cloud.google.com/tpu/docs/v4 and the pages of v5e, v5p and v6e. Links
# carry half of the published "bidirectional" bandwidth each way; for v4 that page states 1.1 PB/s of all-reduce for
# 4,096 chips, which is six links of 50 GB/s. usable_bytes is from libtpu 0.0.42's out-of-memory message for each chip.
TPUS = {
    "v4": Chip(275e12, 32 * _GIB, int(30.75 * _GIB), 1200e9, 300e9, 2, "v4", _CUBES, {"chip_config_name": "megacore"},
               clock=1.05e9),  # arXiv:2304.01433, table 4
    "v5e": Chip(197e12, 16 * _GIB, int(15.75 * _GIB), 819e9, 200e9, 1, "v5litepod", _SQUARES),
    "v5p": Chip(459e12, 95 * _GIB, 95 * _GIB, 2765e9, 600e9, 2, "v5p", _CUBES),
    "v6e": Chip(918e12, 32 * _GIB, int(31.25 * _GIB), 1638e9, 400e9, 1, "v6e", _SQUARES),
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """Chips that are rented together, e.g. v4:2x4x4.

  Attributes:
    generation: a name in TPUS.
    shape: e.g. 2x4x4.

  Raises:
    UserError: there is no such slice.
  """

  generation: str
  shape: str

  def __post_init__(self):
    if self.generation not in TPUS:
      raise UserError(f"--topology={self.name}: chip {self.generation!r} is not known; use one of {', '.join(TPUS)} "
                      "(--topology=help lists topologies)")
    if self.shape not in self.chip.slices and not self._whole_cubes():
      raise UserError(f"--topology={self.name}: {self.generation} has no such shape; use one of "
                      f"{', '.join(self.chip.slices)}")

  def _whole_cubes(self) -> bool:
    """Whether the slice consists of cubes of 4x4x4 chips, as those of v4 and v5p do."""
    sides = self.shape.split("x")
    return ("4x4x4" in self.chip.slices and len(sides) == 3
            and all(side.isdecimal() and int(side) and int(side) % 4 == 0 for side in sides))

  @classmethod
  def parse(cls, name: str) -> "Slice":
    """The slice that --topology names. Raises UserError if there is none."""
    generation, colon, shape = name.partition(":")
    if not colon:
      raise UserError(f"--topology={name}: must be CHIP:SHAPE, e.g. v4:2x4x4 (--topology=help lists them)")
    return cls(generation, shape)

  @property
  def name(self) -> str:
    return f"{self.generation}:{self.shape}"

  @property
  def chip(self) -> Chip:
    return TPUS[self.generation]

  @property
  def num_chips(self) -> int:
    return math.prod(map(int, self.shape.split("x")))

  @property
  def host_shape(self) -> tuple[int, int, int]:
    """The layout of one host's chips: one in the slice 1x1, eight in 2x4, otherwise four."""
    return {"1x1": (1, 1, 1), "2x4": (2, 4, 1)}.get(self.shape, (2, 2, 1))

  @property
  def num_hosts(self) -> int:
    return self.num_chips // math.prod(self.host_shape)

  @property
  def accelerator_type(self) -> str:
    """The slice's name in `gcloud`."""
    return f"{self.chip.accelerator}-{self.num_chips * self.chip.cores}"

  def devices(self) -> Sequence[Any]:
    """Descriptions of its devices, each a jax.Device for which programs can be compiled but not run.

    Raises:
      UserError: libtpu is missing or does not know the slice.
    """
    if importlib.util.find_spec("libtpu") is None:
      raise UserError('libtpu, the TPU compiler, is not installed: pip install -e ".[tpu]"')
    # Without these, libtpu looks for the TPU host that it is on, complains that there is none, and lets only one
    # process use it at a time, which chips would need; there are none here.
    for variable, value in {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": self.accelerator_type,
                            "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}.items():
      os.environ.setdefault(variable, value)
    import jax  # pylint: disable=g-import-not-at-top
    from jax.experimental import topologies  # pylint: disable=g-import-not-at-top

    try:
      return topologies.get_topology_desc(platform="tpu", topology_name=self.name,
                                          chips_per_host_bounds=self.host_shape, **self.chip.options).devices
    except jax.errors.JaxRuntimeError as e:
      raise UserError(f"--topology={self.name}: {e}") from e


def listing() -> str:
  """The text that --topology=help prints."""
  rows = [("topology", "chips", "hosts", "gcloud accelerator type", "memory a chip")]
  for generation, chip in TPUS.items():
    for shape in chip.slices:
      s = Slice(generation, shape)
      rows.append((s.name, str(s.num_chips), str(s.num_hosts), s.accelerator_type, f"{chip.hbm_bytes // _GIB} GiB"))
  return "\n".join(f"{a:<11} {b:>5} {c:>5}  {d:<23}  {e}" for a, b, c, d, e in rows)


# Dense bfloat16 FLOP/s per JAX device from the vendors' data sheets, by the start of jax.Device.device_kind. The first
# match counts, so longer names come first.
_PEAK = (
    ("TPU v4 lite", 138e12),
    ("TPU v4", TPUS["v4"].peak_flops),
    ("TPU v5 lite", TPUS["v5e"].peak_flops),
    ("TPU v5e", TPUS["v5e"].peak_flops),
    ("TPU v5", TPUS["v5p"].peak_flops),
    ("TPU v6 lite", TPUS["v6e"].peak_flops),
    ("TPU v6e", TPUS["v6e"].peak_flops),
    ("NVIDIA H200 NVL", 835e12),
    ("NVIDIA H200", 989e12),
    ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA H100 NVL", 835e12),
    ("NVIDIA H100", 989e12),
    ("NVIDIA A100", 312e12),
    ("NVIDIA L40S", 362e12),
)


def peak_flops(device: Any) -> float | None:
  """Peak bfloat16 FLOP/s of a jax.Device; None if it is not known (a CPU)."""
  return next((peak for kind, peak in _PEAK if device.device_kind.startswith(kind)), None)
