# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""State dicts in the files of torch.save, without PyTorch; with it where it is installed."""

import collections
import copy
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
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_writes_is_read(tmp_path, protocol):
  """Among it the metadata of a state dict, and a view of a part of a storage."""
  import torch  # pylint: disable=g-import-not-at-top

  module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Embedding(4, 3, dtype=torch.bfloat16))
  state = module.state_dict()
  state["part"] = torch.arange(12).reshape(4, 3)[1:3]
  state |= {"none": torch.zeros(5, 0), "single": torch.tensor(2.5), "half": torch.ones(2).half(), "wide": torch.ones(
      1, 3, dtype=torch.float64), "shared": state["part"], "row": torch.ones(3, 2).T[:1, :1]}
  torch.save(state, tmp_path / "x.pt", pickle_protocol=protocol)
  expected = {name: tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
              for name, tensor in state.items()}
  tensors = torch_zip.read(tmp_path / "x.pt")
  assert tensors["1.weight"].dtype == jnp.bfloat16
  assert_same({name: np.asarray(tensor, expected[name].dtype) for name, tensor in tensors.items()}, expected)
  for strange, message in [({"t": torch.ones(3, 2).T}, "t is a transposed or sliced view"),
                           ({"model": dict(state)}, "model is not a tensor but dict; save only the model"),
                           ({"step": 7}, "step is not a tensor but int"), ([state], "it holds list, must"),
                           (torch.ones(2), "it holds one tensor, must hold a state dict"),
                           (module, "more than tensors: torch.nn.modules.container.Sequential")]:
    torch.save(strange, tmp_path / "strange.pt")
    with pytest.raises(torch_zip.NotReadable, match=message):
      torch_zip.read(tmp_path / "strange.pt")
  torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
  with pytest.raises(torch_zip.NotReadable, match="in the format of PyTorch before 1.6"):
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


ORDERED = b"\x80\x02ccollections\nOrderedDict\n)R"
ITEM = torch_zip._text("x") + b"K\x01s."  # x = 1


class Code:
  """A pickle of it runs a command."""

  def __reduce__(self):
    return os.mkdir, ("was_run",)


