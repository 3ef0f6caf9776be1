# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""hf://OWNER/REPO/FILE[@REVISION], against a server on this machine that answers as the hub does."""

import contextlib
import hashlib
import http.server
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.parse

from flax import nnx
import pytest
import tiny

from trm_jax import interop
from trm_jax.model import TRM

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("huggingface_hub"),
                                reason="huggingface_hub is not installed")

COMMIT, OLDER = "256f32fcbe7123e8bf8c449410773a5ad311dbc5", "0" * 39 + "1"
REVISIONS = {"main": COMMIT, "v1": OLDER, COMMIT: COMMIT, OLDER: OLDER}
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


class Hub(http.server.ThreadingHTTPServer):
  """Repositories of folders: root/OWNER/REPO/COMMIT/FILE; those of an owner "gated" ask for a token.

  Attributes:
    requests: "METHOD path status" of each.
  """

  daemon_threads = True

  def __init__(self, root: pathlib.Path):
    super().__init__(("127.0.0.1", 0), _Handler)
    self.root, self.requests = root, []
    self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    path = urllib.parse.unquote(self.path)
    match = re.fullmatch(r"/([^/]+)/([^/]+)/resolve/([^/]+)/(.+)", path)
    if not match:
      return self._refuse(404, "EntryNotFound")
    owner, repo, revision, name = match.groups()
    if not (self.server.root / owner / repo).is_dir():
      return self._refuse(401, "RepoNotFound")  # as the hub says it to whoever has no token
    if owner == "gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
      return self._refuse(401, "GatedRepo")
    if revision not in REVISIONS:
      return self._refuse(404, "RevisionNotFound")
    file = self.server.root / owner / repo / REVISIONS[revision] / name
    if not file.is_file():
      return self._refuse(404, "EntryNotFound", REVISIONS[revision])
    content = file.read_bytes()
    self._answer(200, {"Content-Length": str(len(content)), "X-Repo-Commit": REVISIONS[revision],
                       "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}, content)

  def _refuse(self, status, code, commit=None):
    self._answer(status, {"X-Error-Code": code, "X-Error-Message": f"it is {code}", "Content-Length": "0"}
                 | ({"X-Repo-Commit": commit} if commit else {}), b"")

  def _answer(self, status, headers, content):
    self.server.requests.append(f"{self.command} {self.path} {status}")
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    self.end_headers()
    if self.command == "GET":
      with contextlib.suppress(ConnectionError):
        self.wfile.write(content)

  def log_message(self, *args):
    pass


@pytest.fixture(name="server")
def _server(tmp_path):
  """A hub with a tiny model of the reference in three repositories."""
  root = tmp_path / "hub"
  config = tiny.config(model__dtype="bfloat16", data__num_test=2)
  model = TRM(config.model.sized(vocab_size=6, seq_len=16), rngs=nnx.Rngs(0))
  for repo in ("owner/sudoku", "gated/sudoku"):
    for commit in (COMMIT, OLDER):
      folder = root / repo / commit / "sub"
      folder.mkdir(parents=True)
      interop.write_reference_file(model, folder / "step_7")
      (folder / "all_config.yaml").write_text(json.dumps({"arch": {  # which is YAML, too
          **{name: getattr(config.model, name) for name in (
              "hidden_size", "num_heads", "expansion", "H_layers", "L_layers", "H_cycles", "L_cycles", "mlp_t",
              "pos_encodings", "puzzle_emb_ndim", "puzzle_emb_len", "halt_max_steps", "halt_exploration_prob")},
          "forward_dtype": "bfloat16"}}))
  (root / "owner/sudoku" / COMMIT / "step_8").write_bytes((folder / "step_7").read_bytes())
  server = Hub(root)
  thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
  thread.start()
  yield server
  server.shutdown()
  thread.join()
  server.server_close()


def start(server_url, folder, *arguments, **env):
  """A program, as a user of the hub's client would start it."""
  clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
  return subprocess.run(
      [sys.executable, *arguments], capture_output=True, text=True, cwd=folder,
      env=clean | {"HF_ENDPOINT": server_url, "HF_HOME": f"{folder}/hf", "HF_HUB_DISABLE_TELEMETRY": "1"} | env)


# Says what each address leads to, or how it is refused.
DOWNLOAD = """
import sys
from trm_jax.errors import UserError
from trm_jax.interop import hub
for address in sys.argv[1:]:
  try:
    file, beside = hub.download(address, ("all_config.yaml", "config.json"))
    print(hub.commit_of(file), file.name, *beside)
  except UserError as e:
    print(type(e).__name__, e.status, e)
"""


def test_solved_from_an_address(server, tmp_path):
  """Downloaded and imported once."""
  solve = ("-m", "trm_jax.solve", "--checkpoint=hf://owner/sudoku/sub/step_7", "1...3..2..3..4..", "--show=0",
           "--out=answers.csv")
  done = start(server.url, tmp_path, *solve)
  folder = f"runs/owner-sudoku-sub-step_7-{COMMIT[:12]}"
  assert f"hf://owner/sudoku/sub/step_7: imported into {folder}\n" in done.stderr and "imported" not in done.stdout
  assert (tmp_path / "answers.csv").is_file()
  assert f"GET /owner/sudoku/resolve/{COMMIT}/sub/step_7 200" in server.requests or (
      "GET /owner/sudoku/resolve/main/sub/step_7 200" in server.requests)
  server.requests.clear()
  load = "from trm_jax import weights; print(weights.load('hf://owner/sudoku/sub/step_7').step)"
  done = start(server.url, tmp_path, "-c", load)
  assert done.stdout == "7\n", done.stderr
  assert not [request for request in server.requests if request.startswith("GET")]


def test_imported_from_an_address(server, tmp_path):
  address = f"hf://owner/sudoku/sub/step_7@{OLDER}"
  done = start(server.url, tmp_path, "-m", "trm_jax.interop", "import", address, "--out=run")
  assert done.stdout.startswith(f"{address}: TRM mlp T=1 n=1 1x8 bfloat16, sudoku-4x4"), done.stderr
  done = start(server.url, tmp_path, "-m", "trm_jax.interop", "import", "hf://owner/sudoku/step_8", "--out=x")
  assert done.returncode == 2 and done.stderr.startswith(
      "error: hf://owner/sudoku/step_8: no all_config.yaml lies beside it"), done.stderr


def test_addresses(server, tmp_path):
  cases = {
      "hf://owner/sudoku/sub/step_7": rf"{COMMIT} step_7 all_config.yaml",
      "hf://owner/sudoku/sub/step_7@v1": rf"{OLDER} step_7 all_config.yaml",
      f"hf://owner/sudoku/sub/step_7@{OLDER}": rf"{OLDER} step_7 all_config.yaml",
      "hf://owner/sudoku/step_8": rf"{COMMIT} step_8",
      "hf://owner/sudoku": "UserError 2 .*: not an address at the hub; it must be hf://OWNER/REPO/FILE or .*",
      "hf://owner/sudoku/step_9": "UserError 2 .*: owner/sudoku has no file step_9; .*",
      "hf://owner/sudoku/step_8@v1": "UserError 2 .*: owner/sudoku has no file step_8 in revision 'v1'; .*",
      "hf://owner/sudoku/step_8@v2": "UserError 2 .*: owner/sudoku has no revision 'v2'; give a branch, a tag or .*",
      "hf://owner/maze/step_8": "UserError 2 .*: the hub has no repository owner/maze, or it is private; .*",
      "hf://gated/sudoku/sub/step_7": "UserError 2 .*: its owner asks for an agreement first; agree at .*",
  }
  done = start(server.url, tmp_path, "-c", DOWNLOAD, *cases)
  lines = done.stdout.splitlines()
  assert len(lines) == len(cases), done.stdout + done.stderr
  for line, expected in zip(lines, cases.values()):
    assert re.fullmatch(expected, line), line
  done = start(server.url, tmp_path, "-c", DOWNLOAD, "hf://gated/sudoku/sub/step_7", HF_TOKEN=TOKEN)
  assert done.stdout == f"{COMMIT} step_7 all_config.yaml\n", done.stderr


def test_without_a_network(server, tmp_path):
  """What was downloaded before is used."""
  addresses = "hf://owner/sudoku/sub/step_7", "hf://owner/sudoku/step_8"
  assert start(server.url, tmp_path, "-c", DOWNLOAD, addresses[0]).returncode == 0
  refusal = f"TryAgain 76 {addresses[1]}: the hub cannot be reached, and the file was not downloaded before; check the"
  done = start(server.url, tmp_path, "-c", DOWNLOAD, *addresses, HF_HUB_OFFLINE="1")
  there, missing = done.stdout.splitlines()
  assert there == f"{COMMIT} step_7 all_config.yaml" and missing.startswith(refusal), done.stdout
  # The client itself tries for a while.
  done = start(server.url, tmp_path, "-c", DOWNLOAD, addresses[1], HF_ENDPOINT="http://127.0.0.1:9")
  assert done.stdout.startswith(refusal), done.stdout
