# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Preflight: what is read out of compiled programs, the formulas, the advice, the flags.

What needs the TPU compiler runs where libtpu is installed; everything else runs with the CPU's in its place.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec as P
import numpy as np
import pytest
import test_load
import tiny

from trm_jax import config as config_lib
from trm_jax.data import splits as splits_lib
from trm_jax.data.puzzles import Sizes
from trm_jax.errors import UserError
from trm_jax.model import flops
from trm_jax.preflight import check
from trm_jax.preflight import hlo
from trm_jax.preflight import page
from trm_jax.runtime import chips
from trm_jax.study import estimate
from trm_jax.tasks.sudoku.config import SudokuData
from trm_jax.tasks.sudoku.task import SudokuTask

_ROOT = pathlib.Path(__file__).parents[1]
_GIB = 2**30

libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu (extra [tpu])")


def _tiny(**fields):
  return tiny.config(**{
      "data__num_train": 100, "data__num_validation": 30, "data__num_test": 50, "data__num_aug": 1000,
      "model__hidden_size": 16, "model__L_cycles": 3, "model__puzzle_emb_ndim": 16, "model__halt_max_steps": 4,
      "model__expansion": 1.0, "model__dtype": "bfloat16", "steps": 20, "batch_size": 64, "eval__batch_size": 16,
      "eval__every": 6} | fields)


_SLICE = chips.Slice("v4", "2x2x1")


def _check(config, **kwargs):
  """With CPU devices for those of the slice."""
  return check.check(config, _SLICE, jax.devices()[:4], **{"utilization": 0.5} | kwargs)


# What compiled programs say of themselves.


def _rows(collectives):
  return [(c.kind, c.bytes, c.group_size, c.times) for c in collectives]


def test_recorded_tpu_program():
  # Of v4:2x2x1 and a loop over steps, in it a gradient through a scan of three layers, over a mesh of 2 x 2: libtpu
  # 0.0.42, without the lines that nothing here reads.
  text = (_ROOT / "tests" / "golden" / "hlo_v4.txt").read_text()
  layer = 262144 * 128 * 4
  assert _rows(hlo.collectives(text)) == [
      ("all-reduce", layer, 2, 3),  # forward
      ("all-reduce", layer, 2, 3),  # backward
      ("all-reduce", 128 * 128 * 4, 2, 1),  # the gradient
      ("all-gather", 128 * 128 * 4, 2, 1),
  ]


def test_program_compiled_here():
  mesh = Mesh(np.array(jax.devices()[:8]).reshape(4, 2), ("data", "model"))

  def device(n, x, w):
    def step(_, w):
      def loss(w):
        return (jax.lax.scan(lambda x, _: (jax.lax.psum(jnp.tanh(x @ w), "model"), None), x, length=3)[0]**2).sum()
      return w - jax.lax.psum(jax.grad(loss)(w), "data")
    return jax.lax.psum(jax.lax.fori_loop(0, n, step, w), "model")  # outside of the loop: not a step's

  step = jax.jit(jax.shard_map(device, mesh=mesh, in_specs=(P(), P("data"), P()), out_specs=P(), check_vma=False))
  text = step.lower(jnp.int32(5), jnp.ones((48, 16)), jnp.ones((16, 16))).compile().as_text()
  assert sorted(_rows(hlo.collectives(text))) == [
      ("all-reduce", 12 * 16 * 4, 2, 3), ("all-reduce", 12 * 16 * 4, 2, 3), ("all-reduce", 16 * 16 * 4, 4, 1)]


@pytest.mark.parametrize("groups, size", [
    ("replica_groups={{0,1,2},{3,4,5}}", 3),
    ("replica_groups=[2,4]<=[8]", 4),
    ("replica_groups=[4,2]<=[2,4]T(1,0)", 2),
    ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", 4),
    ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0','axis_1'}", 8),
    ("replica_groups=mesh['axis_0'=2,'axis_1'=1,'axis_2'=4], device_ids=([4,2]T(1,0)) {'axis_0'}", 2),
    ("replica_groups=mesh['axis_0'=8] {'axis_0':(1)2}", 2),
    ("replica_groups={}", 8),
])
def test_groups(groups, size):
  text = f"""HloModule m, num_partitions=8
ENTRY %main (p: f32[6]) -> f32[6] {{
  ROOT %r = f32[6]{{0}} all-reduce(%p), channel_id=1, {groups}, to_apply=%add
}}
"""
  assert _rows(hlo.collectives(text)) == [("all-reduce", 24, size, 1)]


