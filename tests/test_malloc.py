# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Memory that a program frees stays with the program. Numbers are page faults, which do not depend on the machine."""

import ctypes
import os
import subprocess
import sys

import pytest

if not hasattr(ctypes.CDLL(None), "mallopt"):
  pytest.skip("the C library is not glibc", allow_module_level=True)

# Takes 64 MiB, writes to it and frees it, five times; prints the page faults of the last.
PROGRAM = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(5):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = libc.malloc(2**26)
  libc.memset(block, 1, 2**26)
  libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(before: str, **environment: str) -> int:
  result = subprocess.run([sys.executable, "-c", before + PROGRAM], env=os.environ | environment, text=True, check=True,
                          stdout=subprocess.PIPE)
  return int(result.stdout)


def test_freed_memory_is_used_again():
  kept = "from trm_jax.runtime import malloc; malloc.keep_freed_memory()\n"
  assert _faults(kept) < 10
  assert _faults("") >= 2**26 // 2**16  # pages are of 64 KiB on some machines
  assert _faults(kept, MALLOC_TRIM_THRESHOLD_="131072") >= 2**26 // 2**16
  assert _faults(kept, GLIBC_TUNABLES="glibc.malloc.trim_threshold=131072") >= 2**26 // 2**16
