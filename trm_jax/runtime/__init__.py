# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The machine that a program runs on: processes, signals, devices, files and buckets. Nothing here knows of models."""
