# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes all measurements that need a GPU, in one command that can be repeated until they are complete.

    python -m benchmarks.on_gpu --out=FOLDER --reference=TinyRecursiveModels --puzzles=FOLDER --minutes=9
    python -m benchmarks.on_gpu --out=FOLDER --toy      # all of them at a tiny size on a CPU, --minutes=25

The pieces, which --only chooses from:

  parity   tests/test_reference_parity.py on the device: the reference's recordings of three models
  steps    benchmarks.train_step of `baseline`: MLP, also by our kernel and in micro-batches, attention over 97
           positions by XLA and over 916 by XLA and cuDNN
  compare  benchmarks.compare_reference: the same step and the reference's, eager and compiled, by turns
  profile  benchmarks.kernels: the ten largest kernels of the step of `baseline`
  resume   benchmarks.resume: whether a run that was stopped ends with the bits of one that was not
  kernel   benchmarks.gated_products: our kernel by its tile, beside XLA's
  train    trm_jax.main with `fast` on 1,000 real puzzles, for the remaining time: accuracy against time. A third of
           --minutes, and at most ten minutes, are kept for it

The most valuable cases come first. Each case runs in its own process, so that one that runs out of memory does not end
the rest. A case begins only if it is expected to end in time. Its result is written at once, into --workdir, from which
a later call goes on, and into --out, which has at most eight files, each under 16 MB:

  results.json      all results; copy it to WORKDIR/results.json to go on from there on another machine
  report.md         the same as tables, and the rows of docs/performance.md
  log.txt           the output of the programs
  metrics.jsonl     the records of the training
  weights.tar.0, …  its averaged weights: `cat weights.tar.* | tar x` makes a folder that trm_jax.weights.load reads
  trace.xplane.pb.gz    the trace, for XProf

A case that failed is repeated only if --only names it or its piece. docs/performance.md has the command for a machine
without network, and benchmarks/carry.sh packs the files that such a machine lacks.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import gzip
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

from absl import flags
import jax

from benchmarks import measure
from configs import sudoku
from trm_jax import cli
from trm_jax import weights
from trm_jax.errors import UserError
from trm_jax.runtime import console
from trm_jax.runtime import files
from trm_jax.runtime import with_parent
from trm_jax.training import metrics_log

_OUT = flags.DEFINE_string("out", None, "Folder for the files to bring back. Required.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/on_gpu", "Folder of the state that a later call goes on from.")
_MINUTES = flags.DEFINE_float("minutes", 9.0, "Minutes after which this call ends.", lower_bound=0.1)
_ONLY = flags.DEFINE_multi_string("only", [], "A piece, or one of its cases; repeat for several; default: all.")
_TOY = flags.DEFINE_bool("toy", False, "Tiny models on a CPU: a rehearsal, whose times mean nothing.")
_REFERENCE = flags.DEFINE_string("reference", None, "A checkout of the reference; without it nothing is compared.")
_PUZZLES = flags.DEFINE_string("puzzles", None, "Folder with train.csv and test.csv of Sudoku-Extreme; without it "
                               "nothing is trained, except by --toy, which makes puzzles.")
_TRAIN_STEPS = flags.DEFINE_integer(
    "train_steps", None, "Training steps; default: those of `fast`, 8,000 (with --toy: 64). With fewer, its learning "
    "rate falls to zero within these, and averaging begins after the same share of them.", lower_bound=8)

_ROOT = pathlib.Path(__file__).parents[1]
PIECES = ("parity", "steps", "compare", "profile", "resume", "kernel", "train")
_RECORDINGS = {"mlp_t": "mlp_t", "attention": "attention and not bf16", "bf16_attention": "bf16_attention"}
_FILE_BYTES = 15 * 2**20  # most bytes of a file in --out
_RESERVE_SECONDS = 50.0  # reserved at the end of a call, to save a training and to pack its weights
_MOST_KEPT_MINUTES = 10.0  # of a call, for the training, so that the cases before it do not take all of the time
_EVALUATION_STEPS = 250  # an evaluation takes about as long as 30 steps


