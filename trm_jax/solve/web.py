# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Makes a page on which a person types a puzzle and the model solves it in the browser: a folder for any file server.

The folder has index.html (page.html with live.js in it), the model as ONNX programs, and onnxruntime-web, whose 14 MB
are not kept in the repository: a fixed version is downloaded once from npm's registry, and checked. A page that loaded
it from somebody's servers each time would depend on them, and would reveal its visitors to them.
"""

from collections.abc import Callable
import functools
import http.server
import os
import pathlib
import sys
import tarfile
from typing import Any

import numpy as np

from trm_jax.errors import UserError, explained
from trm_jax.interop import export
from trm_jax.model.trm import TRM
from trm_jax.runtime import download
from trm_jax.runtime import files
from trm_jax.solve import page
from trm_jax.tasks import Task

_RUNTIME = "onnxruntime-web"
_VERSION = "1.30.0"
# SHA-256 of the package, whose integrity npm states as
# sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb…
_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
# The files of the package that a page with one thread needs.
_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def runtime() -> pathlib.Path:
  """The path of the package of onnxruntime-web, 33 MB, in the cache; downloads it if it is not there.

  Raises:
    UserError: the package cannot be downloaded, or has another checksum.
  """
  name = f"{_RUNTIME}-{_VERSION}.tgz"
  registry = os.environ.get("npm_config_registry") or "https://registry.npmjs.org"  # npm reads the same variable
  path = files.cache_folder() / name
  files.make_folder(path.parent, "XDG_CACHE_HOME")
  return download.file(path, f"{registry.rstrip('/')}/{_RUNTIME}/-/{name}", _SHA256,
                       f"put that file, from a machine with a network, at {path}")


def write(folder: pathlib.Path, model: TRM, task: Task, examples: list[np.ndarray], flag: str) -> None:
  """Writes the folder, all of it or nothing.

  Args:
    folder: to be made; there may be an empty one.
    model: the trained model.
    task: that it was trained on.
    examples: (S,) tokens each, at least one.
    flag: the flag that asks for the page, for messages.

  Raises:
    UserError: the task's puzzles are not boards to be filled, a package is missing, or a file cannot be downloaded or
      written.
  """
  editor = task.editor
  if editor is None:
    raise UserError(f"{flag}: a puzzle of {task.name} is more than a board to be filled; --html=x.html makes a page of "
                    "puzzles that are solved already")
  export.jax2onnx(flag)  # before 33 MB are downloaded for nothing
  package = runtime()
  with files.new_folder(folder, flag) as made:
    export.onnx_to_watch(model, task, made, flag)
    (made / _RUNTIME).mkdir()
    with tarfile.open(package) as archive:
      for name in _FILES:
        with files.replacing(made / _RUNTIME / name) as file:
          file.write(archive.extractfile(f"package/dist/{name}").read())
    every = np.arange(task.vocab_size)[:, None].repeat(task.seq_len, 1)
    board = page.unsolved(task, np.full(task.seq_len, editor.tokens[0]))
    live = {
        "tokens": list(editor.tokens), "units": editor.units, "once": editor.once,
        "given": task.is_given(every)[:, 0].tolist(), "examples": [example.tolist() for example in examples],
        "steps": model.config.halt_max_steps, "rules": bool(task.checked)}
    puzzle = {"title": "your puzzle", "verdict": "", "note": "", "frames": [board], "before": [], "after": []}
    script = f'<script type="module">\n{page.source("live.js")}</script>\n</body>'
    files.replace_text(made / "index.html", page.text(task, {"puzzles": [puzzle], "live": live}).replace(
        "</body>", script))


class _Handler(http.server.SimpleHTTPRequestHandler):
  """Serves files that browsers do not cache, since this address may serve others the next time."""

  def end_headers(self):
    self.send_header("Cache-Control", "no-cache")
    super().end_headers()

  def log_message(self, *args: Any) -> None:
    pass


class _Server(http.server.ThreadingHTTPServer):

  def handle_error(self, request: Any, client_address: Any) -> None:
    if not isinstance(sys.exception(), ConnectionError):  # a browser may leave whenever it likes
      super().handle_error(request, client_address)


def serve(folder: pathlib.Path, port: int, ready: Callable[[str], None]) -> None:
  """Serves a folder to this machine alone, until the program ends.

  Args:
    folder: written by `write`.
    port: 0 for any free port.
    ready: called with the address.

  Raises:
    UserError: the port cannot be used.
  """
  try:
    server = _Server(("127.0.0.1", port), functools.partial(_Handler, directory=folder))
  except OSError as e:
    raise explained(f"--port={port}: cannot serve there", e, "choose another one, or 0 for any that is free") from e
  with server:
    ready(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()
