# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Buckets on this machine for tests: gcp-storage-emulator in memory, on a free port of 127.0.0.1."""

from collections.abc import Callable
import functools
import http.server
import json
import threading

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator import storage as emulator_storage
from gcp_storage_emulator.handlers import buckets


class Server(http.server.HTTPServer):
  """A thread that serves buckets.

  Attributes:
    url: where it listens.
    requests: (method, path with query) of what was asked so far.
    refuse: from method and path to a status and a message, to be answered instead; None for no refusal.
  """

  def __init__(self):
    self._storage = emulator_storage.Storage(use_memory_fs=True)
    super().__init__(("127.0.0.1", 0), functools.partial(_Handler, self._storage))
    self._num_buckets = 0
    self.url = f"http://127.0.0.1:{self.server_port}"
    self.requests: list[tuple[str, str]] = []
    self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None
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

  def handle_error(self, request, client_address):
    """Silent: gcsfs asks for an object and for a folder of a name, and hangs up once one of them has answered."""


class _Handler(emulator.RequestHandler):
  """The emulator's, with a record and refusals before it."""

  def _handle(self, method):
    self.server.requests.append((method, self.path))
    refusal = self.server.refuse(method, self.path)
    if refusal is None:
      emulator.Router(self).handle(method)
      return
    self.rfile.read(int(self.headers.get("Content-Length", 0)))
    status, message = refusal
    body = json.dumps({"error": {"code": status, "message": message}}).encode()
    self.send_response(status)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    self.wfile.write(body)

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