@dataclasses.dataclass(frozen=True)
class Case:
  """One measurement by one program of benchmarks/.

  Attributes:
    name: PIECE/CASE.
    minutes: the most that it is expected to take on a GPU.
    program: its name.
    arguments: of the program.
  """

  name: str
  minutes: float
  program: str
  arguments: tuple[str, ...]


_ATTENTION = ("--name=baseline", "--set=model.mlp_t=False", "--set=model.pos_encodings=rope")
_LONG = (*_ATTENTION, "--seq_len=900", "--set=batch_size=128")
_THEIRS = ("--batch=768", "--dtype=bfloat16", "--steps=5")
_THEIR_ATTENTION = (*_THEIRS, "--mixer=attention")
_THEIR_LONG = (*_THEIR_ATTENTION, "--attention=cudnn", "--seq_len=900", "--batch=128")

# After parity, the most valuable first. The reference's two modes are separate cases, as three models may not fit in
# memory.
CASES = (
    Case("steps/mlp", 2, "train_step", ("--name=baseline",)),
    Case("compare/mlp_compiled", 3.5, "compare_reference", (*_THEIRS, "--mode=compiled")),
    Case("profile/mlp", 1.5, "kernels", ("--name=baseline",)),
    Case("resume/baseline", 3, "resume", ("--set=batch_size=64",)),
    Case("kernel/gated_products", 1.5, "gated_products", ()),
    Case("steps/mlp_pallas", 2, "train_step", ("--name=baseline", "--set=compute.kernels=pallas")),
    Case("steps/attention_916_cudnn", 2, "train_step", (*_LONG, "--set=compute.attention=cudnn")),
    Case("compare/attention_916_compiled", 3, "compare_reference", (*_THEIR_LONG, "--mode=compiled")),
    Case("compare/mlp_eager", 2, "compare_reference", (*_THEIRS, "--mode=eager")),
    Case("steps/attention_916_xla", 2, "train_step", _LONG),
    Case("steps/attention_97_xla", 2, "train_step", _ATTENTION),
    Case("compare/attention_97_compiled", 3, "compare_reference", (*_THEIR_ATTENTION, "--mode=compiled")),
    Case("compare/attention_97_eager", 2, "compare_reference", (*_THEIR_ATTENTION, "--mode=eager")),
    Case("compare/attention_916_eager", 2, "compare_reference", (*_THEIR_LONG, "--mode=eager")),
    Case("steps/mlp_4_micro_batches", 2, "train_step", ("--name=baseline", "--set=compute.micro_batches=4")),
    Case("steps/attention_916_xla_4_micro_batches", 2, "train_step", (*_LONG, "--set=compute.micro_batches=4")),
)
NAMES = ("parity", *(case.name for case in CASES), "train")

# Arguments that --toy adds for each program; later flags win.
_TINY = ("--seq_len=5", *(f"--set={change}" for change in (
    "batch_size=2", "compute.attention=xla", "compute.kernels=xla", "compute.micro_batches=1", "data.num_train=20",
    "model.hidden_size=8",
    "model.num_heads=1", "model.L_layers=1", "model.H_cycles=1", "model.L_cycles=1", "model.puzzle_emb_ndim=8",
    "model.halt_max_steps=2", "model.dtype=float32")))
_TOY_ARGUMENTS = {
    "train_step": (*_TINY, "--steps=1"),
    "kernels": (*_TINY, "--steps=1"),
    "resume": ("--set=data.box=2", "--set=data.num_clues=8", *_TINY[1:]),
    "gated_products": ("--batch=1", "--positions=5", "--hidden_size=8"),
    "compare_reference": ("--batch=2", "--dtype=float32", "--steps=1", "--seq_len=5", "--hidden_size=8", "--cycles=1",
                          "--attention=xla"),
}
_TOY_TRAINING = {
    "data.source": "generated", "data.box": 2, "data.num_clues": 8, "data.num_train": 50, "data.num_validation": 16,
    "data.num_test": 16, "batch_size": 8, "eval.batch_size": 16, "model.hidden_size": 8, "model.num_heads": 1,
    "model.L_layers": 1, "model.H_cycles": 1, "model.L_cycles": 1, "model.puzzle_emb_ndim": 8,
    "model.halt_max_steps": 2, "model.dtype": "float32"}


