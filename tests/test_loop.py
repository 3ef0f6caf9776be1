# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Whole runs of a tiny model: resuming, refusing, reporting. Eight fake devices; equal programs are compiled once."""

import collections
import dataclasses
import json
import pathlib
import shutil
import signal

import chex
from etils import epath
from flax import nnx
import jax
import numpy as np
import pytest
import tfevents
import tiny

from trm_jax import boards
from trm_jax import config as config_lib
from trm_jax import evaluate
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.runtime import exit_status
from trm_jax.training import checkpoint
from trm_jax.training import loop
from trm_jax.training import metrics_log

STEPS = 8

pytestmark = pytest.mark.usefixtures("shared_programs")


def tiny_config(**changes):
  return tiny.config(**{
      "data__num_train": 50, "data__num_validation": 13, "data__num_test": 21, "data__num_clues": 9,
      "model__hidden_size": 16, "model__H_cycles": 2, "model__puzzle_emb_ndim": 16, "model__halt_max_steps": 3,
      "optimizer__learning_rate": 1e-2, "optimizer__warmup_steps": 2, "optimizer__ema_rate": 0.5, "steps": STEPS,
      "batch_size": 16, "log__every": 2, "eval__every": 4, "eval__batch_size": 16, "save__every": 2,
      "save__average": 2} | changes)


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
  """Of all runs, only `finished` and those in a bucket draw, since that takes longer than their steps."""
  if "bucket" not in request.fixturenames:
    monkeypatch.setattr(loop, "_pictures", lambda *_: None)
    monkeypatch.setattr(boards, "answers_picture", lambda *_: np.zeros((1, 1, 3), np.uint8))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shared_programs):
  """A run of eight steps that nothing disturbed, the fifth of them traced, and its results."""
  folder = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)  # Most people name a relative path.
    return folder / "workdir", loop.run(tiny_config(log__profile_from=4, log__profile_steps=1), "workdir")


def arrays_of(workdir, step):
  """Everything the checkpoint of a step holds, as saved."""
  import orbax.checkpoint as ocp

  return ocp.StandardCheckpointer().restore(workdir / "checkpoints" / str(step) / "state")


def without_times(records):
  timed = ("train/examples_per_s", "train/step_ms", "train/seconds", "train/peak_memory_gib", "compile_s")
  return [{name: v for name, v in r.items() if name not in timed} for r in records if "compile_s" not in r]


# jaxlib's classes on Python 3.12; raised, it would abort the process.
ignore_event_stats = pytest.mark.filterwarnings("ignore:builtin type event_stats:DeprecationWarning")


def traced(workdir):
  """What the devices did while they were traced: the number of steps, and the programs' names."""
  [trace] = (workdir / "tensorboard" / "plugins" / "profile").glob("*/*.xplane.pb")
  operations, programs = collections.Counter(), set()
  for plane in jax.profiler.ProfileData.from_file(str(trace)).planes:
    for line in plane.lines:
      for event in line.events:
        stats = dict(event.stats)
        if "hlo_op" in stats:
          programs.add(stats["hlo_module"])
          operations[stats["hlo_op"]] += stats["hlo_module"] == "jit_steps"
  # Most operations come once a step on each device.
  [(most, _)] = collections.Counter((+operations).values()).most_common(1)
  return most / jax.device_count(), programs