def test_work_besides_computing():
  """Copies that stand alone, and the compiler's estimate, both as often as the loop around them runs."""
  text = """HloModule m
%fused (p: f32[4,2]) -> f32[2,4] {
  %inside = f32[2,4]{1,0} transpose(%p), dimensions={1,0}
}
%body (p: f32[4,2]) -> f32[4,2] {
  %moved = f32[4,2]{0,1} copy(%p), backend_config={"window_config":{"estimated_cycles":"10","is_mask":false}}
  %f = f32[2,4]{1,0} fusion(%moved), kind=kLoop, calls=%fused, backend_config={"window_config":{"estimated_cycles":"7"}}
}
%condition (p: f32[4,2]) -> pred[] {
  %bound = s32[]{:T(128)} constant(3)
}
ENTRY %main (p: f32[4,2]) -> f32[4,2] {
  %near = (f32[4,2]{1,0}, f32[4,2]{1,0}) copy-start(%p)
  %loop = f32[4,2]{1,0} while(%near), condition=%condition, body=%body
  %turned = bf16[2,4]{1,0} transpose(%loop), dimensions={1,0}
}
"""
  assert [(array.text, times) for array, times in hlo.relayouts(text)] == [("f32[4,2]", 3), ("bf16[2,4]", 1)]
  assert hlo.estimated_cycles(text) == 3 * (10 + 7)


# Of a GPU: products by cuBLAS, cuDNN and in a fusion, slices of a stack that a loop reads and writes in place.
_KERNELS_OF_A_GPU = """HloModule m
%cut (p0: f32[3,4,8], p1: s32[]) -> bf16[4,8] {
  %p0 = f32[3,4,8]{2,1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %same = f32[3,4,8]{2,1,0} bitcast(%p0)
  %row = f32[1,4,8]{2,1,0} dynamic-slice(%same, %p1, %p1, %p1), dynamic_slice_sizes={1,4,8}
  %flat = f32[4,8]{1,0} bitcast(%row)
  ROOT %as_bf16 = bf16[4,8]{1,0} convert(%flat)
}
%put (q0: f32[3,4,8], q1: s32[], q2: f32[1,4,8]) -> f32[3,4,8] {
  %q0 = f32[3,4,8]{2,1,0} parameter(0)
  %q2 = f32[1,4,8]{2,1,0} parameter(2)
  %q1 = s32[] parameter(1)
  ROOT %placed = f32[3,4,8]{2,1,0} dynamic-update-slice(%q0, %q2, %q1, %q1, %q1)
}
%product (r0: bf16[4,8], r1: bf16[8,2]) -> bf16[4,2] {
  %r0 = bf16[4,8]{1,0} parameter(0)
  %r1 = bf16[8,2]{1,0} parameter(1)
  ROOT %dot = bf16[4,2]{1,0} dot(%r0, %r1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
%body (s: (f32[3,4,8], s32[])) -> (f32[3,4,8], s32[]) {
  %s = (f32[3,4,8]{2,1,0}, s32[]) parameter(0)
  %stack = f32[3,4,8]{2,1,0} get-tuple-element(%s), index=0
  %i = s32[] get-tuple-element(%s), index=1
  %x = bf16[4,8]{1,0} fusion(%stack, %i), kind=kLoop, calls=%cut
  %w = bf16[8,2]{1,0} constant({...})
  %y = bf16[4,2]{1,0} fusion(%x, %w), kind=kCustom, calls=%product
  %z = (f32[1,4,8]{2,1,0}, s8[999]{0}) custom-call(%y, %w), custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["1"]}}}
  %new = f32[1,4,8]{2,1,0} get-tuple-element(%z), index=0
  %whole = f32[3,4,8]{2,1,0} fusion(%stack, %i, %new), kind=kLoop, calls=%put
  ROOT %t = (f32[3,4,8]{2,1,0}, s32[]) tuple(%whole, %i)
}
%condition (c: (f32[3,4,8], s32[])) -> pred[] {
  ROOT %c = pred[] constant(true)
}
ENTRY %main (e: (f32[3,4,8], s32[]), q: bf16[2,16,3,8]) -> bf16[2,16,3,8] {
  %e = (f32[3,4,8]{2,1,0}, s32[]) parameter(0)
  %q = bf16[2,16,3,8]{3,2,1,0} parameter(1)
  %loop = (f32[3,4,8]{2,1,0}, s32[]) while(%e), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %mixed = (bf16[2,16,3,8]{3,2,1,0}, u8[0]{0}) custom-call(%q, %q, %q), custom_call_target="__cudnn$fmhaSoftmax"
  ROOT %o = bf16[2,16,3,8]{3,2,1,0} get-tuple-element(%mixed), index=0
}
"""


