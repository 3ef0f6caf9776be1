# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The tasks that a model can be trained on."""
