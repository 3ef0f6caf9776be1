# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Downloads files from the Hugging Face hub, hf://OWNER/REPO/FILE[@REVISION]. Needs the extra [hub].

The hub's own client does it, so that its cache, tokens, HF_ENDPOINT and HF_HUB_OFFLINE work as usual.
"""

from collections.abc import Sequence
import pathlib
import re

from trm_jax import errors
from trm_jax.errors import TryAgain, UserError

_ADDRESS = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+?)(?:@(?P<revision>[^@]+))?")


def is_address(source: str) -> bool:
  """Whether a source is an address at the hub."""
  return source.startswith("hf://")


def download(address: str, names: Sequence[str] = ()) -> tuple[pathlib.Path, dict[str, pathlib.Path]]:
  """Downloads a file and files beside it, once.

  Args:
    address: of the file.
    names: of files beside it that are also wanted, if they exist.

  Returns:
    The path of the file, and those of the files beside it by name, in .../snapshots/COMMIT/ of the client's cache.

  Raises:
    UserError: the address is malformed; there is no such file, repository or revision; or it needs a token.
    TryAgain: the hub cannot be reached.
  """
  match = _ADDRESS.fullmatch(address)
  if not match:
    raise UserError(f"{address}: not an address at the hub; it must be hf://OWNER/REPO/FILE or "
                    "hf://OWNER/REPO/FILE@REVISION")
  try:
    from huggingface_hub import errors as hub_errors  # pylint: disable=g-import-not-at-top
  except ImportError as e:
    raise UserError(f'{address}: needs {e.name}, which is not installed; pip install -e ".[hub]"') from e
  path = _file(address, match["repo"], match["file"], match["revision"])
  commit, folder, beside = commit_of(path), match["file"].rpartition("/")[0], {}
  for name in names:
    try:
      beside[name] = _download(match["repo"], f"{folder}/{name}" if folder else name, commit)
    except hub_errors.EntryNotFoundError:  # also raised if it is not in the cache and the hub cannot be reached
      continue
  return path, beside


def commit_of(path: pathlib.Path) -> str:
  """The commit that a downloaded file belongs to, from its path in the client's cache."""
  return path.parts[-path.parts[::-1].index("snapshots")]


def _download(repo: str, file: str, revision: str | None) -> pathlib.Path:
  import huggingface_hub  # pylint: disable=g-import-not-at-top

  return pathlib.Path(huggingface_hub.hf_hub_download(repo, file, revision=revision))


def _file(address: str, repo: str, file: str, revision: str | None) -> pathlib.Path:
  """Calls `_download`, and turns its errors into messages of one line."""
  from huggingface_hub import errors as hub_errors  # pylint: disable=g-import-not-at-top

  page, of = f"https://huggingface.co/{repo}", f" in revision {revision!r}" if revision else ""
  try:
    return _download(repo, file, revision)
  except hub_errors.GatedRepoError as e:
    raise UserError(f"{address}: its owner asks for an agreement first; agree at {page}, then run `hf auth login` or "
                    "set HF_TOKEN") from e
  except hub_errors.RepositoryNotFoundError as e:
    raise UserError(f"{address}: the hub has no repository {repo}, or it is private; check the name, or run `hf auth "
                    "login` or set HF_TOKEN") from e
  except hub_errors.RevisionNotFoundError as e:
    raise UserError(f"{address}: {repo} has no revision {revision!r}; give a branch, a tag or a whole commit, which "
                    f"{page} lists") from e
  except hub_errors.LocalEntryNotFoundError as e:
    raise TryAgain(f"{address}: the hub cannot be reached, and the file was not downloaded before; check the network "
                   "(and HF_ENDPOINT, HF_HUB_OFFLINE) and start the same command again") from e
  except hub_errors.EntryNotFoundError as e:
    raise UserError(f"{address}: {repo} has no file {file}{of}; {page}/tree/main lists what it has") from e
  except hub_errors.HFValidationError as e:
    raise UserError(f"{address}: {errors.in_one_line(e)}") from e
  except hub_errors.HfHubHTTPError as e:
    status = getattr(e.response, "status_code", 0)
    kind = TryAgain if status == 429 or status >= 500 else UserError
    raise kind(f"{address}: the hub refuses ({errors.in_one_line(e)[:200]})") from e
  except OSError as e:
    raise errors.explained(f"{address}: cannot be downloaded", e) from e