def test_a_run_leaves_what_it_promises(finished):
  workdir, results = finished
  files = {path.name for path in workdir.iterdir()}
  assert files == {"config.json", "parameters.txt", "metrics.jsonl", "tensorboard", "checkpoints", "results.json",
                   "learning_curve.png", "solved.png"}
  assert json.loads((workdir / "results.json").read_text()) == results
  assert results["step"] == STEPS and results["test"]["num_puzzles"] == 21
  assert len(results["test"]["by_step"]["exact_accuracy"]) == 3
  records = metrics_log.read_metrics(workdir / "metrics.jsonl")
  train = [r for r in records if "train/loss" in r]
  assert [r["step"] for r in train] == [2, 4, 6, 8]
  for name in ("loss", "grad_norm", "lr", "examples_per_s", "step_ms", "peak_memory_gib", "lm_loss", "q_halt_loss"):
    assert all(np.isfinite(r[f"train/{name}"]) for r in train), name
  np.testing.assert_allclose(train[-1]["train/lr"], 1e-2)
  assert [r["step"] for r in records if "validation/exact_accuracy" in r] == [4, 8]
  events = tfevents.values(workdir / "tensorboard")
  assert [step for step, _ in events["validation/answers"]] == [4, 8]
  assert {"_hparams_/session_start_info", "_hparams_/session_end_info", "config/text_summary"} < set(events)
  assert "Total: " in (workdir / "parameters.txt").read_text()
  config = json.loads((workdir / "config.json").read_text())
  assert config_lib.parse(config["config"]) == tiny_config(log__profile_from=4, log__profile_steps=1)
  assert config["total_steps"] == STEPS


@pytest.mark.parametrize("killed", ["while it saved", "after it evaluated"])
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(finished, tmp_path, capsys, killed):
  workdir, results = finished
  cut = tmp_path / "cut"
  shutil.copytree(workdir, cut)
  (cut / "results.json").unlink()
  if killed == "while it saved":  # step 8, which was evaluated and noted as such, with step 6 before it
    for step in (6, 8):
      shutil.rmtree(cut / "checkpoints" / str(step))
    with (cut / "metrics.jsonl").open("a") as f:
      f.write('{"step": 8, "test/lo')
  else:  # and recorded it, but had not noted it; so it was saved before, as a run that is told to stop does
    (cut / "checkpoints" / "evaluations.json").unlink()
    checkpoint.Checkpoints(cut / "checkpoints").add_evaluation(4, 0.0)
  resumed = loop.run(tiny_config(), cut)
  assert f"going on from the checkpoint of step {4 if killed == 'while it saved' else 8}" in capsys.readouterr().out
  assert (cut / "checkpoints" / "evaluations.json").read_bytes() == (
      workdir / "checkpoints" / "evaluations.json").read_bytes()
  jax.tree.map(np.testing.assert_array_equal, arrays_of(cut, STEPS), arrays_of(workdir, STEPS))
  assert resumed["test"] == results["test"]
  assert without_times(metrics_log.read_metrics(cut / "metrics.jsonl")) == without_times(
      metrics_log.read_metrics(workdir / "metrics.jsonl"))


@pytest.mark.parametrize("last", [4, STEPS])
def test_a_resumed_run_without_validation_puzzles_has_all_its_records(tmp_path, last):
  """Those of test puzzles on the way, which have the names of those at the end."""
  config = tiny_config(data__num_validation=0)
  loop.run(config, tmp_path / "whole")
  cut = tmp_path / "cut"
  shutil.copytree(tmp_path / "whole", cut)
  (cut / "results.json").unlink()
  for step in range(last + 1, STEPS + 1):
    shutil.rmtree(cut / "checkpoints" / str(step), ignore_errors=True)
  loop.run(config, cut)
  records = [without_times(metrics_log.read_metrics(folder / "metrics.jsonl")) for folder in (tmp_path / "whole", cut)]
  assert records[0] == records[1]
  assert sum("test/accuracy" in record for record in records[0]) == 3


@ignore_event_stats
def test_a_trace_holds_exactly_the_chosen_steps(finished):
  """Of a run that evaluates and saves before them, and is as one that is not traced (below)."""
  num_steps, programs = traced(finished[0])
  assert num_steps == 1
  assert programs <= {"jit_steps", "jit__lambda"}  # the latter is what processes agree by


