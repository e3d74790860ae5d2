"""A person as an agent: keeps the run open until `finish` says that it is over. The person works beside it, in `dojo shell`."""

import os

FIFO = "/tmp/.dojo-human"

if __name__ == "__main__":
    os.mkfifo(FIFO, 0o600)
    print("waiting for a person: `dojo shell RUN` on the host, then `dojo-tool task`", flush=True)
    with open(FIFO) as done:  # returns when somebody opens the other end
        done.read()
    os.unlink(FIFO)
    print("the person is done", flush=True)
