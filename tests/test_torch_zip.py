# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""State dicts in the files of torch.save, without PyTorch; with it where it is installed."""

import collections
import importlib.util
import os
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.interop import torch_zip

STATE = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4), "vector": np.linspace(-3, 3, 5).astype(jnp.bfloat16),
    "half": np.ones(2, np.float16), "whole": np.array([[2**40]]), "scalar": np.array(1.5, np.float32),
    "none": np.zeros((0, 3), np.float32), "long": np.ones(300, np.uint8), "yes": np.array([True, False]),
}

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")


@pytest.fixture(name="file")
def _file(tmp_path):
  with (tmp_path / "step_1").open("wb") as file:
    torch_zip.write(file, STATE)
  return tmp_path / "step_1"


def assert_same(tensors, state):
  assert tensors.keys() == state.keys()
  for name, array in state.items():
    assert tensors[name].shape == array.shape
    np.testing.assert_array_equal(np.asarray(tensors[name]), array, strict=True)


def test_round_trip(file):
  tensors = torch_zip.read(file)
  assert_same(tensors, STATE)
  np.testing.assert_array_equal(tensors["matrix"][1:3], STATE["matrix"][1:3], strict=True)
  np.testing.assert_array_equal(tensors["matrix"][2:9], STATE["matrix"][2:])


@needs_torch
def test_torch_reads_what_is_written(file):
  import torch  # pylint: disable=g-import-not-at-top

  for options in ({}, {"mmap": True}):
    read = torch.load(file, weights_only=True, **options)
    assert_same({name: tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
                 for name, tensor in read.items()}, STATE | {"vector": STATE["vector"].astype(np.float32)})


@needs_torch
def test_what_torch_writes_is_read(tmp_path):
  """Among it the metadata of a state dict, and a view of a part of a storage."""
  import torch  # pylint: disable=g-import-not-at-top

  module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Embedding(4, 3, dtype=torch.bfloat16))
  state = module.state_dict()
  state["part"] = torch.arange(12).reshape(4, 3)[1:3]
  torch.save(state, tmp_path / "x.pt")
  expected = {name: tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
              for name, tensor in state.items()}
  tensors = torch_zip.read(tmp_path / "x.pt")
  assert tensors["1.weight"].dtype == jnp.bfloat16
  assert_same({name: np.asarray(tensor, expected[name].dtype) for name, tensor in tensors.items()}, expected)
  for strange, message in [({"t": torch.ones(3, 2).T}, "t is a transposed or sliced view"),
                           ({"model": dict(state)}, "'model' is a dict, not a tensor: save the model's state dict"),
                           ({"step": 7}, "'step' is a int"), ([state], "it holds a list"),
                           (module, "more than tensors: torch.nn.modules.container.Sequential")]:
    torch.save(strange, tmp_path / "strange.pt")
    with pytest.raises(torch_zip.NotReadable, match=message):
      torch_zip.read(tmp_path / "strange.pt")
  torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
  with pytest.raises(torch_zip.NotReadable, match="in the form of PyTorch before 1.6"):
    torch_zip.read(tmp_path / "old.pt")


def replaced(file, change):
  """The archive with another pickle. Args: change, from the pickle to the other one."""
  with zipfile.ZipFile(file) as archive:
    members = {info.filename: archive.read(info) for info in archive.infolist()}
  name, = (name for name in members if name.endswith("data.pkl"))
  members[name] = change(members[name])
  with zipfile.ZipFile(file, "w") as archive:
    for member, content in members.items():
      archive.writestr(member, content)


class Code:
  """A pickle of it runs a command."""

  def __reduce__(self):
    return os.mkdir, ("was_run",)


@pytest.mark.parametrize("content, message", [
    (pickle.dumps(Code()), r"more than tensors: (posix|nt).mkdir, which nothing here will call"),
    (pickle.dumps({"x": Code}), "more than tensors: test_torch_zip.Code"),
    (pickle.dumps({"x": eval}, 2), "more than tensors: __builtin__.eval"),
    (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__Nsb.", "it holds a function"),
    (pickle.dumps(collections.OrderedDict(x=1)), "'x' is a int, not a tensor"),
    (b"", "its pickle is malformed: EOFError"),
    (b"\x80\x02}(X\xff\xff\xff\x7fx", "its pickle is malformed"),
    (b"\x80\x02X\x01\x00\x00\x00xQ.", "a storage is named in a way"),
])
def test_nothing_but_tensors(file, tmp_path, monkeypatch, content, message):
  """And nothing is run, also of attributes that a pickle sets."""
  monkeypatch.chdir(tmp_path)
  replaced(file, lambda _: content)
  with pytest.raises(torch_zip.NotReadable, match=message):
    torch_zip.read(file)
  assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("before, after, message", [
    (torch_zip._integer(12), torch_zip._integer(13), None),  # the number of a storage's elements is not believed
    (torch_zip._tuple((3, 4)), torch_zip._tuple((3000, 4)), "matrix is larger than its bytes"),
    (torch_zip._tuple((3, 4)), torch_zip._tuple((3, -4)), "matrix is described in a way that is not known"),
    (torch_zip._tuple((3, 4)), torch_zip._text("34"), "matrix is described in a way that is not known"),
    (torch_zip._tuple((4, 1)), torch_zip._tuple((1, 3)), "matrix is a transposed or sliced view"),
    (torch_zip._text("0"), torch_zip._text("../0"), "matrix is described in a way that is not known"),
])
def test_what_is_said_of_tensors_is_checked(file, before, after, message):
  def change(content):
    assert before in content
    return content.replace(before, after, 1)

  replaced(file, change)
  if message is None:
    assert_same(torch_zip.read(file), STATE)
  else:
    with pytest.raises(torch_zip.NotReadable, match=message):
      torch_zip.read(file)


def test_damaged_files(file):
  content = file.read_bytes()
  place = content.index(STATE["matrix"].tobytes())
  for bad, message in [(content[: len(content) // 2], "cut off or damaged"), (b"", "neither a file of torch.save"),
                       (content[:place] + b"x" + content[place + 1 :], "the bytes of archive/data/0 are not those"),
                       (b"\x80\x02}q\x00.", "in the form of PyTorch before 1.6")]:
    file.write_bytes(bad)
    with pytest.raises(torch_zip.NotReadable, match=message):
      torch_zip.read(file)
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("a.txt", "a")
  with pytest.raises(torch_zip.NotReadable, match="a zip archive, but not one of torch.save"):
    torch_zip.read(file)