@pytest.mark.parametrize("change, message", [
    (dict(log__profile_from=6, log__profile_steps=3),
     "config.log.profile_steps = 3, config.log.profile_from = 6: the run has only 8 "),
    (dict(log__profile_from=3, log__profile_steps=2, save__every=9),
     r"step 4 ends with .* \(config.eval.every: every 4 steps\)"),
    (dict(log__profile_from=4, log__profile_steps=3), r"step 6 ends with .* \(config.save.every: every 2 steps\)"),
    (dict(log__profile_from=4, log__profile_steps=2, depth_schedule="0:1x1,0.6:2x1"), "begins a stage after step 5"),
])
def test_steps_that_cannot_be_traced_alone(tmp_path, change, message):
  with pytest.raises(UserError, match=message):
    loop.run(tiny_config(**change), tmp_path)


@ignore_event_stats
@pytest.mark.parametrize("doing, at_step", [("training", 3), ("evaluating", 4), ("testing", STEPS)])
def test_a_run_that_is_told_to_stop_saves_and_goes_on_as_if_it_had_not(
    finished, tmp_path, monkeypatch, capsys, doing, at_step):
  """Wherever the signal comes: nothing is repeated, nothing is lost, the best checkpoint included."""
  workdir, results = finished
  safe_point = loop.SafePoint.__call__

  def told_to_stop(self, now_doing, step_seconds):
    if now_doing == doing and self.position.step >= at_step:
      self.signals.received = signal.SIGTERM
      self.agreement.exchange([1, 0, 0])  # in the place of another call, for what is agreed on comes one call later
    return safe_point(self, now_doing, step_seconds)

  profile = dict(log__profile_from=2, log__profile_steps=2)  # the first signal comes between the two
  with monkeypatch.context() as patch:
    patch.setattr(loop.SafePoint, "__call__", told_to_stop)
    patch.setattr(loop, "_CALL_SECONDS", 0)
    with pytest.raises(exit_status.Interrupted) as e:
      loop.run(tiny_config(**profile), tmp_path)
  assert e.value.status == 75
  saved = checkpoint.Checkpoints(tmp_path / "checkpoints", read_only=True).latest_step()
  assert saved == at_step and f"stopped at step {at_step}, saved" in capsys.readouterr().out
  resumed = loop.run(tiny_config(**profile), tmp_path)
  said = capsys.readouterr().out
  assert f"no step is traced: config.log.profile_from = 2, but {at_step} steps are done already" in said
  traced(tmp_path)  # there is one trace
  jax.tree.map(np.testing.assert_array_equal, arrays_of(tmp_path, STEPS), arrays_of(workdir, STEPS))
  assert without_times(metrics_log.read_metrics(tmp_path / "metrics.jsonl")) == without_times(
      metrics_log.read_metrics(workdir / "metrics.jsonl"))
  assert {k: v for k, v in resumed.items() if k != "train_seconds"} == {
      k: v for k, v in results.items() if k != "train_seconds"}


@ignore_event_stats
def test_checkpoints_by_minutes(tmp_path, monkeypatch):
  """As often as calls end, if that little time is asked for, but not while steps are traced; none but that of the end
  if time does not matter."""
  monkeypatch.setattr(loop, "_CALL_SECONDS", 0)
  steps = {}
  for minutes in (1e-9, 0.0):
    loop.run(tiny_config(save__every=1000, eval__every=STEPS, save__minutes=minutes, log__profile_from=3,
                         log__profile_steps=3 * (minutes > 0)), tmp_path / str(minutes))
    steps[minutes] = checkpoint.Checkpoints(tmp_path / str(minutes) / "checkpoints", read_only=True).steps()
  assert steps[0.0] == [STEPS]
  assert len(steps[1e-9]) > 2 and not {4, 5} & set(steps[1e-9])
  assert traced(tmp_path / "1e-09")[0] == 3  # in three calls


def test_damaged_results_are_made_again_from_the_checkpoint(finished, tmp_path, capsys):
  workdir, results = finished
  shutil.copytree(workdir, tmp_path / "run")
  path = tmp_path / "run" / "results.json"
  path.write_bytes(path.read_bytes()[:-9])
  assert loop.run(tiny_config(), tmp_path / "run")["test"] == results["test"]
  assert f"warning: {path}: is cut off in line " in capsys.readouterr().err
  assert json.loads(path.read_text())["test"] == results["test"]


