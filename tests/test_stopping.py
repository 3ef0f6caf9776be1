# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""However a run is stopped, and whatever becomes of its terminal, it loses nothing. Real runs of a tiny model.

Every way to stop at every place: stop_often.py, by hand.
"""

import json

import jax
import jobs
import numpy as np
import pytest
import stops

STEPS = stops.CONFIG["steps"]


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory):
  with stops.Server(tmp_path_factory.mktemp("compiled")) as server:
    yield server


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed(server, tmp_path_factory):
  """The folder of a run that nobody stopped."""
  workdir = tmp_path_factory.mktemp("undisturbed") / "run"
  ran = server.run(workdir, "training", ("no reader",))
  assert ran["status"] == 0, ran
  return workdir


def test_a_run_outlives_its_reader(undisturbed):
  assert json.loads((undisturbed / "results.json").read_text())["step"] == STEPS


@pytest.mark.parametrize("place, events, status", [
    ("start", ("TERM", "HUP"), 75),
    ("puzzles", ("no reader", "INT"), 130),
    ("compiling", ("no terminal", "HUP"), 75),
    ("in C++", ("INT", "INT"), 130),
    ("in C++", ("full disk", "TERM"), 75),
])
def test_before_the_first_step_a_signal_ends_a_run_at_once(server, tmp_path, place, events, status):
  ran = server.run(tmp_path / "run", place, events)
  assert (ran["status"], ran["step"]) == (status, 0), ran
  assert "Traceback" not in ran["output"], ran
  outputs_were_lost = len(events[0]) > 4
  assert outputs_were_lost or ran["output"].endswith(
      f"\nSIG{events[0]}: stopping at once, since nothing is left to save\n"), ran


def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_was_not(server, undisturbed, tmp_path):
  saved = 0
  for place, events, status in [
      ("first step", ("INT", "INT"), 130),  # one press, which comes from the terminal and from whoever started it
      ("training", ("no reader", "INT"), 130),  # | tee log
      ("evaluating", ("no terminal", "HUP", "TERM"), 75),
      ("saving", ("stopped reader", "TERM", "HUP", "TERM"), 75),
      ("testing", ("full disk", "TERM"), 75),
      ("drawing", ("INT",), 130),
  ]:
    ran = server.run(tmp_path / "run", place, events)
    assert ran["status"] == status and ran["step"] is not None, (place, ran)
    assert "Traceback" not in ran["output"], ran
    saved, before = jobs.newest(tmp_path / "run"), saved
    assert saved >= max(ran["step"], before), ran
    assert "; Ctrl-C again stops at once\n" in ran["output"] or place != "first step"
  assert saved == STEPS
  ran = server.run(tmp_path / "run", "testing", ("HUP",), lost="closed", ignored="HUP")  # nohup … >&-
  assert ran["status"] == 0 and ran["step"] == STEPS, ran
  jax.tree.map(np.testing.assert_array_equal, jobs.state(tmp_path / "run", STEPS), jobs.state(undisturbed, STEPS))
  assert jobs.records(tmp_path / "run") == jobs.records(undisturbed)


def test_a_second_ctrl_c_stops_at_once(server, tmp_path):
  ran = server.run(tmp_path / "run", "training", ("INT", "1.2", "INT"))
  assert ran["status"] == 130, ran
  assert ran["output"].endswith("\nSIGINT: stopping at once\n") and "Traceback" not in ran["output"], ran
  assert not jobs.newest(tmp_path / "run")
