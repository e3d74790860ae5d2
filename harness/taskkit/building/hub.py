"""Models and data sets from the Hugging Face hub by id and pinned revision, or from a local mirror of it.

``DOJO_HUB_MIRROR`` names a folder with ``datasets/<org>/<name>/…`` and ``models/<org>/<name>/…`` in the hub's own layout: for
machines without a way to the hub. A mirrored file is checked like a downloaded one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from harness.files import build_folder, make_readable, sha256_file
from harness.spec.errors import MissingError, SpecError
from harness.taskkit.building.package import Progress

MIRROR_VARIABLE = "DOJO_HUB_MIRROR"
COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*")


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, pinned to a commit.

    Attributes:
        repo: ``org/name``.
        commit: 40 hexadecimal digits.
        licence: of the weights.
    """

    repo: str
    commit: str
    licence: str = ""


@dataclass(frozen=True)
class HubData:
    """Files of a data set on the hub.

    Attributes:
        repo: ``org/name``.
        files: paths inside the repository.
        licence: of the data.
        commit: 40 hexadecimal digits; where it is empty, the environment variable `revision_variable` must give it.
        sha256: path → checksum. Files not named here are pinned by the commit, and by what was found at the first fetch.
    """

    repo: str
    files: tuple[str, ...]
    licence: str
    commit: str = ""
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def revision_variable(self) -> str:
        """Name of the environment variable that gives the commit where none is pinned."""
        return "DOJO_REVISION_" + re.sub(r"[^A-Z0-9]+", "_", self.repo.upper())

    def revision(self) -> str:
        """Return the pinned commit.

        Raises:
            MissingError: none is pinned here and none is configured.
        """
        commit = os.environ.get(self.revision_variable) or self.commit
        if not COMMIT.fullmatch(commit):
            raise MissingError(
                f"no commit of the data set {self.repo} is pinned" + (f" ({commit!r} is none)" if commit else ""),
                hint=f"set {self.revision_variable} to one (`dojo data prepare --dry-run` names today's), or {MIRROR_VARIABLE}",
            )
        return commit


@dataclass(frozen=True)
class FetchedData:
    """Where a data set's files lie, with what they are."""

    dir: Path
    revision: str
    sha256: dict[str, str]

    def path(self, file: str) -> Path:
        """Path of one of the files."""
        return self.dir / file


def fetch_data(data: HubData, cache: Path, progress: Progress | None = None) -> FetchedData:
    """Return a data set's files, from the mirror or fetched from the hub once; a download that was cut off is continued.

    Raises:
        MissingError: a file cannot be had, or differs from its checksum.
    """
    mirror = mirror_folder("datasets", data.repo)
    revision = "mirror" if mirror else data.revision()
    if mirror:
        # A mirror's files may change under the same name, so its copy is not cached: it is local already.
        found = {file: _checked(data, mirror / file, file) for file in data.files}
        return FetchedData(mirror, revision, found)
    target = cache / "hub" / "datasets" / data.repo.replace("/", "--") / revision
    with build_folder(target, keep=True) as part:
        if part is not None:
            found = {}
            for file in data.files:
                _download_file(data.repo, file, revision, part, progress)
                try:
                    found[file] = _checked(data, part / file, file)
                except MissingError:
                    (part / file).unlink(missing_ok=True)  # it would be kept, and refused for ever
                    raise
            (part / "dojo-manifest.json").write_text(json.dumps({"sha256": found}, indent=1), encoding="utf-8")
    noted = json.loads((target / "dojo-manifest.json").read_text(encoding="utf-8"))["sha256"]
    for file in data.files:
        if noted.get(file) != _checked(data, target / file, file):
            raise MissingError(f"{target / file} is not what was fetched", hint=f"remove {target} and prepare again")
    return FetchedData(target, revision, {file: noted[file] for file in data.files})


