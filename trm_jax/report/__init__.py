# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Turns runs into tables and plots: `python -m trm_jax.report`.

`runs` reads, `analysis` computes, `plots` draws, `sections` puts the findings into words, `page` writes the files.
"""
