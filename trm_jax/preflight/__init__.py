# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Predicts whether a run fits on a TPU slice, how fast it can be, and what it will cost. See __main__.py."""
