# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Solves puzzles with a trained model: `python -m trm_jax.solve`, or in Python

    from trm_jax.solve import Solver

    solver = Solver.load("runs/baseline")
    [answer] = solver(["53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"])
    print(solver.task.text(answer.cells), answer.proven, f"{answer.confidence:.1%}")

`solver` solves; `sources` reads the puzzles that people name; `page` makes a page that shows the steps, and `web` one
that solves in the browser; `__main__` is the program.
"""

from trm_jax.solve.solver import Answer, Solver, Step

__all__ = ["Answer", "Solver", "Step"]
