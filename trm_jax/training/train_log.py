# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes training records from the sums that the devices have computed, and from the time that this took."""

from collections.abc import Callable
import resource
import time

import jax

from trm_jax.config import Config
from trm_jax.runtime import chips
from trm_jax.runtime import console
from trm_jax.runtime import distributed
from trm_jax.training import metrics_log
from trm_jax.training import train_step


class NotFinite(Exception):
  """A loss or gradient was not finite. Attributes: step, the first such step, counted from 1."""

  def __init__(self, step: int):
    super().__init__(step)
    self.step = step


class Records:
  """Writes and prints a record every `log.every` steps.

  Metrics are fetched one call late, so that the devices never wait for the host.

  Args:
    log: the log to write to.
    config: of the run.
    num_devices: of the job.
    total_steps: of the run.
    train_flops: see Program.train_flops.
    seconds: time spent on the run's steps before this start.

  Attributes:
    seconds: time spent on training steps.
    step_seconds: time of a step in the last call whose metrics were fetched; 0 before.

  Raises:
    NotFinite: a loss or gradient was not finite; raised by `called` and `flush`.
  """

  def __init__(self, log: metrics_log.MetricsLog, config: Config, num_devices: int, total_steps: int,
               train_flops: Callable[[int], int], seconds: float):
    self._log, self._batch_size, self._total_steps = log, config.batch_size, total_steps
    self._every = config.log.every
    self._num_devices = num_devices
    self._train_flops = train_flops
    self._peak = chips.peak_flops(jax.local_devices()[0])
    self._pending = None
    self._start = time.perf_counter()
    self._steps_since_start = 0
    self.seconds, self.step_seconds = seconds, 0.0
    self._window = [0, 0.0]  # steps and seconds since the last record
    self.resume()

  def resume(self) -> None:
    """Restarts the clock, after something other than training."""
    self._clock = time.perf_counter()

  def called(self, step: int, num_steps: int, metrics: train_step.Metrics) -> None:
    """Notes a call that has been dispatched, and processes the one before it.

    Args:
      step: the step that the call reaches.
      num_steps: of the call.
      metrics: returned by the call, still on the devices.
    """
    self.flush()
    self._pending = step, num_steps, metrics

  def flush(self) -> None:
    """Processes the call in flight."""
    pending, self._pending = self._pending, None
    if pending:
      self._look(*pending)

  def seconds_left(self, step: int) -> float:
    """Estimates the seconds until the end from the time so far, including evaluations."""
    return (time.perf_counter() - self._start) / max(1, self._steps_since_start) * (self._total_steps - step)

  def _look(self, step: int, num_steps: int, metrics: train_step.Metrics) -> None:
    sums = {name: value.item() for name, value in jax.device_get(metrics).items()}
    now = time.perf_counter()
    elapsed, self._clock = now - self._clock, now
    self.seconds += elapsed
    self.step_seconds = elapsed / num_steps
    self._steps_since_start += num_steps
    self._window = [self._window[0] + num_steps, self._window[1] + elapsed]
    if sums["bad_step"] >= 0:
      raise NotFinite(sums["bad_step"])
    if step % self._every == 0 or step == self._total_steps:
      self._write(step, sums, *self._window)
      self._window = [0, 0.0]

  def _write(self, step: int, sums: dict[str, float], steps_timed: int, elapsed: float) -> None:
    num_steps, finished = sums["num_steps"], max(sums["count"], 1)
    examples_per_s = steps_timed * self._batch_size / elapsed
    record = {
        "step": step,
        "loss": sums["loss"] / num_steps,
        "grad_norm": sums["grad_norm"] / num_steps,
        "lr": sums["lr"] / num_steps,
        "examples_per_s": examples_per_s,
        "step_ms": elapsed / steps_timed * 1000,
        "seconds": self.seconds,
        "flops": self._train_flops(step),
        "peak_memory_gib": _peak_memory_bytes() / 2**30,
        **{name: sums[name] / num_steps / self._batch_size
           for name in ("lm_loss", "q_halt_loss", "q_continue_loss", "extra_steps") if name in sums},
        **{name: sums[name] / num_steps for name in ("loss_scale", "skipped") if name in sums},
        **{name: sums[name] / finished
           for name in ("accuracy", "exact_accuracy", "q_halt_accuracy", "steps") if sums["count"]},
    }
    if self._peak:
      done = self._train_flops(step) - self._train_flops(step - steps_timed)
      record["flop_utilization"] = done / elapsed / self._num_devices / self._peak
    record = {f"train/{name}" if name != "step" else name: value for name, value in record.items()}
    self._log.write(record)
    if sums["count"]:  # otherwise no puzzle was finished in so few steps: nothing to show a person yet
      distributed.say(
          f"{at(step, self._total_steps)}  loss {record['train/loss']:.3f}  cells {record['train/accuracy']:.1%}  "
          f"solved {record['train/exact_accuracy']:.1%}  halted after {record['train/steps']:.1f}  "
          f"{examples_per_s:,.0f} examples/s  {console.duration(self.seconds_left(step))} left")


def at(step: int, total_steps: int) -> str:
  """The beginning of a line about a step."""
  return f"{step:>{len(f'{total_steps:,}')},}/{total_steps:,}"


def _peak_memory_bytes() -> float:
  """Peak bytes in use on this process's fullest device; on CPU, the peak resident memory of the process."""
  stats = [device.memory_stats() for device in jax.local_devices()]
  if all(stats):
    return max(s["peak_bytes_in_use"] for s in stats)
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
