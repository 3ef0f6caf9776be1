# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Groups of named configs, each of which answers one question; sweeps over them; and the runs of a sweep."""

from trm_jax.study.groups import Group, Make, Sweep, group
from trm_jax.study.plan import File, Run, plan

__all__ = ["File", "Group", "Make", "Run", "Sweep", "group", "plan"]
