# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Measures time and memory of importing the largest published weights (docs/published_weights.md).

    python -m benchmarks.import_published                       # ARC-AGI-1: 1.8 GB; --rows=1191730 for ARC-AGI-2

It makes such a file with random numbers, imports it in a separate process, as
`python -m trm_jax.interop import` does, and prints one line of JSON.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
import jax.numpy as jnp
import numpy as np

from trm_jax.interop import torch_zip

_ROWS = flags.DEFINE_integer("rows", 876_406, "Rows of the prefix table.", lower_bound=1)

# Number of tokens of each published model.
TOKENS = {"sudoku_mlp": 11, "sudoku_attention": 11, "maze": 6, "arc": 12}


def published_state(preset: str, rows: int = 1) -> dict[str, np.ndarray]:
  """Random numbers with the names, shapes and dtypes of the parameters that the reference saves.

  Args:
    preset: of TOKENS.
    rows: of the prefix table.
  """
  shapes = {"embed_tokens.embedding_weight": (TOKENS[preset], 512), "lm_head.weight": (TOKENS[preset], 512),
            "q_head.weight": (2, 512), "q_head.bias": (2,), "puzzle_emb.weights": (rows, 512)}
  for layer in (f"L_level.layers.{i}." for i in range(2)):
    if preset == "sudoku_mlp":
      shapes |= {f"{layer}mlp_t.gate_up_proj.weight": (1024, 97), f"{layer}mlp_t.down_proj.weight": (97, 512)}
    else:
      shapes |= {f"{layer}self_attn.qkv_proj.weight": (1536, 512), f"{layer}self_attn.o_proj.weight": (512, 512)}
    shapes |= {f"{layer}mlp.gate_up_proj.weight": (3072, 512), f"{layer}mlp.down_proj.weight": (512, 1536)}
  rng = np.random.default_rng(0)
  state = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
  state |= {name: rng.standard_normal(512, np.float32).astype(jnp.bfloat16) for name in ("H_init", "L_init")}
  return {f"_orig_mod.model.inner.{name}": array for name, array in state.items()}


def main(argv: list[str]) -> None:
  """Makes the file, imports it and prints the result."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "step_155718"
    with file.open("wb") as f:
      torch_zip.write(f, published_state("arc", _ROWS.value))
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "trm_jax.interop", "import", os.fspath(file), "--arch=arc",
                    f"--out={folder}/imported"], check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(json.dumps({"file_bytes": file.stat().st_size, "seconds": round(seconds, 1), "peak_bytes": peak}))


if __name__ == "__main__":
  app.run(main)
