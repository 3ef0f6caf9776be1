# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The machine that a program runs on: processes and signals, devices, files, buckets. It knows nothing of models."""
