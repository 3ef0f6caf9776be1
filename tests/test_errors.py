# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What the library takes for the cause of an error, and what it advises."""

import errno
import os
import socket

import jax
import jax.numpy as jnp
import pytest
import requests
import tensorstore

from trm_jax import errors
from trm_jax.errors import Kind


def _os_error(number, path=None):
  return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize("number, kind, advice", [
    (errno.ENOSPC, Kind.SPACE, "free some space"),
    (errno.EDQUOT, Kind.SPACE, "free some space"),
    (errno.EFBIG, Kind.SPACE, "free some space"),
    (errno.EACCES, Kind.PERMISSION, "check who may read and write there"),
    (errno.EPERM, Kind.PERMISSION, "check who may read and write there"),
    (errno.EROFS, Kind.PERMISSION, "check who may read and write there"),
    (errno.EMFILE, Kind.OPEN_FILES, "allow more open files with `ulimit -n`"),
    (errno.ENFILE, Kind.OPEN_FILES, "allow more open files with `ulimit -n`"),
    (errno.ECONNREFUSED, Kind.NETWORK, "check the network and start the same command again"),
    (errno.ETIMEDOUT, Kind.NETWORK, "check the network and start the same command again"),
    (errno.EHOSTUNREACH, Kind.NETWORK, "check the network and start the same command again"),
    (errno.ENOMEM, Kind.MEMORY, "end other programs or use a machine with more memory"),
    (errno.EIO, Kind.DISK, "the disk or its server fails: look at the machine's log"),
    (errno.ESTALE, Kind.DISK, "the disk or its server fails: look at the machine's log"),
    (errno.ENAMETOOLONG, Kind.PATH, "choose shorter names"),
    (errno.ENOTDIR, Kind.PATH, "a file stands where a folder is needed"),
    (errno.EISDIR, Kind.PATH, "a folder stands where a file is needed"),
    (errno.ELOOP, Kind.PATH, "correct the symbolic links, which form a loop"),
    (errno.ENOENT, Kind.MISSING, ""),
    (errno.ENOTTY, Kind.OTHER, ""),
])
def test_the_number_of_an_os_error_decides(number, kind, advice):
  cause = errors.cause_of(_os_error(number, "/a/b"))
  assert (cause.kind, cause.advice) == (kind, advice)
  assert os.strerror(number) in cause.words
  line = str(errors.explained("/a: cannot be read", _os_error(number, "/a/b")))
  assert os.strerror(number) in line and "/a/b" in line and line.endswith(f"; {advice}" if advice else ")")


def test_the_cause_of_what_a_library_wrapped_is_found():
  def wrapped(explicit):
    try:
      try:
        raise _os_error(errno.ENOSPC, "/full")
      except OSError as e:
        if explicit:
          raise RuntimeError("save failed") from e
        raise RuntimeError("save failed")  # noqa: B904
    except RuntimeError as e:
      return e

  for explicit in (True, False):
    cause = errors.cause_of(wrapped(explicit))
    assert (cause.kind, cause.words, cause.path) == (Kind.SPACE, "No space left on device", "/full")
  cause = errors.cause_of(ExceptionGroup("two", [ValueError("x"), wrapped(True)]))
  assert cause.kind is Kind.SPACE


def test_a_missing_file_is_the_cause_only_where_nothing_else_is_known():
  missing = _os_error(errno.ENOENT, "/a/tmp")
  missing.__context__ = _os_error(errno.EACCES, "/a")
  assert errors.cause_of(missing).kind is Kind.PERMISSION
  missing.__context__ = ValueError("x")
  assert errors.cause_of(missing).kind is Kind.MISSING


def test_an_error_that_hides_its_context_is_not_explained_by_it():
  error = ValueError("a mistake of ours")
  error.__context__, error.__suppress_context__ = _os_error(errno.ENOSPC), True
  assert errors.cause_of(error) == errors.Cause(Kind.OTHER, "a mistake of ours")


