# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Chooses the folder of JAX's persistent compilation cache, which keeps compiled programs between starts."""

import os

import jax

from trm_jax.runtime import buckets
from trm_jax.runtime import files
from trm_jax.runtime import paths

_FOLDER = "compilation_cache"


def enable(workdir: os.PathLike | str | None = None) -> None:
  """Makes JAX keep the programs that it compiles from now on, and reuse those that it has kept.

  Does nothing if JAX was told a folder (JAX_COMPILATION_CACHE_DIR), nor on a CPU: the key of a cached program does not
  tell CPUs with different instructions apart, so that a machine might get a program that it cannot run.

  Args:
    workdir: of the run. The programs of several processes are kept beside it, since the runs there share them, only
      process 0 writes, and all processes must find the same. So are those of a run in a bucket, which outlasts this
      machine's disk. All other programs are kept on this machine.

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
    # Otherwise XLA would keep its measurements of GPU kernels in a subfolder, but it writes only to local folders.
    jax.config.update("jax_persistent_cache_enable_xla_caches", None)
