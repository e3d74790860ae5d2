"""What Slurm is asked for and what is made of its answers. Its programs are small scripts here; tests/slurm has the real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.executor.base import Work
from harness.executor.contract import Stage
from harness.executor.slurm import SlurmExecutor
from harness.executor.slurm.job import options, script
from harness.executor.slurm.jobs import Jobs, by_run
from harness.executor.slurm.programs import Away, Unknown, call
from harness.executor.slurm.settings import SlurmSettings
from harness.spec.errors import DojoError, MissingError, StoreError, UsageError
from harness.spec.run import RunSpec
from harness.spec.task import Limits
from harness.store.base import RunInfo
from harness.store.database import SqlStore

Programs = Callable[[str, str], None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Put a shell script in the place of one of Slurm's programs; there are no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def program(name: str, lines: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
        (folder / name).chmod(0o755)

    return program


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(lambda work: SlurmExecutor(work, ("true",)), SqlStore(tmp_path / "home"))


@pytest.fixture
def spec(stage: Stage) -> RunSpec:
    _, (run,) = stage.batch(1, Limits(cpus=1.5, memory_mb=4096, gpus=2))
    return stage.store.files(run).spec()


def test_settings_are_read_and_a_bad_one_is_named(tmp_path: Path) -> None:
    found = SlurmSettings.from_environment({"DOJO_SLURM_PARTITION": "gpu", "DOJO_SLURM_ROOM": "600", "DOJO_SLURM_QOS": ""})
    assert (found.partition, found.room, found.qos) == ("gpu", 600, "")
    for name, value in {"ROOM": "soon", "GPU": "gpu:a:b", "OPTIONS": "'open", "STARTS": "0"}.items():
        with pytest.raises(UsageError, match=f"DOJO_SLURM_{name}="):
            SlurmSettings.from_environment({f"DOJO_SLURM_{name}": value})
    with pytest.raises(UsageError, match="PROLOGUE"):
        SlurmSettings(prologue=str(tmp_path / "none")).prologue_lines()


def test_a_job_asks_for_what_its_run_needs(spec: RunSpec) -> None:
    settings = SlurmSettings(partition="gpu", account="lab", gpu="gpu:a100", options="--constraint='a b'", room=600, notice=30)
    asked = options(spec, settings)
    for option in (
        f"--job-name=dojo-{spec.id}", "--dependency=singleton", "--cpus-per-task=2", "--mem=7168M", "--gres=gpu:a100:2",
        "--time=12", "--signal=B:TERM@30", "--requeue", "--partition=gpu", "--account=lab", "--constraint=a b", "--export=ALL",
    ):  # fmt: skip
        assert option in asked
    assert not any(option.startswith("--qos") for option in asked)
    assert "--export=DOJO_HOME,DOJO_CACHE,DOJO_DATABASE,DOJO_ARTEFACTS,DOJO_AFTER,PATH" in options(
        spec, SlurmSettings(export="PATH")
    )


def test_the_script_names_no_variable_of_ours_and_quotes_what_it_is_given(spec: RunSpec, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("module load cuda\n")
    settings = SlurmSettings(prologue=str(tmp_path / "lines"))
    text = script(spec, tmp_path / "a $folder/runs" / spec.id, settings, ("/the python", "-m", "dojo"))
    assert f"'{tmp_path}/a $folder/runs/{spec.id}/run.json'" in text and "DATABASE" not in text
    assert f"""exec >>'{tmp_path}/a $folder/slurm/{spec.id}-'"$SLURM_JOB_ID".log 2>&1""" in text
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash" and lines[-2:] == ["module load cuda", f"exec '/the python' -m dojo {spec.id}"]


def known(run: str) -> RunInfo:
    return RunInfo.model_construct(id=run)


def test_the_queue_is_read_for_all_runs_at_once_whatever_the_users_habits(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    programs(
        "squeue",
        'test -z "$SQUEUE_STATES" || exit 1\n'
        "echo '9|dojo-r1|PENDING|N/A|(Dependency)'; echo '10|dojo-r1|RUNNING|2026-11-29T05:00:00|n7'\n"
        "echo '11|other|RUNNING|N/A|n7'\n"
        "echo '12|dojo-r2|PENDING|2026-11-29T06:00:00|(ReqNodeNotAvail, UnavailableNodes:n[1-3])'",
    )
    found = by_run(Jobs(SlurmSettings()).listed())
    assert (found["r1"].id, found["r1"].waits, sorted(found)) == ("10", False, ["r1", "r2"])
    assert found["r2"].reason == "ReqNodeNotAvail, UnavailableNodes:n[1-3]" and found["r2"].starts == "2026-11-29T06:00:00"


def test_a_waiting_job_says_why_and_when_it_is_expected_to_start(programs: Programs, stage: Stage) -> None:
    programs("squeue", "echo '12|dojo-r2|PENDING|2026-11-29T06:00:00|(Priority)'; echo '13|dojo-r3|CONFIGURING|N/A|n7'")
    executor = SlurmExecutor(Work(stage.runner))
    assert executor.why(known("r2")) == "the job 12 waits: Priority; Slurm expects it to start at 2026-11-29T06:00:00"
    assert executor.why(known("r3")) == "the job 13 is CONFIGURING" and executor.why(known("r4")) == ""


def test_missing_programs_are_an_error_with_a_remedy_and_status_goes_on(programs: Programs, stage: Stage) -> None:
    with pytest.raises(MissingError, match="no program sinfo") as caught:
        stage.executor.check(Limits())
    assert "login node" in caught.value.hint
    assert "Slurm does not say: there is no program squeue" in stage.executor.why(known("r1"))
    programs("squeue", "true")
    assert "no program squeue" in stage.executor.why(known("r2")), "what was found a moment ago is not asked for anew"


def test_what_programs_say_becomes_errors_by_kind(programs: Programs) -> None:
    for said, kind in {
        "Unable to contact slurm controller (connect failure)": Away,
        "Invalid job id specified": Unknown,
        "fatal: Could not establish a configuration source": MissingError,
        "Batch job submission failed: Invalid account or account/partition combination specified": StoreError,
    }.items():
        programs("sbatch", f"echo 'sbatch: error: {said}' >&2; exit 1")
        with pytest.raises(kind) as caught:
            call("sbatch")
        assert said.removeprefix("fatal: ") in caught.value.message and "error: " not in caught.value.message
    programs("sbatch", "echo 'sbatch: error: Job violates accounting/QOS policy (job submit limit, user size)' >&2; exit 1")
    with pytest.raises(StoreError) as refused:
        call("sbatch")
    assert refused.value.code == "refused" and "--parallel" in refused.value.hint


def test_an_index_in_a_file_is_refused_unless_this_host_is_the_only_node(programs: Programs, stage: Stage) -> None:
    batch, _ = stage.batch(1)
    programs("sinfo", "echo n1; echo n2")
    with pytest.raises(StoreError, match="PostgreSQL") as caught:
        stage.executor.start(batch)
    assert caught.value.code == "not_shared"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(cpus=65), "65 CPUs; the largest node has 64"),
        (Limits(gpus=5), "5 GPUs; the largest node has 4"),
        (Limits(memory_mb=500_000), "503072 MB of memory, dojo's own among them; the largest node has 500000"),
    ],
)
def test_limits_are_held_against_the_largest_node(programs: Programs, limits: Limits, words: str) -> None:
    programs("sinfo", "echo '64|250000+|(null)'; echo '8|500000|gpu:a100:3(S:0-1),gpu:v100:1,shard:9'")
    jobs = Jobs(SlurmSettings())
    jobs.check(Limits(cpus=64, gpus=4, memory_mb=400_000))
    with pytest.raises(MissingError) as caught:
        jobs.check(limits)
    assert words in caught.value.message


def test_a_type_of_gpu_that_is_asked_for_is_counted_alone(programs: Programs) -> None:
    programs("sinfo", "echo '8|500000|gpu:a100:3(S:0-1),gpu:v100:1'")
    Jobs(SlurmSettings(gpu="gpu:a100")).check(Limits(gpus=3))
    with pytest.raises(DojoError, match="the largest node has 1 gpu:v100"):
        Jobs(SlurmSettings(gpu="gpu:v100")).check(Limits(gpus=2))


def test_how_a_job_ended_is_asked_of_the_controller_then_of_the_accounting(programs: Programs) -> None:
    jobs = Jobs(SlurmSettings())
    programs("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert jobs.ended("12") is None, "there is no sacct"
    programs("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert jobs.ended("12") is None
    programs("sacct", "echo 'NODE_FAIL|0:0|3|60|n1'")
    assert (found := jobs.ended("12")) is not None and found.state == "NODE_FAIL"
    programs("scontrol", "echo 'JobId=12 JobState=PREEMPTED ExitCode=0:0'")
    assert (found := jobs.ended("12")) is not None and found.state == "PREEMPTED"
