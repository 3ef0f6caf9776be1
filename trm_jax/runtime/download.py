# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Downloads and checks files, and copes with networks and servers that fail for a while."""

import email.utils
import hashlib
import pathlib
import random
import time
from typing import BinaryIO

from trm_jax.errors import TryAgain, UserError, cause_of, in_one_line, without_passwords
from trm_jax.runtime import console
from trm_jax.runtime import files

_CONNECT_SECONDS = 20
# A server that sends nothing for this long has failed.
_SILENT_SECONDS = 60
# Seconds between attempts at a download while the network or server fails: three minutes in all. A job is then
# restarted.
_PAUSES = (1, 2, 4, 8, 16, 32, 60, 60)
# The longest wait, whatever the server asks for.
_MAX_WAIT_SECONDS = 300


class _Passing(Exception):
  """A download failed for a reason that may pass. Attributes: wait_s, seconds that the server asks to wait."""

  def __init__(self, reason: str, wait_s: float = 0.0):
    super().__init__(reason)
    self.wait_s = wait_s


def file(path: pathlib.Path, url: str, checksum: str, by_hand: str) -> pathlib.Path:
  """Downloads a file unless it is in place already, and checks it.

  Args:
    path: where the file is to be.
    url: where to download it.
    checksum: its SHA-256.
    by_hand: advice for a person without that network, for messages.

  Returns:
    `path`.

  Raises:
    UserError: there is no such file, or it has another checksum.
    TryAgain: the network or the server failed repeatedly.
  """
  if path.exists():
    with path.open("rb") as there:
      if hashlib.file_digest(there, "sha256").hexdigest() == checksum:
        return path
  # Random pauses keep the hosts of a job from trying at the same moment.
  pauses = [pause * random.uniform(0.5, 1.5) for pause in _PAUSES]
  while True:
    try:
      with files.replacing(path) as made:
        actual = _fetch(url, made, by_hand)
        if actual != checksum:
          raise UserError(f"{url}: the downloaded file has the SHA-256 {actual}, must have {checksum}; {by_hand}")
      return path
    except _Passing as e:
      if not pauses or e.wait_s > _MAX_WAIT_SECONDS:
        raise TryAgain(f"{url}: cannot be downloaded ({e}); check the network and start the same command again, or "
                       f"{by_hand}") from e
      pause = max(pauses.pop(0), e.wait_s)
      print(f"{without_passwords(url)}: cannot be downloaded now ({e}); trying again in {pause:.0f} s", flush=True)
      time.sleep(pause)


def _fetch(url: str, made: BinaryIO, by_hand: str) -> str:
  """Downloads a file, showing progress.

  Returns:
    Its SHA-256.

  Raises:
    _Passing: the network failed, or the server reports a failure that may pass.
    UserError: the server refuses.
  """
  import requests  # pylint: disable=g-import-not-at-top

  try:
    with requests.get(url, stream=True, timeout=(_CONNECT_SECONDS, _SILENT_SECONDS),
                      headers={"Accept-Encoding": "identity"}) as response:
      reason = f"the server says {response.status_code} {response.reason}"
      if response.status_code in (408, 429) or response.status_code >= 500:
        raise _Passing(reason, _seconds(response.headers.get("Retry-After", "")))
      if response.status_code != 200:
        raise UserError(f"{url}: cannot be downloaded ({reason}); {by_hand}")
      progress, size, digest = console.Progress(f"downloading {without_passwords(url)}"), 0, hashlib.sha256()
      total = int(response.headers.get("Content-Length", 0))
      for block in response.iter_content(1 << 20):
        made.write(block)
        digest.update(block)
        size += len(block)
        progress(size, max(total, size))
  except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as e:
    raise _Passing(cause_of(e).words) from e
  except requests.RequestException as e:
    raise UserError(f"{url}: cannot be downloaded ({in_one_line(e)}); {by_hand}") from e
  if size < total:
    raise _Passing(f"the connection ended after {size:,} of {total:,} bytes")
  progress.done(f"{size / 2**20:,.1f} MiB")
  return digest.hexdigest()


def _seconds(retry_after: str) -> float:
  """The seconds that a server asks to wait, given as a number of seconds or a date; 0 if it is neither."""
  if retry_after.isdigit():
    return float(retry_after)
  try:
    return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
  except ValueError:
    return 0.0
