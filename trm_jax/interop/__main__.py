# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Imports and exports weights of the PyTorch reference.

    python -m trm_jax.interop import SOURCE --out=DIR                # then use --checkpoint=DIR, as for a run
    python -m trm_jax.interop import step_32550 --arch=maze --out=DIR    # if there is no all_config.yaml beside it
    python -m trm_jax.interop export runs/mine --out=step_0          # for load_checkpoint= of the reference
    python -m trm_jax.interop export runs/mine --out=DIR --format=hub        # safetensors, config and a model card
    python -m trm_jax.interop export runs/mine --out=DIR --format=stablehlo  # programs that need only JAX; or onnx

SOURCE is a file with a state dict (as torch.save writes it, or .safetensors), a folder with such a file and its
all_config.yaml, or hf://OWNER/REPO/FILE[@REVISION]. Shapes do not show cycles, heads, positions and steps: these come
from the all_config.yaml beside the file, from --arch, or from a config of ours by --config. Code in a file is never
run. docs/published_weights.md lists public weights.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from trm_jax import cli
from trm_jax import config as config_lib
from trm_jax.errors import UserError
from trm_jax.runtime import files
from trm_jax.runtime import hosts

_OUT = flags.DEFINE_string(
    "out", None, "import: a new folder, local or gs://BUCKET/FOLDER, like that of a run. export: for "
    "--format=reference a file, .safetensors or as torch.save writes it; for the other formats a folder.")
_ARCH = flags.DEFINE_string(
    "arch", None, "The reference's model: sudoku_mlp, sudoku_attention, maze or arc as its README trains them, or a "
    "YAML file like all_config.yaml; default: the file beside the weights.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Instead of --arch: FILE.py:NAME, a config of a run with this model; --config.field=value changes "
    "a field.")
_FORMAT = flags.DEFINE_enum(
    "format", "reference", ["reference", "hub", "stablehlo", "onnx"], "For export: a file that the PyTorch "
    "reference loads, a folder for a hub, or a folder of programs in StableHLO or ONNX.")
_COMPILED = flags.DEFINE_bool(
    "compiled", True, "For --format=reference: the parameter names that the reference uses by default; --nocompiled: "
    "those that it uses with DISABLE_COMPILE=1.")

_HOW = "python -m trm_jax.interop import SOURCE --out=DIR, or export CHECKPOINT --out=…"


def main(argv: list[str]) -> None:
  """Reads the flags, and imports or exports."""
  if len(argv) != 3 or argv[1] not in ("import", "export"):
    raise UserError(f"{' '.join(argv[1:]) or 'nothing'}: must be {_HOW}; --help says more")
  if _OUT.value is None:
    raise UserError("--out is missing: name a place for the weights, e.g. --out=runs/imported")
  if argv[1] == "import":
    cli.refuse("only export reads it", _FORMAT, _COMPILED)
    if _CONFIG.value is not None:
      cli.refuse("--config says what model it is", _ARCH)
  else:
    cli.refuse("only import reads it", _ARCH, _CONFIG)
    if _FORMAT.value != "reference":
      cli.refuse("only --format=reference reads it", _COMPILED)
  hosts.stay_alone()
  (_import if argv[1] == "import" else _export)(argv[2])


def _import(source: str) -> None:
  # What needs JAX is imported here, so that --help and a misspelt flag answer at once.
  from trm_jax import tasks  # pylint: disable=g-import-not-at-top
  from trm_jax import weights  # pylint: disable=g-import-not-at-top

  config = None if _CONFIG.value is None else config_lib.parse(_CONFIG.value)
  read = weights.import_reference(source, _OUT.value, arch=_ARCH.value, config=config)
  model = read.model.config
  rows = f", {model.num_puzzle_identifiers:,} prefix rows" * (model.num_puzzle_identifiers > 1)
  print(f"{source}: {model}, {tasks.of(read.config.task, read.config.data).name} ({model.seq_len} cells, "
        f"{model.vocab_size} tokens{rows}), step {read.step:,}; in {_OUT.value}")
  print(f"next: python -m trm_jax.main --mode=eval --checkpoint={_OUT.value}")


def _export(checkpoint: str) -> None:
  from trm_jax import weights  # pylint: disable=g-import-not-at-top
  from trm_jax.interop import export  # pylint: disable=g-import-not-at-top
  from trm_jax.interop import reference_files  # pylint: disable=g-import-not-at-top

  out = pathlib.Path(_OUT.value).expanduser()
  if out.is_file() or out.is_dir() and (_FORMAT.value == "reference" or any(out.iterdir())):
    raise UserError(f"--out={_OUT.value}: exists already and is not overwritten; name another "
                    f"{'file' if _FORMAT.value == 'reference' else 'folder'}")
  loaded = weights.load(checkpoint)
  if _FORMAT.value == "reference":
    if loaded.model.config.inner_norm:  # has no parameters that the reference could miss
      raise UserError(f"{checkpoint}: config.model.inner_norm = True: the reference has no norm there, and would "
                      "compute something else with these parameters; use another --format")
    files.make_folder(out.parent, "the folder of --out")
    reference_files.write_reference_file(loaded.model, out, compiled=_COMPILED.value)
  elif _FORMAT.value in ("stablehlo", "onnx"):
    getattr(export, _FORMAT.value)(loaded.model, out)
  else:
    results = loaded.folder / "results.json"
    export.hub_folder(loaded.model, loaded.config, loaded.step, out,
                      files.read_json(results) if results.exists() else {})
    print(f"next: choose a license in {out / 'README.md'}, then: hf upload OWNER/REPO {out} .")
  print(f"{checkpoint}: step {loaded.step:,}, {loaded.model.config}; in {out}")


if __name__ == "__main__":
  cli.run(main)
