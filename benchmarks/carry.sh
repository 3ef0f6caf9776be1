#!/usr/bin/env bash
# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
#
# Packs what benchmarks/on_gpu.py needs on a machine without network into the folder .carry, about 8 MB:
#
#   benchmarks/carry.sh PUZZLES REFERENCE
#
# PUZZLES is a folder with train.csv and test.csv of Sudoku-Extreme, REFERENCE a clone of
# github.com/SamsungSAILMontreal/TinyRecursiveModels. The machine must be x86-64 and have Python 3.12 with JAX 0.11, its
# CUDA plugin, PyTorch, einops, matplotlib, pytest and TensorStore. docs/performance.md has the command for it.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ $# != 2 || ! -f $1/train.csv || ! -f $1/test.csv ]]; then
  echo "usage: benchmarks/carry.sh PUZZLES REFERENCE: a folder with train.csv and test.csv, a clone of the reference" >&2
  exit 2
fi
rm -rf .carry
mkdir -p .carry/puzzles .carry/reference
cp "$1/train.csv" "$1/test.csv" .carry/puzzles/
git -C "$2" archive HEAD models | tar -x -C .carry/reference
git -C "$2" rev-parse --short HEAD >.carry/reference/COMMIT
git describe --always --dirty >.carry/COMMIT

# The versions with which `benchmarks.on_gpu --toy` was rehearsed; pydantic and what it needs are the reference's.
wheels=(absl-py==2.5.1 clu==0.0.12 flax==0.12.12 ml_collections==1.1.0 optax==0.2.8 orbax-checkpoint==0.12.8
  tensorboardX==2.6.5 annotated-types==0.8.0 pydantic==2.14.4 pydantic-core==2.50.5 typing_extensions==4.16.0
  typing-inspection==0.4.5)
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  -d .carry/wheels "${wheels[@]}"
du -sh .carry