def test_kernels_of_a_gpu():
  found = {k.name: (k.bytes, k.flops, k.times) for k in hlo.kernels(_KERNELS_OF_A_GPU)}
  row, x, y, w, q = 4 * 4 * 8, 2 * 4 * 8, 2 * 4 * 2, 2 * 8 * 2, 2 * 2 * 16 * 3 * 8
  assert found == {
      "x": (row + 4 + x, 0, 3),  # one row of the stack, its number, the result
      "y": (x + w + y, 2 * 4 * 8 * 2, 3),
      "z": (y + w + row, 2 * 4 * 2 * 8, 3),
      "whole": (row + 4 + row, 0, 3),  # in place
      "mixed": (4 * q, 2 * 2 * 2 * 3 * 16 * 16 * 8, 1),
  }


def test_kernels_of_a_tpu():
  """Memory on the chip does not count; a product is a convolution, whose batch may be a spatial axis."""
  text = """HloModule m
ENTRY %main (a: bf16[5,6,7], b: bf16[5,7,8]) -> bf16[5,6,8] {
  %a = bf16[5,6,7]{2,1,0:T(8,128)(2,1)} parameter(0)
  %b = bf16[5,7,8]{2,1,0:T(8,128)(2,1)} parameter(1)
  %begun = (bf16[5,6,7]{2,1,0:T(8,128)(2,1)S(1)}, bf16[5,6,7]{2,1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%a)
  %near = bf16[5,6,7]{2,1,0:T(8,128)(2,1)S(1)} copy-done(%begun)
  %part = (bf16[5,7,8]{2,1,0:T(8,128)(2,1)}, bf16[1,7,8]{2,1,0:T(8,128)(2,1)S(1)}, u32[]{:S(2)}) slice-start(%b), slice={[0:1], [0:7], [0:8]}
  %first = bf16[1,7,8]{2,1,0:T(8,128)(2,1)S(1)} slice-done(%part)
  ROOT %c = bf16[5,6,8]{2,1,0:T(8,128)(2,1)} convolution(%near, %b), window={size=5 stride=4 pad=0_0 lhs_dilate=5}, dim_labels=0bf_0io->0bf
}
"""
  assert {k.name: (k.bytes, k.flops) for k in hlo.kernels(text)} == {
      "near": (2 * 5 * 6 * 7, 0), "first": (2 * 7 * 8, 0), "c": (2 * 5 * 7 * 8 + 2 * 5 * 6 * 8, 2 * 5 * 6 * 7 * 8)}


def test_asynchronous_collectives():
  gather = 'all-gather(%p), replica_groups={{0,1,2,3}}, frontend_attributes={chain_id="0"}'
  text = f"""HloModule m, num_partitions=4
%one (p: f32[2]) -> f32[8] {{
  %g = f32[8]{{0}} {gather}
}}
%two (p: f32[2]) -> f32[8] {{
  %g = f32[8]{{0}} {gather}
}}
ENTRY %main (p: f32[6]) -> f32[6] {{
  %s = (f32[2]{{0}}, f32[8]{{0}}) all-gather-start(%p), replica_groups={{{{0,1,2,3}}}}, dimensions={{0}}
  %d = f32[8]{{0}} all-gather-done(%s)
  %r = (bf16[8]{{0}}, pred[3]{{0}}) all-reduce-start(%p, %q), replica_groups={{{{0,1,2,3}}}}, to_apply=%add
  %c = (f32[6]{{0}}, f32[6]{{0}}, u32[], u32[]) collective-permute-start(%p), source_target_pairs={{{{0,1}}}}
  %f = f32[8]{{0}} fusion(%p), kind=kCustom, calls=%one
  %h = f32[8]{{0}} fusion(%p), kind=kCustom, calls=%two
}}
"""
  assert _rows(hlo.collectives(text)) == [
      ("all-gather", 32, 4, 1), ("all-reduce", 19, 4, 1), ("collective-permute", 24, 4, 1), ("all-gather", 32, 4, 1)]


