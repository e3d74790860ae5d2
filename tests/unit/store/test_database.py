from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import OperationalError

from harness.spec import RunSpec, RunState
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import MissingError, StoreError, UsageError
from harness.spec.event import Entered
from harness.spec.run import AgentRef, BaseModelRef, TaskRef
from harness.spec.task import Generation, Limits
from harness.store.base import AWAY, RunFilter
from harness.store.connect import Database, _away
from harness.store.database import SqlStore
from harness.store.ids import new_id
from harness.store.marks import BatchFile, read_batch
from harness.store.migrations import upgrade
from harness.store.run_dir import RunDir
from harness.store.tables import VERSION, metadata


def spec(run: str, batch: str, task: str = "math/aime25") -> RunSpec:
    return RunSpec(
        id=run,
        batch=batch,
        agent=AgentRef(config=AgentConfig(name="base", command=("true",)), digest="a"),
        task=TaskRef(id=task, profile="mini", digest="t", data_digest="d"),
        base_model=BaseModelRef(name="smol", digest="m"),
        seed=0,
        budget=Budget(wall=60),
        limits=Limits(),
        generation=Generation(),
        sandbox="namespace",
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def filled(home, warn=None) -> SqlStore:
    """Return a store of two batches whose runs' folders are there."""
    store = SqlStore(home, warn=warn)
    for batch, runs in (("b1", ["r2", "r1"]), ("b2", ["r3"])):
        specs = [spec(run, batch) for run in runs]
        for one in specs:
            RunDir.create(store.run_dir(batch, one.id).path, one)
        store.add_batch(batch, f"name of {batch}", specs, {})
    return store


def earlier(home) -> None:
    """Turn a home into one that dojo 0.1 left: no version, no batch files, nothing but batches and runs."""
    path = home / "dojo.db"
    former = Database(f"sqlite:///{path}")
    rows = former.write(
        lambda c: {name: [dict(r._mapping) for r in c.execute(text(f"SELECT * FROM {name}"))] for name in ("batches", "runs")}
    )
    former.close()
    for file in home.glob("dojo.db*"):
        file.unlink()
    for file in home.glob("batches/*/batch.json"):
        file.unlink()
    old = Database(f"sqlite:///{path}")

    def make(connection):
        upgrade(connection, "base", "0001")
        connection.execute(text("DROP TABLE alembic_version"))
        for table, found in rows.items():
            names = [column["name"] for column in inspect(connection).get_columns(table)]
            for row in found:
                values = ", ".join(f":{name}" for name in names)
                statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"
                connection.execute(text(statement), {name: row[name] for name in names})

    old.write(make)
    old.close()


def files_of(home) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(home)): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(home.rglob("*"))}


def test_a_home_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    store = SqlStore(tmp_path / "file" / "home")
    assert store.runs() == []
    with pytest.raises(StoreError, match="cannot write"):
        store.add_batch("b1", "", [], {})
    with pytest.raises(StoreError, match="DOJO_HOME"):
        store.record_state("r1", RunState.DONE)


def test_ids_sort_by_time_and_differ():
    ids = [new_id("r") for _ in range(200)]
    assert len(set(ids)) == 200 and all(i.startswith("r20") and len(i) == 22 for i in ids)


def test_the_migrations_end_at_the_tables(tmp_path, postgres):
    for number, url in enumerate((f"sqlite:///{tmp_path / 'x.db'}", postgres())):
        database = Database(url)
        database.write(lambda connection: upgrade(connection, "base"))
        with create_engine(database.url).connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == [], number
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == VERSION
        database.close()


def test_a_database_of_an_earlier_dojo_is_read_from_its_folders_and_migrated_by_the_first_change(tmp_path):
    filled(tmp_path).close()
    earlier(tmp_path)
    before = files_of(tmp_path)
    said: list[str] = []
    store = SqlStore(tmp_path, warn=said.append)
    assert [run.id for run in store.runs()] == ["r2", "r1", "r3"]
    assert [batch.name for batch in store.batches()] == ["name of b1", "name of b2"]
    assert len(said) == 1 and "earlier dojo" in said[0] and "dojo reindex" in said[0]
    assert files_of(tmp_path) == before
    store.record_state("r1", RunState.RUNNING)
    assert "has been filled from 3 run folders" in said[1]
    assert [(r.id, r.state.value, r.base_model) for r in SqlStore(tmp_path).runs()] == [
        ("r2", "queued", "smol"),
        ("r1", "running", "smol"),
        ("r3", "queued", "smol"),
    ]
    assert read_batch(tmp_path / "batches" / "b1").name == "name of b1"


