# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Has the C library keep memory that a program frees, for its next step."""

import ctypes
import os

# The kernel clears every page that it hands out. glibc takes large blocks from the kernel and gives them back as soon
# as they are freed, and XLA's CPU backend frees its temporary arrays after every call: a third to two thirds of the
# quick starts' time went into that (docs/performance.md). Numbers of glibc's malloc.h, and its largest values.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_THRESHOLDS = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_MMAP_THRESHOLD: 2**30}  # bytes


def keep_freed_memory() -> None:
  """Makes glibc keep freed blocks of up to 1 GiB, and up to 2 GiB of them, until the program ends.

  It does nothing where there is another C library, or where the user has set such a threshold by glibc's own variables.
  """
  if os.environ.keys() & {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} or (
      "_threshold" in os.environ.get("GLIBC_TUNABLES", "")):
    return
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt:
    for parameter, value in _THRESHOLDS.items():
      mallopt(parameter, value)
