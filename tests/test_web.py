# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The page that solves typed puzzles in a browser: what is in its folder, how it is served, and how it works."""

import functools
import hashlib
import http.server
import importlib.util
import io
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.request

import chromium
from flax import nnx
import jax
import numpy as np
import pytest
import tiny

from trm_jax import tasks
from trm_jax import weights
from trm_jax.errors import TryAgain, UserError
from trm_jax.interop import export
from trm_jax.model import TRM
from trm_jax.runtime import download
from trm_jax.runtime import files
from trm_jax.runtime import signals
from trm_jax.solve import Solver
from trm_jax.solve import web
from trm_jax.tasks.grid.config import GridData
from trm_jax.tasks.grid.task import GridTask
from trm_jax.tasks.maze import generate as generate_mazes
from trm_jax.tasks.maze.config import MazeData
from trm_jax.tasks.maze.task import MazeTask
from trm_jax.tasks.sudoku import generate
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask

needs_onnx = pytest.mark.skipif(not importlib.util.find_spec("jax2onnx") or not importlib.util.find_spec("onnxruntime"),
                                reason="jax2onnx or onnxruntime is not installed")
# Those of jax2onnx, of itself; as errors they would keep it from loading what converts a loop.
pytestmark = pytest.mark.filterwarnings("ignore")
RUNTIME = files.cache_folder() / "onnxruntime-web-1.30.0.tgz"  # before a test names another cache
MAZE = MazeTask(MazeData(rows=5, columns=6))


class _Odd(SudokuTask):
  """Sudokus that are right where the first cell is odd, so that some answers of a model that learned nothing are."""

  def solves(self, inputs, answers):
    return (answers[..., 0] == 2) | (answers[..., 0] == 4)  # the digits 1 and 3


TASK = _Odd(SudokuData(box=2))


@pytest.fixture(scope="module", name="model")
def _model():
  model = TRM(tiny.config(model__halt_max_steps=3).model.sized(vocab_size=6, seq_len=16), rngs=nnx.Rngs(0))
  for key, parameter in enumerate((model.puzzle_emb, model.q_head)):  # both begin as zeros
    parameter[...] = jax.random.normal(jax.random.key(key), parameter.shape)
  return model


@pytest.fixture(name="cache")
def _cache(tmp_path, monkeypatch):
  """An empty cache, and a package that is taken for onnxruntime-web. Returns (where it shall be, the package)."""
  made = io.BytesIO()
  with tarfile.open(fileobj=made, mode="w:gz") as archive:
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort.js"):
      info = tarfile.TarInfo(f"package/dist/{name}")
      info.size = len(name)
      archive.addfile(info, io.BytesIO(name.encode()))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.setattr(web, "_SHA256", hashlib.sha256(made.getvalue()).hexdigest())
  return tmp_path / "cache" / "trm_jax" / "onnxruntime-web-1.30.0.tgz", made.getvalue()


def test_the_runtime_is_downloaded_once(cache, tmp_path, monkeypatch):
  path, package = cache
  served = tmp_path / "registry" / "onnxruntime-web" / "-" / path.name
  served.parent.mkdir(parents=True)
  served.write_bytes(package)
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "registry")
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    assert web.runtime() == path
    server.shutdown()
    thread.join()
  assert path.read_bytes() == package
  assert web.runtime() == path  # with nobody there to ask


def test_without_a_network_it_says_what_to_do(cache, monkeypatch):
  with socket.socket() as nobody:
    nobody.bind(("127.0.0.1", 0))
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    monkeypatch.setattr(download, "_PAUSES", ())
    with pytest.raises(TryAgain, match=r"/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz: cannot be downloaded \(.*\); .*"
                                       f"put that file, from a machine with a network, at {cache[0]}"):
      web.runtime()


@pytest.mark.parametrize("status", [404, 503])
def test_a_registrys_password_is_not_shown(cache, monkeypatch, capsys, status):
  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      asked.append(self.headers["Authorization"])
      self.send_error(status)

    def log_message(self, *args):
      pass

  asked = []
  monkeypatch.setattr(download, "_PAUSES", (0,))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("npm_config_registry", f"http://me:secret@127.0.0.1:{server.server_port}")
    with pytest.raises(UserError) as e:
      web.runtime()
    server.shutdown()
    thread.join()
  assert str(e.value).startswith(f"http://127.0.0.1:{server.server_port}/onnxruntime-web/-/onnx")
  assert asked[0].startswith("Basic ")  # it was used
  said = str(e.value) + "".join(capsys.readouterr())
  assert "secret" not in said and ("now" in said) is (status == 503)