def test_a_database_of_a_newer_dojo_is_never_written_but_replaced_when_asked(tmp_path):
    store = filled(tmp_path)
    store.close()
    newer = Database(f"sqlite:///{tmp_path / 'dojo.db'}")
    newer.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    newer.close()
    said: list[str] = []
    store = SqlStore(tmp_path, warn=said.append)
    assert len(store.runs()) == 3 and "newer dojo" in said[0]
    with pytest.raises(StoreError, match="newer dojo") as refused:
        store.record_state("r1", RunState.DONE)
    assert refused.value.code == "newer" and "dojo reindex" in refused.value.hint
    assert store.reindex().runs == 3
    assert len(SqlStore(tmp_path, warn=pytest.fail).runs()) == 3


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, None, "cut"], ids=["empty", "other", "missing", "cut"])
def test_a_database_that_is_gone_or_damaged_is_said_and_made_anew(tmp_path, content):
    store = filled(tmp_path)
    store.tag(["r1", "b2"], add=["x"])
    store.close()
    path = tmp_path / "dojo.db"
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2 + 100] if content == "cut" else content)
    before = files_of(tmp_path)
    said: list[str] = []
    store = SqlStore(tmp_path, warn=said.append)
    assert [run.id for run in store.runs(RunFilter(tag="x"))] == ["r1", "r3"]
    assert len(said) == 1 and "dojo reindex" in said[0]
    assert files_of(tmp_path) == before
    report = store.reindex()
    assert (report.batches, report.runs, report.damages) == (2, 3, ())
    again = SqlStore(tmp_path, warn=pytest.fail)
    assert [(b.name, b.tags) for b in again.batches()] == [("name of b1", ()), ("name of b2", ("x",))]
    assert [run.id for run in again.runs()] == ["r2", "r1", "r3"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_damaged_database_is_not_written(tmp_path):
    filled(tmp_path).close()
    (tmp_path / "dojo.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError) as refused:
        SqlStore(tmp_path).record_state("r1", RunState.DONE)
    assert "dojo reindex" in refused.value.hint


def test_a_missing_database_is_filled_by_the_first_change(tmp_path):
    filled(tmp_path).close()
    (tmp_path / "dojo.db").unlink()
    store = SqlStore(tmp_path, warn=lambda _line: None)
    store.record_state("r3", RunState.RUNNING)
    assert [run.id for run in SqlStore(tmp_path, warn=pytest.fail).runs()] == ["r2", "r1", "r3"]


def test_looking_makes_nothing_where_there_is_nothing(tmp_path):
    home = tmp_path / "nowhere"
    store = SqlStore(home, warn=pytest.fail)
    assert store.runs() == [] and store.batches() == [] and list(store.summaries().runs) == []
    assert not home.exists()


def test_looking_leaves_no_file_behind_and_sees_what_others_write(tmp_path):
    writer = filled(tmp_path)
    writer.close()
    before = files_of(tmp_path)
    looker = SqlStore(tmp_path, warn=pytest.fail)
    assert len(looker.runs()) == 3 and looker.holder("r1") is None
    assert files_of(tmp_path) == before
    writer = SqlStore(tmp_path)
    with writer.claim("r1"):
        writer.record_state("r1", RunState.RUNNING)
        assert looker.run("r1").state is RunState.RUNNING and looker.holder("r1")
    writer.close()
    assert looker.run("r1").state is RunState.RUNNING


def test_a_reader_follows_a_database_that_was_replaced(tmp_path):
    store = filled(tmp_path)
    assert len(store.runs()) == 3
    other = SqlStore(tmp_path)
    for file in tmp_path.glob("dojo.db*"):
        file.unlink()
    other.reindex()
    store.record_state("r1", RunState.RUNNING)
    assert other.run("r1").state is RunState.RUNNING


def test_runs_that_change_while_the_folders_are_read_are_not_set_back(tmp_path):
    store, other = filled(tmp_path), SqlStore(tmp_path)

    def meanwhile(_line: str) -> None:
        if other.run("r1").state is RunState.QUEUED:
            other.record_state("r1", RunState.RUNNING)
            other.files("r1").append(Entered(state=RunState.RUNNING))

    store.reindex(meanwhile)
    assert store.run("r1").state is RunState.RUNNING
    assert [run.id for run in store.runs()] == ["r2", "r1", "r3"]


def test_a_batch_of_an_earlier_dojo_keeps_its_name_when_its_database_is_damaged_later(tmp_path):
    filled(tmp_path).close()
    earlier(tmp_path)
    SqlStore(tmp_path).reindex()
    (tmp_path / "dojo.db").unlink()
    assert SqlStore(tmp_path, warn=lambda _: None).batches()[0].name == "name of b1"


def test_a_postgresql_database_of_an_earlier_dojo_is_migrated(tmp_path, postgres):
    url = postgres()
    filled(tmp_path).close()
    (tmp_path / "batches" / "b1" / "batch.json").unlink()
    old = Database(url)

    def make(connection):
        upgrade(connection, "base", "0001")
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("INSERT INTO batches VALUES ('b1', 'old name', now(), '{}')"))

    old.write(make)
    old.close()
    said: list[str] = []
    store = SqlStore(tmp_path, url, warn=said.append)
    assert len(store.runs()) == 3 and "earlier dojo" in said[0]
    store.record_state("r1", RunState.DONE)
    assert [(b.id, b.name) for b in store.batches()] == [("b2", "name of b2"), ("b1", "old name")]
    store.close()


def test_a_server_that_does_not_answer_leaves_the_folders_to_read(tmp_path):
    filled(tmp_path).close()
    pytest.importorskip("psycopg")
    said: list[str] = []
    store = SqlStore(tmp_path, "postgresql://nobody@/none?host=/nowhere", warn=said.append)
    assert len(store.runs()) == 3 and "does not answer" in said[0]
    with pytest.raises(StoreError, match="failed") as refused:
        store.record_state("r1", RunState.DONE)
    assert "server" in refused.value.hint and refused.value.code == AWAY


def test_a_server_that_lets_nobody_in_is_not_one_that_is_away(tmp_path, postgres):
    store = SqlStore(tmp_path, postgres().replace("@/dojo", "@/of-another-name"))
    with pytest.raises(StoreError, match="does not exist") as refused:
        store.record_state("r1", RunState.DONE)
    assert refused.value.code != AWAY


@pytest.mark.parametrize(
    ("text", "state", "away"),
    [
        ("connection timeout expired", None, True),
        ("connection refused", None, True),
        ("FATAL:  the database system is starting up", None, True),
        ("FATAL:  sorry, too many clients already", None, True),
        ("terminating connection due to administrator command", "57P01", True),
        ('FATAL:  password authentication failed for user "dojo"', None, False),
        ("canceling statement due to lock timeout", "55P03", False),
    ],
)
def test_a_server_is_away_where_it_may_answer_in_a_moment(text, state, away):
    cause = Exception(text)
    cause.sqlstate = state  # type: ignore[attr-defined]
    assert _away(OperationalError("SELECT 1", None, cause)) is away


def test_a_database_url_that_is_none_or_has_no_driver_is_refused_with_a_remedy(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="URL"):
        SqlStore(tmp_path, "results.db")
    with pytest.raises(UsageError, match="not supported"):
        SqlStore(tmp_path, "mysql://host/dojo")
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingError) as missing:
        SqlStore(tmp_path, "postgresql://host/dojo")
    assert "dojo-bench[postgres]" in missing.value.hint


