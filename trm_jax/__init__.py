# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Tiny Recursive Models (arXiv:2510.04871) in JAX: train, study and use them."""

__version__ = "0.1.0"
