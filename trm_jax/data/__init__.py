# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Puzzles: reading, generating, augmenting and batching them."""