def test_a_finished_run_is_not_trained_again(finished, capsys):
  workdir, results = finished
  before = (workdir / "metrics.jsonl").read_bytes()
  assert loop.run(tiny_config(), workdir) == results
  assert "this run is finished" in capsys.readouterr().out
  assert (workdir / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("change, named", [
    ({"optimizer__learning_rate": 2e-2}, "optimizer.learning_rate: 0.01 -> 0.02"),
    ({"model__L_cycles": 2}, "model.L_cycles: 1 -> 2"),
    ({"data__seed": 1, "seed": 3}, "data.seed: 0 -> 1; seed: 0 -> 3"),
    ({"batch_size": 8}, "batch_size: 16 -> 8"),
])
def test_another_run_in_the_same_folder_is_refused_by_name(finished, change, named):
  workdir, _ = finished
  saved_config = (workdir / "config.json").read_bytes()
  with pytest.raises(UserError) as e:
    loop.run(tiny_config(**change), workdir)
  assert str(e.value) == (f"{workdir}: holds another run; it differs in {named}. Name another folder, or give the "
                          "values it was started with")
  assert (workdir / "config.json").read_bytes() == saved_config


def _contents(folder):
  return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_fetched_is_written_over_by_nobody(finished, tmp_path, capsys):
  """launch/fetch leaves the checkpoints where they are."""
  fetched = tmp_path / "fetched"
  shutil.copytree(finished[0], fetched, ignore=shutil.ignore_patterns("checkpoints"))
  before = _contents(fetched)
  with pytest.raises(UserError, match="holds another run; it differs in seed: 0 -> 5"):
    loop.run(tiny_config(seed=5), fetched)
  assert loop.run(tiny_config(), fetched) == finished[1]
  assert "this run is finished" in capsys.readouterr().out
  assert _contents(fetched) == before
  (fetched / "results.json").unlink()
  del before[pathlib.Path("results.json")]
  with pytest.raises(UserError, match=f"^{fetched}: this run has begun, but its checkpoints are not here: it can"):
    loop.run(tiny_config(), fetched)
  assert _contents(fetched) == before


def test_checkpoints_alone_say_whose_they_are(finished, tmp_path):
  shutil.copytree(finished[0] / "checkpoints", tmp_path / "checkpoints")
  with pytest.raises(UserError, match=f"^{tmp_path}/checkpoints: holds another run; it differs in batch_size: 16 -> 8"):
    loop.run(tiny_config(batch_size=8), tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_a_run_does_not_go_on_with_other_puzzles(finished, tmp_path):
  """Its source gives others than it gave when the run began."""
  run = tmp_path / "run"
  shutil.copytree(finished[0], run)
  saved = json.loads((run / "config.json").read_text())
  assert set(saved["puzzles"]) == {"train", "validation", "test"}
  for name in ("train", "test"):
    (run / "config.json").write_text(json.dumps(saved | {"puzzles": saved["puzzles"] | {name: "other"}}))
    word = {"train": "training"}.get(name, name)
    with pytest.raises(UserError, match=f"^{run}: holds this run with other puzzles: config.data.source = 'generated' "
                       f"does not give the same {word} puzzles any more; "):
      loop.run(tiny_config(), run)


def test_files_of_a_strangers_are_not_written_over(tmp_path):
  """As with --workdir=. in a project of another kind."""
  (tmp_path / "config.json").write_text('{"lr": 1}')
  with pytest.raises(UserError, match=f"^{tmp_path}/config.json: has no config or no total_steps; it belongs"):
    loop.run(tiny_config(), tmp_path)
  assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"config.json": '{"lr": 1}'}


# aiohttp says so of gcsfs's way to send more than 1 MiB (a trace here); it is no leak.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_run_in_a_bucket_is_stopped_resumed_evaluated_and_equal_to_one_on_disk(
    finished, bucket, monkeypatch, capsys):
  workdir, results = finished
  path = f"gs://{bucket}/runs/tiny"
  safe_point = loop.SafePoint.__call__

  def told_to_stop(self, doing, step_seconds):
    if self.position.step >= 5:
      self.signals.received = signal.SIGTERM
    return safe_point(self, doing, step_seconds)

  with monkeypatch.context() as patch:
    patch.setattr(loop.SafePoint, "__call__", told_to_stop)
    with pytest.raises(exit_status.Interrupted):
      loop.run(tiny_config(log__profile_from=2, log__profile_steps=2), path)
  remote = epath.Path(path)
  assert list((remote / "tensorboard" / "plugins" / "profile").glob("*/*.xplane.pb"))
  assert {"metrics.jsonl", "config.json", "checkpoints"} <= {p.name for p in remote.iterdir()}
  resumed = loop.run(tiny_config(), path)
  assert "going on from the checkpoint of step" in capsys.readouterr().out
  jax.tree.map(np.testing.assert_array_equal, arrays_of(remote, STEPS), arrays_of(workdir, STEPS))
  assert without_times(metrics_log.read_metrics(remote / "metrics.jsonl")) == without_times(
      metrics_log.read_metrics(workdir / "metrics.jsonl"))
  assert resumed["test"] == results["test"] == json.loads((remote / "results.json").read_text())["test"]
  assert {p.name for p in remote.iterdir()} == {p.name for p in workdir.iterdir()}
  assert evaluate.run(path, None) == results["test"]
  assert loop.run(tiny_config(), path) == resumed  # finished: nothing more is done