@pytest.mark.parametrize("kind, sent", [
    ("all-reduce", 2 * 3 / 4 * 80),  # a ring: every part goes round twice
    ("all-gather", 3 / 4 * 80),  # all but a device's own
    ("reduce-scatter", 3 * 80),  # its result is a quarter of what it starts from
    ("all-to-all", 3 / 4 * 80),
    ("collective-permute", 80),
])
def test_sent_bytes(kind, sent):
  assert hlo.Collective(kind, (hlo.Array("f32[20]", 80),), 4, 3, "").sent_bytes == 3 * sent


def test_out_of_memory():
  error = check.DoesNotFit.from_compiler(
      "training", "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
      "(38.52G) exceeds available HBM (30.75G).")
  assert (error.needed, error.usable) == (int(38.52 * _GIB), int(30.75 * _GIB))
  error = check.DoesNotFit.from_compiler(
      "training", "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 16.20G of 800.50M hbm. Exceeded")
  assert (error.needed, error.usable) == (int(16.2 * _GIB), int(800.5 * 2**20))
  error = check.DoesNotFit.from_compiler("evaluation", "RESOURCE_EXHAUSTED: no room\nmore")
  assert (error.needed, error.usable, str(error)) == (None, None, "RESOURCE_EXHAUSTED: no room")


# Slices.


@pytest.mark.parametrize("name, num_chips, hosts, accelerator_type", [
    ("v4:2x4x4", 32, 8, "v4-64"), ("v4:2x2x1", 4, 1, "v4-8"), ("v4:4x4x12", 192, 48, "v4-384"),
    ("v5p:2x2x2", 8, 2, "v5p-16"), ("v5e:4x8", 32, 8, "v5litepod-32"), ("v5e:2x4", 8, 1, "v5litepod-8"),
    ("v5e:1x1", 1, 1, "v5litepod-1"), ("v6e:16x16", 256, 64, "v6e-256"),
])
def test_slice(name, num_chips, hosts, accelerator_type):
  s = chips.Slice.parse(name)
  assert (s.num_chips, s.num_hosts, s.accelerator_type) == (num_chips, hosts, accelerator_type)


@pytest.mark.parametrize("name, message", [
    ("v4", "--topology=v4: must be CHIP:SHAPE, e.g. v4:2x4x4"),
    ("v3:2x2", "--topology=v3:2x2: chip 'v3' is not known; use one of v4, v5e, v5p, v6e"),
    ("v4:3x4x4", "--topology=v4:3x4x4: v4 has no such shape; use one of 2x2x1, 2x2x2, "),
    ("v4:0x4x4", "v4 has no such shape"), ("v4:4x4", "v4 has no such shape"), ("v4:", "v4 has no such shape"),
    ("v5e:4x4x4", "v5e has no such shape; use one of 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16"),
])
def test_no_such_slice(name, message):
  with pytest.raises(UserError, match="^--topology=") as e:
    chips.Slice.parse(name)
  assert message in str(e.value)


def test_listing():
  lines = chips.listing().splitlines()
  assert ["v4:2x4x4", "32", "8", "v4-64", "32", "GiB"] in [line.split() for line in lines]
  assert len(lines) == 1 + sum(len(chip.slices) for chip in chips.TPUS.values())


def test_without_libtpu(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match=r'^libtpu, .* pip install -e "\.\[tpu\]"$'):
    _SLICE.devices()


# What is assumed of the data.


def _data(**fields):
  return estimate.assumed_data(dataclasses.replace(config_lib.Config(), data=SudokuData(**fields)))


def test_data_of_sudoku_extreme():
  data = _data()
  assert (data.sizes.num_examples, data.sizes.num_groups, data.sizes.seq_len, data.sizes.vocab_size) == (
      1000, 1000, 81, 11)
  assert (data.num_watched, data.num_test, data.test_passes, data.assumptions) == (1024, 422_786, 2, [])
  assert _data(num_train=0, num_validation=994).sizes.num_groups == 3_831_000
  alone = _data(num_validation=0, num_test=700)
  assert (alone.num_watched, alone.num_test, alone.test_passes) == (700, 700, 1)