def test_arc_is_refused(model, tmp_path):
  arc = tasks.of("arc", tiny.arc().data)
  with pytest.raises(UserError, match="--web: a puzzle of arc.* is more than a board to be filled; --html=x"):
    web.write(tmp_path / "x", model, arc, [], "--web")
  assert GridTask(GridData()).editor is None  # nothing tells how its tokens are written


def test_nothing_is_downloaded_where_a_package_is_missing(model, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "jax2onnx", None)  # as if it were not installed
  monkeypatch.setattr(web, "runtime", None)
  with pytest.raises(UserError, match=r'^--web: needs jax2onnx, which is not installed; pip install -e ".\[onnx\]"$'):
    web.write(tmp_path / "x", model, TASK, [np.ones(16, np.uint8)], "--web")
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("box", [2, 3])
def test_a_sudoku_that_the_page_refuses_is_one_with_a_fault(box):
  task, rng = SudokuTask(SudokuData(box=box)), np.random.default_rng(0)
  seen = set()
  for _ in range(200):
    inputs = np.where(rng.random(task.seq_len) < 3 / task.side**2, rng.integers(2, 2 + task.side, task.seq_len), 1)
    clash = any(len(set(clues)) < len(clues) for unit in task.editor.units
                for clues in [[inputs[cell] for cell in unit if inputs[cell] != task.editor.tokens[0]]])
    assert clash == bool(task.fault(inputs))
    seen.add(clash)
  assert seen == {False, True}


def test_what_a_person_may_put_into_a_cell():
  for task, characters in ((TASK, ".1234"), (MAZE, " #SG"),
                           (GridTask(GridData(rows=2, columns=2, alphabet="_xy")), "_xy")):
    assert "".join(map(task.cell_text, task.editor.tokens)) == characters
  assert [MAZE.cell_text(token) for token in MAZE.editor.once] == ["S", "G"]


@needs_onnx
def test_the_folder_is_whole(cache, model, tmp_path):
  cache[0].parent.mkdir(parents=True)
  cache[0].write_bytes(cache[1])
  folder = tmp_path / "web"
  web.write(folder, model, TASK, [np.ones(16, np.uint8)], "--web")
  assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
      "index.html", "onnxruntime-web/ort-wasm-simd-threaded.wasm", "onnxruntime-web/ort.wasm.bundle.min.mjs",
      "rules.onnx", "signature.json", "start.onnx", "step.onnx"]
  assert (folder / "onnxruntime-web" / "ort.wasm.bundle.min.mjs").read_text() == "ort.wasm.bundle.min.mjs"
  text = (folder / "index.html").read_text()
  # It works in any folder of any server.
  assert "://" not in text and not re.search(r'(src|href)=(?!"data:,")|["\'`]/', text)
  assert text.count("</html>") == text.count("</body>") == 1


