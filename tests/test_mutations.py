# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""That mutations.py fits the code of today. What it proves, it proves when it is run, by hand."""

import ast
import collections

from by_hand import mutations


def test_every_edit_fits_the_code():
  """Each text to replace occurs exactly once, and what takes its place is Python."""
  texts, problems = {}, []
  for mutant in mutations.MUTATIONS:
    text = texts.setdefault(mutant.path, mutant.path.read_text())
    try:
      ast.parse(mutant.apply(text))
    except (ValueError, SyntaxError) as e:
      problems.append(f"{mutant.detail}: {e}")
  assert not problems, "\n".join(problems)


def test_every_detail_has_a_name_and_tests_of_its_own():
  repeated = [n for n, count in collections.Counter(m.detail for m in mutations.MUTATIONS).items() if count > 1]
  assert not repeated
  for mutant in mutations.MUTATIONS:
    assert mutant.tests, mutant.detail
    for test in mutant.tests:
      file, _, name = test.partition("::")
      assert f"def {name.partition('[')[0]}(" in (mutations.ROOT / "tests" / file).read_text(), test