def test_a_damaged_checkpoint_stops_the_run_and_is_named(finished, tmp_path):
  cut = tmp_path / "cut"
  shutil.copytree(finished[0], cut)
  (cut / "results.json").unlink()  # or it would be finished
  for file in (cut / "checkpoints" / "8" / "state").rglob("*"):
    if file.is_file():
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  with pytest.raises(UserError, match=r"checkpoints/8: damaged .* step 6 is whole"):
    loop.run(tiny_config(), cut)


@pytest.mark.parametrize("told", [False, True], ids=["", "at a signal"])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path, monkeypatch, told):
  """Whether it is looked at after the next call or, when the run is told to stop in between, before it saves."""
  safe_point = loop.SafePoint.__call__

  def told_to_stop(self, doing, step_seconds):
    if self.position.step >= 2:
      self.signals.received = signal.SIGTERM
      self.agreement.exchange([1, 0, 0])
    return safe_point(self, doing, step_seconds)

  if told:
    monkeypatch.setattr(loop.SafePoint, "__call__", told_to_stop)
  with pytest.raises(UserError, match=r"not finite at step (\d+); the last good checkpoint is") as e:
    loop.run(tiny_config(optimizer__learning_rate=1e38, optimizer__warmup_steps=0), tmp_path)
  saved = checkpoint.Checkpoints(tmp_path / "checkpoints").steps()
  bad = int(str(e.value).split("at step ")[1].split(";")[0])
  assert all(step < bad for step in saved)


def test_a_checkpoint_evaluates_as_the_run_did(finished, capsys):
  workdir, results = finished
  metrics = evaluate.run(str(workdir), None)
  assert metrics == results["test"]
  assert "supervision step   solved    cells" in capsys.readouterr().out


def test_the_mean_of_the_last_checkpoints(finished):
  workdir, results = finished
  expected = jax.tree.map(lambda a, b: (a + b) / 2, *(arrays_of(workdir, step)["params"] for step in (6, 8)))
  model = weights.load(str(workdir), average=2).model
  found = nnx.to_pure_dict(nnx.state(model, nnx.Param))
  chex.assert_trees_all_close(jax.tree.leaves(found), jax.tree.leaves(expected), rtol=1e-6)
  metrics = evaluate.run(str(workdir), None, average=2)
  assert results["test_average"] == {"num_checkpoints": 2, **metrics}
  [record] = [r for r in metrics_log.read_metrics(workdir / "metrics.jsonl") if "test_average/accuracy" in r]
  assert record["step"] == STEPS and record["test_average/accuracy"] == metrics["accuracy"]
  assert metrics["accuracy"] != results["test"]["accuracy"]  # of the moving average
  with pytest.raises(UserError, match="the mean of 9 checkpoints is asked for, but only 4 are there"):
    weights.load(str(workdir), average=9)