def test_data_that_is_assumed():
  assert _data(source="/puzzles", num_train=5, num_test=7).assumptions == [
      "config.data.source = '/puzzles' is not read; assumed to store no augmented versions"]
  assumption, = _data(source="gs://b/puzzles", num_train=0, num_test=7).assumptions
  assert assumption.endswith("and to have 4,000,000 for config.data.num_train = 0 puzzles")


@pytest.mark.parametrize("num_aug, num_train, num_validation", [(2, 80, 10), (1, 80, 0), (0, 0, 10), (2, 30, 10)])
def test_data_of_a_reference_folder_is_what_a_run_loads(tmp_path, num_aug, num_train, num_validation):
  folder = test_load.write_reference(tmp_path / "reference", test_load._made(2, 8), num_aug=2)
  fields = dict(source=str(folder), box=2, num_aug=num_aug, num_train=num_train, num_validation=num_validation)
  data, splits = _data(**fields), splits_lib.load(SudokuTask(SudokuData(**fields)))
  assert data == estimate.Data(
      Sizes.of(splits.train), num_watched=len(splits.watched[1]), num_test=len(splits.test),
      test_passes=1 if splits.validation is None else 2, assumptions=[])


@pytest.mark.parametrize("fields, message", [
    (dict(source="generated", num_train=0, num_test=1), "config.data.num_train = 0: means all, but 'generated'"),
    (dict(source="generated"), "config.data.num_test = 0: means all, but 'generated'"),
    (dict(num_train=3_831_994), "config.data.num_train = 3831994 and num_validation = 1024: sudoku-extreme has 383199"),
])
def test_no_such_data(fields, message):
  with pytest.raises(UserError) as e:
    _data(**fields)
  assert message in str(e.value)


# The answer, with four CPU devices in the place of four chips.


@pytest.fixture(scope="module", name="answer")
def _answer():
  return _check(_tiny(), price_per_chip_hour=2.0)


def test_answer(answer):
  assert answer.fits and answer.verdict.startswith("fits: ") and answer.verdict.endswith(" of 30.8 GiB a chip")
  assert (answer.num_chips, answer.mesh, answer.total_steps) == (4, {"data": 4, "model": 1}, 20)
  params = answer.num_params
  state = answer.state_bytes
  assert state["parameters"] == 4 * params
  assert state["optimizer"] == 4 * (2 * params + 2)  # two moments, two counts
  assert state["average"] == 4 * params
  # The carry's z_H, z_L are bfloat16, S + 1 positions; everything else of a row is small.
  assert 16 * 2 * 17 * 16 * 2 < state["carry"] < 16 * (2 * 17 * 16 * 2 + 2 * 16 * 4 + 64)
  replicated = sum(state.values()) - state["carry"]
  assert answer.checkpoint_bytes == replicated + 4 * state["carry"]
  assert answer.bucket_bytes == 6 * answer.checkpoint_bytes


def test_memory(answer):
  memory = answer.memory
  assert memory.data == 100 * (16 + 16 + 4) + 4 * 101
  assert memory.total == sum(memory.state.values()) + memory.data + memory.padding + memory.code + max(
      memory.training, memory.evaluation)
  assert dataclasses.replace(memory, code=memory.code + 5).total == memory.total + 5  # a CPU's takes no such memory
  assert memory.kept < memory.training < 100 * memory.kept
  batch = 4 * 4 * (16 + 16 + 1)  # 4 rows on a chip
  assert batch < memory.evaluation < memory.training


def test_speed(answer):
  model = _tiny().model.sized(vocab_size=6, seq_len=16)
  assert answer.flops_per_example == flops.train_step_flops(model)
  speed, memory = answer.speed, answer.memory
  assert speed.matrix == pytest.approx(64 * flops.train_step_flops(model) / 4 / 275e12)
  moved = 2 * (sum(memory.state.values()) + memory.padding + memory.kept)
  assert speed.hbm == pytest.approx(moved / 1200e9)
  gradient = 4 * answer.num_params
  assert 2 * 3 / 4 * gradient / 300e9 < speed.interconnect < 2 * gradient / 300e9
  assert speed.compiler == 0  # a CPU's compiler expects nothing
  assert speed.expected == max(speed.matrix / 0.5, speed.hbm, speed.interconnect) >= speed.floor
  assert {"matrix units": speed.matrix, "memory": speed.hbm, "interconnect": speed.interconnect}[speed.binding] == (
      speed.floor)
  assert answer.collectives[0]["kind"] == "all-reduce" and answer.collectives[0]["devices"] == 4


