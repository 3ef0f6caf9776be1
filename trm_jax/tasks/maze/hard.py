# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Maze-Hard from the Hugging Face hub (sapientinc/maze-30x30-hard-1k): 4 MB.

Revision and checksums are those that a public evaluator of both data sets pins and checks; its checksums of
Sudoku-Extreme equal those that we have from the hub itself, and a second public project pins the same revision. For
lack of a network they were not compared with the hub's own pages. A different file is refused in a message with both
checksums.
"""

import functools

from trm_jax.data import csv_files
from trm_jax.data import hub
from trm_jax.tasks.maze import rules

MAZE_HARD = hub.Published(
    name="maze_hard",
    title="Maze-Hard",
    description="Mazes of 30x30 cells whose shortest paths take more than 110 moves.",
    homepage="https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k",
    base_url=("https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k/resolve/"
              "549754de3d67eebe57b6b22c7d226b9412d55b07"),
    sha256={"train": "25f9e39b5aee16967da41ba63b2d1d75cf608c2360d8a1419d827f9859dbafa0",
            "test": "5120d52088fb3f8036e62e90103808a79ba58847d8601f9451f40991b0903a62"},
    num_puzzles={"train": 1_000, "test": 1_000},
    seq_len=900,
    vocab_size=rules.VOCAB_SIZE,
    read_csv=functools.partial(csv_files.read_csv, shape=(30, 30), alphabet=rules.CHARACTERS,
                               fault=functools.partial(rules.first_fault, shape=(30, 30))),
)
