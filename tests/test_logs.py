# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""metrics.jsonl, TensorBoard event files and lines on the terminal. Weights & Biases: test_wandb.py."""

import contextlib
import importlib
import io
import json
import os
import resource
import sys
import time

from matplotlib import image
import numpy as np
import pytest
from tensorboardX.proto import api_pb2
from tensorboardX.proto import event_pb2
from tensorboardX.proto import plugin_hparams_pb2
import tfevents

from trm_jax.errors import Damaged, UserError
from trm_jax.runtime import console
from trm_jax.training import metrics_log
from trm_jax.training import wandb_log

PIXELS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def _scalars(folder):
  """(step, tag, value) of every scalar, in the order of writing."""
  return [(event.step, value.tag, value.simple_value)
          for event in tfevents.read(folder) for value in event.summary.value if value.HasField("simple_value")]


def _write(workdir, records, *, resume_step=0):
  log = metrics_log.MetricsLog(workdir, resume_step=resume_step)
  for record in records:
    log.write(record)
  log.close()


def test_records_come_back(tmp_path):
  records = [{"step": 1, "loss": 0.5, "count": 3}, {"step": 2, "by_step": {"accuracy": [0.25, 1.0]}, "name": "ü"}]
  _write(tmp_path, records)
  assert metrics_log.read_metrics(tmp_path / "metrics.jsonl") == records
  assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path):
  log = metrics_log.MetricsLog(tmp_path, resume_step=0)
  log.write({"step": 1, "loss": 0.5})
  assert metrics_log.read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 0.5}]
  log.close()


def test_scalars_are_tensorboard_events(tmp_path):
  _write(tmp_path, [{"step": 3, "train/loss": 0.5, "train/count": 3, "validation/by_step": {"accuracy": [1.0]}},
                    {"step": 4, "train/loss": 0.25, "name": "x"}])
  assert _scalars(tmp_path / "tensorboard") == [
      (3, "train/loss", 0.5), (3, "train/count", 3.0), (4, "train/loss", 0.25)]


def test_resuming_drops_what_lies_after_the_checkpoint(tmp_path):
  _write(tmp_path, [{"step": s, "loss": s / 8} for s in range(1, 6)])
  _write(tmp_path, [{"step": 4, "loss": 9.0}], resume_step=3)
  assert [(r["step"], r["loss"]) for r in metrics_log.read_metrics(tmp_path / "metrics.jsonl")] == [
      (1, 1 / 8), (2, 2 / 8), (3, 3 / 8), (4, 9.0)]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]
  # TensorBoard hides what an earlier file has from this step on.
  starts = [e.step for e in tfevents.read(tmp_path / "tensorboard") if e.HasField("session_log")
            and e.session_log.status == event_pb2.SessionLog.START]
  assert starts[-1] == 4


def _hparams(folder):
  """{"experiment", "session_start_info", "session_end_info": what the HPARAMS tab gets of it}."""
  found = {}
  for tag, written in tfevents.values(folder).items():
    if tag.startswith("_hparams_/"):
      [(_, value)] = written  # once
      assert value.metadata.plugin_data.plugin_name == "hparams"
      data = plugin_hparams_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
      name = tag.removeprefix("_hparams_/")
      found[name] = getattr(data, name)
  return found


def test_knobs_are_hyper_parameters_of_the_run_itself_and_written_where_it_begins(tmp_path):
  knobs = {"model.dtype": "float32", "optimizer.b1": 0.5, "seed": 3, "model.mlp_t": True}
  begun, gone_on = tmp_path / "begun", tmp_path / "gone_on"
  begun.mkdir()
  gone_on.mkdir()
  with pytest.raises(KeyboardInterrupt), contextlib.closing(metrics_log.MetricsLog(begun, resume_step=0, knobs=knobs)):
    raise KeyboardInterrupt
  folder = begun / "tensorboard"
  found = _hparams(folder)
  assert set(found) == {"experiment", "session_start_info"}  # it is not at its end
  assert {name: getattr(v, v.WhichOneof("kind")) for name, v in found["session_start_info"].hparams.items()} == knobs
  assert [info.name for info in found["experiment"].hparam_infos] == list(knobs)
  assert [info.name.tag for info in found["experiment"].metric_infos] == [
      "validation/exact_accuracy", "test/exact_accuracy"]
  metrics_log.MetricsLog(gone_on, resume_step=2, knobs=knobs).close()
  found = _hparams(gone_on / "tensorboard")
  assert set(found) == {"session_end_info"} and found["session_end_info"].status == api_pb2.STATUS_SUCCESS
  [(_, text)] = tfevents.values(folder)["config/text_summary"]
  assert text.metadata.plugin_data.plugin_name == "text"
  lines = text.tensor.string_val[0].decode().splitlines()
  assert lines[:2] == ["    model.dtype = 'float32'", "    optimizer.b1 = 0.5"]
  assert [path for path in folder.iterdir() if path.is_dir()] == []  # where TensorBoard would see another run