def fetch_model(model: HubModel, target: Path, progress: Progress | None = None) -> None:
    """Fill ``target`` with a model's configuration, tokenizer and safetensors weights; whole files are not fetched again.

    Raises:
        MissingError: the hub cannot be reached and there is no mirror.
    """
    mirror = mirror_folder("models", model.repo)
    target.mkdir(parents=True, exist_ok=True)
    if progress:
        progress(f"fetching {model.repo} at {model.commit[:12]}" + (" from the mirror" if mirror else ""))
    if mirror:
        for pattern in MODEL_FILES:
            for file in mirror.glob(pattern):
                shutil.copyfile(file, target / file.name)
    else:
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(model.repo, revision=model.commit, local_dir=target, allow_patterns=list(MODEL_FILES))
        except Exception as exc:  # the hub client raises from several libraries
            raise MissingError(f"{model.repo} could not be fetched: {exc!r:.200}", hint=_HUB_HINT) from exc
        shutil.rmtree(target / ".cache", ignore_errors=True)
    if not list(target.glob("*.safetensors")):
        raise MissingError(f"{model.repo}: no *.safetensors arrived in {target}", hint=_HUB_HINT)
    make_readable(target)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read rows from JSON lines, a JSON list, CSV or Parquet, by the file's ending.

    Raises:
        SpecError: another ending, or content that does not fit it; names file and line.
    """
    if path.suffix == ".jsonl":
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as exc:
                    raise SpecError(f"{path}:{number}: no JSON: {exc}", hint="one JSON object a line") from exc
        return rows
    if path.suffix == ".json":
        loaded = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(loaded, list):
            raise SpecError(f"{path}: expected a list of rows", hint="a JSON file holds one list of objects")
        return loaded
    if path.suffix == ".csv":
        import csv

        with path.open(encoding="utf-8-sig", newline="") as stream:
            return [dict(row) for row in csv.DictReader(stream)]
    if path.suffix == ".parquet":
        import pandas  # type: ignore[import-untyped]

        return json.loads(pandas.read_parquet(path).to_json(orient="records"))  # type: ignore[no-any-return]
    raise SpecError(f"{path}: cannot read {path.suffix!r} files", hint="use .jsonl, .json, .csv or .parquet")


_HUB_HINT = f"check the network, or copy the files into a mirror and set {MIRROR_VARIABLE}"


def is_mirrored(kind: str, repo: str) -> bool:
    """Whether the local mirror, where there is one, has this repository of ``kind`` "datasets" or "models"."""
    root = os.environ.get(MIRROR_VARIABLE)
    return bool(root) and (Path(str(root)) / kind / repo).is_dir()


def mirror_folder(kind: str, repo: str) -> Path | None:
    """Return the local mirror's folder of a repository of ``kind`` "datasets" or "models"; None where there is no mirror.

    Raises:
        MissingError: there is a mirror, and it does not have the repository.
    """
    root = os.environ.get(MIRROR_VARIABLE)
    if not root:
        return None
    path = Path(root) / kind / repo
    if not path.is_dir():
        raise MissingError(f"the mirror has no {kind}/{repo}", hint=f"copy it there, or unset {MIRROR_VARIABLE}")
    return path


def _checked(data: HubData, path: Path, file: str) -> str:
    if ".." in PurePosixPath(file).parts or not path.is_file():
        raise MissingError(f"{data.repo}: there is no file {file}", hint=f"looked at {path}")
    found = sha256_file(path)
    wanted = data.sha256.get(file)
    if wanted and wanted != found:
        raise MissingError(f"{data.repo}/{file} has SHA-256 {found}, not the pinned {wanted}", hint="do not use this copy")
    return found


def _download_file(repo: str, file: str, revision: str, folder: Path, progress: Progress | None) -> None:
    """Fetch one file into ``folder``; one that was cut off is continued, one that is whole is left alone.

    The hub client itself begins every download again in a new process, so only its single steps are used here.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    target, begun = folder / file, folder / f"{file}.incomplete"
    if target.is_file():
        return
    begun.parent.mkdir(parents=True, exist_ok=True)
    try:
        url, headers = hf_hub_url(repo, file, repo_type="dataset", revision=revision), build_hf_headers()
        found = get_hf_file_metadata(url, headers=headers)
        with begun.open("ab") as stream:
            if found.size is None or stream.tell() > found.size:  # of another file, or of a server that cannot continue
                stream.seek(0)
                stream.truncate()
            held, size = stream.tell(), found.size or 0
            if progress:
                more = f", continuing after {held / 1e6:.1f} MB" if held else ""
                progress(f"fetching {repo}/{file} at {revision[:12]}: {size / 1e6:.1f} MB{more}")
            if urlsplit(found.location).netloc != urlsplit(url).netloc:
                headers.pop("authorization", None)  # a token is for the hub alone
            http_get(found.location, stream, resume_size=held, headers=headers, expected_size=found.size)
    except Exception as exc:  # the hub client raises from several libraries
        raise MissingError(f"{repo}/{file} could not be fetched: {exc!r:.200}", hint=_HUB_HINT) from exc
    if _SHA256.fullmatch(found.etag or "") and sha256_file(begun) != found.etag:
        begun.unlink()
        raise MissingError(f"{repo}/{file} did not arrive as the hub has it", hint="try again; it begins anew")
    begun.replace(target)