@pytest.mark.parametrize("text, kind, words, path", [
    ('OUT_OF_RANGE: Failed writing: "/a/0.0.__lock": Failed to write 9 bytes: File too large [os_error_code=\'27\']',
     Kind.SPACE, "File too large", "/a/0.0.__lock"),
    ("I/O error: No space left on device (os error 28)", Kind.SPACE, "No space left on device", ""),
    ("Cannot open /a: Too many open files", Kind.OPEN_FILES, "Cannot open /a: Too many open files", ""),
    ("PERMISSION_DENIED: account x", Kind.PERMISSION, "PERMISSION_DENIED: account x", ""),
    ("UNAVAILABLE: try later", Kind.NETWORK, "UNAVAILABLE: try later", ""),
    ("RESOURCE_EXHAUSTED: too many requests", Kind.NETWORK, "RESOURCE_EXHAUSTED: too many requests", ""),
    ("NOT_FOUND: /a/0", Kind.MISSING, "NOT_FOUND: /a/0", ""),
    ("OUT_OF_RANGE: Requested byte range is not valid", Kind.OTHER, "OUT_OF_RANGE: Requested byte range is not valid",
     ""),
])
def test_texts_of_libraries(text, kind, words, path):
  cause = errors.cause_of(ValueError(text))
  assert (cause.kind, cause.words, cause.path) == (kind, words, path)


def test_tensorstore_itself(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError) as e:
    tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": f"{tmp_path}/file/x"}}, create=True,
                     dtype=tensorstore.int8, shape=[1]).result()
  cause = errors.cause_of(e.value)
  assert (cause.kind, cause.words) == (Kind.PATH, "Not a directory") and cause.path.startswith(f"{tmp_path}/file")


def test_networks_of_libraries():
  with requests.Session() as session, pytest.raises(requests.ConnectionError) as e:
    session.trust_env = False  # no proxy
    session.get("http://127.0.0.1:9/", timeout=5)
  cause = errors.cause_of(e.value)
  assert cause.kind is Kind.NETWORK and "Connection refused" in cause.words
  assert isinstance(errors.explained("x: cannot be read", e.value), errors.TryAgain)
  assert errors.cause_of(socket.gaierror(-2, "Name or service not known")).kind is Kind.NETWORK


def test_memory_of_devices_and_hosts():
  with pytest.raises(jax.errors.JaxRuntimeError) as e:
    jnp.zeros(2**44, jnp.int8).block_until_ready()
  assert errors.cause_of(e.value).kind is Kind.DEVICE_MEMORY
  assert errors.cause_of(MemoryError("Unable to allocate 9 TiB")).kind is Kind.MEMORY
  # Of a peer that is gone, which is not the network's fault.
  assert errors.cause_of(jax.errors.JaxRuntimeError("UNAVAILABLE: Connection reset by peer")).kind is Kind.OTHER


def test_a_line_names_a_path_once_and_another_place_where_that_helps():
  def line(number, path):
    return str(errors.explained("--out=/a: cannot write here", _os_error(number, path), "name another folder"))

  assert line(errno.EACCES, "/a") == ("--out=/a: cannot write here (Permission denied); check who may read and write "
                                      "there or name another folder")
  assert line(errno.EACCES, "/b") == ("--out=/a: cannot write here (Permission denied: /b); check who may read and "
                                      "write there or name another folder")
  assert line(errno.EMFILE, None) == ("--out=/a: cannot write here (Too many open files); allow more open files with "
                                      "`ulimit -n`")
  assert line(errno.EEXIST, "/a") == "--out=/a: cannot write here (File exists); name another folder"


@pytest.mark.parametrize("text, shown", [
    ("http://me:secret@host:80/x: cannot", "http://host:80/x: cannot"),
    ("url: https://secret-token@host", "url: https://host"),
    ("socks5://me:se@cr:et@host, http://me:secret@other/@", "socks5://host, http://other/@"),
    ("hf://OWNER/REPO/FILE@main of me@host", "hf://OWNER/REPO/FILE@main of me@host")])
def test_passwords_in_addresses_are_not_shown(text, shown):
  assert errors.in_one_line(OSError(text)) == errors.cause_of(OSError(text)).words == shown
  for kind in (errors.UserError, errors.TryAgain, errors.Damaged):
    assert str(kind(text)) == shown