@pytest.mark.parametrize("error", [UserError("no space"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_the_folder_is_whole_or_not_there(cache, model, tmp_path, monkeypatch, error, there):
  cache[0].parent.mkdir(parents=True)
  cache[0].write_bytes(cache[1])
  folder = tmp_path / "public" / "web"
  (folder if there else folder.parent).mkdir(parents=True)
  monkeypatch.setattr(export, "jax2onnx", lambda flag: None)
  monkeypatch.setattr(export, "onnx_to_watch", lambda model, task, folder, flag: (folder / "step.onnx").touch())

  def write():
    web.write(folder, model, TASK, [np.ones(16, np.uint8)], "--web")

  with monkeypatch.context() as patch:
    patch.setattr(web.page, "text", lambda *args: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
      write()
  assert list(folder.parent.iterdir()) == [folder] * there and not (there and list(folder.iterdir()))
  assert not signals.tidy_up
  write()
  assert {path.name for path in folder.iterdir()} == {"index.html", "step.onnx", "onnxruntime-web"}
  assert folder.stat().st_mode == folder.parent.stat().st_mode  # a server of files may read it
  with pytest.raises(UserError, match=f"^--web={folder}: cannot be written .*not empty"):
    write()
  assert list(folder.parent.iterdir()) == [folder]


@needs_onnx
@pytest.mark.parametrize("task", [SudokuTask(SudokuData(box=2)), SudokuTask(SudokuData(box=3)), MAZE],
                         ids=lambda task: task.name)
def test_the_exported_rules_are_the_rules(task, tmp_path):
  import onnxruntime  # pylint: disable=g-import-not-at-top

  model = TRM(tiny.config().model.sized(vocab_size=task.vocab_size, seq_len=task.seq_len), rngs=nnx.Rngs(0))
  export.onnx_to_watch(model, task, tmp_path, "--web")
  rules = onnxruntime.InferenceSession(tmp_path / "rules.onnx")
  if task is MAZE:
    puzzles = generate_mazes.generate_splits(rows=5, columns=6, num_train=8, num_validation=0, num_test=0, min_path=4,
                                             loops=0.2, seed=0)["train"]
  else:
    puzzles = generate.generate_splits(box=task.box, num_train=8, num_validation=0, num_test=0,
                                       num_clues=task.seq_len // 2 + 2, seed=0)["train"]
  inputs, answers = puzzles.inputs.astype(np.int32), puzzles.labels.astype(np.int32)
  other = answers.copy()
  other[:, 0], other[:, 1] = answers[:, 1], answers[:, 0]
  for tried in (answers, inputs, other):
    for i in range(len(inputs)):  # one at a time, as the page does it
      proven, = rules.run(None, {"inputs": inputs[i : i + 1], "answers": tried[i : i + 1]})
      assert proven.tolist() == [bool(task.solves(inputs[i], tried[i]))]
  assert task.solves(inputs, answers).all() and not task.solves(inputs, inputs).any()


@needs_onnx
def test_it_is_served_until_ctrl_c(cache, model, tmp_path):
  """By the program, to this machine alone; nothing is left behind."""
  cache[0].parent.mkdir(parents=True)
  cache[0].write_bytes(cache[1])
  weights.save(model, tiny.config(model__halt_max_steps=3), tmp_path / "run")
  code = ("import sys; from trm_jax import cli; from trm_jax.solve import __main__, web\n"
          f"web._SHA256 = {web._SHA256!r}; cli.run(__main__.main)")
  (tmp_path / "tmp").mkdir()
  program = subprocess.Popen(
      [sys.executable, "-c", code, f"--checkpoint={tmp_path}/run", "1...3..4.3..4..2", "--serve", "--port=0"],
      env=os.environ | {"TMPDIR": str(tmp_path / "tmp")}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  address = re.fullmatch(r"open (http://127.0.0.1:\d+) in a browser; Ctrl-C ends this\n", program.stdout.readline())[1]
  port = int(address.rpartition(":")[2])
  with urllib.request.urlopen(address) as response:
    assert response.headers["Cache-Control"] == "no-cache" and b'"examples":[[2,1,1,1,4' in response.read()
  with urllib.request.urlopen(f"{address}/onnxruntime-web/ort-wasm-simd-threaded.wasm") as response:
    assert response.headers["Content-Type"] == "application/wasm"  # which browsers insist on
  with pytest.raises(UserError, match=rf"--port={port}: cannot serve there \(Address already in use\); choose another"):
    web.serve(tmp_path, port, print)
  program.send_signal(signal.SIGINT)
  out, errors = program.communicate(timeout=60)
  assert (program.returncode, out) == (130, "\nSIGINT: stopping at once, since nothing is left to save\n")
  assert "KeyboardInterrupt" not in errors
  assert not list((tmp_path / "tmp").glob("tmp*"))  # the folder; jax2onnx leaves a file of its own


@pytest.mark.parametrize("error, said", [(ConnectionResetError(), False), (OSError(), True)])
def test_a_browser_may_leave_in_the_middle_of_a_file(capsys, error, said):
  try:
    raise error
  except OSError:
    web._Server.handle_error(object.__new__(web._Server), None, ("127.0.0.1", 1))
  assert ("Traceback" in capsys.readouterr().err) is said


# The page in a browser.


def _wait_for_an_answer(page):
  page.wait("/proven right|NOT right|tells whether/.test(document.getElementById('status').textContent)")


def _board(page):
  return page.value("[...document.querySelectorAll('td')].map(td => td.textContent).join('')")


def _button(text):
  return f"[...document.querySelectorAll('button')].find(button => button.textContent === {text!r})"


def _text(page, name):
  return page.value(f"document.getElementById({name!r}).textContent")


@needs_onnx
@pytest.mark.skipif(not chromium.PROGRAM, reason="no Chromium is installed")
@pytest.mark.skipif(not RUNTIME.exists(), reason='not downloaded: python -c "from trm_jax.solve import web; '
                    'web.runtime()"')
def test_a_typed_puzzle_is_solved_as_by_the_solver(model, tmp_path):
  puzzles = generate.generate_splits(box=2, num_train=10, num_validation=0, num_test=0, num_clues=6, seed=0)["train"]
  answers = Solver(model, TASK)(puzzles, trace=True)
  right, wrong = (next(answer for answer in answers if answer.proven is proven) for proven in (True, False))
  web.write(tmp_path / "web", model, TASK, [wrong.puzzle], "--web")
  addresses = []
  threading.Thread(target=web.serve, args=(tmp_path / "web", 0, addresses.append), daemon=True).start()
  with chromium.opened(tmp_path / "browser") as page:
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=600, deviceScaleFactor=1, mobile=True)
    page.open(f"{addresses[0]}/index.html")
    page.wait("document.title === 'sudoku-4x4: type a puzzle'")
    assert page.value("document.documentElement.scrollWidth") == 320

    # Typed, solved, and read.
    for character in TASK.text(right.puzzle):
      page.key(character)
    assert _board(page) == TASK.text(right.puzzle)
    page.key("Enter", "\r")
    _wait_for_an_answer(page)
    assert _board(page) == TASK.text(right.cells)
    assert _text(page, "status").startswith("step 3 of 3: ")
    assert _text(page, "status").endswith(f"that all are right {100 * right.confidence:.1f} %; proven right")
    assert page.value("location.hash.slice(1)") == TASK.text(right.puzzle)

    # Its steps.
    page.value("document.activeElement.blur()")
    for step in right.trace[1::-1]:
      page.key("ArrowLeft")
      assert _board(page) == TASK.text(step.cells)
    page.click("document.querySelectorAll('td')[5]")
    sure = int(100 * right.trace[0].cell_confidence[5])
    assert re.fullmatch(rf"After step 1, row 2, column 2: .*\b{sure} % sure\.", _text(page, "note"))

    # Another one, by buttons.
    page.click(_button("Clear"))
    assert _board(page) == "." * 16
    page.click(_button("Example puzzle"))
    page.click(_button("Solve"))
    _wait_for_an_answer(page)
    assert _board(page) == TASK.text(wrong.cells) and _text(page, "status").endswith("; NOT right, by the rules")

    # Clues that contradict each other; taps and keys of the page.
    page.click(_button("Clear"))
    page.click("document.querySelectorAll('td')[0]")
    page.click(_button("3"))  # and moves on
    page.click("document.querySelectorAll('td')[2]")
    for _ in range(3):
      page.click("document.querySelectorAll('td')[2]")
    assert _board(page) == "3.3............."
    assert page.value("[...document.querySelectorAll('td')].map(td => Number(td.classList.contains('wrong'))).join('')"
                      ) == "1010000000000000"
    page.click(_button("Solve"))
    assert _text(page, "note") == "Nothing can solve this: the underlined cells contradict each other."
    assert _text(page, "status") == "the puzzle"

    # Pasted, and as a link.
    paste = ("(text => { const data = new DataTransfer(); data.setData('text', text); document.dispatchEvent("
             "new ClipboardEvent('paste', {clipboardData: data})); })")
    page.value(f"{paste}('12')")
    assert _text(page, "note").startswith("That is no puzzle of this page: 16 of the characters .1234, row by row,")
    page.value(f"{paste}('1...\\r\\n..3.\\n0000\\n....\\n')")
    assert _board(page) == "1.....3........."
    page.open("about:blank")
    page.open(f"{addresses[0]}/#{TASK.text(wrong.puzzle)}")
    _wait_for_an_answer(page)
    assert _board(page) == TASK.text(wrong.cells)
    page.value(f"location.hash = {TASK.text(right.puzzle)!r}")  # another link, while the page is open
    page.wait("document.getElementById('status').textContent.endsWith('proven right')")
    assert _board(page) == TASK.text(right.cells)
    page.value("location.hash = '%2'")  # cut off
    page.wait("document.getElementById('note').textContent.startsWith('That is no puzzle of this page')")
    assert page.said == []
    # From the disk, where no browser lets it.
    page.open((tmp_path / "web" / "index.html").as_uri() + "#" + TASK.text(wrong.puzzle))
    page.wait("document.getElementById('note').textContent.startsWith('No browser lets a page from the disk load')")


def test_the_package_has_the_script():
  assert (pathlib.Path(web.__file__).parent / "live.js").is_file()
