"""Exit with 0 if the torch in a `pip install --report` needs CUDA libraries, else with 1. Needs pip and nothing else."""

import json
import sys
from pathlib import Path
from typing import Any

from pip._vendor.packaging.requirements import Requirement


def needs_cuda(report: dict[str, Any]) -> bool:
    """Whether a package of the report depends, on this machine, on NVIDIA's libraries."""
    for package in report["install"]:
        for text in package["metadata"].get("requires_dist", []):
            requirement = Requirement(text)
            here = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if here and requirement.name.startswith(("nvidia-", "cuda-")):
                return True
    return False


if __name__ == "__main__":
    sys.exit(0 if needs_cuda(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))) else 1)
