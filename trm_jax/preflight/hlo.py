# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Extracts facts from the text of a compiled program, `jax.stages.Compiled.as_text()`."""

from collections.abc import Iterator
import dataclasses
import math
import re

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{[^}]*\})?")
_CALLED = re.compile(r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_COLLECTIVE = re.compile(r"(all-reduce|all-gather|reduce-scatter|all-to-all|ragged-all-to-all|collective-permute|"
                         r"collective-broadcast)(-start)?$")


@dataclasses.dataclass(frozen=True)
class Array:
  """An array of a program, on one device.

  Attributes:
    text: dtype and shape, e.g. f32[512,97].
    bytes: its size without padding.
  """

  text: str
  bytes: int


@dataclasses.dataclass(frozen=True)
class Collective:
  """An instruction by which devices exchange arrays.

  Attributes:
    kind: all-reduce, all-gather, reduce-scatter, all-to-all or collective-permute.
    arrays: its results on one device.
    group_size: number of devices that exchange with each other.
    times: how often it runs in one optimizer step.
    op_name: its origin in the Python program.
  """

  kind: str
  arrays: tuple[Array, ...]
  group_size: int
  times: int
  op_name: str

  @property
  def bytes(self) -> int:
    """Bytes of the results on one device, each time it runs."""
    return sum(array.bytes for array in self.arrays)

  @property
  def sent_bytes(self) -> float:
    """The least number of bytes that a device has to send in one optimizer step."""
    others = self.group_size - 1
    share = {"all-reduce": 2 * others / self.group_size, "reduce-scatter": others}.get(
        self.kind, 1 if self.kind.startswith("collective") else others / self.group_size)
    return share * self.bytes * self.times


@dataclasses.dataclass(frozen=True)
class Estimate:
  """The TPU compiler's estimate for an instruction.

  Attributes:
    name: of the instruction.
    type: of its result, with layout and memory space.
    cycles: of the chip's clock, each time it runs.
    times: how often it runs in one optimizer step.
  """

  name: str
  type: str
  cycles: int
  times: int


def collectives(text: str) -> list[Collective]:
  """The exchanges between devices in one optimizer step.

  If the program has a loop whose number of turns depends on data, as the one over optimizer steps in `Program.steps`,
  its body counts once and the code outside of it does not count. Loops inside of it count as often as they run.

  Args:
    text: of a compiled program.
  """
  program = _Program(text)
  found, chains = [], set()
  for instruction, times in program.in_step():
    kind = _COLLECTIVE.match(instruction.opcode)
    if not kind:
      continue
    # A collective that overlaps with computations appears in each of their fusions.
    if chain := re.search(r'chain_id="([^"]*)"', instruction.line):
      if chain[1] in chains:
        continue
      chains.add(chain[1])
    arrays = arrays_of(instruction.type)
    if kind[2] and kind[1] == "all-gather":  # (operands, results)
      arrays = arrays[len(arrays) // 2 :]
    elif kind[2] and kind[1] == "collective-permute":  # (operand, result, …)
      arrays = arrays[1:2]
    op_name = re.search(r'op_name="([^"]*)"', instruction.line)
    found.append(Collective(kind[1], tuple(arrays), _group_size(instruction.line, program.num_devices), times,
                            op_name[1] if op_name else ""))
  return found


def relayouts(text: str) -> list[tuple[Array, int]]:
  """Arrays that one optimizer step copies only to change their layout, each with the number of times.

  These are the copies and transposes that stand alone. Those inside of a fusion are part of its reads and writes, and
  copies that overlap with computations bring arrays closer to them.

  Args:
    text: of a compiled program.
  """
  return [(array, times) for instruction, times in _Program(text).in_step(fused=False)
          if instruction.opcode in ("copy", "transpose") for array in arrays_of(instruction.type)]


def estimates(text: str) -> list[Estimate]:
  """The TPU compiler's estimates for the computations of one optimizer step; [] for other compilers."""
  return [Estimate(instruction.name, instruction.type, int(cycles[1]), times)
          for instruction, times in _Program(text).in_step(fused=False)
          if (cycles := re.search(r'"estimated_cycles":"(\d+)"', instruction.line))]


def estimated_cycles(text: str) -> int:
  """The sum of all `estimates`: the cycles of one optimizer step if its computations run one after the other."""
  return sum(estimate.cycles * estimate.times for estimate in estimates(text))


def arrays_of(type_: str) -> list[Array]:
  """The arrays in an instruction's type, with tuples flattened."""
  return [Array(f"{dtype}[{shape}]", math.prod(int(n) for n in shape.split(",") if n) * _bits(dtype) // 8)
          for dtype, shape in _ARRAY.findall(type_)]


def _bits(dtype: str) -> int:
  digits = re.match(r"[a-z]+(\d+)", dtype)
  return int(digits[1]) if digits else 8 * (dtype == "pred")


def _group_size(line: str, num_devices: int) -> int:
  """Number of devices in a group of a collective, for all notations of groups."""
  if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{([^}]*)\}", line):
    sizes = dict(re.findall(r"('[^']*')=(\d+)", mesh[1]))
    # This is an axis or a part of one: 'data' or 'data':(1)2.
    return math.prod(int(part or sizes[axis]) for axis, part in re.findall(r"('[^']*')(?::\(\d+\)(\d+))?", mesh[2]))
  if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
    return int(tiled[1])
  if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
    return len(listed[1].split(","))
  return num_devices


@dataclasses.dataclass(frozen=True)
class _Instruction:
  name: str
  type: str
  opcode: str
  line: str


class _Program:
  """The computations of a program by name, each a list of instructions."""

  def __init__(self, text: str):
    self._computations, self._entry = {}, None
    partitions = re.search(r"num_partitions=(\d+)", text)
    self.num_devices = int(partitions[1]) if partitions else 1
    instructions = []
    for line in text.splitlines():
      if computation := _COMPUTATION.match(line):
        instructions = self._computations.setdefault(computation[2], [])
        if computation[1]:
          self._entry = computation[2]
      elif instruction := _INSTRUCTION.match(line):
        instructions.append(_Instruction(*instruction.groups(), line))

  def in_step(self, *, fused: bool = True) -> Iterator[tuple[_Instruction, int]]:
    """Instructions of one optimizer step and how often they run in it; with `fused`, also those inside of fusions."""
    entry = self._computations[self._entry]
    open_loops = [i for i in entry if i.opcode == "while" and not self._trip_count(i)]
    for loop in open_loops:
      yield from self._inside(loop, 1, fused)
    if not open_loops:
      yield from self._of(self._entry, 1, fused)

  def _of(self, name: str, times: int, fused: bool) -> Iterator[tuple[_Instruction, int]]:
    for instruction in self._computations.get(name, ()):
      yield instruction, times
      if fused or instruction.opcode != "fusion":
        yield from self._inside(instruction, times, fused)

  def _inside(self, instruction: _Instruction, times: int, fused: bool) -> Iterator[tuple[_Instruction, int]]:
    """Instructions of the computations that an instruction calls."""
    if instruction.opcode == "while":
      times *= self._trip_count(instruction) or 1
    names = _CALLED.findall(instruction.line)
    for branches in _BRANCHES.findall(instruction.line):
      names += [name.strip(" %") for name in branches.split(",")]
    for name in names:
      yield from self._of(name, times, fused)

  def _trip_count(self, loop: _Instruction) -> int | None:
    """The number of turns of a loop; None if it depends on data."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.line):
      return int(known[1])
    # The TPU compiler does not state it, but its loops count from 0 up to the only constant in their condition.
    condition = self._computations[re.search(r"condition=%?([\w.\-]+)", loop.line)[1]]
    bounds = {bound for i in condition for bound in re.findall(r" = s32\[\]\S* constant\((\d+)\)", i.line)}
    return int(bounds.pop()) if len(bounds) == 1 else None
