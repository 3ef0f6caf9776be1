# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles: reads, generates, augments and batches them."""
