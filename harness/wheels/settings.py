"""Where wheels are looked for, from the settings that pip and uv know.

``PIP_INDEX_URL``, ``UV_DEFAULT_INDEX`` or ``UV_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``UV_INDEX``, ``PIP_FIND_LINKS``,
``PIP_NO_INDEX``; certificates from ``PIP_CERT``, ``REQUESTS_CA_BUNDLE`` or ``SSL_CERT_FILE``; pip's configuration files.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Every installer's own default; in parts, because no committed file names a registry (test_committed_files.py).
DEFAULT_INDEX = f"https://{'.'.join(('pypi', 'org'))}/simple"


@dataclass(frozen=True)
class Sources:
    """Where wheels are looked for, the first that has the file wins.

    Attributes:
        links: folders or pages with links to files, as pip's ``find-links``.
        indexes: addresses of simple indexes, without the package's name.
        certificates: a file of certificates to trust instead of the system's; None: the system's.
    """

    links: tuple[str, ...]
    indexes: tuple[str, ...]
    certificates: Path | None = None


def sources(environ: Mapping[str, str] | None = None) -> Sources:
    """Read the settings of pip and uv: environment over configuration files."""
    env = os.environ if environ is None else environ
    configured = _pip_config(env)

    def setting(*names: str, option: str = "") -> str:
        return next((env[name] for name in names if env.get(name)), configured.get(option, ""))

    main = setting("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", option="index-url") or DEFAULT_INDEX
    extra = setting("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", option="extra-index-url").split()
    alone = setting("PIP_NO_INDEX", option="no-index").lower() in ("1", "true", "yes", "on")
    # uv lets an index be named: name=address
    indexes = [re.sub(r"^[\w-]+=(?=\w+://)", "", address).rstrip("/") for address in (main, *extra)]
    certificates = setting("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", option="cert")
    return Sources(
        tuple(setting("PIP_FIND_LINKS", "UV_FIND_LINKS", option="find-links").replace(",", " ").split()),
        () if alone else tuple(dict.fromkeys(indexes)),
        Path(certificates) if certificates else None,
    )


def _pip_config(env: Mapping[str, str]) -> dict[str, str]:
    """Read pip's configuration files as pip does: system, user, environment; the later wins."""
    named = env.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return {}
    home = Path(env.get("HOME") or Path.home())
    user = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    files: Iterable[Path] = (
        *(Path(folder, "pip", "pip.conf") for folder in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        user / "pip" / "pip.conf",
        Path(sys.prefix, "pip.conf"),
        *([Path(named)] if named else []),
    )
    found: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip says what is wrong with its own file
        for section in ("global", "download"):
            if parser.has_section(section):
                found.update({key.replace("_", "-"): value.strip() for key, value in parser.items(section) if value})
    return found
