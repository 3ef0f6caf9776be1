# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""The files for Kubernetes say what is true of the program and of the slice. No cluster is asked."""

import math
import pathlib
import re

import pytest
import yaml

from trm_jax.runtime import chips
from trm_jax.runtime import exit_status

_ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(name="job")
def _job():
  service, job = yaml.safe_load_all((_ROOT / "launch" / "kubernetes.yaml").read_text())
  assert (service["kind"], job["kind"]) == ("Service", "Job")
  # By these the pods get names in the network.
  assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
  assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
  return job["spec"]


def test_every_exit_status_has_its_rule(job):
  rules = {status: rule["action"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule
           for status in rule["onExitCodes"]["values"]}
  assert rules == {2: "FailJob", exit_status.PREEMPTED: "Ignore", exit_status.PEER_LOST: "Ignore"}
  assert job["template"]["spec"]["restartPolicy"] == "Never"  # otherwise Kubernetes refuses the rules


def test_the_pods_are_the_hosts_of_the_slice(job):
  pod = job["template"]["spec"]
  shape = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
  (container,) = pod["containers"]
  chips_of_host = container["resources"]["limits"]["google.com/tpu"]
  assert job["completions"] == job["parallelism"] == chips.Slice.parse(f"v4:{shape}").num_hosts
  assert job["completions"] * chips_of_host == math.prod(map(int, shape.split("x")))
  config, workdir = container["args"]
  path, _, name = config.removeprefix("--config=").partition(":")
  assert (_ROOT / path).is_file() and name == "baseline" and workdir.startswith("--workdir=gs://")


def test_the_table_of_slices_is_right():
  page = (_ROOT / "docs" / "kubernetes.md").read_text()
  rows = re.findall(r"^\| (v\S+?)(?:-\d+)?(?:,.*?)? \| `\S+` \| `(\S+)` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
  assert len(rows) == 4
  for generation, shape, hosts, chips_of_host in rows:
    tpu_slice = chips.Slice.parse(f"{generation}:{shape}")
    assert int(hosts) * int(chips_of_host) == tpu_slice.num_chips, (generation, shape)


def test_the_image_holds_what_it_installs():
  dockerfile = (_ROOT / "launch" / "Dockerfile").read_text()
  copied = [source for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for source in line.split()]
  assert all((_ROOT / source).exists() for source in copied)
  needed = re.findall(r"^(?:long_description = file: |license_files = )(\S+)$", (_ROOT / "setup.cfg").read_text(),
                      re.MULTILINE)
  assert len(needed) == 2 and {"setup.cfg", "pyproject.toml", "trm_jax", *needed} <= set(copied)
