"""Promises about what cannot be reached from inside."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from harness.sandbox.contract.promise import PATIENCE_S, Stage, expect, expect_error, promise, python, sh, text, wait_until

# Calls into the kernel's rarer doors, on x86_64 and aarch64: number of the call, then its arguments.
_DOORS = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
column = 0 if os.uname().machine == "x86_64" else 1
opened = []
def door(name, numbers, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(numbers[column], *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result >= 0 or ctypes.get_errno() not in (1, 13, 38):
        opened.append((name, result, ctypes.get_errno()))
        if name.startswith("unshare") and result == 0:
            os._exit(99)
door("mount", (165, 40), b"none", b"/tmp", b"tmpfs", 0, None)
door("umount2", (166, 39), b"/proc", 2)
door("pivot_root", (155, 41), b"/", b"/tmp")
door("setns", (308, 268), os.open("/proc/self/ns/user", os.O_RDONLY), 0)
door("bpf", (321, 280), 5, None, 0)
door("perf_event_open", (298, 241), None, 0, -1, -1, 0)
door("keyctl", (250, 219), 0, -3, 1)
door("add_key", (248, 217), b"user", b"x", b"y", 1, -3)
door("request_key", (249, 218), b"user", b"x", None, 0)
door("io_uring_setup", (425, 425), 8, ctypes.create_string_buffer(120))
door("kexec_load", (246, 104), 0, 0, None, 0)
door("init_module", (175, 105), None, 0, b"")
door("finit_module", (313, 273), 0, b"", 0)
door("open_by_handle_at", (304, 265), 0, None, 0)
door("userfaultfd", (323, 282), 1)
door("fsopen", (430, 430), b"tmpfs", 0)
door("open_tree", (428, 428), -100, b"/", 1)
door("swapon", (167, 224), b"/tmp/x", 0)
door("reboot", (169, 142), 0, 0, 0, None)
door("settimeofday", (164, 170), None, None)
door("sethostname", (170, 161), b"x", 1)
door("clone3", (435, 435), None, 0)
for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000, 0x08000000, 0x04000000, 0x02000000):
    door("unshare %x" % flag, (272, 97), flag)
    door("clone %x" % flag, (56, 220), flag | 17, 0, 0, 0, 0)
sockets = ((40, 1, 0), (17, 3, 768), (38, 5, 0), (16, 3, 16), (16, 3, 12), (16, 3, 4), (31, 3, 1), (29, 3, 1), (44, 3, 0))
for family, kind, protocol in sockets:
    try:
        socket.socket(family, kind, protocol)
        opened.append(("socket", family, protocol))
    except OSError:
        pass
print(opened)
"""

_KILLER = """
import os
while True:
    for pid in range(1, 400):
        try:
            if pid != os.getpid():
                os.kill(pid, 9)
        except OSError:
            pass
"""


@promise("interfaces")
def there_is_no_interface_but_the_loopback_one(stage: Stage) -> None:
    """Where a cluster's policies do not have to be believed in."""
    expect(text(stage.sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '") == "lo", "interfaces")


@promise("isolation")
def there_is_no_route_out(stage: Stage) -> None:
    """No address that answers, no name that resolves."""
    program = """
import socket
for address in ("1.1.1.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", "192.168.0.1", "172.17.0.1"):
    try:
        socket.create_connection((address, 80), timeout=2)
        print("reached", address)
    except OSError:
        pass
try:
    print(socket.getaddrinfo("example.com", 80))
except OSError:
    pass
"""
    result = python(stage.sandbox, program)
    expect(result.ok and result.stdout == b"", result)


@promise("isolation")
def the_hosts_loopback_is_another(stage: Stage) -> None:
    """A server of the host, by port and by abstract name, is not reached."""
    name = f"\0dojo-contract-{os.getpid()}"
    with socket.socket() as server, socket.socket(socket.AF_UNIX) as abstract:
        server.bind(("127.0.0.1", 0))
        server.listen()
        abstract.bind(name)
        abstract.listen()
        program = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})), (socket.AF_UNIX, {name!r})):
    try:
        socket.socket(family).connect(address)
        print("reached", address)
    except OSError:
        pass