def test_run(answer):
  model = _tiny().model.sized(vocab_size=6, seq_len=16)
  assert answer.training_hours == pytest.approx(20 * answer.speed.expected / 3600)
  # After steps 6, 12, 18 and 20, 30 puzzles in two batches of 16; then twice 50 test puzzles in four.
  examples = (4 * 2 + 2 * 4) * 16
  seconds = examples * 4 * flops.eval_step_flops(model) / (4 * 275e12 * 0.5)
  assert answer.evaluation_hours == pytest.approx(seconds / 3600)
  assert answer.test_hours == pytest.approx(seconds / 2 / 3600)  # 8 of the 16 batches
  assert answer.price == pytest.approx((answer.training_hours + answer.evaluation_hours) * 4 * 2.0)


def test_baseline_by_hand():
  # 21 + 2 * 7 applications of 1.22 GFLOP; 768 examples over 32 chips of 275 TFLOP/s: 3.73 ms.
  model = config_lib.Config().model.sized(vocab_size=11, seq_len=81)
  assert 768 * flops.train_step_flops(model) / 32 / chips.TPUS["v4"].peak_flops == pytest.approx(3.73e-3, rel=2e-3)


def test_report(answer):
  lines = list(page.report(answer, 0.5, 2.0))
  assert lines[0] == answer.verdict
  words = [line.split() for line in lines]
  for start in (["parameters"], ["carry"], ["temporary,", "training"], ["all-reduce"], ["at", "least,", "memory"],
                ["expected"], ["the", "compiler's", "sum"], ["price"], ["compiling"], ["test", "at", "the", "end"],
                ["bucket"]):
    assert any(line[: len(start)] == start for line in words), start
  assert sum("<- binds" in line for line in lines) == 1
  json.dumps(answer.to_json())


def test_table(answer):
  refused = dataclasses.replace(answer, fits=False, memory=None, speed=None, verdict="does NOT fit: x", advice=["y"])
  lines = list(page.table({"good": answer, "large": refused, "odd": "config.batch_size = 3: no"}, 0.5))
  assert lines[0].startswith("1 of 3 configs fit on v4:2x2x1 = v4-8: 4 chips on 1 host")
  header, good, large, odd = lines[2:6]
  assert header.split()[:3] == ["config", "batch", "steps"]
  assert good.split()[:3] == ["good", "64", "20"] and good.endswith("  fits")
  assert large.startswith("large") and large.endswith("does NOT fit: x; y")
  assert odd.split() == ["odd", "config.batch_size", "=", "3:", "no"]


def test_batch_that_devices_do_not_divide():
  with pytest.raises(UserError, match="config.batch_size = 66: must be divisible by the 4 devices"):
    _check(_tiny(batch_size=66))


@pytest.fixture(name="small_chip")
def _small_chip(monkeypatch):
  """Gives the chip a memory of this size."""
  def make(usable_bytes):
    monkeypatch.setitem(chips.TPUS, "v4", dataclasses.replace(chips.TPUS["v4"], usable_bytes=usable_bytes))
  return make


def test_advice_of_micro_batches(answer, small_chip):
  small_chip(answer.memory.total - answer.memory.training // 4)
  smaller = _check(_tiny())
  assert not smaller.fits and smaller.verdict.startswith("does NOT fit: ")
  assert smaller.advice[0].startswith("to blame: what 16 examples at once on each chip keep for the backward pass")
  micro_batches = int(smaller.advice[1].split("--config.compute.micro_batches=")[1].split()[0])
  assert smaller.advice[1].startswith("compiled, and fits: ") and micro_batches == 2


def test_advice_of_evaluation(answer, small_chip):
  small_chip(answer.memory.total + answer.memory.training)
  refused = _check(_tiny(eval__batch_size=16_384))
  assert not refused.fits and refused.memory.evaluation > refused.memory.training
  assert refused.advice[0] == "to blame: 4,096 puzzles at once on each chip"
  assert refused.advice[1].startswith("compiled, and fits: --config.eval.batch_size=")
  assert 64 < int(refused.advice[1].split("=")[1]) < 16_384


def test_advice_of_model_devices(answer, small_chip):
  small_chip(int(1.5 * sum(answer.state_bytes.values())))
  refused = _check(_tiny())
  assert refused.advice[0].startswith("to blame: ") and "optimizer" in refused.advice[0]
  assert refused.advice[1:] == ["more chips with a larger config.compute.model_devices, a smaller model, or fewer "
                                "training puzzles"]


# The program.


def _start(*arguments):
  return subprocess.Popen([sys.executable, "-m", "trm_jax.preflight", *arguments], cwd=_ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"JAX_PLATFORMS": "cpu"})


