# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""What every test runs under: eight CPU devices, whatever the machine has, and no silent broadcasting of ranks."""

import contextlib
import ctypes
import gc
import importlib.metadata
import io
import os
import pathlib
import signal
import sys
import tempfile
import types

# In the environment too, so that the programs which tests start stay off the machine's accelerators. Only
# tests/test_reference_parity.py can also be run on one, by TRM_TEST_PLATFORMS=cuda,cpu (benchmarks/on_gpu.py does).
os.environ["JAX_PLATFORMS"] = os.environ.get("TRM_TEST_PLATFORMS", "cpu")
# Programs are tiny here, and compiling one takes longer than running it, also in the processes that tests start. With
# one part of code instead of 32 it takes 0.84 of the time, and with XLA's older emitters half; JAX 0.12 does not have
# these, and XLA refuses flags that it does not know. No test reads where in Python an operation comes from.
# The programs of tests/test_stopping.py and tests/test_launch.py are compiled as those of users are.
if os.environ["JAX_PLATFORMS"] == "cpu":
  os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "True"
  os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"
  os.environ["XLA_FLAGS"] = "--xla_cpu_parallel_codegen_split_count=1" + (
      " --xla_cpu_use_fusion_emitters=false" if importlib.metadata.version("jaxlib").startswith("0.10.") else "")

from absl import flags  # noqa: E402
from absl.testing import flagsaver  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# A shell that starts pytest in the background has it ignore Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

# All three raise, here and not in some test, if a plugin has touched a device before.
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", "JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ)

# As programs do (cli.run).
gc.set_threshold(20_000, 20, 20)


def pytest_configure(config: pytest.Config) -> None:
  """Files begin in their order. By the number of tests in it, as xdist has it, the slowest ones would come last."""
  if config.pluginmanager.hasplugin("xdist"):
    config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
  """What -n auto means: one process more than there are cores, since many tests wait for programs that wait."""
  return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """The longest of the files that would come last begins first, beside others that compute while it waits."""
  items.sort(key=lambda item: item.path.name != "test_sweep.py")


@pytest.fixture
def as_nobody_special():
  """A context manager in which the permissions of files count in this thread, also where root runs the tests."""
  libc = ctypes.CDLL(None, use_errno=True)
  header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
  passes_over_permissions = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

  @contextlib.contextmanager
  def context():
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the same for capabilities from 32 on
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] &= ~passes_over_permissions
    assert libc.capset(header, sets) == 0
    try:
      yield
    finally:
      sets[0] = effective
      assert libc.capset(header, sets) == 0

  return context


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
  """The folder of real puzzles and reference outputs beside the checkout; it is not part of the repository."""
  path = pathlib.Path(__file__).parents[2] / "shared"
  if not path.is_dir():
    pytest.skip(f"needs {path}, which is not part of the repository")
  return path


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
  """What the tests of a file keep from one start to the next is theirs alone."""
  with pytest.MonkeyPatch.context() as env:
    env.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield


@pytest.fixture(scope="module")
def shared_programs():
  """The runs of a test file compile equal programs once."""
  import programs

  with programs.shared():
    yield


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory):
  """Emulated Google Cloud Storage (see gcs.Server), in the environment of this process and of those it starts."""
  pytest.importorskip("gcsfs", reason="gcsfs is not installed")
  pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")
  import gcs

  server = gcs.Server()
  with pytest.MonkeyPatch.context() as env:
    env.setenv("STORAGE_EMULATOR_HOST", server.url)  # for gcsfs
    env.setenv("TENSORSTORE_GCS_HTTP_URL", server.url)
    # Whoever runs the tests: their credentials are not looked for.
    env.setenv("CLOUDSDK_CONFIG", str(tmp_path_factory.mktemp("no_credentials")))
    env.setenv("NO_GCE_CHECK", "true")
    env.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    yield server
  server.stop()


@pytest.fixture
def bucket(gcs_server, tmp_path, monkeypatch) -> str:
  """The name of an empty bucket; gcs_server.requests and .refuse start afresh, local copies go to tmp_path."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  gcs_server.requests.clear()
  gcs_server.refuse = lambda method, path: None
  return gcs_server.make_bucket()


@pytest.fixture
def solve(monkeypatch, capsys):
  """A function that calls trm_jax.solve with a solver in place of --checkpoint; returns its status and what it says, on
  standard output and on standard error."""
  from trm_jax.solve import __main__ as program

  def call(solver, *arguments, stdin=""):
    monkeypatch.setattr(program.Solver, "load", lambda *args, **kwargs: solver)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin.encode())))
    status = 0
    capsys.readouterr()  # what came before
    with flagsaver.as_parsed():
      try:
        program.main(flags.FLAGS(["solve", "--checkpoint=x", *arguments]))
      except program.UserError as e:
        status = e.status
        print(f"error: {e}", file=sys.stderr)
    return status, *capsys.readouterr()

  return call