"""
        result = python(stage.sandbox, program)
        expect(result.ok and result.stdout == b"", result)


@promise("isolation")
def the_hosts_files_are_absent(stage: Stage) -> None:
    """Neither this stage's folder, nor homes, nor the harness, nor sockets of the host."""
    secret = stage.host_folder() / "secret"
    secret.write_text("hidden answers")
    secret.chmod(0o644)
    import harness

    for path in (secret, Path(harness.__file__).resolve(), Path("/var/run/docker.sock"), Path("/run/containerd")):
        expect(not sh(stage.sandbox, f"ls -d '{path}'").ok, path)
    # a path that an image has too must be another file: shown ones keep device and number
    for path in (
        Path("/etc/shadow"),
        Path("/etc/passwd"),
        Path("/etc/ssh"),
        Path("/boot"),
        Path("/var/lib"),
        Path("/root"),
        Path("/home"),
    ):
        inside = sh(stage.sandbox, f"stat -c %d:%i {path}").stdout.decode().strip()
        expect(not path.exists() or inside != f"{path.stat().st_dev}:{path.stat().st_ino}", path)
    expect(not sh(stage.sandbox, "cat /etc/shadow").ok, "/etc/shadow can be read")
    names = text(
        stage.sandbox,
        "find / -xdev -name secret -o -xdev -type s 2>/dev/null; find /home /mnt /media /srv -mindepth 1 2>/dev/null | head",
    )
    expect(names == "", names)


@promise("isolation")
def the_harness_cannot_be_imported(stage: Stage) -> None:
    """Its graders are in it. Installed beside torch it leaves an empty folder: a name, and nothing behind it."""
    for name in ("grading", "bundled", "sandbox.execd"):
        result = python(stage.sandbox, f"import harness.{name}")
        expect(not result.ok and b"ModuleNotFoundError" in result.stderr, result)
    look = """
import importlib.metadata, importlib.util, os
spec = importlib.util.find_spec("harness")
folders = [] if spec is None else list(spec.submodule_search_locations or [spec.origin])
records = [str(d.locate_file("")) for d in importlib.metadata.distributions(name="dojo-bench") if d.files]
print([name for folder in folders for name in os.listdir(folder)] + records)
"""
    result = python(stage.sandbox, look)
    expect(result.ok and result.stdout.strip() == b"[]", result)


@promise("isolation")
def the_system_cannot_be_changed(stage: Stage) -> None:
    """Nothing outside the writable places is."""
    places = "/ /usr /usr/bin /bin /lib /etc /opt /dev /sys /proc/sys /run /root /models /data"
    script = f"for d in {places}; do [ -d $d ] && touch $d/x 2>/dev/null && echo $d; done; true"
    expect(text(stage.sandbox, script) == "", text(stage.sandbox, script))
    python_folder = text(stage.sandbox, "dirname $(python3 -c 'import os; print(os.__file__)')")
    expect(not sh(stage.sandbox, f"touch {python_folder}/x").ok, python_folder)


@promise("isolation")
def other_processes_are_not_seen(stage: Stage) -> None:
    """Neither the host's nor another sandbox's."""
    marker = f"marker-{os.getpid()}"
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
    with stage.new() as other, subprocess.Popen(["sh", "-c", f"read x; : {marker}"], stdin=subprocess.PIPE):
        process = other.start(["sh", "-c", f": {marker}; {look}; sleep 600; true"])
        # by itself: other commands of its sandbox may have process namespaces of their own
        wait_until(lambda: marker.encode() in other.poll(process).stdout, "it is seen by itself")
        expect(marker not in text(stage.sandbox, look), "another sandbox's or the host's")
    expect(not sh(stage.sandbox, f"kill -0 {os.getpid()}").ok or os.getpid() < 10, "the harness's pid can be signalled")


@promise("isolation")
def commands_have_no_privileges(stage: Stage) -> None:
    """The user and group `agent` and no other, without capabilities, who cannot gain any, under a system call filter."""
    status = text(
        stage.sandbox,
        "id -un; id -gn; id -Gn; grep -E '^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2",
    )
    zero = "0" * 16
    expect(status.split() == ["agent", "agent", "agent", zero, zero, zero, zero, "1", "2"], status)


@promise("isolation")
def set_uid_programs_do_nothing(stage: Stage) -> None:
    """The system's own, and root files of the agent's making do not exist."""
    expect(sh(stage.sandbox, "su -c id root < /dev/null").stdout == b"", "su")
    expect(not python(stage.sandbox, "import os; os.setuid(0)").ok, "setuid")


@promise("isolation")
def the_kernels_rare_doors_are_shut(stage: Stage) -> None:
    """Mounts, namespaces, bpf, keyrings, io_uring, modules, handles, packet and vsock sockets."""
    result = python(stage.sandbox, _DOORS)
    expect(result.stdout == b"[]\n", result)


@promise("isolation")
def ordinary_programs_are_not_hindered(stage: Stage) -> None:
    """Threads, processes, pipes, sockets, shared memory, temporary files, timers, tracing one's own child."""
    program = """
import ctypes, mmap, multiprocessing, multiprocessing.shared_memory, os, socket, subprocess, tempfile, threading
t = threading.Thread(target=lambda: None); t.start(); t.join()
assert subprocess.run(["true"]).returncode == 0
with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
m = multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 20); m.close(); m.unlink()
server = socket.create_server(("127.0.0.1", 0)); socket.create_connection(server.getsockname()).close()
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
socket.create_server(("::1", 0), family=socket.AF_INET6).close()
tempfile.TemporaryFile().write(b"x"); mmap.mmap(-1, 4096)
os.openpty()
print("fine")
"""
    result = python(stage.sandbox, program)
    expect(result.stdout == b"fine\n", result)


