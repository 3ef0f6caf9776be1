# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Solving many puzzles: in batches, with a file of all answers and a few pictures. test_cli.py has the flags."""

import csv
import json

from flax import nnx
import jax
import numpy as np
import pytest

from trm_jax import solve
from trm_jax.model import TRM, TRMConfig
from trm_jax.runtime import workdir as workdir_lib
from trm_jax.tasks.sudoku import csv_files
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask
from trm_jax.training import attempts

N, TASK = 10, SudokuTask(SudokuData(box=2))


@pytest.fixture(scope="module", name="puzzles")
def _puzzles():
  return generate.generate_splits(box=2, num_train=N, num_validation=0, num_test=0, num_clues=9, seed=0)["train"]


@pytest.fixture(scope="module", name="model")
def _model():
  config = TRMConfig(vocab_size=6, seq_len=16, num_puzzle_identifiers=2, hidden_size=8, num_heads=2, L_layers=1,
                     H_cycles=1, L_cycles=1, puzzle_emb_ndim=8, puzzle_emb_len=1, halt_max_steps=3, dtype="float32")
  model = TRM(config, rngs=nnx.Rngs(0))
  for key, parameter in enumerate((model.puzzle_emb, model.q_head)):  # both begin as zeros
    parameter[...] = jax.random.normal(jax.random.key(key), parameter.shape)
  return model


def test_all_answers_are_in_a_file_and_a_few_are_drawn(model, puzzles, parse, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(solve, "_AT_ONCE", 4)
  parse("--show=5")
  with workdir_lib.Workdir(tmp_path, main=True, flag="--out") as out:
    solve._solve(model, TASK, puzzles, True, out)
  assert {path.name for path in tmp_path.iterdir()} == {"answers.csv", *(f"{i}.png" for i in range(1, 6))}
  answers = attempts.every_answer(model, TASK, puzzles).answers[-1]
  with (tmp_path / "answers.csv").open() as f:
    rows = list(csv.DictReader(f))
  assert [list(row) for row in rows] == [["question", "answer", "solved"]] * N
  for row, question, answer in zip(rows, puzzles.inputs, answers):
    assert row["question"] == "".join(" .1234"[token] for token in question)
    assert row["answer"] == "".join(" .1234"[token] for token in answer)
    assert row["solved"] == str(int(TASK.solves(question, answer)))
  printed = capsys.readouterr().out
  assert printed.count("picture: ") == 5
  num_solved = sum(row["solved"] == "1" for row in rows)
  assert f"solving: {num_solved} of {N} solved, every row, column and box checked" in printed
  assert printed.endswith(f"all answers: {tmp_path}/answers.csv; of them the first 5 are shown and drawn (--show=5)\n")


def test_puzzles_of_a_data_set_keep_their_identifiers(puzzles, parse, tmp_path):
  folder = tmp_path / "test"
  folder.mkdir()
  (folder / "dataset.json").write_text(json.dumps({
      "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 6, "seq_len": 16,
      "num_puzzle_identifiers": 4, "total_groups": 3, "mean_puzzle_examples": 1, "total_puzzles": 3, "sets": ["all"]}))
  for field, array in {"inputs": puzzles.inputs[:3], "labels": puzzles.labels[:3], "puzzle_identifiers": [3, 1, 2],
                       "puzzle_indices": [0, 1, 2, 3], "group_indices": [0, 1, 2, 3]}.items():
    np.save(folder / f"all__{field}.npy", np.asarray(array))
  parse("--num=2")
  chosen, labelled = solve._chosen(SudokuTask(SudokuData(source=str(tmp_path), box=2)))
  assert labelled and chosen.puzzle_identifiers.tolist() == [3, 1]
  np.testing.assert_array_equal(chosen.inputs, puzzles.inputs[:2])
  np.testing.assert_array_equal(chosen.labels, puzzles.labels[:2])


def test_puzzles_of_a_file_and_of_the_command_line(puzzles, parse, tmp_path):
  csv_files.write_csv(tmp_path / "some.csv", puzzles, source="made")
  parse(f"--csv={tmp_path}/some.csv", "--num=100")
  chosen, labelled = solve._chosen(TASK)
  np.testing.assert_array_equal(chosen.inputs, puzzles.inputs)
  np.testing.assert_array_equal(chosen.labels, puzzles.labels)
  assert labelled and not chosen.puzzle_identifiers.any()
  parse("--puzzle=1...3..4.3..4..2", "--puzzle=0000000000000001")
  chosen, labelled = solve._chosen(TASK)
  assert chosen.inputs.tolist() == [[2, 1, 1, 1, 4, 1, 1, 5, 1, 4, 1, 1, 5, 1, 1, 3], [1] * 15 + [2]]
  assert not labelled and chosen.puzzle_identifiers.tolist() == [0, 0]
