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
# Instructions that neither compute nor move anything by themselves.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional",
         "async-start", "async-update", "async-done", "after-all", "opt-barrier", "partition-id", "replica-id",
         "add-dependency"}
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


@dataclasses.dataclass(frozen=True)
class Kernel:
  """An instruction that computes or moves arrays. On a GPU it is one kernel or one call of a library.

  Attributes:
    name: of the instruction.
    bytes: bytes that it reads from the chip's memory and writes there, each time it runs.
    flops: FLOPs of its matrix products, each time it runs.
    times: how often it runs in one optimizer step.
  """

  name: str
  bytes: int
  flops: int
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


def kernels(text: str) -> list[Kernel]:
  """The instructions of one optimizer step that compute or move arrays, each with the bytes and FLOPs that it needs.

  An array counts once for the instruction that writes it and once for each that reads it; of an array that is sliced or
  updated in place, only the part that is read or written counts. Not counted are arrays in memory on the chip (those of
  a TPU whose layout names another memory space) and the workspace of libraries.

  Args:
    text: of a compiled program.
  """
  program = _Program(text)
  found = [Kernel(i.name, program.moved_bytes(i), program.flops(i), times)
           for i, times in program.in_step(fused=False) if i.opcode not in _FREE]
  return [kernel for kernel in found if kernel.bytes or kernel.flops]


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
    self._computations, self._entry, self._named = {}, None, {}
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
        self._named[instruction[1]] = instructions[-1]

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

  def moved_bytes(self, instruction: _Instruction) -> int:
    """Bytes that an instruction outside of fusions reads from the chip's memory and writes there."""
    if instruction.opcode.endswith("-start"):  # counted where it is done
      return 0
    written = sum(part for part, size in zip(self._written(instruction), _in_memory(instruction.type)) if size)
    if instruction.opcode.endswith("-done"):
      start = self._operands(instruction)[0]
      if start.opcode in ("slice-start", "dynamic-slice-start"):
        return written + sum(_sizes(instruction.type)) * any(_in_memory(self._operands(start)[0].type))
      instruction = start
    return written + sum(self._read(instruction, i) for i, operand in enumerate(self._operands(instruction))
                         if any(_in_memory(operand.type)))

  def _operands(self, instruction: _Instruction) -> list[_Instruction]:
    arguments = instruction.line.partition(f" {instruction.opcode}(")[2].partition(")")[0]
    return [self._named[name] for name in re.findall(r"%([\w.\-]+)", arguments)]

  def _called(self, fusion: _Instruction) -> list[_Instruction]:
    return self._computations[_CALLED.search(fusion.line)[1]]

  def _read(self, instruction: _Instruction, position: int) -> int:
    """Bytes that an instruction reads of its operand at a position."""
    operands = self._operands(instruction)
    whole = sum(_sizes(operands[position].type))
    if instruction.opcode == "fusion":
      inside = self._called(instruction)
      parameter, = (i for i in inside if i.opcode == "parameter" and f" parameter({position})" in i.line)
      return min(whole, self._read_inside(inside, parameter))
    if position == 0 and instruction.opcode in ("slice", "dynamic-slice", "gather"):
      return min(whole, sum(_sizes(instruction.type)))
    if position == 0 and instruction.opcode == "dynamic-update-slice":
      return 0
    if position == 0 and instruction.opcode == "scatter":
      return min(whole, sum(_sizes(operands[-1].type)))
    return whole

  def _read_inside(self, inside: list[_Instruction], array: _Instruction) -> int:
    """Bytes of an array that the instructions of a fusion read."""
    total = 0
    for user in inside:
      for position, operand in enumerate(self._operands(user)):
        if operand is array:
          total += self._read_inside(inside, user) if user.opcode == "bitcast" else self._read(user, position)
    return total

  def _written(self, instruction: _Instruction) -> list[int]:
    """Bytes that an instruction writes into each array of its result."""
    operands, sizes = self._operands(instruction), _sizes(instruction.type)
    if instruction.opcode == "fusion":
      return self._written(self._called(instruction)[-1])
    if instruction.opcode == "tuple":
      return [part for operand in operands for part in self._written(operand)]
    if instruction.opcode == "bitcast":
      return self._written(operands[0])
    if instruction.opcode in ("dynamic-update-slice", "scatter"):
      return [min(sizes[0], sum(_sizes(operands[1 if instruction.opcode == "dynamic-update-slice" else -1].type)))]
    if instruction.opcode == "custom-call" and len(sizes) > 1:  # the last one is the library's workspace
      return [*sizes[:-1], 0]
    return sizes

  def flops(self, instruction: _Instruction) -> int:
    """FLOPs of the matrix products of an instruction and of those fused to it."""
    if instruction.opcode == "fusion":
      return sum(map(self.flops, self._called(instruction)))
    if instruction.opcode not in ("dot", "custom-call", "convolution"):
      return 0
    (result, *_), operands = _shapes(instruction.type), [_shapes(o.type)[0] for o in self._operands(instruction)]
    if instruction.opcode == "convolution":
      return _convolution_flops(instruction.line, result, *operands[:2])
    if "$fmha" in instruction.line:  # queries and keys are (B, L, H, K); 2 products, and 5 backward
      products = 5 if "Backward" in instruction.line else 2
      return products * 2 * math.prod(operands[0]) * operands[1][1]
    if summed := re.search(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]+)', instruction.line):
      return 2 * math.prod(result) * math.prod(operands[0][int(axis)] for axis in re.findall(r"\d+", summed[1]))
    return 0


def _sizes(type_: str) -> list[int]:
  """Bytes of each array of a type."""
  return [array.bytes for array in arrays_of(type_)]


def _in_memory(type_: str) -> list[int]:
  """Bytes of each array of a type, 0 for those that are not in the chip's main memory."""
  return [0 if re.search(r"S\([1-9]", array[0]) else _sizes(array[0])[0] for array in _ARRAY.finditer(type_)]


def _shapes(type_: str) -> list[list[int]]:
  return [[int(n) for n in shape.split(",") if n] for _, shape in _ARRAY.findall(type_)]


def _convolution_flops(line: str, result: list[int], left: list[int], right: list[int]) -> int:
  """FLOPs of a convolution, as which the TPU compiler writes a product; axes of a batch are spatial axes of it."""
  of_left, of_right, of_result = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", line).groups()
  window = re.search(r"window=\{([^}]*)\}", line)
  window = dict(re.findall(r"(\w+)=([\dx_\-]+)", window[1])) if window else {}
  pairs = 2 * right[of_right.index("i")] * result[of_result.index("b")] * result[of_result.index("f")]
  for axis, number in enumerate(sorted(filter(str.isdigit, of_result))):
    def field(name, default):
      return window[name].split("x")[axis] if name in window else default  # pylint: disable=cell-var-from-loop

    stride, stretch, step = (int(field(name, 1)) for name in ("stride", "lhs_dilate", "rhs_dilate"))
    before = int(field("pad", "0_0").split("_")[0])
    end = (left[of_left.index(number)] - 1) * stretch + 1
    places = (out * stride - before + tap * step for out in range(result[of_result.index(number)])
              for tap in range(right[of_right.index(number)]))
    pairs *= sum(0 <= place < end and place % stretch == 0 for place in places)
  return pairs
