# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reports: statistics against numbers worked out otherwise, and pages of made-up runs with known effects."""

import csv
import html.parser
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

from matplotlib import image
import numpy as np
import pytest
from scipy import stats
import synthetic_runs

from trm_jax.errors import UserError
from trm_jax.report import analysis
from trm_jax.report import runs as runs_lib
from trm_jax.report import sections
from trm_jax.report import write

write_run = synthetic_runs.write_run


def _read(folder):
  return runs_lib.read_all([str(folder)])


def _report(folder, base=None):
  """Sections by title, without drawing their files."""
  return {s.title: s for s in sections.Report(*_read(folder), base).sections()}


def _tables(section):
  """Rows of a section's tables as dicts, by table's name."""
  return {part.name: [dict(zip([header for header, _ in part.columns], row)) for row in part.rows]
          for part in section.parts if isinstance(part, sections.Table)}


def _error(function, *args, **kwargs):
  with pytest.raises(UserError) as e:
    function(*args, **kwargs)
  assert "\n" not in str(e.value)
  return str(e.value)


# Statistics.


def test_welch():
  base, other = np.array([0.80, 0.82, 0.81]), np.array([0.85, 0.90, 0.86, 0.88])
  diff = analysis.difference(base, other, (1.0, 5))  # of two and more seeds, nothing is pooled
  expected = stats.ttest_ind(other, base, equal_var=False)
  np.testing.assert_allclose(diff.gap, other.mean() - base.mean(), rtol=1e-12)
  np.testing.assert_allclose(diff.interval, expected.confidence_interval(0.95), rtol=1e-9)
  assert diff.established and diff.why == "interval excludes 0"
  wide = analysis.difference(base, np.array([0.75, 0.95]))
  assert wide.interval[0] < 0 < wide.interval[1] and not wide.established and wide.why == "interval contains 0"


def test_single_runs():
  one = analysis.difference(np.array([0.80]), np.array([0.839]))
  assert (one.interval, one.established, one.why) == (None, False, "one seed: under 4 points")
  assert analysis.difference(np.array([0.40]), np.array([0.44])).established  # 0.04 but for rounding
  # With the spread of the report's other settings: 4.30 is the quantile of t with 2 degrees of freedom.
  pooled = analysis.difference(np.array([0.80]), np.array([0.86]), (0.01, 2))
  np.testing.assert_allclose(pooled.interval, 0.06 + np.array([-1, 1]) * 4.302652730 * 0.01 * math.sqrt(2), rtol=1e-6)
  assert not pooled.established and pooled.why == "interval contains 0"
  # Sure by the pooled spread, but within the known one.
  small = analysis.difference(np.array([0.80]), np.array([0.83]), (0.001, 20))
  assert small.interval[0] > 0 and not small.established
  # No spread at all says nothing.
  assert not analysis.difference(np.array([0.5, 0.5]), np.array([0.51, 0.51])).established
  assert analysis.difference(np.array([0.0, 0.0]), np.array([0.0, 0.0])).gap == 0


def test_fit():
  x, y = [0.0, 1.0, 2.0, 3.0, 3.0], [0.1, 0.25, 0.5, 0.6, 0.7]
  fit = analysis.fit_line(x, y)
  np.testing.assert_allclose([fit.slope, fit.intercept], np.polyfit(x, y, 1), rtol=1e-12)
  assert fit.interval[0] < fit.slope < fit.interval[1] and fit.num_runs == 5
  middle, low, high = fit.at(np.array([0.5, 2.5]))
  np.testing.assert_allclose(middle, np.polyval(np.polyfit(x, y, 1), [0.5, 2.5]), rtol=1e-12)
  assert (low < middle).all() and (middle < high).all()
  assert analysis.fit_line([1, 2, 2, 1], [0, 1, 1, 0]) is None


