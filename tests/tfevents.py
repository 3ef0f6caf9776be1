# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Reads TensorBoard's event files."""

from collections.abc import Iterator
import pathlib

from tensorboardX.proto import event_pb2


def read(folder: pathlib.Path) -> Iterator[event_pb2.Event]:
  """The payloads of TFRecord files: length (8 bytes), its checksum (4), payload, its checksum (4)."""
  for path in sorted(path for path in folder.iterdir() if path.is_file()):
    data, at = path.read_bytes(), 0
    while at < len(data):
      length = int.from_bytes(data[at : at + 8], "little")
      event = event_pb2.Event()
      event.ParseFromString(data[at + 12 : at + 12 + length])
      yield event
      at += length + 16


def values(folder: pathlib.Path) -> dict[str, list[tuple[int, object]]]:
  """{tag: its steps and what was written then, as Summary.Value}, in the order of writing."""
  found = {}
  for event in read(folder):
    for value in event.summary.value:
      found.setdefault(value.tag, []).append((event.step, value))
  return found
