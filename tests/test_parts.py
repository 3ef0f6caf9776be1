# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A machine is shared out among programs that run side by side."""

import os

import pytest

from trm_jax import parts
from trm_jax.errors import UserError


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_every_core_belongs_to_one_part(monkeypatch, number):
  monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 1, 9, 3, 2})
  shared = parts.share_out(number, "cpu", 1, "--n")
  assert [core for part in shared for core in part.cores] == [1, 2, 3, 4, 9]
  sizes = [len(part.cores) for part in shared]
  assert len(sizes) == number and max(sizes) - min(sizes) <= 1
  assert not any(part.environment for part in shared)


@pytest.mark.parametrize("visible, shown", [(None, ["0,1", "2,3"]), ("7,GPU-5,4,0", ["7,GPU-5", "4,0"])])
def test_every_gpu_belongs_to_one_part(monkeypatch, visible, shown):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  if visible:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
  assert [dict(part.environment) for part in parts.share_out(2, "gpu", 4, "--n")] == [
      {"CUDA_VISIBLE_DEVICES": names} for names in shown]


@pytest.mark.parametrize("number, backend, count, reason", [
    (10_000, "cpu", 8, "--n=10000: this machine has .* processor cores; ask for no more runs than that"),
    (3, "gpu", 8, "--n=3: does not divide the 8 GPUs here"),
    (9, "gpu", 8, "--n=9: does not divide the 8 GPUs here"),
])
def test_what_cannot_be_shared_out(number, backend, count, reason):
  with pytest.raises(UserError, match=f"^{reason}$"):
    parts.share_out(number, backend, count, "--n")


def test_one_part_is_the_whole_machine():
  assert parts.split(1, "--n") == [parts.Part({}, None)]
