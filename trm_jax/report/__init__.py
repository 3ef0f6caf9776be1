# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Runs in, tables and plots out: `python -m trm_jax.report`.

`runs` reads, `analysis` computes, `plots` draws, `sections` says what is seen, `page` writes it down.
"""
