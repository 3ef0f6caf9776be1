# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Where compiled programs are kept from one start to the next: JAX's persistent compilation cache."""

import os

import jax

from trm_jax.runtime import buckets
from trm_jax.runtime import files
from trm_jax.runtime import paths

_FOLDER = "compilation_cache"


def enable(workdir: os.PathLike | str | None = None) -> None:
  """Has JAX keep what it compiles from now on, and take what it has kept.

  Does nothing where JAX was told a folder (JAX_COMPILATION_CACHE_DIR), nor on a CPU: JAX finds a program again by what
  was compiled, and for a CPU that says nothing of the machine, so that one with other instructions might be given it.

  Args:
    workdir: of the run. What several processes compile is kept beside it, for the runs there share it, only process 0
      writes, and all processes have to find the same; so it is where the run is in a bucket, which outlasts this
      machine's disk. Everything else is kept on this machine.

  Raises:
    UserError: see paths.user_path.
  """
  if jax.config.jax_compilation_cache_dir is not None or jax.default_backend() == "cpu":
    return
  remote = workdir is not None and buckets.is_remote(workdir)
  if jax.process_count() == 1 and not remote:
    path = files.cache_folder() / _FOLDER
  elif workdir is not None:
    path = paths.beside(workdir, _FOLDER)
  else:
    return
  jax.config.update("jax_compilation_cache_dir", os.fspath(path))
  if remote:
    # XLA would keep its own measurements of GPU kernels in a folder of it, and writes to none but local ones.
    jax.config.update("jax_persistent_cache_enable_xla_caches", None)