def test_images_are_tensorboard_events(tmp_path):
  log = metrics_log.MetricsLog(tmp_path, resume_step=0)
  log.image("validation/answers", PIXELS, 4)
  log.close()
  [(step, value)] = tfevents.values(tmp_path / "tensorboard")["validation/answers"]
  assert step == 4 and (value.image.height, value.image.width) == PIXELS.shape[:2]
  png = image.imread(io.BytesIO(value.image.encoded_image_string))
  np.testing.assert_array_equal(np.round(png * 255), PIXELS)


def test_a_mirror_gets_what_is_written(tmp_path):
  got = []

  class Mirror:
    write = staticmethod(got.append)
    image = staticmethod(lambda *args: got.append(args))
    close = staticmethod(lambda: got.append("closed"))

  log = metrics_log.MetricsLog(tmp_path, resume_step=0, mirrors=[Mirror])
  log.write({"step": 1, "loss": 0.5})
  log.image("x", PIXELS, 1)
  log.close()
  assert got == [{"step": 1, "loss": 0.5}, ("x", PIXELS, 1), "closed"]


def test_wandb_that_is_not_installed(tmp_path, monkeypatch):
  monkeypatch.delitem(sys.modules, "wandb", raising=False)
  message = 'config.log.wandb = \'trm\': needs wandb, which is not installed; pip install -e "[.]\\[wandb\\]"'
  (tmp_path / "wandb").mkdir()  # as W&B leaves it in the working directory
  for path in ([], [str(tmp_path)]):
    monkeypatch.setattr(sys, "path", path)
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=message):
      wandb_log.require_wandb("trm")


def test_a_half_written_last_line_is_passed_over(tmp_path):
  path = tmp_path / "metrics.jsonl"
  lines = [json.dumps({"step": s, "loss": 0.5}) for s in (1, 2, 3)]
  for cut in range(1, len(lines[2])):
    path.write_text("\n".join([*lines[:2], lines[2][:cut]]))
    assert [r["step"] for r in metrics_log.read_metrics(path)] == [1, 2]
  # A run that goes on starts a line of its own.
  _write(tmp_path, [{"step": 3, "loss": 0.25}], resume_step=2)
  assert [(r["step"], r["loss"]) for r in metrics_log.read_metrics(path)] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_blank_lines_are_passed_over_and_lines_that_are_no_records_are_named_once(tmp_path, capsys):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b'{"step": 1}\n\n  \n{"step"\n{"step": 5}\r\n')
  for _ in range(2):
    assert metrics_log.read_metrics(path) == [{"step": 1}, {"step": 5}]
  assert capsys.readouterr().err == (
      f"warning: {path}, line 4: not a record of a step, left out; all other lines are used\n")
  path.write_bytes(b'3\n{"step": 2}\n{}\n[]\n{"step": "x"}\n{"step": true}\n\xff\n"' + b'{"a":' * 9999 + b"\n\0\0\n")
  assert metrics_log.read_metrics(path) == [{"step": 2}]
  assert capsys.readouterr().err == (
      f"warning: {path}, lines 1, 3, 4, 5, 6 and 3 more: not a record of a step, left out; all other lines are used\n")


def test_a_run_goes_on_after_a_broken_line_and_keeps_the_file_as_it_was(tmp_path, capsys):
  path = tmp_path / "metrics.jsonl"
  for i, kept in ((1, "metrics.damaged.jsonl"), (2, "metrics.damaged-2.jsonl")):
    before = b'{"step": 1}\n\n{"step"\n{"step": 3}\n{"step": 4}\n' + b"\n" * i
    path.write_bytes(before)
    _write(tmp_path, [{"step": 4, "loss": 0.5}], resume_step=3)
    assert metrics_log.read_metrics(path) == [{"step": 1}, {"step": 3}, {"step": 4, "loss": 0.5}]
    assert (tmp_path / kept).read_bytes() == before
    assert capsys.readouterr().err == (f"warning: {path}, line 3: not a record of a step, left out; all other lines "
                                       f"are used; the original file is kept as {kept}\n")