class Session:
  """One call: the results so far, the time that is left, and the folders.

  Args:
    out: see --out.
    workdir: see --workdir.
    minutes: see --minutes.
    toy: see --toy.

  Attributes:
    results: name of a case -> its result, or its `error`.

  Raises:
    UserError: a folder cannot be used, or contains measurements when this is a rehearsal, or the reverse.
  """

  def __init__(self, out: pathlib.Path, workdir: pathlib.Path, minutes: float, toy: bool):
    self.out, self.workdir, self.toy = out, workdir, toy
    self._end = time.monotonic() + 60 * minutes
    files.make_folder(out, "--out")
    files.make_folder(workdir, "--workdir")
    self._kept = workdir / "results.json"
    kept = files.read_json(self._kept) if self._kept.exists() else {"toy": toy, "results": {}}
    if kept["toy"] != toy:
      raise UserError(f"--workdir={workdir}: has the results of {'a rehearsal' if kept['toy'] else 'measurements'}; "
                      f"{'use' if kept['toy'] else 'leave out'} --toy, or name another --workdir")
    self.results = kept["results"]
    self._write()

  def seconds_left(self) -> float:
    """Seconds until this call must end."""
    return self._end - time.monotonic()

  def note(self, name: str, result: Mapping[str, Any]) -> None:
    """Writes a new or newer result into both folders at once."""
    self.results[name] = {"date": time.strftime("%Y-%m-%d")} | result
    self._write()

  def _write(self) -> None:
    files.write_json(self._kept, {"toy": self.toy, "results": self.results})
    shutil.copyfile(self._kept, self.out / "results.json")
    files.replace_text(self.out / "report.md", report(self.results, self.toy))

  def start(self, command: Sequence[str], log: pathlib.Path, environment: Mapping[str, str] | None = None
            ) -> subprocess.Popen:
    """Starts a process that ends with this one. Its output goes to `log`, a new file."""
    # Two cases time and profile the same program.
    cache = {"JAX_COMPILATION_CACHE_DIR": str((self.workdir / "compilation_cache").absolute())}
    platform = {"JAX_PLATFORMS": "cpu"} if self.toy else cache
    with log.open("wb") as output:
      return subprocess.Popen(
          with_parent.command(signal.SIGTERM, [sys.executable, *command]), cwd=_ROOT, stdin=subprocess.DEVNULL,
          stdout=output, stderr=subprocess.STDOUT, env=os.environ | platform | (environment or {}))

  def log(self, name: str, log: pathlib.Path) -> str:
    """Appends a process's output to log.txt and returns it."""
    text = log.read_text(errors="replace")
    with (self.out / "log.txt").open("a") as f:
      f.write(f"==== {name}\n{text}\n")
    return text


def _last_line(output: str) -> str:
  """The line of a program's output that gives the reason of its failure."""
  lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
  errors = [line for line in lines if re.match(r"error:|[\w.]*(Error|Exception)\b", line)]
  return (errors or lines)[-1][:500]


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> bool:
  """Returns whether all processes end in time, and kills those that do not."""
  end = time.monotonic() + seconds
  try:
    for process in processes:
      process.wait(max(0.0, end - time.monotonic()))
  except subprocess.TimeoutExpired:
    for process in processes:
      process.kill()
      process.wait()
    return False
  return True


