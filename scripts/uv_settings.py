"""Print what uv must be told to look where pip looks, one ``NAME=value`` a line; nothing where pip has no settings of its own.

Needs the standard library and this checkout on PYTHONPATH.
"""

from harness.wheels.settings import DEFAULT_INDEX, Sources, sources


def uv_settings(found: Sources) -> dict[str, str]:
    """Return uv's names for pip's settings."""
    values = {}
    if found.links:
        values["UV_FIND_LINKS"] = ",".join(found.links)
    if found.indexes[:1] not in ((), (DEFAULT_INDEX,)):
        values["UV_DEFAULT_INDEX"] = found.indexes[0]
    if found.indexes[1:]:
        # as pip: the best version of all indexes, not that of the first which has any
        values |= {"UV_INDEX": " ".join(found.indexes[1:]), "UV_INDEX_STRATEGY": "unsafe-best-match"}
    if not found.indexes:
        values["NO_UV"] = "1"  # uv has no variable for that: setup.sh leaves it to pip
    return values


if __name__ == "__main__":
    for name, value in uv_settings(sources()).items():
        print(f"{name}={value}")
