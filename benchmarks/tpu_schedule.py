# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Shows the instructions that the TPU compiler (libtpu) schedules for a training step; it needs no TPU.

    JAX_PLATFORMS=cpu python -m benchmarks.tpu_schedule --name=baseline --batch=1024 --topology=v4:2x4x4

The compiler's own estimates of times (trm_jax/preflight) count far too much for writes to memory. Its final schedule is
better: one bundle of instructions takes one cycle, so a loop takes its bundles times its iterations. This is true if
memory keeps up; it leaves out waiting for memory and for other devices.
"""

import collections
from collections.abc import Iterable
import dataclasses
import os
import pathlib
import re
import tempfile

from absl import flags

from benchmarks import cases
from benchmarks import measure
from trm_jax import cli
from trm_jax.preflight import hlo
from trm_jax.runtime import chips
from trm_jax.runtime import sharding

_TOPOLOGY = flags.DEFINE_string("topology", "v4:2x4x4", "v4:SHAPE, the chips to compile for.")
_TOP = flags.DEFINE_integer("top", 20, "Number of computations to list.", lower_bound=1)

_CLOCK_HZ = 1.05e9  # clock of a v4
_BUNDLE = re.compile(r"^\s*(?:0x[0-9a-f]+|0)\s+(?:[A-Z]{2})?\s*:\s*([> ]*)\{", re.M)
_COUNTER = re.compile(r"%(s\d+_s\d+) = sphi [^/]*/\* phi copy :: iteration index, stage = 0")
_FINAL = "-final_bundles.txt"


@dataclasses.dataclass(frozen=True)
class Computation:
  """A computation of an optimizer step.

  Attributes:
    type: of its result.
    times: number of runs in one optimizer step.
    scheduled: cycles per run, by its instructions.
    estimated: cycles per run, as the compiler estimates them.
  """

  type: str
  times: int
  scheduled: int
  estimated: int


def libtpu_args(folder: str) -> str:
  """LIBTPU_INIT_ARGS that make libtpu write its schedules into a folder; libtpu reads them once, when it is loaded."""
  return f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true --xla_jf_dump_llo_pass_label_regex=final_bundles"


def computations(text: str, schedules: Iterable[pathlib.Path]) -> list[Computation]:
  """The computations of one optimizer step for which the compiler has an estimate, the longest first.

  Args:
    text: of the compiled program.
    schedules: files that libtpu wrote while it compiled it.

  Raises:
    ValueError: a computation's schedule is missing.
  """
  found = hlo.estimates(text)
  paths = {re.fullmatch(rf"\d+-(.*)-\d\d{_FINAL}", path.name)[1]: path for path in schedules
           if path.name.endswith(_FINAL) and "schedule-analysis" not in path.name}
  # The compiler schedules only the first of several equal ones.
  alike = {(e.type, e.cycles): scheduled_cycles(paths[e.name].read_text()) for e in found if e.name in paths}
  times = collections.Counter()
  for e in found:
    if (key := (e.type, e.cycles)) not in alike:
      raise ValueError(f"no schedule of {e.name} = {e.type}")
    times[key] += e.times
  made = [Computation(type_, number, alike[type_, estimated], estimated)
          for (type_, estimated), number in times.items()]
  return sorted(made, key=lambda c: -c.times * c.scheduled)


def scheduled_cycles(text: str) -> int:
  """The cycles of a schedule's bundles; bundles in a loop count once per iteration."""
  bundles = collections.Counter(match[1].count(">") for match in _BUNDLE.finditer(text))
  iterations = collections.defaultdict(lambda: 1)
  for match in _COUNTER.finditer(text):
    depth = _BUNDLE.match(text, text.rfind("\n", 0, match.start()) + 1)[1].count(">")
    bounds = re.findall(rf"scmp\.(?:ge|lt)\.s32\.totalorder %{match[1]}, (\d+)", text)
    iterations[depth] = max(map(int, bounds), default=1)
  total = 0
  for depth, number in bundles.items():
    for outer in range(1, depth + 1):
      number *= iterations[outer]
    total += number
  return total


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  config, = cases.configs()
  with tempfile.TemporaryDirectory() as folder:
    os.environ["LIBTPU_INIT_ARGS"] = libtpu_args(folder)
    mesh = sharding.make_mesh(list(chips.Slice.parse(_TOPOLOGY.value).devices()))
    made, _ = cases.make_program(config, mesh)
    found = computations(made.compile_steps().as_text(), pathlib.Path(folder).iterdir())

  def row(times, scheduled, estimated, result):
    us = [f"{1e6 * cycles / _CLOCK_HZ:,.1f}" for cycles in (scheduled, estimated)]
    return {"times a step": times, "schedule, us": us[0], "estimate, us": us[1], "result": result}

  rows = [row(c.times, c.scheduled, c.estimated, re.sub(r"\{.*?\}", "", c.type)) for c in found[:_TOP.value]]
  rows.append(row("the step", *(sum(c.times * cycles(c) for c in found) for cycles in (
      lambda c: c.scheduled, lambda c: c.estimated)), f"all {len(found)} kinds"))
  measure.report(f"Training step of {config.name} on {_TOPOLOGY.value}", rows)


if __name__ == "__main__":
  cli.run(main)