def test_lack_of_fit():
  x, y = np.repeat([0.0, 1.0, 2.0], 2), np.array([0.1, 0.12, 0.3, 0.33, 0.2, 0.24])
  # Against the analysis of variance of both models.
  line = np.polyval(np.polyfit(x, y, 1), x)
  parabola = np.polyval(np.polyfit(x, y, 2), x)  # through the three means
  rest = ((y - parabola) ** 2).sum()
  assert stats.f.sf((((y - line) ** 2).sum() - rest) / (rest / 3), 1, 3) < 0.05 and analysis.fit_line(x, y).bent
  assert analysis.fit_line(x, [0.1, 0.12, 0.2, 0.22, 0.3, 0.33]).bent is False
  assert analysis.fit_line([0.0, 1.0, 2.0], [0.1, 0.5, 0.2]).bent is None  # one run each


def test_interval_of_a_slope_holds_it_nine_times_in_ten():
  rng = np.random.default_rng(0)
  x = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], 6)
  fits = [analysis.fit_line(x, 0.3 + 0.05 * x + 0.02 * rng.standard_normal(len(x))) for _ in range(60)]
  inside = sum(f.interval[0] <= 0.05 <= f.interval[1] for f in fits)
  assert 46 <= inside <= 59


def test_front():
  # Cheaper and better, or as dear and better, takes a point off the front; equal accuracy at more cost as well.
  assert analysis.front([(3, 0.5), (1, 0.2), (2, 0.6), (2, 0.1), (4, 0.6), (5, 0.9)]) == [1, 2, 5]


def test_rank_correlation():
  x, y = [1, 2, 2, 5, 7], [0.1, 0.3, 0.2, 0.2, 0.9]
  np.testing.assert_allclose(sections._rank_correlation(x, y), stats.spearmanr(x, y).statistic, rtol=1e-12)
  assert sections._rank_correlation(x, [1] * 5) is None


# Settings.


def test_runs_that_differ_in_the_seed_and_in_free_knobs_are_one_setting(tmp_path):
  write_run(tmp_path / "a", 0.5, seed=0)
  write_run(tmp_path / "b", 0.6, seed=1, log__every=7)
  write_run(tmp_path / "again", 0.9, seed=1)
  write_run(tmp_path / "data", 0.7, data__seed=1, name="other")
  found, unreadable = _read(tmp_path)
  one, other = sorted(analysis.settings_of(found), key=lambda s: s.label)
  assert not unreadable and (one.label, other.label) == ("baseline", "other")
  assert len(one.runs) == 3 and sorted(r.seed for r in one.finished) == [0, 1]  # the same seed again is not counted
  assert analysis.changed(one, other) == ["data.seed"]
  statuses = [row["status"] for row in _tables(_report(tmp_path)["Every run"])["runs"]]
  assert statuses.count("finished; not counted, because another run has the same seed") == 1
  assert statuses.count("finished") == 3


def test_labels(tmp_path):
  write_run(tmp_path / "1", 0.5, name="e2_1_ema_on")
  write_run(tmp_path / "2", 0.5, name="baseline", seed=1)  # the same setting by another name
  write_run(tmp_path / "3", 0.5, name="mine", model__H_cycles=2)
  write_run(tmp_path / "4", 0.5, name="mine", model__H_cycles=1, optimizer__learning_rate=2e-4)
  assert {s.label for s in analysis.settings_of(_read(tmp_path)[0])} == {
      "baseline = e2_1_ema_on", "mine: H_cycles=2, learning_rate=1e-4", "mine: H_cycles=1, learning_rate=2e-4"}


def test_base(tmp_path):
  # Each differs from `middle` in one knob, from one another in two.
  write_run(tmp_path / "x", 0.5, name="x", model__H_cycles=2)
  write_run(tmp_path / "y", 0.5, name="middle")
  write_run(tmp_path / "z", 0.5, name="z", model__L_cycles=2)
  settings = analysis.settings_of(_read(tmp_path)[0])
  assert analysis.choose_base(settings, None).label == "middle"
  assert analysis.choose_base(settings, "z").label == "z"
  assert analysis.choose_base(settings, str(tmp_path / "x") + "/").label == "x"
  assert _error(analysis.choose_base, settings, "w") == (
      "--base=w: no setting is called so; there are x; middle; z")


