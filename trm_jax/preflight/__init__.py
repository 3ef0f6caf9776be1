# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Will a run fit on a TPU slice, how fast can it be, what will it cost? See __main__.py."""
