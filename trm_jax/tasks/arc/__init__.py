# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""ARC-AGI-1 and -2: files, versions, votes."""

from trm_jax.tasks.arc.config import ArcData as Data
from trm_jax.tasks.arc.task import ArcTask as Task

__all__ = ["Data", "Task"]