def measure_parity(session: Session) -> bool:
  """Runs the parity tests on the device, all recordings side by side. Returns whether there was time for them."""
  recordings = ["mlp_t"] if session.toy else list(_RECORDINGS)
  environment = {"TRM_TEST_PLATFORMS": "cpu" if session.toy else "cuda,cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  with tempfile.TemporaryDirectory() as folder:
    logs = [pathlib.Path(folder) / name for name in recordings]
    commands = [["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default",
                 "tests/test_reference_parity.py", "-k", _RECORDINGS[name]] for name in recordings]
    processes = [session.start(command, log, environment) for command, log in zip(commands, logs)]
    in_time = _wait(processes, session.seconds_left())
    outputs = [session.log(f"parity {log.name}", log) for log in logs]
  if in_time:
    rows = [{"recording": name, "outcome": output.strip().splitlines()[-1] if output.strip() else "no output",
             "failed": ", ".join(re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", output, re.MULTILINE)) or "-"}
            for name, output in zip(recordings, outputs)]
    session.note("parity", {
        "title": "Parity tests on the device", "rows": rows,
        "command": f"TRM_TEST_PLATFORMS={environment['TRM_TEST_PLATFORMS']} pytest tests/test_reference_parity.py"})
  return in_time


def measure_case(session: Session, case: Case) -> bool:
  """Runs one program. Returns whether there was time for it."""
  extra = _TOY_ARGUMENTS[case.program] if session.toy else ()
  trace = session.workdir / "trace"
  if case.program == "kernels":
    shutil.rmtree(trace, ignore_errors=True)
    extra += (f"--trace={trace}",)
  if case.program == "compare_reference":
    extra += (f"--reference={pathlib.Path(_REFERENCE.value).absolute()}",)
  with tempfile.TemporaryDirectory() as folder:
    found, log = pathlib.Path(folder) / "found.json", pathlib.Path(folder) / "log"
    process = session.start(["-m", f"benchmarks.{case.program}", f"--rounds={measure.ROUNDS.value}", f"--json={found}",
                             *case.arguments, *extra], log)
    in_time = _wait([process], session.seconds_left())
    output = session.log(case.name, log)
    if in_time and process.returncode == 0:
      result = files.read_json(found)
      session.note(case.name, result | {"command": result["command"].replace(f" --json={found}", "")})
    elif in_time:
      session.note(case.name, {"error": f"ended with status {process.returncode}: {_last_line(output)}"})
  for file in trace.rglob("*.xplane.pb") if case.program == "kernels" else ():
    packed = gzip.compress(file.read_bytes())
    if len(packed) <= _FILE_BYTES:
      (session.out / "trace.xplane.pb.gz").write_bytes(packed)
    else:
      print(f"{case.name}: the trace is too large to be brought back, {console.size(len(packed))}", flush=True)
  return in_time


def measure_training(session: Session) -> bool:
  """Trains `fast` on real puzzles, from where an earlier call stopped. Returns whether it ended or failed."""
  workdir, recipe = session.workdir / "train", sudoku.fast()
  steps = _TRAIN_STEPS.value or (64 if session.toy else recipe.steps)
  puzzles = _PUZZLES.value and str(pathlib.Path(_PUZZLES.value).absolute())
  every = min(_EVALUATION_STEPS, steps // 8)
  fields = {
      "data.source": puzzles, "data.num_test": 1000, "steps": steps,
      "optimizer.ema_start": recipe.optimizer.ema_start * steps // recipe.steps,
      "eval.every": every, "log.every": max(1, every // 5), "save.minutes": 1.0}
  if session.toy:
    fields |= _TOY_TRAINING | ({"data.source": puzzles, "data.box": 3} if puzzles else {})
  command = ["-m", "trm_jax.main", "--config=configs/sudoku.py:fast", f"--workdir={workdir.absolute()}",
             *(f"--config.{name}={value}" for name, value in fields.items())]
  with tempfile.TemporaryDirectory() as folder:
    log = pathlib.Path(folder) / "log"
    process = session.start(command, log)
    while process.poll() is None and session.seconds_left() > _RESERVE_SECONDS:
      time.sleep(0.2 if session.toy else 2)
      _note_training(session, workdir, command)
    told = process.poll() is None
    process.terminate()  # it saves; if it has ended, this does nothing
    _wait([process], max(0.0, session.seconds_left() - _RESERVE_SECONDS / 2))
    output = session.log("train", log)
  finished = process.returncode == 0
  _note_training(session, workdir, command, finished=finished)
  if not told and not finished:
    session.note("train", session.results.get("train", {}) | {
        "error": f"ended with status {process.returncode}: {_last_line(output)}"})
    return True
  try:
    pack_weights(workdir, session.out)
  except UserError as e:  # it was stopped before it saved anything
    print(f"train: no weights are brought back: {e}", flush=True)
  return finished


def _note_training(session: Session, workdir: pathlib.Path, command: Sequence[str], finished: bool = False) -> None:
  """Writes the training's curve so far, if it is new."""
  path = workdir / "metrics.jsonl"
  if not path.exists():
    return
  shutil.copyfile(path, session.out / "metrics.jsonl")
  rows = training_rows(metrics_log.read_metrics(path))
  before = session.results.get("train", {})
  if not rows or rows == before.get("rows") and finished == before.get("finished"):
    return
  environment = files.read_json(workdir / "config.json")["environment"]
  session.note("train", {
      "title": "Accuracy of `fast` against time", "command": " ".join(["python", *command]), "rows": rows,
      "machine": {name: environment[name] for name in ("devices", "jax", "python")} | {
          "trm_jax": measure.commit(_ROOT)}, "finished": finished})


def training_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
  """The evaluations of a run as rows: accuracies by steps and by the minutes spent on steps."""
  rows, seconds = [], 0.0
  for record in records:
    seconds = record.get("train/seconds", seconds)
    for split in ("validation", "test"):
      if f"{split}/exact_accuracy" in record:
        rows.append({
            "steps": f"{record['step']:,}", "minutes of steps": f"{seconds / 60:.2f}",
            "of": f"{record[f'{split}/num_puzzles']:,} {split} puzzles" if f"{split}/num_puzzles" in record else split,
            "puzzles solved": f"{record[f'{split}/exact_accuracy']:.1%}",
            "cells right": f"{record[f'{split}/accuracy']:.1%}"})
  return rows


def pack_weights(run: pathlib.Path, out: pathlib.Path) -> None:
  """Writes the averaged weights of a run's newest checkpoint as the parts of a tar file, each of _FILE_BYTES."""
  trained, packed = weights.load(str(run)), io.BytesIO()
  with tempfile.TemporaryDirectory() as folder:
    weights.save(trained.model, trained.config, pathlib.Path(folder) / "weights", step=trained.step)
    with tarfile.open(fileobj=packed, mode="w") as tar:
      tar.add(pathlib.Path(folder) / "weights", "weights")
  for number, start in enumerate(range(0, packed.tell(), _FILE_BYTES)):
    (out / f"weights.tar.{number}").write_bytes(packed.getvalue()[start : start + _FILE_BYTES])


# The report of the results.


def report(results: Mapping[str, Mapping[str, Any]], toy: bool) -> str:
  """The results as Markdown: the rows of docs/performance.md's first table, and a table for each case."""
  parts = ["# A rehearsal at toy size, whose times mean nothing" if toy else "# Measured on a GPU",
           "## Rows for docs/performance.md, Where it stands",
           measure.table(_where_it_stands(results)), "## Every case"]
  for name in NAMES:
    result = results.get(name, {})
    parts.append(f"### {name}")
    if "rows" in result:
      where = ", ".join(f"{key} {value}" for key, value in result.get("machine", {}).items())
      parts += [f"{result['title']}; {result['date']}", f"`{result['command']}`", where or _devices(results),
                measure.table(result["rows"])]
    if "error" in result:
      parts.append(f"**Failed**: {result['error']}")
    elif not result:
      parts.append("unmeasured")
    elif result.get("finished") is False:
      parts.append("This training has not come to its end.")
  return "\n\n".join(parts) + "\n"


def _where_it_stands(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
  """One row for each target of a GPU."""

  def said(name: str, say: Callable[[list[dict[str, str]]], str]) -> str:
    """The words for a case's result, or for its absence."""
    result = results.get(name, {})
    return say(result["rows"]) if "rows" in result else "failed" if "error" in result else "unmeasured"

  def step(rows):
    return (f"**{rows[0]['ms a step: median (least .. most)']} ms** a step, {rows[0]['examples/s']} examples/s, "
            f"{rows[0]['TFLOP/s']} TFLOP/s, {rows[0]['of these']} of the measured product rate; temporary memory "
            f"{rows[0]['temporary']} MiB")

  def ratio(rows):
    return f"{rows[1]['its time over ours, round by round']} x"

  def parity(rows):
    return "; ".join(f"{row['recording']}: {row['outcome']}" for row in rows)

  def trained(rows):
    last = rows[-1]
    return (f"{last['puzzles solved']} of {last['of']} after {last['minutes of steps']} minutes of steps "
            f"({last['steps']} steps)")

  def by_mode(mixer):
    return "; ".join(f"the reference's time over ours, {mode}: {said(f'compare/{mixer}_{mode}', ratio)}"
                     for mode in ("compiled", "eager"))

  device = _devices(results)
  bars = [
      (f"{device}, bf16, batch 768, token MLP", "50 % of the measured product rate; 2.5 x the reference compiled",
       f"{said('steps/mlp', step)}; {by_mode('mlp')}"),
      ("the same, SwiGLUs by our kernel", "", said("steps/mlp_pallas", step)),
      ("the same in 4 micro-batches", "", said("steps/mlp_4_micro_batches", step)),
      ("attention, 97 positions, batch 768, XLA", "",
       f"{said('steps/attention_97_xla', step)}; {by_mode('attention_97')}"),
      ("attention, 916 positions, batch 128, cuDNN", "40 %",
       f"{said('steps/attention_916_cudnn', step)}; {by_mode('attention_916')}"),
      ("the same by XLA", "", said("steps/attention_916_xla", step)),
      ("attention, 916 positions, batch 128, XLA, 4 micro-batches", "",
       said("steps/attention_916_xla_4_micro_batches", step)),
      ("parity on the device", "all pass", said("parity", parity)),
      ("time to accuracy", "", said("train", trained))]
  return [dict(zip(("where", "bar", "now"), bar)) for bar in bars]


def _devices(results: Mapping[str, Mapping[str, Any]]) -> str:
  return next((result["machine"]["devices"] for result in results.values() if "machine" in result), "no device yet")


def measure_missing(session: Session, only: Sequence[str]) -> None:
  """Makes missing results, the most valuable first, until the time is over.

  Args:
    session: of this call.
    only: pieces and cases; empty for all.
  """
  chosen = [name for name in NAMES if not only or {name, name.partition("/")[0]} & set(only)]
  trains = "train" in chosen and _PUZZLES.value and not session.results.get("train", {}).get("finished")
  kept = min(_MOST_KEPT_MINUTES, _MINUTES.value / 3) if trains else 0.0
  cases = {case.name: case for case in CASES}
  for name in chosen:
    before = session.results.get(name, {})
    if not only if "error" in before else before and before.get("finished", True):
      print(f"{name}: {'failed before' if 'error' in before else 'there already'}", flush=True)
      continue
    missing = {"compare": None if _REFERENCE.value else "--reference",
               "train": None if _PUZZLES.value or session.toy else "--puzzles"}.get(name.partition("/")[0])
    if missing:
      print(f"{name}: left out, because {missing} is missing", flush=True)
      continue
    needed = 0.0 if session.toy else {"parity": 3.0, "train": 2.5}.get(name) or cases[name].minutes
    left = session.seconds_left() / 60 - (kept if name != "train" else 0.0)
    if left <= needed:
      print(f"{name}: not begun, since it may take {needed:g} minutes and {max(0.0, left):.1f} are left"
            f"{f' before {kept:g} for the training' if kept and name != 'train' else ''}", flush=True)
      continue
    start = time.monotonic()
    if name == "train":
      whole = measure_training(session)
    else:
      whole = measure_parity(session) if name == "parity" else measure_case(session, cases[name])
    outcome = session.results[name].get("error", "done") if whole else "to be continued by another call"
    print(f"{name}: {outcome}, {console.duration(time.monotonic() - start)}", flush=True)


def main(argv: list[str]) -> None:
  cli.no_arguments(argv)
  if not _OUT.value:
    raise UserError("--out is missing: the folder for what is to be brought back")
  if unknown := set(_ONLY.value) - {*PIECES, *NAMES}:
    raise UserError(f"--only={min(unknown)}: there are the pieces {', '.join(PIECES)} and the cases {', '.join(NAMES)}")
  jax.config.update("jax_platforms", "cpu")  # this process leaves the GPU to those it starts
  session = Session(pathlib.Path(_OUT.value), pathlib.Path(_WORKDIR.value), _MINUTES.value, _TOY.value)
  measure_missing(session, _ONLY.value)
  print(f"\n{report(session.results, session.toy)}", flush=True)


if __name__ == "__main__":
  cli.run(main)
