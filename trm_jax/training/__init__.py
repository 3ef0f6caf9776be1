# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""A training run: its programs, its loop, its records and checkpoints."""
