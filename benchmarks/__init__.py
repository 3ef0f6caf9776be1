# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Programs that measure speed, run by hand from the root of the repository: `python -m benchmarks.NAME --help`."""
