# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The mirror at Weights & Biases, in its offline mode: what it would upload is in files."""

import contextlib
import json
import pathlib
import signal

import jax
from matplotlib import image
import numpy as np
import pytest
import tiny

from trm_jax import config as config_lib
from trm_jax.errors import UserError
from trm_jax.runtime import exit_status
from trm_jax.runtime import sharding
from trm_jax.training import loop
from trm_jax.training import metrics_log
from trm_jax.training import wandb_log

wandb = pytest.importorskip("wandb", reason='wandb is not installed: pip install -e ".[wandb]"')

pytestmark = pytest.mark.usefixtures("shared_programs")

KEY = "0123456789abcdef" * 3
PIXELS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
  """What W&B writes goes to tmp_path; nothing of who runs the tests, and nothing to a network."""
  for name in ("WANDB_ENTITY", "WANDB_RUN_ID", "WANDB_SILENT"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv("WANDB_MODE", "offline")
  monkeypatch.setenv("WANDB_DIR", str(tmp_path))
  monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
  monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
  monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
  monkeypatch.setenv("WANDB_API_KEY", KEY)
  yield
  wandb.teardown()  # it reads the environment once


def _records(path: pathlib.Path):
  """The records of a .wandb file: 7 bytes, then blocks of 32 KiB of pieces, each of a checksum (4 bytes), a length (2),
  a kind (1) and the payload."""
  from wandb.proto import wandb_internal_pb2

  data, at, payload = path.read_bytes(), 7, b""
  while at < len(data):
    left = 32768 - at % 32768
    if left < 7:
      at += left
      continue
    length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    payload += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # whole, or the last piece
      yield wandb_internal_pb2.Record.FromString(payload)
      payload = b""


def _sent(folder):
  """For each start, in order: its id, project, name, config, what was logged, and with which status it ended."""
  starts = []
  for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns):
    start = {"history": [], "status": None}
    for record in _records(path):
      if record.HasField("run"):
        config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        start.update(id=record.run.run_id, project=record.run.project, name=record.run.display_name, config=config)
      elif record.HasField("history"):
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        start["history"].append({name: value for name, value in row.items() if not name.startswith("_")})
      elif record.HasField("metric") and record.metric.glob_name:
        start["axis"] = record.metric.glob_name, record.metric.step_metric
      elif record.HasField("exit"):
        start["status"] = record.exit.exit_code
    starts.append(start)
  return starts


def _log(workdir, project="trm"):
  return wandb_log.WandbLog(project, workdir, name="runs/x", config={"seed": 3, "model": {"mlp_t": True}})


def test_a_run_that_goes_on_is_the_same_run_there(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with contextlib.closing(_log(tmp_path)) as log:
      log.write({"step": 2, "train/loss": 0.5, "validation/by_step": {"accuracy": [1.0]}, "failed": "x"})
      log.image("validation/answers", PIXELS, 2)
      log.write({"step": 4, "train/loss": 0.25})
      raise KeyboardInterrupt
  with contextlib.closing(_log(tmp_path)) as log:
    log.write({"step": 3, "train/loss": 0.375})  # before where it had got
  first, second = _sent(tmp_path)
  assert first["id"] == second["id"] == (tmp_path / "wandb_id").read_text().strip()
  assert (first["project"], first["name"]) == ("trm", "runs/x")
  assert first["config"].items() >= {"seed": 3, "model": {"mlp_t": True}}.items()
  assert first["axis"] == ("*", "step")
  loss, picture, last = first["history"]
  assert loss == {"step": 2, "train/loss": 0.5} and last == {"step": 4, "train/loss": 0.25}
  assert picture["step"] == 2 and picture["validation/answers/_type"] == "image-file"
  [file] = tmp_path.glob(f"wandb/*/files/{picture['validation/answers/path']}")
  np.testing.assert_array_equal(np.round(image.imread(file) * 255), PIXELS)
  assert second["history"] == [{"step": 3, "train/loss": 0.375}]
  assert (first["status"], second["status"]) == (1, 0)
  # Neither in what is uploaded nor in W&B's own logs.
  assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_failure_is_said_once_and_stops_nothing(tmp_path, capsys):
  log = _log(tmp_path)
  log._run.finish()  # so that it refuses
  capsys.readouterr()
  log.write({"step": 1, "loss": 0.5})
  log.image("x", PIXELS, 1)
  log.close()
  assert capsys.readouterr().out.count("Weights & Biases gets no more records of this run (") == 1


def test_what_it_refuses_is_an_error_where_a_run_begins_only(tmp_path, capsys):
  with pytest.raises(UserError, match="config.log.wandb = 'a/b': Weights & Biases cannot be used (.*); `wandb login`"):
    _log(tmp_path, "a/b")
  assert not (tmp_path / "wandb_id").exists()
  (tmp_path / "wandb_id").write_text("abc123\n")
  log = _log(tmp_path, "a/b")
  log.write({"step": 1, "loss": 0.5})
  log.close()
  assert capsys.readouterr().out.count("Weights & Biases gets no more records of this run (") == 1


def test_a_run_that_is_stopped_and_goes_on(tmp_path, monkeypatch):
  config = tiny.config(log__every=1, eval__every=2, log__wandb="trm")
  one_device = sharding.make_mesh(jax.devices()[:1])  # compiles faster than eight
  monkeypatch.setattr(sharding, "make_mesh", lambda model: one_device)
  safe_point = loop.SafePoint.__call__

  def told_to_stop(self, doing, step_seconds):
    if self.position.step >= 3:
      self.signals.received = signal.SIGTERM
    return safe_point(self, doing, step_seconds)

  workdir = tmp_path / "run"
  with monkeypatch.context() as patch:
    patch.setattr(loop.SafePoint, "__call__", told_to_stop)
    with pytest.raises(exit_status.Interrupted):
      loop.run(config, workdir)
  results = loop.run(config, workdir)
  first, second = _sent(tmp_path)
  assert first["id"] == second["id"] and first["name"] == f"{tmp_path.name}/run"
  assert (first["status"], second["status"]) == (1, 0)
  assert second["config"]["model"] == config_lib.to_dict(config)["model"]
  rows = first["history"] + second["history"]
  mirrored = [row for row in rows if "validation/answers/path" not in row]
  records = [{name: v for name, v in r.items() if isinstance(v, (int, float))}
             for r in metrics_log.read_metrics(workdir / "metrics.jsonl")]
  assert mirrored == records
  assert mirrored[-1]["test/exact_accuracy"] == results["test"]["exact_accuracy"]
  assert [row["step"] for row in rows if "validation/answers/path" in row] == [2, 4]