@promise("isolation")
def execd_cannot_be_killed(stage: Stage) -> None:
    """Signals to everything, to every number, from several processes while commands run."""
    with stage.new() as sandbox:
        process = sandbox.start(["python3", "-c", _KILLER])
        everyone = "kill -9 -1; kill -9 1; for i in $(seq 2 300); do [ $i = $$ ] || kill -9 $i 2>/dev/null; done; echo tried"
        for _ in range(3):
            sh(sandbox, everyone, timeout_s=10.0)
            sandbox.exec(["true"], timeout_s=PATIENCE_S)
        expect(sandbox.alive(), "execd is dead")
        sandbox.kill(process)
        expect(sandbox.kill_all() == 0 and text(sandbox, "echo on") == "on", "commands after it")


@promise("isolation")
def execd_cannot_be_talked_to(stage: Stage) -> None:
    """No socket in the file system, none abstract; its folder and its memory are closed."""
    expect(text(stage.sandbox, "find / -type s 2>/dev/null | head") == "", "a socket")
    listed = text(stage.sandbox, "cut -d' ' -f8 /proc/net/unix | grep -v '^Path' | grep . || true")
    for line in listed.splitlines():
        expect(not python(stage.sandbox, f"import socket; socket.socket(socket.AF_UNIX).connect({line!r})").ok, line)
    expect(
        not sh(stage.sandbox, "cat /proc/1/environ; cat /proc/1/mem; readlink /proc/1/fd/*; ls /run/dojo/spool").stdout,
        "readable",
    )


@promise("isolation")
def file_calls_end_before_the_servers_own_folder(stage: Stage) -> None:
    """Nobody ends a process, or makes its server easy prey, by writing its state; by no link and no other name of the folder."""
    sandbox = stage.sandbox
    process = sandbox.start(["sleep", "600"])
    forged = b'{"exit_code": 0, "oom_killed": false, "deadline": false}'
    sh(sandbox, f"ln -sfn /run/dojo/spool spool; ln -sfn /run/dojo/spool/{process}/status status; mkdir -p deep")
    folder = f"/run/dojo/spool/{process}"
    for path in (
        f"{folder}/status", f"{folder}/out", f"spool/{process}/status", "status", f"/proc/self/root{folder}/status",
        f"/proc/1/root{folder}/status", f"/workspace/deep/../../{folder}/status", "/run/dojo/new/file", "spool/another/status",
        "/proc/1/oom_score_adj", "/proc/self/oom_score_adj", "/proc/1/comm",
    ):  # fmt: skip
        with expect_error(OSError):
            sandbox.write_file(path, forged)
        expect(sandbox.poll(process).running, path)
    for path in (f"{folder}/supervisor", f"spool/{process}/out", f"/proc/self/root{folder}/supervisor"):
        with expect_error(OSError):
            sandbox.read_file(path)
    for path in ("/run/dojo/spool", "spool", f"spool/{process}"):
        with expect_error(OSError):
            expect(not b"".join(sandbox.archive(path)), path)
    sandbox.kill(process)
    sh(sandbox, "rm -f spool status")


@promise("isolation")
def shared_memory_and_messages_are_private(stage: Stage) -> None:
    """System V segments and POSIX queues of another sandbox are not there."""
    make = "import ctypes; print(ctypes.CDLL(None).shmget(4711, 4096, 0o1666))"
    find = "import ctypes; print(ctypes.CDLL(None).shmget(4711, 4096, 0o666))"
    with stage.new() as other:
        expect(int(python(other, make).stdout) >= 0, "it cannot be made")
        expect(python(stage.sandbox, find).stdout == b"-1\n", "it is found")


@promise("isolation")
def files_handed_to_the_harness_lead_nowhere(stage: Stage) -> None:
    """A link of the agent's making to places of execd or of the host gives nothing of them."""
    secret = stage.host_folder() / "answers"
    secret.write_text("hidden answers")
    sh(stage.sandbox, f"ln -sfn {secret} direct; ln -sfn /proc/1/root{secret} one; ln -sfn /proc/self/root{secret} self")
    sh(stage.sandbox, "for n in 3 4 5 6 7 8 9 10 11 12; do ln -sfn /proc/self/fd/$n fd$n; done")
    for name in (
        "direct",
        "one",
        "self",
        *(f"fd{n}" for n in range(3, 13)),
        *(f"fd{n}/../../../state.json" for n in range(3, 13)),
    ):
        try:
            data = stage.sandbox.read_file(name)
        except Exception as exc:
            expect(not isinstance(exc, MemoryError), exc)
            continue
        expect(b"hidden answers" not in data and b'"limits"' not in data, (name, data[:100]))
