# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A machine is shared out among programs that run side by side."""

import os

import pytest

from trm_jax.errors import UserError
from trm_jax.study import parts


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_every_core_belongs_to_one_part(monkeypatch, number):
  monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 1, 9, 3, 2})
  shared = parts.share_out(number, "cpu", 1, "--n")
  assert [core for part in shared for core in part.cores] == [1, 2, 3, 4, 9]
  sizes = [len(part.cores) for part in shared]
  assert len(sizes) == number and max(sizes) - min(sizes) <= 1
  assert not any(part.environment for part in shared)


@pytest.mark.parametrize("backend, variable, visible, shown", [
    ("gpu", "CUDA_VISIBLE_DEVICES", None, ["0", "1", "2"]),
    ("gpu", "CUDA_VISIBLE_DEVICES", "7,GPU-5,4,0", ["7", "GPU-5", "4"]),
    ("tpu", "TPU_VISIBLE_CHIPS", None, ["0", "1", "2"]),
])
def test_every_program_has_an_accelerator_of_its_own(monkeypatch, backend, variable, visible, shown):
  monkeypatch.delenv(variable, raising=False)
  if visible:
    monkeypatch.setenv(variable, visible)
  environments = [part.environment for part in parts.share_out(3, backend, 4, "--n")]
  assert [environment[variable] for environment in environments] == shown
  assert all(environment["JAX_NUM_PROCESSES"] == "1" for environment in environments)


@pytest.mark.parametrize("number, backend, reason", [
    (10_000, "cpu", "--n=10000: this machine has .* processor cores; ask for no more runs than that"),
    (9, "gpu", "--n=9: this machine has 8 GPUs; ask for no more runs than that"),
])
def test_no_more_parts_than_devices(number, backend, reason):
  with pytest.raises(UserError, match=f"^{reason}$"):
    parts.share_out(number, backend, 8, "--n")


def test_one_part_is_the_whole_machine():
  assert parts.split(1, "--n") == [parts.Part({}, None)]


def test_devices_that_are_not_there_are_a_mistake(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cuda")
  counted = "^--n=2: the devices of this machine cannot be counted: JAX_PLATFORMS=cuda: "
  with pytest.raises(UserError, match=counted) as e:
    parts.split(2, "--n")
  assert e.value.status == 2
