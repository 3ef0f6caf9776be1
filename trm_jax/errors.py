# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The exceptions that mean "the user can mend this"."""


class UserError(ValueError):
  """A mistake in what a person handed us: a flag, a config, a file, a full disk.

  The message is one line that names the thing, its value, the rule it breaks and what to do. Command-line
  programs print it without a traceback and exit with `status`; anything else that is raised is our bug and keeps
  its traceback.

  Attributes:
    status: programs exit with.
  """

  status = 2


def in_one_line(error: BaseException) -> str:
  """What an error of a library says, on one line; its name where it says nothing."""
  return " ".join(str(error).split()) or type(error).__name__


class TryAgain(UserError):
  """Something outside the program failed that may have passed when the same command is started again: another process
  of the job, the network, a bucket."""

  status = 76
