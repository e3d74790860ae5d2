import tarfile

import httpx
import pytest

from tests.unit.web.conftest import GOOD, Replica, archive


def member(kind: bytes, **more) -> tarfile.TarInfo:
    made = tarfile.TarInfo()
    made.type = kind
    for name, value in more.items():
        setattr(made, name, value)
    return made


WRONG = [
    ("POST", "/v1/plans", {"json": {"matrix": {"agnts": []}}}, 400, "matrix.agnts"),
    ("POST", "/v1/plans", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "JSON"),
    ("POST", "/v1/plans", {"json": {"matrix": {"agents": [{"name": "/x"}], "tasks": ["math/aime25"]}}}, 400, "'/x' is no name"),
    ("POST", "/v1/plans", {"json": {"matrix": {"agents": [{"name": "~/x"}], "tasks": ["math/aime25"]}}}, 400, "'~/x' is no name"),
    ("POST", "/v1/plans", {"json": {"matrix": {"agents": [{"name": "upload:../x"}], "tasks": ["math/a"]}}}, 404, "no upload"),
    ("POST", "/v1/plans", {"json": {"matrix": {"agents": [{"name": "base"}], "tasks": ["../task"]}}}, 404, "no task"),
    ("POST", "/v1/plans", {"json": {"matrix": {"agents": [{"name": "bose"}], "tasks": ["math/aime25"]}}}, 404, "bose"),
    (
        "POST", "/v1/plans",
        {"json": {"matrix": {"agents": [{"name": "base"}], "tasks": ["math/aime25"], "base_models": ["/etc"]}}}, 400, "is a path",
    ),
    (
        "POST", "/v1/plans",
        {"json": {"matrix": {"agents": [{"name": "base"}], "tasks": ["math/aime25"], "backbones": ["scripted:/etc/passwd"]}}},
        400, "a file or a run",
    ),
    ("POST", "/v1/batches", {"json": {}}, 400, "a plan or a matrix"),
    ("POST", "/v1/batches", {"json": {"plan": "../../x"}}, 404, "planned no batch"),
    ("POST", "/v1/batches", {"content": b"x" * (1 << 20) + b"x"}, 413, "larger than"),
    ("POST", "/v1/cancel/nothing", {}, 404, "nothing"),
    ("GET", "/v1/status/nothing", {}, 404, "nothing"),
    ("GET", "/v1/runs/nothing/files", {}, 404, "nothing"),
    ("GET", "/v1/runs/nothing/events?after=x", {}, 400, "after"),
    ("GET", "/v1/compare?a=x", {}, 400, "b: Field required"),
    ("GET", "/v1/nowhere", {}, 404, "nothing at this address"),
    ("DELETE", "/v1/leaderboard", {}, 405, "Method Not Allowed"),
    ("POST", "/v1/agents?name=a", {"content": b"no archive"}, 400, "cannot be read"),
    ("POST", "/v1/agents?name=b", {"content": archive(("a/agent.toml", GOOD))}, 400, "no folder 'b'"),
    ("POST", "/v1/agents?name=..", {"content": archive(("a/agent.toml", GOOD))}, 400, "no folder '..'"),
    ("POST", "/v1/agents?name=a", {"content": archive(("../a/agent.toml", GOOD))}, 400, "leads out of"),
    ("POST", "/v1/agents?name=a", {"content": archive(("/a/agent.toml", GOOD))}, 400, "leads out of"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/l", member(tarfile.SYMTYPE, linkname="/etc/x")))}, 400, "a link, and"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/l", member(tarfile.LNKTYPE, linkname="/etc/x")))}, 400, "a link, and"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/d", member(tarfile.CHRTYPE, devmajor=1)))}, 400, "is a device, and"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/p", member(tarfile.FIFOTYPE)))}, 400, "is a pipe, and"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/b\x1bc", b"x"))}, 400, "cannot be shown"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/HEAD", b"x"), ("a/agent.toml", GOOD))}, 400, "HEAD makes git"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/agent.toml", b"name ="))}, 400, "agent.toml"),
    ("POST", "/v1/agents?name=a", {"content": archive(("a/agent.toml", GOOD))}, 400, "run.sh"),
    ("POST", "/v1/agents?name=a", {"content": b"x" * (256 * 1024 + 1)}, 413, "larger than"),
]  # fmt: skip


def test_every_wrong_input_is_refused_with_its_value_and_a_remedy_and_names_no_folder_of_the_machine(replica: Replica):
    for method, path, given, status, words in WRONG:
        said = replica.ask("ann", method, path, **given)
        assert said.status_code == status and words in said.text, (method, path, said.status_code, said.text)
        error = said.json()["error"]
        assert error["code"] and error["message"] and error["hint"] and error["exit_code"] in (1, 2, 3)
        assert str(replica.dojo.home) not in said.text and "Traceback" not in said.text


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_written(replica: Replica):
    bomb = member(tarfile.REGTYPE, size=3 << 30)
    bomb.name = "a/big"
    said = replica.ask("ann", "POST", "/v1/agents?name=a", content=bomb.tobuf() + b"\0" * 1024)
    assert said.status_code == 400 and "goes over 20,000 files or 1,024 MB, the most an agent may hold" in said.text
    assert not [path for path in replica.site.folder("uploads", "ann").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer dojo_1_2", "Basic YTpi", "Bearer \xff", "Bearer dojo_" + "x" * 5000]
)
def test_nobody_is_let_in_without_a_token_that_was_made(replica: Replica, header: str | None):
    headers = {} if header is None else {b"authorization": header.encode("latin-1")}
    for method, path in (("GET", "/v1/about"), ("POST", "/v1/agents"), ("GET", "/metrics"), ("GET", "/v1/nowhere")):
        said = httpx.request(method, replica.url + path, headers=headers)
        assert said.status_code == 401 and "dojo tokens create" in said.json()["error"]["hint"]


def test_a_revoked_token_lets_nobody_in_from_the_next_request_on(replica: Replica):
    assert replica.ask("ann", "GET", "/v1/about").status_code == 200
    replica.dojo.revoke_token(replica.tokens["ann"].split("_")[1])
    assert replica.ask("ann", "GET", "/v1/about").status_code == 401
