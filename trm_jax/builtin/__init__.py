# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The weights that come with trm_jax, each in a folder with its model card; training/checkpoint.py: find finds them."""

import pathlib

FOLDER = pathlib.Path(__file__).parent
