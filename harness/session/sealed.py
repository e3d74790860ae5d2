"""The sealed submission: read-only files whose manifest is part of the run's events. Scored only while it is what was sealed."""

from __future__ import annotations

from harness.session.collect import manifest_of
from harness.session.record import RunRecord
from harness.spec.errors import SealBroken
from harness.spec.submission import Manifest, SealedFile
from harness.store.run_dir import RunDir

_SHOWN = 3


def check_sealed(run: RunDir, record: RunRecord) -> Manifest | None:
    """Compare every sealed file with the manifest, and the manifest with the events.

    Returns:
        The manifest; None where the run handed nothing in.

    Raises:
        SealBroken: something is missing (code ``sealed_missing``) or altered (code ``sealed_altered``); names the files.
    """
    if record.sealed is None:
        return None
    hint = "bring the files back from a copy; the grades the run has stand"
    if not run.sealed.is_dir():
        raise SealBroken(
            f"run {run.path.name}: the sealed submission is not there any more",
            hint=f"{hint}; or submit it anew: `dojo submit --from {run.path.name}`",
            code="sealed_missing",
        )
    found = manifest_of(run.sealed)
    if found.digest == record.sealed.digest:
        return found
    listed = Manifest.model_validate_json(run.manifest_path.read_bytes()).files if run.manifest_path.is_file() else ()
    code, text = _difference(listed, found.files)
    raise SealBroken(f"run {run.path.name}: {text}", hint=hint, code=code)


def _difference(sealed: tuple[SealedFile, ...], found: tuple[SealedFile, ...]) -> tuple[str, str]:
    before, after = {file.path: file for file in sealed}, {file.path: file for file in found}
    missing = sorted(before.keys() - after.keys())
    if missing:
        return "sealed_missing", f"sealed files are missing: {_named(missing)}"
    altered = sorted(name for name in after if before.get(name) != after[name])
    if altered:
        return "sealed_altered", f"sealed files are not what was sealed: {_named(altered)}"
    return "sealed_altered", "manifest.json and the sealed files are not what the run's events say was sealed"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
