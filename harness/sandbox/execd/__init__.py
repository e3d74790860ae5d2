"""The server inside every sandbox. Standard library only, and no import of ours from outside this folder.

`threading`, and with it `subprocess`, is not imported: it makes every fork three times as dear. `dataclasses` and what else is
heavy is left out because a sandbox's start waits for its import.

It runs as root of the sandbox and gives commands to an unprivileged user. Reading order: `main` (its processes), `service` (one
worker a connection), `operations` (what can be asked), `command` and `detached` (running), `files` and `tarballs`, `relay`.
"""