# What a report says.


def _along(folder, knob, effect, seeds=4, noise=0.004, **kwargs):
  """Runs whose accuracy depends on one knob."""
  rng = np.random.default_rng(2)
  for value in kwargs.pop("values"):
    for seed in range(seeds):
      more = {name: f(value) for name, f in kwargs.items()}
      write_run(folder / f"{knob}_{value}_{seed}", effect(value) + noise * rng.standard_normal(), seed=seed,
                name=f"{knob}_{value}", **{knob: value}, **more)


def test_known_slopes_lie_in_their_intervals(tmp_path):
  _along(tmp_path / "batch", "batch_size", lambda b: 0.5 + 0.03 * math.log2(b / 256), values=(256, 512, 1024, 2048),
         steps=lambda b: 1_024_000 // b, optimizer__warmup_steps=lambda b: 512_000 // b)
  _along(tmp_path / "data", "data__num_train", lambda n: 1 - 0.3 * (n / 100) ** -0.4, values=(100, 400, 1600),
         optimizer__b1=lambda _: 0.8)
  report = _report(tmp_path)
  row, = _tables(report["Scaling: batch size"])["scaling_batch"]
  assert row["runs"] == 16 and row["batch size"] == "256, 512, 1,024, 2,048"
  assert row["90 % from"] <= 0.03 <= row["to"] and row["to"] - row["90 % from"] < 0.006 and row["straight"] == "yes"
  assert "Along the x axis, warmup_steps varies, too." in report["Scaling: batch size"].parts[0].caption
  assert "+3.0 points a doubling" in report["Scaling: batch size"].sentence
  row, = _tables(report["Scaling: training puzzles"])["scaling_data"]
  assert row["power from"] <= -0.4 <= row["power to"] and row["power to"] - row["power from"] < 0.05
  assert row["runs"] == 12 and row["straight"] == "no"
  assert "to the power −0.4" in report["Scaling: training puzzles"].sentence
  assert not {"Scaling: learning rate", "Scaling: parameters", "Recursion"} & set(report)


def test_two_values_are_not_fitted_and_families_are_kept_apart(tmp_path):
  for rate in (1e-4, 2e-4):
    for batch in (256, 512):
      write_run(tmp_path / f"{rate}_{batch}", 0.5 + batch / 1e4, name="grid", batch_size=batch,
                optimizer__learning_rate=rate)
  report = _report(tmp_path)
  rows = _tables(report["Scaling: batch size"])["scaling_batch"]
  assert [(r["family"], r["runs"], r["points a doubling"]) for r in rows] == [
      ("learning_rate=1e-4", 2, None), ("learning_rate=2e-4", 2, None)]
  assert "nothing is fitted" in report["Scaling: batch size"].sentence
  # Steps do not follow the batch here, but are varied by themselves: two families more.
  write_run(tmp_path / "long_256", 0.6, name="grid", batch_size=256, optimizer__learning_rate=1e-4, epochs=60_000)
  write_run(tmp_path / "long_512", 0.6, name="grid", batch_size=512, optimizer__learning_rate=1e-4, epochs=60_000)
  assert len(_tables(_report(tmp_path)["Scaling: batch size"])["scaling_batch"]) == 3


def test_what_is_not_established_is_marked(tmp_path):
  for seed, accuracy in enumerate((0.80, 0.81, 0.82)):
    write_run(tmp_path / f"base_{seed}", accuracy, seed=seed)
    write_run(tmp_path / f"worse_{seed}", accuracy - 0.1, seed=seed, name="worse", model__mlp_t=False)
    write_run(tmp_path / f"same_{seed}", accuracy + 0.005, seed=seed, name="same", model__halt_max_steps=8)
  write_run(tmp_path / "one", 0.84, name="one", model__H_cycles=2)
  write_run(tmp_path / "far", 0.5, name="far", model__L_cycles=1)
  write_run(tmp_path / "none", 0.5, name="none", model__L_layers=1, stop=500)
  section = _report(tmp_path)["Ablations"]
  rows = {row["setting"]: row for row in _tables(section)["ablation"]}
  assert {name: row["verdict"] for name, row in rows.items()} == {
      "baseline": "base", "worse": "established", "same": "not established", "one": "not established",
      "far": "established", "none": "no finished run"}
  assert rows["one"]["why"] == "one seed: under 4 points" and rows["worse"]["what differs"] == "mlp_t=False"
  np.testing.assert_allclose([rows["baseline"][k] for k in ("mean", "std", "min", "max")], [0.81, 0.01, 0.80, 0.82])
  # The pooled standard deviation is 1 point, of 6 degrees of freedom.
  np.testing.assert_allclose(rows["one"]["to"] - 0.03, stats.t.ppf(0.975, 6) * 0.01 * math.sqrt(1 + 1 / 3), rtol=1e-9)
  assert section.sentence == "2 of 4 differences from baseline are established; the largest is far with −31.0 points."


def test_effort_until_a_share_is_solved(tmp_path):
  """Evaluations are at tenths of the run and find the final accuracy times 1.25 d^1.5 there (synthetic_runs.py)."""
  for seed in (0, 1):  # "one" solves 58 % after 0.6 of its steps, and all after 0.9
    write_run(tmp_path / f"one_{seed}", 1.0, seed=seed, name="one", batch_size=10, flops=1e15)
    write_run(tmp_path / f"two_{seed}", 0.8 + 0.15 * seed, seed=seed, name="two", batch_size=20, flops=3e15)
  write_run(tmp_path / "low", 0.4, name="low")
  section = _report(tmp_path)["Effort for an accuracy"]
  rows = {(row["solved"], row["setting"]): row for row in _tables(section)["effort"]}
  assert list(rows) == [(0.5, "one"), (0.5, "two"), (0.5, "low"), (0.9, "one"), (0.9, "two"), (0.9, "low")]
  assert list(rows[0.5, "one"].values()) == [0.5, "one", 2, 2, 6_000.0, 6_000.0, 6_000.0, 6e14]
  # One of its runs needs 0.7 of 1,000 steps of 20, the other 0.6; 2.1 and 1.8 PFLOP.
  assert list(rows[0.5, "two"].values()) == [0.5, "two", 2, 2, 13_000.0, 12_000.0, 14_000.0, 1.95e15]
  # Only one run gets there: no mean, and no largest number.
  assert list(rows[0.9, "two"].values()) == [0.9, "two", 1, 2, None, 18_000.0, None, None]
  assert list(rows[0.9, "low"].values()) == [0.9, "low", 0, 1, None, None, None, None]
  assert section.sentence == ("one solved 50.0 % of the validation puzzles after the fewest examples, 6,000; "
                              "one solved 90.0 % of the validation puzzles after the fewest examples, 9,000.")


def test_votes_and_what_the_best_run_has_drawn(tmp_path, capsys):
  for seed in (0, 1):
    folder = write_run(tmp_path / f"{seed}", 0.5 + 0.1 * seed, seed=seed)
    path = folder / "metrics.jsonl"
    *before, last = path.read_text().splitlines()
    table = {str(n): {"num_puzzles": 400, "pass@1": 0.1, "pass@2": 0.02 * seed + share} for n, share in (
        (1, 0.2), (10, 0.345), (100, 0.35))}
    path.write_text("\n".join([*before, json.dumps(json.loads(last) | {"test/by_votes": table})]) + "\n")
  image.imsave(tmp_path / "0" / "solved.png", np.zeros((30, 60, 3)))
  (tmp_path / "1" / "solved.png").write_bytes(b"no picture")
  made = _report(tmp_path)
  assert made["Votes"].sentence == (
      "One of two answers is right for 36.0 % of the test inputs where 100 versions of each vote, and for 21.0 % with "
      "1 vote; with 10 votes the share is within a point of that with all.")
  [row] = _tables(made["Votes"])["by_votes"]
  assert row.pop("setting") == "baseline"
  assert {number: round(share, 6) for number, share in row.items()} == {"1": 0.21, "10": 0.355, "100": 0.36}
  # The better run's is damaged, which is said, and the other's is shown.
  assert made["Answers"].sentence == (
      "This is a test puzzle with the answer of baseline, seed 0, which solves 50.0 % of the test puzzles.")
  assert "1/solved.png: is not a picture, left out" in capsys.readouterr().err
  write.report([str(tmp_path)], tmp_path / "out")
  _check_page(tmp_path / "out")
  assert (tmp_path / "out" / "figures" / "answers.png").exists()
  write.comparison([str(tmp_path / "0"), str(tmp_path / "1")], tmp_path / "two")
  assert (tmp_path / "two" / "figures" / "by_votes.png").exists()


def test_grids_show_what_is_missing(tmp_path):
  for batch, rate in ((256, 1e-4), (256, 1e-3), (1024, 1e-4)):
    write_run(tmp_path / f"{batch}_{rate}", 0.5 + rate, name=f"{batch}_{rate}", batch_size=batch,
              optimizer__learning_rate=rate)
  write_run(tmp_path / "stopped", 0.5, name="stopped", batch_size=1024, optimizer__learning_rate=1e-3, stop=100)
  for t, n in ((1, 1), (2, 3)):
    write_run(tmp_path / f"t{t}", 0.5 + 0.1 * t, name=f"t{t}", batch_size=256, model__H_cycles=t, model__L_cycles=n)
  report = _report(tmp_path)
  section = report["Learning rate and batch size"]
  assert section.sentence == "The best of 4 cells is learning rate 1e-3 at batch 256 with 50.1 %; 1 has no result."
  texts = [t.get_text() for t in section.parts[0].fig.axes[0].texts]
  assert sorted(texts) == ["1 seed"] * 3 + ["50.0 %", "50.0 %", "50.1 %", "no result"]
  section = report["Recursion"]
  assert section.sentence == ("Accuracy goes from 50.0 % at T=3 n=6 (effective depth 42) to 70.0 % at T=2 n=3 (depth "
                              "16); the rank correlation of accuracy with depth is −0.50.")
  texts = [t.get_text() for t in section.parts[0].fig.axes[0].texts]
  assert texts.count("no run") == 6 and "1 seed, depth 42" in texts  # of 3 x 3


def test_missing_and_failed_runs_are_shown(tmp_path):
  write_run(tmp_path / "good", 0.5)
  write_run(tmp_path / "going", 0.5, seed=1, stop=600)
  write_run(tmp_path / "new", 0.5, seed=2, stop=-1)
  with (write_run(tmp_path / "nan", 0.5, seed=3, stop=200) / "metrics.jsonl").open("a") as f:
    f.write(json.dumps({"step": 300, "train/loss": math.nan}) + "\n")
  with (write_run(tmp_path / "told", 0.5, seed=4, stop=200) / "metrics.jsonl").open("a") as f:
    f.write(json.dumps({"step": 201, "failed": "the loss or its gradient is not finite"}) + "\n")
  with (write_run(tmp_path / "cut", 0.5, seed=5, stop=200) / "metrics.jsonl").open("a") as f:
    f.write('{"step": 300, "train/l')
  with (write_run(tmp_path / "unknown", 0.5, seed=6, stop=999) / "metrics.jsonl").open("a") as f:
    f.write(json.dumps({"step": 1000, "test/num_puzzles": 0}) + "\n")
  (tmp_path / "lost").mkdir()
  (tmp_path / "lost" / "metrics.jsonl").write_text("")
  report = _report(tmp_path)
  without = "finished without a score, because no solution is known"
  assert report["Summary"].sentence == (
      f"8 runs of 1 setting: 1 finished, 1 {without}, 3 unfinished, 2 failed, 1 unreadable. The best setting is baseline with 50.0 % "
      "of the test puzzles solved, one seed.")
  rows = {pathlib.Path(row["folder"]).name: row["status"] for row in _tables(report["Every run"])["runs"]}
  assert rows == {
      "good": "finished", "going": "unfinished, at step 600 of 1,000", "new": "unfinished, at step 0 of 1,000",
      "nan": "failed at step 300 of 1,000: the loss is not finite",
      "told": "failed at step 201 of 1,000: the loss or its gradient is not finite",
      "cut": "unfinished, at step 200 of 1,000", "unknown": without, "lost": "unreadable: config.json: no such file"}
  labels = [t.get_text() for t in report["Learning curves"].parts[1].fig.legends[0].texts]
  assert labels == ["baseline (n=1)", "baseline: 6 runs without a result,\nto ×"]


@pytest.mark.parametrize("change, reason", [
    (lambda d: (d / "config.json").unlink(), "config.json: no such file"),
    (lambda d: (d / "config.json").write_text("{"), "config.json: is cut off in line 1"),
    (lambda d: (d / "config.json").write_text("[]"), "config.json: is not a JSON object but list"),
    (lambda d: (d / "config.json").write_text('{"config": []}'), "config.json "),
    (lambda d: (d / "config.json").write_text("{}"), "config.json has no 'environment'"),
    (lambda d: (d / "config.json").write_bytes(b"\xff"), "config.json: is not text (invalid start byte at byte 0)"),
    (lambda d: ((d / "metrics.jsonl").unlink(), (d / "metrics.jsonl").mkdir()),
     "metrics.jsonl: cannot be read (Is a directory)"),
])
def test_bad_runs(tmp_path, change, reason):
  change(write_run(tmp_path / "bad", 0.5))
  assert _error(_read, tmp_path).startswith(f"{tmp_path}/bad: {reason}")
  write_run(tmp_path / "more" / "good", 0.5)
  found, (bad,) = _read(tmp_path)
  assert [r.path for r in found] == [f"{tmp_path}/more/good"]
  assert bad.path == f"{tmp_path}/bad" and bad.reason.startswith(reason)


def test_a_folder_that_may_not_be_looked_into_is_named_and_the_others_are_read(tmp_path, as_nobody_special):
  write_run(tmp_path / "good", 0.5)
  (tmp_path / "shut").mkdir(mode=0)
  with as_nobody_special():
    found, (bad,) = _read(tmp_path)
  assert [r.path for r in found] == [f"{tmp_path}/good"]
  assert (bad.path, bad.reason) == (f"{tmp_path}/shut", "cannot be looked into (Permission denied: "
                                    f"{tmp_path}/shut); check who may read and write there")


def test_a_broken_line_of_metrics_costs_that_line_alone(tmp_path, capsys):
  metrics = write_run(tmp_path / "a", 0.5) / "metrics.jsonl"
  whole, = runs_lib.read_all([str(tmp_path)])[0]
  lines = metrics.read_text().splitlines()
  metrics.write_text("\n".join([*lines[:3], "", '{"step', *lines[3:]]))
  assert _read(tmp_path) == ([whole], [])
  assert capsys.readouterr().err.startswith(f"warning: {metrics}, line 5: not a record of a step")


def test_no_runs(tmp_path):
  assert _error(_read, tmp_path) == (
      f"{tmp_path}: no run in this folder or below it; a run's folder has config.json and metrics.jsonl")
  assert _error(_read, tmp_path / "x").startswith(f"{tmp_path}/x: no such folder; ")
  assert _error(runs_lib.read_all, ["s3://b/x"]).startswith("a run's folder=s3://b/x: not a usable path")
  write_run(tmp_path / "a", 0.5)
  found, bad = runs_lib.read_all([str(tmp_path), str(tmp_path / "a"), str(tmp_path / "x")])
  assert len(found) == 1 and [b.path for b in bad] == [f"{tmp_path}/x"]


# Pages.

_VOID = {"meta"}


class _Page(html.parser.HTMLParser):
  """Open elements, and what a browser would fetch."""

  def __init__(self):
    super().__init__()
    self.open, self.links, self.ids, self.text = [], [], [], []

  def handle_starttag(self, tag, attrs):
    if tag not in _VOID:
      self.open.append(tag)
    for name, value in attrs:
      if name in ("href", "src", "xlink:href", "srcset", "data"):
        self.links.append(value)
      elif name == "id":
        self.ids.append(value)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in _VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


def _check_page(folder):
  """Well-formed, and nothing outside it is needed. Returns its text."""
  source = (folder / "index.html").read_text()
  ET.fromstring(source.removeprefix("<!DOCTYPE html>"))
  page = _Page()
  page.feed(source)
  assert page.open == [] and len(set(page.ids)) == len(page.ids)
  links = [link for link in page.links if not link.startswith("data:image/png;base64,")]  # a picture in a picture
  assert {link[0] for link in links} == {"#"} and {link[1:] for link in links} <= set(page.ids)
  assert set(re.findall(r"https?://[^\"]*", source)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
  assert not re.search(r"@import|<script|<link|url\((?!#)", source)
  return " ".join(page.text)


@pytest.fixture(scope="module", name="written")
def _written(tmp_path_factory):
  """A report of a few runs, two of them with names that HTML and Markdown would take for their own."""
  folder = tmp_path_factory.mktemp("runs")
  for seed in (0, 1):
    write_run(folder / "base" / f"{seed}", 0.8 + 0.01 * seed, seed=seed, flops=2e15)
    write_run(folder / "n2" / f"{seed}", 0.5 + 0.01 * seed, seed=seed, name='<n2 "&|>', model__L_cycles=2, flops=1e15)
  write_run(folder / "stopped", 0.5, name="stopped", model__mlp_t=False, stop=500)
  (folder / "lost").mkdir()
  (folder / "lost" / "config.json").write_text("{")
  write.report([str(folder)], folder / "out")
  return folder / "out"


def test_page(written):
  text = _check_page(written)
  assert text.index("Summary") < text.index("Learning curves") < text.index("Ablations") < text.index("Every run")
  for part in ("6 runs of 3 settings: 4 finished, 1 unfinished, 1 unreadable", '<n2 "&|>', "80.5 %", "8 x TPU v4",
               "unfinished, at step 500 of 1,000", " lost ", "base/1", "2.0 PFLOP", "41.0 %", "8.00"):
    assert part in text, part
  assert "var(--ink)" in (written / "index.html").read_text() and "prefers-color-scheme: dark" in (
      written / "index.html").read_text()


def test_the_same_as_files(written):
  markdown = (written / "report.md").read_text()
  pictures = re.findall(r"\]\((figures/\w+)\.png\)", markdown)
  assert {p.stem for p in (written / "figures").iterdir()} == {pathlib.Path(p).name for p in pictures}
  for picture in pictures:
    assert (written / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert ET.parse(written / f"{picture}.svg").getroot().tag.endswith("svg")
  assert {p.name for p in (written / "csv").iterdir()} == {
      f"{name}.csv" for name in ("summary", "effort", "ablation", "compute", "by_step", "cost", "runs")}
  with (written / "csv" / "ablation.csv").open() as f:
    rows = list(csv.DictReader(f))
  assert [row["setting"] for row in rows] == ["baseline", '<n2 "&|>', "stopped"]
  np.testing.assert_allclose([float(row["mean"]) for row in rows[:2]], [0.805, 0.505], rtol=1e-12)
  assert rows[2]["mean"] == "" and '| \\<n2 "&\\|> | 50.5 % |' in markdown
  with (written / "csv" / "runs.csv").open() as f:
    rows = {row["folder"]: row for row in csv.DictReader(f)}
  assert (rows["n2/1"]["L_cycles"], rows["n2/1"]["mlp_t"], rows["n2/1"]["seed"]) == ("2", "True", "1")
  assert "| L_cycles=2 |" in markdown and "| mlp_t |" not in markdown
  widths = {line.replace("\\|", "").count("|") for line in markdown.split("## Ablations")[1].split("## ")[0].split("\n")
            if line.startswith("|")}
  assert len(widths) == 1


def test_compare(tmp_path, capsys):
  write_run(tmp_path / "a", 0.80)
  write_run(tmp_path / "b", 0.85, seed=1, model__H_cycles=2, log__every=3)
  write_run(tmp_path / "c", 0.82, stop=400)
  write.comparison([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "out")
  text = _check_page(tmp_path / "out")
  assert "A solves 80.0 % of the test puzzles, B 85.0 %: +5.0 points, established (4 points or more)." in text
  assert "2 knobs that matter differ: model.H_cycles, seed." in text
  with (tmp_path / "out" / "csv" / "differences.csv").open() as f:
    assert list(csv.reader(f)) == [["knob", "A", "B"], ["model.H_cycles", "3", "2"], ["seed", "0", "1"]]
  assert {p.stem for p in (tmp_path / "out" / "figures").iterdir()} == {"learning_curves", "by_step"}
  titles = [s.title for s in sections.compare(*_read(tmp_path / "a")[0], *_read(tmp_path / "c")[0])]
  assert titles == ["Summary", "Config differences", "Learning curves", "Supervision steps at test time", "Cost"]
  assert f"{tmp_path}/out/\n" in capsys.readouterr().out
  assert _error(write.comparison, [str(tmp_path / "a")], tmp_path / "x") == (
      "--compare: 1 folders are named; it takes two: --compare runs/a runs/b")
  assert _error(write.comparison, [str(tmp_path / "a"), str(tmp_path)], tmp_path / "x").startswith(
      f"--compare: {tmp_path} has 3 runs; name one run: {tmp_path}/a, ")


def test_command_line(tmp_path):
  write_run(tmp_path / "a", 0.80)
  write_run(tmp_path / "b", 0.85, seed=1)

  def start(*arguments):
    done = subprocess.run([sys.executable, "-m", "trm_jax.report", *arguments], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[1])}, cwd=tmp_path)
    return done.returncode, done.stdout, done.stderr

  assert start("--compare", "a", "b", "--out=both")[::2] == (0, "")  # two words after it, and they are the runs
  assert "a and b" in (tmp_path / "both" / "report.md").read_text()
  assert start()[::2] == (2, "error: no folder is named: python -m trm_jax.report runs/ --out=report/\n")


def test_bucket(bucket, gcs_server, tmp_path):
  import gcsfs

  client = gcsfs.GCSFileSystem()
  for i, name in enumerate(("a", "deep/b")):
    folder = write_run(tmp_path / name, 0.5, seed=i)
    (folder / "checkpoints" / "7").mkdir(parents=True)
    (folder / "checkpoints" / "7" / "config.json").write_text("{}")
    client.put(str(folder), f"gs://{bucket}/runs/{name}", recursive=True)
  gcs_server.requests.clear()
  found, bad = runs_lib.read_all([f"gs://{bucket}/runs"])
  assert [r.path for r in found] == [f"gs://{bucket}/runs/a", f"gs://{bucket}/runs/deep/b"] and not bad
  assert [r.result() for r in found] == [0.5, 0.5]
  assert not any("checkpoints%2F7" in path or "checkpoints/7" in path for _, path in gcs_server.requests)
  write.comparison([r.path for r in found], f"gs://{bucket}/out")
  assert {"out/index.html", "out/report.md", "out/csv/summary.csv", "out/figures/learning_curves.png"} <= set(
      gcs_server.objects(bucket))
  gcs_server.refuse = lambda method, path: (403, "No.") if "alt=media" in path else None
  assert _error(runs_lib.read_all, [f"gs://{bucket}/runs"]).startswith(f"gs://{bucket}/runs/a: refused (No.); ")