def test_a_run_begins_with_another_runs_weights_and_trains_the_table_alone(finished, tmp_path, capsys):
  """Of a task whose rows have no names; the network stays bit for bit what the first run's average was."""
  workdir, _ = finished
  loop.run(tiny_config(init_from=str(workdir), optimizer__train="prefix"), tmp_path / "run")
  assert f"begins with the averaged weights of step {STEPS} of {workdir}; 1 of 1 rows" in capsys.readouterr().out
  first, second = (arrays_of(folder, STEPS) for folder in (workdir, tmp_path / "run"))
  chex.assert_trees_all_equal(second["params"], first["ema"])
  assert (second["prefix_table"]["puzzle_emb"] != first["prefix_table"]["puzzle_emb"]).any()


def test_a_depth_schedule(tmp_path, capsys):
  """Stages begin where they should, cost what they should, and a stop in either changes nothing."""
  schedule = dict(depth_schedule="0:1x1,0.6:2x1", eval__every=STEPS)  # the second begins after step 5
  loop.run(tiny_config(**schedule), tmp_path / "whole")
  assert "5/8  from here on H_cycles = 2, L_cycles = 1; compiled in" in capsys.readouterr().out
  records = [r for r in metrics_log.read_metrics(tmp_path / "whole" / "metrics.jsonl") if "train/flops" in r]
  model = tiny_config().model.sized(vocab_size=6, seq_len=16)
  shallow, deep = (16 * flops.train_step_flops(dataclasses.replace(model, H_cycles=T)) for T in (1, 2))
  assert [(r["step"], r["train/flops"]) for r in records] == [
      (2, 2 * shallow), (4, 4 * shallow), (6, 5 * shallow + deep), (8, 5 * shallow + 3 * deep)]
  for step in (4, 6):  # the newest checkpoint lies in the first stage, in the second
    cut = tmp_path / str(step)
    shutil.copytree(tmp_path / "whole", cut)
    (cut / "results.json").unlink()
    for later in range(step + 1, STEPS + 1):
      shutil.rmtree(cut / "checkpoints" / str(later), ignore_errors=True)
    loop.run(tiny_config(**schedule), cut)
    assert ("from here on" in capsys.readouterr().out) == (step == 4)
    jax.tree.map(np.testing.assert_array_equal, arrays_of(cut, STEPS), arrays_of(tmp_path / "whole", STEPS))


def test_a_workdir_below_a_file_is_one_clear_error(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="--workdir=.*cannot write here"):
    loop.run(tiny_config(), tmp_path / "file" / "run")


@pytest.mark.parametrize("changes, line", [
    ({}, "TRM mlp T=2 n=1 1x16 float32"),
    ({"H_layers": 3, "mlp_t": False, "gradient": "one_step"},
     "TRM attention T=2 n=1 one-step gradient (1+3)x16 float32"),
    ({"recursion": "multi_scale_z"}, "TRM mlp multi_scale_z T=2 n=1 1x16 float32"),
    ({"recursion": "none"}, "TRM mlp no recursion 1x16 float32"),
])
def test_a_model_in_one_line(changes, line):
  assert str(tiny_config(**{f"model__{name}": value for name, value in changes.items()}).model) == line


def test_a_batch_that_does_not_divide_names_the_neighbours(tmp_path):
  with pytest.raises(UserError, match=r"config.batch_size = 20: must be divisible by the 8 devices; use 16 or 24"):
    loop.run(tiny_config(batch_size=20), tmp_path)
