# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Formats the answer of preflight as a page about one run, or as a table of several."""

from collections.abc import Iterator, Sequence

from trm_jax.preflight.check import Answer
from trm_jax.runtime import console


def _slice(answer: Answer) -> str:
  return (f"{answer.topology} = {answer.accelerator_type}: {console.plural(answer.num_chips, 'chip')} on "
          f"{console.plural(answer.num_hosts, 'host')}")


def _short(answers: Sequence[Answer]) -> Iterator[str]:
  """Warns if the lower bounds say little."""
  if any(a.speed and a.speed.expected < 1e-3 for a in answers):
    yield ("steps shorter than a millisecond take longer than this: the time to start each operation is not counted")


def report(answer: Answer, utilization: float, price: float | None) -> Iterator[str]:
  """Lines of a page about one run."""

  def row(name: str, value: str, note: str = "") -> str:
    return f"  {name:<24}{value:>12}   {note}".rstrip()

  yield answer.verdict
  yield from answer.advice
  yield ""
  yield f"{answer.config} on {_slice(answer)}, mesh {answer.mesh}"
  yield (f"{answer.num_params:,} parameters, {answer.total_steps:,} steps of batch {answer.batch_size:,}"
         + (f", compiled in {answer.compile_seconds} s" if answer.compile_seconds else ""))
  yield from (f"assumed: {line}" for line in answer.assumptions)
  yield ""
  yield "memory of a chip"
  for name, num_bytes in sorted(answer.state_bytes.items(), key=lambda item: -item[1]):
    yield row(name, console.size(num_bytes))
  if memory := answer.memory:
    yield row("training data", console.size(memory.data))
    yield row("padding of these", console.size(memory.padding))
    yield row("code", console.size(memory.code))
    yield row("temporary, training", console.size(memory.training),
              f"{console.size(memory.kept)} of it for the backward pass")
    yield row("temporary, evaluation", console.size(memory.evaluation), "not at the same time")
    yield row("all", console.size(memory.total), f"of {console.size(memory.usable)} for programs; the chip has "
              f"{console.size(memory.published)}")
  yield ""
  yield "one optimizer step"
  yield row("matrix products", f"{console.count(answer.flops_per_step)}FLOP",
            f"{console.count(answer.flops_per_example)}FLOP an example, "
            f"{console.count(answer.flops_per_step / answer.num_chips)}FLOP a chip")
  if speed := answer.speed:
    for c in answer.collectives:
      yield row(c["kind"], console.size(c["bytes"]), f"on each chip, {c['times']} x among {c['devices']}")
    for name, floor, note in (("matrix units", speed.matrix, "at the peak rate of bfloat16"),
                              ("memory", speed.hbm, "state and kept results, read and written once at the peak rate"),
                              ("interconnect", speed.interconnect, "collectives, over all links at their peak rate")):
      yield row(f"at least, {name}", console.short_time(floor), note + (" <- binds" if name == speed.binding else ""))
    how = f"at {utilization:.0%} utilization, which is assumed, not measured"
    if speed.expected == speed.floor:
      how = f"bound by {speed.binding}, at its peak rate"
    yield row("expected", console.short_time(speed.expected),
              f"{how}: {answer.batch_size / speed.expected:,.0f} examples/s")
    if speed.compiler is not None:
      yield row("the compiler's sum", console.short_time(speed.compiler), "one operation after another, writes at "
                "about 310 GB/s: good for comparing two programs, too high for one")
    yield from (f"  {line}" for line in _short([answer]))
    yield ""
    yield f"the whole run, at {utilization:.0%} utilization"
    yield row("training", console.duration(answer.training_hours * 3600))
    yield row("evaluations", console.duration(answer.evaluation_hours * 3600))
    hours = answer.training_hours + answer.evaluation_hours
    yield row("all", f"{hours:,.2f} h", f"{hours * answer.num_chips:,.1f} chip hours")
    if answer.price is not None:
      yield row("price", f"{answer.price:,.2f}", f"at {price:g} a chip hour")
    yield ""
    yield "further time on a new slice"
    yield row("asking for the slice", "unmeasured", "minutes to days for a spot slice, and free")
    yield row("installing", "unmeasured", "launch/setup on all hosts at once: minutes, paid for")
    yield row("puzzles", "unmeasured", answer.puzzles)
    yield row("compiling", console.duration(answer.compile_seconds), "both programs, on this machine's CPU; kept for "
              "the next start")
    yield row("test at the end", console.duration(answer.test_hours * 3600), "of the evaluations above")
  yield ""
  yield "storage, uncompressed"
  yield row("a checkpoint", console.size(answer.checkpoint_bytes))
  yield row("bucket", console.size(answer.bucket_bytes), "the last checkpoints and the best")


def table(answers: dict[str, Answer | str], utilization: float) -> Iterator[str]:
  """Lines of a table of runs; an answer that is a string says why the run cannot be made."""
  made = [a for a in answers.values() if isinstance(a, Answer)]
  yield f"{sum(a.fits for a in made)} of {console.plural(len(answers), 'config')} fit" + (
      f" on {_slice(made[0])}" if made else "")
  yield ""
  rows = [("config", "batch", "steps", "a chip", "a step", "collectives", "at least", "binds",
           f"at {utilization:.0%}", "the run", "price", "checkpoint", "")]
  for name, a in answers.items():
    if isinstance(a, str):
      rows.append((name, *[""] * 11, a))
      continue
    cells = [name, f"{a.batch_size:,}", f"{a.total_steps:,}", "", console.count(a.flops_per_step) + "FLOP", *[""] * 6,
             console.size(a.checkpoint_bytes), "; ".join([a.verdict, *a.advice[-1:]])]
    if a.memory:
      cells[3] = f"{console.size(a.memory.total)} of {console.size(a.memory.usable)}"
      cells[5:11] = [console.size(sum(c["bytes"] for c in a.collectives)), console.short_time(a.speed.floor),
                     a.speed.binding, console.short_time(a.speed.expected),
                     console.duration(3600 * (a.training_hours + a.evaluation_hours)),
                     "" if a.price is None else f"{a.price:,.2f}"]
    if a.fits:
      cells[-1] = "fits"
    rows.append(tuple(cells))
  columns = [column for column in zip(*rows) if any(column[1:])]
  widths = [max(map(len, column)) for column in columns]
  for cells in zip(*columns):
    yield "  ".join(f"{cell:<{width}}" if i in (0, len(cells) - 1) else f"{cell:>{width}}"
                    for i, (cell, width) in enumerate(zip(cells, widths))).rstrip()
  yield from _short(made)