def test_a_copied_run_folder_is_named_by_reindex_and_left_out(tmp_path):
    import shutil

    store = filled(tmp_path)
    shutil.copytree(store.files("r1").path, tmp_path / "batches" / "b2" / "runs" / "copy of r1")
    report = store.reindex()
    assert [d.run for d in report.damages] == ["copy of r1"] and report.runs == 3


def test_a_batch_file_that_is_damaged_harms_its_names_alone(tmp_path):
    store = filled(tmp_path)
    (tmp_path / "batches" / "b1" / "batch.json").write_text("{")
    report = store.reindex()
    assert [d.run for d in report.damages] == ["b1"] and report.runs == 3
    assert store.batches()[0].name == "name of b1"


def test_a_batch_file_of_one_word_is_whole(tmp_path):
    assert BatchFile.model_validate_json('{"created": "2026-01-01T00:00:00Z"}').runs == ()


@pytest.mark.parametrize(("more", "expected"), [("", "15000"), ("&tcp_user_timeout=600000", "600000")])
def test_a_server_that_is_cut_off_is_not_waited_for_longer_than_the_address_says(postgres, more, expected):
    database = Database(postgres() + more)
    said = lambda connection: connection.connection.driver_connection.info.get_parameters()  # noqa: E731
    found = database.look(said, judge=False)
    assert found["tcp_user_timeout"] == expected and found["connect_timeout"] == "10"
    database.close()
