# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Sudoku-Extreme from the Hugging Face hub (sapientinc/sudoku-extreme): 800 MB.

The checksums were copied from the hub's own file pages (train.csv of that revision; test.csv as shown for the same
upload in imone/sudoku-hard-v2, the data set's former name) and agree with other public projects that pin this revision.
"""

import functools

from trm_jax.data import hub
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import rules

SUDOKU_EXTREME = hub.Published(
    name="sudoku_extreme",
    title="Sudoku-Extreme",
    description="9x9 Sudoku puzzles with one solution each, most of them very hard.",
    homepage="https://huggingface.co/datasets/sapientinc/sudoku-extreme",
    base_url=("https://huggingface.co/datasets/sapientinc/sudoku-extreme/resolve/"
              "58942f96baeb572ca3127e2a9e9c70f330783d6b"),
    sha256={"train": "64b46674db0148e0d73a16346dadeb2b1c00824d3fca3f85b2ae7037f6b4b38e",
            "test": "a2fd52aea23d331d5b4ee723c856236e838a9fb9a70e66f4e0e0cf26c338c6a8"},
    num_puzzles={"train": 3_831_994, "test": 422_786},
    seq_len=81,
    vocab_size=rules.vocab_size(3),
    read_csv=functools.partial(csv_files.read_csv, box=3),
)
