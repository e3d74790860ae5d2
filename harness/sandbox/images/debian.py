"""Debian's packages without a registry, by mmdebstrap: a whole system, or single packages for an image that stands on one."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.sandbox.images import program
from harness.sandbox.images.definition import DEBIAN_OPTIONS, Image
from harness.spec.errors import MissingError
from harness.spec.progress import Progress


def make_system(suite: str, packages: Sequence[str], tar: Path) -> None:
    """Write a minimal Debian with these packages as a tar.

    Raises:
        MissingError: mmdebstrap is not installed, or fails.
    """
    _mmdebstrap("--variant=minbase", f"--include={','.join(packages)}", *DEBIAN_OPTIONS, suite, str(tar))


@contextmanager
def fetched_packages(image: Image, folder: Path, say: Progress) -> Iterator[tuple[Path, ...]]:
    """Fetch the Debian packages that an image has beside the image of ours below it; the files are gone afterwards.

    What they depend on must be in the image below: dpkg refuses them otherwise, and says what is missing.

    Raises:
        MissingError: mmdebstrap is not installed, or fails.
    """
    names = image.packages() if image.parent else ()
    if not names:
        yield ()
        return
    suite = image.foundation.definition.suite
    say(f"fetching {', '.join(names)} from Debian's packages")
    with tempfile.TemporaryDirectory(prefix="debs-", dir=folder) as place:
        # an empty system has just the lists of what there is, and apt's settings for this suite
        fetch = f'cd {shlex.quote(place)} && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download {shlex.join(names)}'
        _mmdebstrap("--variant=custom", "--format=null", f"--customize-hook={fetch}", suite)
        yield tuple(sorted(Path(place).glob("*.deb")))


def _mmdebstrap(*arguments: str) -> None:
    made = shutil.which("mmdebstrap")
    if made is None:
        raise MissingError(
            "mmdebstrap is not installed, which makes a base without a registry", hint="apt-get install mmdebstrap"
        )
    done = subprocess.run([made, "--quiet", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(
            f"mmdebstrap fails: {program.reason(done.stderr)}", hint="can this machine reach Debian's packages, and is this root?"
        )