def test_a_full_disk_is_named_with_the_file_that_is_written(tmp_path):
  log = metrics_log.MetricsLog(tmp_path, resume_step=0)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2, limits[1]))
  try:
    with pytest.raises(UserError) as e:
      log.write({"step": 1})
    assert str(e.value) == f"{tmp_path}/metrics.jsonl: cannot be written (File too large); free some space"
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.close()


@pytest.mark.parametrize("content, reason", [
    ('{"step": 3', "is cut off in line 1"),
    ('{"step": 3, "train_seconds": 1.0}', "test.exact_accuracy is None, must be a number"),
    ('{"step": 3, "train_seconds": 1.0, "test": []}', "test.exact_accuracy is None, must be a number"),
    ('{"step": "3", "train_seconds": 1.0, "test": {"exact_accuracy": 0.5}}', "step is '3', must be a number"),
])
def test_results_that_are_not_what_a_run_writes(tmp_path, content, reason):
  path = tmp_path / "results.json"
  path.write_text('{"step": 3, "train_seconds": 1.0, "test": {"exact_accuracy": 0.5}}')
  assert metrics_log.read_results(path)["step"] == 3
  path.write_text(content)
  with pytest.raises(Damaged) as e:
    metrics_log.read_results(path)
  assert str(e.value) == f"{path}: {reason}"


def test_a_run_killed_while_the_log_is_rewritten_loses_nothing(tmp_path, monkeypatch):
  _write(tmp_path, [{"step": s} for s in (1, 2, 3)])
  before = (tmp_path / "metrics.jsonl").read_bytes()

  def killed(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, "replace", killed)
  with pytest.raises(KeyboardInterrupt):
    metrics_log.MetricsLog(tmp_path, resume_step=2)
  assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("seconds, text", [
    (0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (65, "1 min 5 s"), (3599.7, "1 h 0 min"),
    (3661, "1 h 1 min"), (86_399, "23 h 59 min"), (86_400, "1 d 0 h"), (200_000, "2 d 7 h"),
])
def test_duration(seconds, text):
  assert console.duration(seconds) == text


def test_progress_is_one_line_in_a_file(capsys):
  progress = console.Progress("test")
  progress(5, 10)
  assert capsys.readouterr().out == ""
  progress.done("all right")
  assert capsys.readouterr().out == "test: all right (0 s)\n"


def test_progress_rewrites_one_line_on_a_terminal(capsys, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(time, "perf_counter", lambda: now[0])
  monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
  progress = console.Progress("test")
  for seconds, done in ((0.4, 1), (10, 1000), (10.4, 1001), (20, 2000)):  # at most twice a second
    now[0] = 100 + seconds
    progress(done, 4000)
  progress.done("all right")
  assert capsys.readouterr().out == (
      "\r\x1b[Ktest: 1,000/4,000, 30 s left\r\x1b[Ktest: 2,000/4,000, 20 s left\r\x1b[Ktest: all right (20 s)\n")


def test_progress_of_unknown_length_says_how_fast_it_is(capsys, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(time, "perf_counter", lambda: now[0])
  monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
  progress = console.Progress("test", file=sys.stderr)
  now[0] = 110
  progress(25, None)
  progress.done("all right")
  assert capsys.readouterr() == ("", "\r\x1b[Ktest: 25, 2.5 a second\r\x1b[Ktest: all right (10 s)\n")


def test_a_damaged_wandb_id_is_named_and_not_used(tmp_path, capsys):
  file = tmp_path / "wandb_id"
  assert wandb_log._wandb_id(file) is None
  file.write_text("a1b2-c3\n")
  assert wandb_log._wandb_id(file) == "a1b2-c3" and capsys.readouterr().err == ""
  for content in (b"", b"\0\0\0", b"\xff\xfe", b"two words", b"x" * 129):
    file.write_bytes(content)
    console.warn.cache_clear()
    assert wandb_log._wandb_id(file) is None
    assert capsys.readouterr().err == f"warning: {file}: is not the id of a W&B run; the run gets a new one\n"
