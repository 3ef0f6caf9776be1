# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""metrics.jsonl, TensorBoard event files and lines on the terminal."""

import json
import os
import sys
import time

import pytest
from tensorboardX.proto import event_pb2

from trm_jax import logs


def _event_records(folder):
  """The payloads of TFRecord files: length (8 bytes), its checksum (4), payload, its checksum (4)."""
  for path in sorted(folder.iterdir()):
    data, at = path.read_bytes(), 0
    while at < len(data):
      length = int.from_bytes(data[at : at + 8], "little")
      event = event_pb2.Event()
      event.ParseFromString(data[at + 12 : at + 12 + length])
      yield event
      at += length + 16


def _scalars(folder):
  """(step, tag, value) of every scalar, in the order of writing."""
  return [(event.step, value.tag, value.simple_value)
          for event in _event_records(folder) for value in event.summary.value]


def _write(workdir, records, *, resume_step=0):
  log = logs.MetricsLog(workdir, resume_step=resume_step)
  for record in records:
    log.write(record)
  log.close()


def test_records_come_back(tmp_path):
  records = [{"step": 1, "loss": 0.5, "count": 3}, {"step": 2, "by_step": {"accuracy": [0.25, 1.0]}, "name": "ü"}]
  _write(tmp_path, records)
  assert logs.read_metrics(tmp_path / "metrics.jsonl") == records
  assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path):
  log = logs.MetricsLog(tmp_path, resume_step=0)
  log.write({"step": 1, "loss": 0.5})
  assert logs.read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 0.5}]
  log.close()


def test_scalars_are_tensorboard_events(tmp_path):
  _write(tmp_path, [{"step": 3, "train/loss": 0.5, "train/count": 3, "validation/by_step": {"accuracy": [1.0]}},
                    {"step": 4, "train/loss": 0.25, "name": "x"}])
  assert _scalars(tmp_path / "tensorboard") == [
      (3, "train/loss", 0.5), (3, "train/count", 3.0), (4, "train/loss", 0.25)]


def test_resuming_drops_what_lies_after_the_checkpoint(tmp_path):
  _write(tmp_path, [{"step": s, "loss": s / 8} for s in range(1, 6)])
  _write(tmp_path, [{"step": 4, "loss": 9.0}], resume_step=3)
  assert [(r["step"], r["loss"]) for r in logs.read_metrics(tmp_path / "metrics.jsonl")] == [
      (1, 1 / 8), (2, 2 / 8), (3, 3 / 8), (4, 9.0)]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]
  # TensorBoard hides what an earlier file has from this step on.
  starts = [e.step for e in _event_records(tmp_path / "tensorboard") if e.HasField("session_log")
            and e.session_log.status == event_pb2.SessionLog.START]
  assert starts[-1] == 4


def test_a_half_written_last_line_is_passed_over(tmp_path):
  path = tmp_path / "metrics.jsonl"
  lines = [json.dumps({"step": s, "loss": 0.5}) for s in (1, 2, 3)]
  for cut in range(1, len(lines[2])):
    path.write_text("\n".join([*lines[:2], lines[2][:cut]]))
    assert [r["step"] for r in logs.read_metrics(path)] == [1, 2]
  # A run that goes on starts a line of its own.
  _write(tmp_path, [{"step": 3, "loss": 0.25}], resume_step=2)
  assert [(r["step"], r["loss"]) for r in logs.read_metrics(path)] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_a_broken_line_before_the_last_is_an_error(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step"\n{"step": 3}\n')
  with pytest.raises(json.JSONDecodeError):
    logs.read_metrics(tmp_path / "metrics.jsonl")


def test_a_run_killed_while_the_log_is_rewritten_loses_nothing(tmp_path, monkeypatch):
  _write(tmp_path, [{"step": s} for s in (1, 2, 3)])
  before = (tmp_path / "metrics.jsonl").read_bytes()

  def killed(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, "replace", killed)
  with pytest.raises(KeyboardInterrupt):
    logs.MetricsLog(tmp_path, resume_step=2)
  assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("seconds, text", [
    (0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (65, "1 min 5 s"), (3599.7, "1 h 0 min"),
    (3661, "1 h 1 min"), (86_399, "23 h 59 min"), (86_400, "1 d 0 h"), (200_000, "2 d 7 h"),
])
def test_duration(seconds, text):
  assert logs.duration(seconds) == text


def test_progress_is_one_line_in_a_file(capsys):
  progress = logs.Progress("test")
  progress(5, 10)
  assert capsys.readouterr().out == ""
  progress.done("all right")
  assert capsys.readouterr().out == "test: all right (0 s)\n"


def test_progress_rewrites_one_line_on_a_terminal(capsys, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(time, "perf_counter", lambda: now[0])
  monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
  progress = logs.Progress("test")
  for seconds, done in ((0.4, 1), (10, 1000), (10.4, 1001), (20, 2000)):  # at most twice a second
    now[0] = 100 + seconds
    progress(done, 4000)
  progress.done("all right")
  assert capsys.readouterr().out == (
      "\r\x1b[Ktest: 1,000/4,000, 30 s left\r\x1b[Ktest: 2,000/4,000, 20 s left\r\x1b[Ktest: all right (20 s)\n")
