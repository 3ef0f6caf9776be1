# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""How fast things are. Programs to run by hand, from the root of the repository: `python -m benchmarks.NAME --help`."""
