"""The first process of a container: execd, on sockets in a folder that the host shares with root of the container.

The container runtime has made the place already. What is left: the plan that lies in that folder, and the sockets' owner, who may
be an ordinary user of the host.
"""

from __future__ import annotations

import json
import os

from ..execd import main as execd
from ..execd.settings import PRIVATE_DIR
from .make import SOCKETS, listen, settings_from


def main() -> None:
    """Serve until the container is killed."""
    os.chdir(PRIVATE_DIR)
    with open("plan.json", encoding="utf-8") as file:
        plan = json.load(file)
    sockets = [listen(name) for name in SOCKETS]
    for name in SOCKETS:
        os.chown(name, plan["owner"], -1)
    settings = settings_from(plan)
    os.chdir("/")
    execd.run(settings, sockets[0], sockets[1], ready=lambda: None)