@pytest.mark.parametrize("content, message", [
    (pickle.dumps(Code()), r"more than tensors: (posix|nt).mkdir, which is never called here"),
    (pickle.dumps({"x": Code}), "more than tensors: test_torch_zip.Code"),
    (pickle.dumps({"x": eval}, 2), "more than tensors: __builtin__.eval"),
    (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__code__Nsb.", "its pickle is malformed"),
    (pickle.dumps(collections.OrderedDict(x=1)), "x is not a tensor but int"),
    (b"", "its pickle is malformed"),
    (b"\x80\x02}(X\xff\xff\xff\x7fx", "its pickle is malformed"),
    (b"\x80\x02X\x01\x00\x00\x00xQ.", "a storage has a name of unknown form"),
    (torch_zip._text("storage") + b"]" + torch_zip._text("0") + b"\x87Q.", "a storage has a name of unknown form"),
    (b"\x80\x02\x82\x01.", "its pickle has the opcode EXT1, which no state dict needs"),
    (ORDERED + b"}" + torch_zip._text("items") + torch_zip._text("x") + b"sb" + ITEM, "x is not a tensor but int"),
    (b"\x80\x02ccollections\nOrderedDict\n]\x85R.", "its pickle is malformed"),
    (b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns.", "its pickle is malformed"),  # the stack ends where it is hashed
    (b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns.", "its pickle is malformed"),  # would be hashed for years
    (b"\x80\x02}\x8b\x10\x27\x00\x00" + b"\x7f" * 10_000 + b"Ns.", "has the opcode LONG4"),  # too long to be printed
    (b"\x80\x02}r\xff\xff\xff\xff" + ITEM, "x is not a tensor but int"),  # a memo of 4 billion places
    (b"\x80\x02}" + torch_zip._text("x\n\x1b[2J") + b"Ns.", r"^'x\\n\\x1b\[2J' is not a tensor but NoneType"),
    (b"\x80\x04" + torch_zip._text("x\n" * 10_000) + torch_zip._text("y") + b"\x93.",
     r"^it holds more than tensors: '(x\\n){100}', which is"),
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
    (torch_zip._tuple((3, 4)), torch_zip._tuple((3000, 4)), "matrix is larger than its storage"),
    (torch_zip._tuple((3, 4)), torch_zip._tuple((3, -4)), "matrix has a description of unknown form"),
    (torch_zip._tuple((3, 4)), torch_zip._text("34"), "matrix has a description of unknown form"),
    (torch_zip._tuple((4, 1)), torch_zip._tuple((1, 3)), "matrix is a transposed or sliced view"),
    (torch_zip._tuple((4, 1)), torch_zip._tuple(()), "matrix has a description of unknown form"),
    (torch_zip._tuple((3, 4)) + torch_zip._tuple((4, 1)), 2 * torch_zip._tuple((2**62,) * 10_000),
     "matrix has a description of unknown form"),
    (torch_zip._tuple((0, 3)), torch_zip._tuple((0, 2**62)), "none has a description of unknown form"),
    (torch_zip._text("0"), torch_zip._text("../0"), "matrix has a description of unknown form"),
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
                       (b"\x80\x02}q\x00.", "in the format of PyTorch before 1.6")]:
    file.write_bytes(bad)
    with pytest.raises(torch_zip.NotReadable, match=message):
      torch_zip.read(file)
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("a.txt", "a")
  with pytest.raises(torch_zip.NotReadable, match="a zip archive, but not one of torch.save"):
    torch_zip.read(file)


def changed(content, at, value):
  """The archive with a byte in its list of members changed, counted from where an entry begins."""
  place = content.index(b"PK\x01\x02") + at
  return content[:place] + bytes([value]) + content[place + 1 :]


@pytest.mark.parametrize("at, value, message", [
    (8, 1, "a zip archive that is compressed or encrypted"), (10, 8, "a zip archive that is compressed or encrypted"),
    (10, 99, "a zip archive that is compressed or encrypted"), (46, 255, "cut off or damaged"),
    (46, ord("y"), "cut off or damaged|the bytes of yrchive"), (27, 200, "but not one of torch.save")])
def test_members_that_are_not_what_they_say(file, at, value, message):
  content = file.read_bytes()
  file.write_bytes(changed(changed(content, at, value), 9, 8) if value == 255 else changed(content, at, value))
  with pytest.raises(torch_zip.NotReadable, match=message):
    torch_zip.read(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_unfold(file, monkeypatch):
  """Nothing of them is read: what is compressed, is there twice, or lies in one another may never end."""
  original = file.read_bytes()
  monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("was read"))
  with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("archive/zeros", bytes(1 << 20))
  with pytest.raises(torch_zip.NotReadable, match="a zip archive that is compressed"):
    torch_zip.read(file)
  for other in ("archive/data/0", "archive/data/again"):
    file.write_bytes(original)
    with zipfile.ZipFile(file, "a") as archive:
      if other.endswith("again"):  # many names for the bytes of one member
        info = archive.getinfo("archive/data/6")
        archive.filelist += [info] * 1000
        archive.filelist = [info if i < len(STATE) else copy.copy(info) for i, info in enumerate(archive.filelist)]
        for i, info in enumerate(archive.filelist[len(STATE) + 3 :]):
          info.filename = f"archive/data/{i + 100}"
        archive._didModify = True
      else:
        archive.writestr(other, STATE["matrix"].tobytes())
    with pytest.raises(torch_zip.NotReadable, match="a zip archive, but not one of torch.save"):
      torch_zip.read(file)


def test_the_order_of_bytes_is_read_to_its_end_and_no_further(file):
  with zipfile.ZipFile(file) as archive:
    members = {info.filename: archive.read(info) for info in archive.infolist()}
  for order in (b"big", b"littleandmore"):
    with zipfile.ZipFile(file, "w") as archive:
      for name, content in (members | {"archive/byteorder": order}).items():
        archive.writestr(name, content)
    with pytest.raises(torch_zip.NotReadable, match="its numbers are big-endian"):
      torch_zip.read(file)


def test_bytes_changed_anywhere(file):
  """A file is read as it was, or refused; whatever is hit."""
  content, rng = file.read_bytes(), np.random.default_rng(0)
  refused = 0
  for place in rng.integers(0, len(content), 300):
    file.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :])
    try:
      tensors = torch_zip.read(file)
      for name in tensors.keys() & STATE.keys():
        np.testing.assert_array_equal(np.asarray(tensors[name]), STATE[name], strict=True)
    except torch_zip.NotReadable:
      refused += 1
  assert refused > 150