_CONFIG_FILE = """
from trm_jax import config as config_lib
from trm_jax import study

def tiny():
  config = config_lib.default_config()
  config.data.update(source="generated", box=2, num_train=100, num_validation=30, num_test=50, num_clues=8)
  config.model.update(hidden_size=16, num_heads=2, H_cycles=2, L_cycles=3, puzzle_emb_ndim=16, puzzle_emb_len=1)
  config.update(epochs=0, steps=20, batch_size=64)
  return config

def odd():
  config = tiny()
  config.batch_size = 66
  return config

CONFIGS = {"tiny": tiny, "odd": odd, "other": tiny}
SWEEPS = {"both": study.Sweep("sizes", ("tiny", "odd"))}

def get_config(argument=None):
  return config_lib.from_argument(argument, CONFIGS, {})
"""


def test_program_without_compiling():
  config = "--config=configs/sudoku.py:baseline"
  cases = {
      "--topology is missing; try --topology=v4:2x4x4": [config],
      "either --config or --sweep is needed; try --config=configs/sudoku.py:baseline": ["--topology=v4:2x4x4"],
      "--set: only --sweep reads it; change a field of --config by --config.FIELD=VALUE": [
          config, "--topology=v4:2x4x4", "--set=seed=1"],
      "v5e has no such shape": [config, "--topology=v5e:4x5"],
      "flag --utilization=3": [config, "--topology=v4:2x4x4", "--utilization=3"],
  }
  started = {message: _start(*arguments) for message, arguments in cases.items()}
  listing, help_ = _start("--topology=help"), _start("--help")
  for message, process in started.items():
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err
  assert listing.communicate() == (chips.listing() + "\n", "")
  out, err = help_.communicate()
  assert err == "" and "python -m trm_jax.preflight --" in out
  assert all(f"--{name}:" in out or f"--[no]{name}:" in out
             for name in ("config", "topology", "sweep", "set", "utilization", "price_per_chip_hour", "json"))


# The TPU compiler.


@libtpu
def test_a_sweep_on_v4(tmp_path):
  path = tmp_path / "configs.py"
  path.write_text(_CONFIG_FILE)
  process = _start(f"--sweep={path}:both", "--set=log.every=7", "--topology=v4:2x2x1", "--json")
  out, err = process.communicate()
  assert (process.returncode, err) == (1, "")
  answers = json.loads(out)
  assert list(answers) == ["tiny", "odd"]
  assert answers["odd"].startswith("config.batch_size = 66: must be divisible by the 4 devices")
  tiny = answers["tiny"]
  assert tiny["fits"] and (tiny["num_chips"], tiny["accelerator_type"]) == (4, "v4-8")
  gradient, = [c for c in tiny["collectives"] if c["kind"] == "all-reduce"]
  assert 4 * tiny["num_params"] < gradient["bytes"] < 4 * tiny["num_params"] + 4096
  assert 0 < tiny["memory"]["total"] < 2**28


@libtpu
def test_too_much_for_v4(monkeypatch):
  monkeypatch.setattr(check, "_TRIES", 0)  # what would fit is not looked for
  values = config_lib.default_config()
  values.model.L_layers = 1
  values.batch_size = 2**14
  answer = check.check(config_lib.parse(values), _SLICE, _SLICE.devices(), utilization=0.4)
  assert not answer.fits
  assert answer.verdict.startswith("does NOT fit: training needs ") and "v4 has 30.8 GiB" in answer.verdict
  assert answer.advice[0].startswith(
      "to blame: what 4,096 examples at once on each chip keep for the backward pass, ")
  assert answer.advice[1].startswith("estimated: --config.batch_size=")


@libtpu
@pytest.mark.parametrize("generation", chips.TPUS)
def test_slices_exist(generation):
  chip = chips.TPUS[generation]
  for shape in chip.slices[:6]:
    s = chips.Slice(generation, shape)
    devices = s.devices()
    assert len(devices) == s.num_chips and len({d.process_index for d in devices}) == s.num_hosts
    assert chips.peak_flops(devices[0]) == chip.peak_flops
