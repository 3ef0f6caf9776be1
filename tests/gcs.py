# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Buckets on this machine for tests: gcp-storage-emulator in memory, on a free port of 127.0.0.1.

TensorStore relies on generations, which the emulator of 2026.7.19 makes but neither sends with an object's content nor
compares with what a request asks for; `_Handler` does.
"""

from collections.abc import Callable
import functools
import http.server
import io
import json
import re
import threading
import urllib.parse

from gcp_storage_emulator import exceptions
from gcp_storage_emulator import server as emulator
from gcp_storage_emulator import storage as emulator_storage
from gcp_storage_emulator.handlers import buckets


class Server(http.server.HTTPServer):
  """A thread that serves buckets.

  Attributes:
    url: where it listens.
    requests: (method, path with query) of what was asked so far.
    refuse: from method and path to a status and a message, to be answered instead; None for no refusal.
    lose: from method and path to whether the request is carried out and its answer gets lost.
  """

  def __init__(self):
    self._storage = emulator_storage.Storage(use_memory_fs=True)
    super().__init__(("127.0.0.1", 0), functools.partial(_Handler, self._storage))
    self._num_buckets = 0
    self.url = f"http://127.0.0.1:{self.server_port}"
    self.requests: list[tuple[str, str]] = []
    self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None
    self.lose: Callable[[str, str], bool] = lambda method, path: False
    self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
    self._thread.start()

  def stop(self) -> None:
    """Ends the thread and frees the port."""
    self.shutdown()
    self._thread.join()
    self.server_close()

  def make_bucket(self) -> str:
    """The name of a new, empty one."""
    self._num_buckets += 1
    name = f"bucket-{self._num_buckets}"
    buckets.create_bucket(name, self._storage)
    return name

  def objects(self, bucket: str) -> dict[str, bytes]:
    """What a bucket holds, by name."""
    listed, _ = self._storage.get_file_list(bucket)
    return {entry["name"]: self._storage.get_file(bucket, entry["name"]) for entry in listed}

  def describe(self, bucket: str, name: str) -> dict:
    """An object's metadata, which may be changed: then it no longer fits the content."""
    return self._storage.get_file_obj(bucket, name)

  def generation(self, bucket: str, name: str) -> str:
    """Of an object; "0" if there is none."""
    try:
      return self.describe(bucket, name)["generation"]
    except exceptions.NotFound:
      return "0"

  def handle_error(self, request, client_address):
    """Silent: gcsfs asks for an object and for a folder of a name, and hangs up once one of them has answered."""


class _Handler(emulator.RequestHandler):
  """The emulator's, with a record, refusals and generations before it."""

  _generation = None  # of the content that is sent

  def _handle(self, method):
    self.server.requests.append((method, self.path))
    status, message = self.server.refuse(method, self.path) or self._compare_generations(method)
    if not status:
      connection = self.wfile
      if self.server.lose(method, self.path):
        self.wfile = io.BytesIO()
      emulator.Router(self).handle(method)
      self.wfile = connection
      return
    self.rfile.read(int(self.headers.get("Content-Length", 0)))
    body = json.dumps({"error": {"code": status, "message": message}}).encode() if status != 304 else b""
    self.send_response(status)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    self.wfile.write(body)

  def _compare_generations(self, method):
    """What to answer instead of an object or a success."""
    url = urllib.parse.urlsplit(self.path)
    query = dict(urllib.parse.parse_qsl(url.query))
    match = re.fullmatch(r"(?:/upload|/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?", url.path)
    name = match and (urllib.parse.unquote(match[2]) if match[2] else query.get("name"))
    if not name:
      return None, ""
    generation = self.server.generation(match[1], name)
    if query.get("ifGenerationMatch", generation) != generation:
      return 412, "At least one of the pre-conditions you specified did not hold."
    if query.get("ifGenerationNotMatch") == generation:
      return (304, "") if method == "GET" else (412, "")
    if method == "GET" and query.get("alt") == "media" and generation != "0":
      self._generation = generation
    return None, ""

  def end_headers(self):
    if self._generation:
      self.send_header("X-Goog-Generation", self._generation)
    super().end_headers()

  def do_GET(self):
    self._handle("GET")

  def do_POST(self):
    self._handle("POST")

  def do_PUT(self):
    self._handle("PUT")

  def do_PATCH(self):
    self._handle("PATCH")

  def do_DELETE(self):
    self._handle("DELETE")
