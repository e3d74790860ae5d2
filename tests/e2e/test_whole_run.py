"""A run from submit to leaderboard, and every way an agent can end it."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness.store.kept import KeptFiles
from tests.e2e.conftest import HAND_IN_BASE, SANDBOX, Commands
from tests.unit.grading.test_side_measure import GENERATED

pytestmark = pytest.mark.e2e

LOOK_AROUND = (
    HAND_IN_BASE
    + """
task = api.task()
assert task["id"] == "test/parity" and task["examples"] and task["seed"] == 0, task
assert api.budget()["wall"]["left"] > 0
assert [json.loads(l) for l in open("/data/sources/numbers.jsonl")]
assert api.exec("echo $HOME")["stdout"].strip() == "/workspace"
api.write_file("/workspace/note.txt", b"hello")
assert api.read_file("/workspace/note.txt") == b"hello"
assert subprocess.run(["dojo-tool", "budget"], capture_output=True, check=True).stdout
feedback = api.evaluate("/workspace/out", note="base")
assert feedback["evaluation"] == 1 and len(feedback["item_scores"]) == 12, feedback
answer = api.submit("/workspace/out")
open("report.md", "w").write("# what I did")
print("agent says hello")
"""
)


def test_a_run_goes_from_submit_to_leaderboard_and_leaves_its_whole_story(dojo: Commands):
    answer = dojo(*dojo.submit(dojo.agent("looker", LOOK_AROUND)))
    assert answer.code == 0, (answer, (dojo.run_folder() / "agent.stderr").read_text())
    run = answer.data["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "completed" and run["score"] is not None
    folder = dojo.run_folder()
    assert (folder / "agent.stdout").read_text() == "agent says hello\n"
    assert KeptFiles(folder / "workspace.zip").read("report.md") == b"# what I did"
    assert not (folder / "workspace").exists(), "a folder of an agent's files acts on who looks"
    assert dojo("files", run["id"], "report.md").data["text"] == "# what I did"
    assert json.loads((folder / "sealed/dojo.json").read_text()) == {"dojo": "base"}
    result = dojo("show", run["id"]).data
    assert result["submissions"] == 1 and result["evaluations"] == 1 and result["integrity"]["survivors"] == 0
    assert [phase["state"] for phase in result["timeline"]] == ["preparing", "running", "collecting", "sealed", "grading"]
    board = dojo("leaderboard").data
    assert [row["agent"] for row in board["rows"]] == ["looker"]
    names = json.dumps(board["references"])
    assert "base" in names and "majority" in names
    assert "hidden.jsonl" not in json.dumps([e["data"] for e in dojo.events()])
    evaluations = lm_eval_folder(dojo.home.parent / "evaluations")
    again = dojo("grade", run["id"], "--again", "--side", "style", "--side", str(evaluations)).data
    shown = dojo("show", run["id"]).data
    assert shown["grades"] == 2 and json.dumps(result["grade"]["scores"]) == json.dumps(shown["grade"]["scores"]), again
    side_evaluations_stand_beside_the_grade(dojo, again, shown)
    assert dojo("gc", "--dry-run").code == 0


def lm_eval_folder(folder: Path) -> Path:
    """Write a folder of one lm-eval task that only its owner may read."""
    folder.mkdir(mode=0o700)
    (folder / "seasons.yaml").write_text(GENERATED)
    (folder / "seasons.jsonl").write_text('{"question": "What is colder than autumn?", "answer": "winter"}\n')
    return folder


def side_evaluations_stand_beside_the_grade(dojo: Commands, graded: dict[str, Any], shown: dict[str, Any]) -> None:
    rows = {(row["evaluation"], row["subset"], row["metric"]): row for row in graded["side_figures"]}
    assert {key: row["items"] for key, row in rows.items()} == {
        ("style", "open", "words"): 12,
        ("style", "open", "unasked_form"): 12,
        ("style", "open", "cut_off"): 12,
        ("style", "form", "format_rate"): 16,
        ("evaluations", "seasons", "exact_match"): 1,
    }
    for row in rows.values():  # what was handed in is the base model itself
        assert row["base"] == row["submission"] and row["verdict"] == "not_distinguishable"
    assert [one["name"] for one in shown["grade"]["side"]] == ["style", "evaluations"]
    answers = dojo.run_folder() / "private" / "side-2.jsonl"
    assert len(answers.read_text().splitlines()) == 28 and answers.stat().st_mode & 0o777 == 0o600
    assert not list((dojo.cache / "side").glob(".exam-*"))


def test_an_agent_in_its_own_sandbox_works_through_the_api_alone(dojo: Commands):
    script = """
assert not os.path.exists("/models/base") and not os.path.exists("/data")
api.exec(["mkdir", "-p", "/workspace/out"])
api.write_file("/workspace/out/dojo.json", b'{"dojo": "base"}')
assert api.exec("ls /models/base/config.json /data/card.md")["exit_code"] == 0
assert api.exec("ls /agent")["exit_code"] != 0
assert api.submit("/workspace/out")["submission"] == 1
"""
    answer = dojo(*dojo.submit(dojo.agent("remote", script, placement="own")))
    assert answer.data["runs"][0]["outcome"]["cause"] == "completed", (dojo.run_folder() / "agent.stderr").read_text()
    result = dojo("show", answer.data["runs"][0]["id"]).data
    task, own, whole = result["sandboxes"]["task"], result["sandboxes"]["agent"], result["spec"]["limits"]
    for name in ("cpus", "memory_mb", "disk_mb", "pids"):
        assert task[name] + own[name] == whole[name]


def with_words(dojo: Commands, name: str, script: str, words: str) -> Path:
    """Write an agent with a table ``[env]``, and a module that Python would load by it."""
    folder = dojo.agent(name, script)
    (folder / "agent.toml").write_text((folder / "agent.toml").read_text() + f"\n[env]\n{words}\n")
    (folder / "early").mkdir()
    (folder / "early/sitecustomize.py").write_text("import time\nopen('/workspace/early', 'a').write(f'{time.time()}\\n')\n")
    return folder


def test_variables_of_an_agent_reach_its_own_process_and_nothing_before_its_clock(dojo: Commands):
    script = (
        HAND_IN_BASE
        + """
assert os.environ["SAID"] == "so" and os.environ["DOJO_AGENT_PARAMS"] == "{}"
assert api.exec('echo "<$SAID>"')["stdout"] == "<>\\n"
assert api.exec('echo "<$SAID>"', env={"SAID": "now"})["stdout"] == "<now>\\n"
api.submit("/workspace/out")
"""
    )
    words = 'SAID = "so"\nPYTHONPATH = "/agent/early:/opt/dojo/lib"'
    answer = dojo(*dojo.submit(with_words(dojo, "worded", script, words)))
    assert answer.data["runs"][0]["outcome"]["cause"] == "completed", (dojo.run_folder() / "agent.stderr").read_text()
    started = next(event["time"] for event in dojo.events() if event["kind"] == "clock_started")
    first = float(KeptFiles(dojo.run_folder() / "workspace.zip").read("early").splitlines()[0])
    assert first >= datetime.fromisoformat(started).timestamp()


def test_an_agent_whose_variables_keep_it_from_starting_has_failed_by_itself(dojo: Commands):
    answer = dojo(*dojo.submit(with_words(dojo, "lost", "", 'PYTHONHOME = "/nowhere"')))
    run = answer.data["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "agent_error" and run["outcome"]["exit_code"] == 1


def test_an_agent_whose_path_leads_nowhere_is_refused_where_its_sandbox_can_be_seen_into(dojo: Commands):
    answer = dojo(*dojo.submit(with_words(dojo, "lost", "", 'PATH = "/nowhere"')))
    if SANDBOX == "namespace":
        assert answer.code == 2 and "there is no program" in answer.error["message"]
    else:
        run = answer.data["runs"][0]
        assert run["state"] == "done" and run["outcome"]["cause"] == "agent_error" and run["outcome"]["exit_code"] == 127


def test_at_the_end_of_its_cpu_budget_an_agent_is_dead_and_what_it_was_handing_in_is_as_it_was_then(dojo: Commands):
    script = (
        HAND_IN_BASE
        + """
import threading
for number in range(1500):
    open(f"/workspace/out/n{number}", "w").close()
if os.fork() == 0:
    os.setsid()
    while True:
        open("/workspace/alive", "w").write(str(time.time())); time.sleep(0.02)
while api.budget()["cpu"]["left"] > 0.3:
    sum(range(100_000))
threading.Thread(target=lambda: [sum(range(100_000)) for _ in range(1_000_000)], daemon=True).start()
api.submit("/workspace/out")
"""
    )
    answer = dojo(*dojo.submit(dojo.agent("late", script), "--budget", "wall=120s,cpu=8s"))
    run = answer.data["runs"][0]
    assert run["outcome"]["cause"] == "agent_budget" and run["state"] == "done"
    result = dojo("show", run["id"]).data
    assert result["usage"]["cpu"] < 10 and result["integrity"]["overshoot_s"] < 5
    stopped = next(event for event in dojo.events() if event["kind"] == "budget_exhausted")
    assert (
        float(KeptFiles(dojo.run_folder() / "workspace.zip").read("alive") or 0)
        < datetime.fromisoformat(stopped["time"]).timestamp() + 2
    )


def test_at_the_deadline_everything_of_the_agent_is_dead_and_the_last_valid_submission_counts(dojo: Commands):
    script = (
        HAND_IN_BASE
        + """
api.submit("/workspace/out")
code = "import os,signal,time\\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\\nos.setsid()\\n" \\
       "while True:\\n  open('/workspace/alive','w').write(str(time.time())); time.sleep(0.05)"
for _ in range(2):
    if os.fork() == 0:
        if os.fork() == 0:
            os.execvp("python", ["python", "-c", code])
        os._exit(0)
while True:
    time.sleep(1)
"""
    )
    answer = dojo(*dojo.submit(dojo.agent("stubborn", script), "--budget", "wall=8s"))
    run = answer.data["runs"][0]
    assert run["outcome"]["cause"] == "agent_budget" and run["state"] == "done" and run["score"] is not None
    result = dojo("show", run["id"]).data
    assert result["integrity"]["survivors"] == 0 and 8 <= result["usage"]["wall"] < 14
    shares = [e["data"]["share"] for e in dojo.events() if e["kind"] == "budget_warning" and e["data"]["dimension"] == "wall"]
    assert shares == [0.5, 0.8, 0.95]


def test_an_agent_that_hands_nothing_in_scores_nothing_and_that_is_a_measurement(dojo: Commands):
    answer = dojo(*dojo.submit(dojo.agent("lazy", "sys.exit(3)")))
    run = answer.data["runs"][0]
    assert answer.code == 0 and run["state"] == "done"
    assert run["outcome"]["cause"] == "agent_error" and run["outcome"]["exit_code"] == 3 and run["score"] == 0


WRONG = (
    HAND_IN_BASE
    + """
import numpy, torch
from safetensors.torch import load_file, save_file
said = {}

def refused(name):
    try:
        api.submit("/workspace/" + name)
        said[name] = "taken"
    except dojo_tool.ApiError as exc:
        said[name] = exc.code
        assert exc.hint, exc

os.makedirs("pickled"); torch.save({"a": 1}, "pickled/pytorch_model.bin")
os.makedirs("linked"); os.symlink("/etc/passwd", "linked/config.json")
weights = load_file("/models/base/model.safetensors")
config = json.load(open("/models/base/config.json"))

def full(name, weights, config):
    os.makedirs(name)
    save_file(weights, name + "/model.safetensors", metadata={"format": "pt"})
    json.dump(config, open(name + "/config.json", "w"))

bad = dict(weights); first = sorted(bad)[0]; bad[first] = bad[first].clone(); bad[first].view(-1)[0] = float("nan")
full("nan", bad, config)
full("architecture", weights, {**config, "num_hidden_layers": 3})
torch.manual_seed(1)
full("stranger", {k: torch.randn_like(v) * v.std() for k, v in weights.items()}, config)
full("copy", weights, config)
os.makedirs("empty")
for name in ("pickled", "linked", "nan", "architecture", "stranger", "empty", "absent", "copy"):
    refused(name)
api.note("said", said)
"""
)


def test_every_wrong_submission_is_refused_with_its_type_and_the_agent_can_go_on(dojo: Commands):
    answer = dojo(*dojo.submit(dojo.agent("wrong", WRONG)))
    stderr = (dojo.run_folder() / "agent.stderr").read_text()
    assert answer.data["runs"][0]["outcome"]["cause"] == "completed", stderr
    said = next(e["data"]["data"] for e in dojo.events() if e["kind"] == "note")
    assert said["linked"] == "link" and said["empty"] == "empty" and said["absent"] == "no_such_file"
    assert said["copy"] == "taken"
    wrong = {said[name] for name in ("pickled", "nan", "architecture", "stranger")}
    assert "taken" not in wrong and len(wrong) == 4, said


def test_an_agent_out_of_memory_in_its_own_limit_is_the_agents_doing(dojo: Commands):
    answer = dojo(*dojo.submit(dojo.agent("hungry", "x = bytearray(6000 * 1024 * 1024)\nx[::4096] = b'1' * len(x[::4096])")))
    run = answer.data["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "agent_error"
    if SANDBOX == "namespace":
        assert "memory" in run["outcome"]["message"] or run["outcome"]["exit_code"] == 1


def test_a_full_disk_in_the_sandbox_is_an_error_the_agent_sees_and_survives(dojo: Commands):
    script = (
        HAND_IN_BASE
        + """
try:
    with open("big", "wb") as out:
        for _ in range(2000):
            out.write(b"x" * 1024 * 1024)
    sys.exit("no limit")
except OSError as exc:
    assert exc.errno == 28, exc
os.unlink("big")
api.submit("/workspace/out")
"""
    )
    answer = dojo(*dojo.submit(dojo.agent("filler", script)))
    stderr = (dojo.run_folder() / "agent.stderr").read_text()
    assert answer.data["runs"][0]["outcome"]["cause"] == "completed", stderr


def test_a_quick_look_scores_the_first_items_keeps_its_answers_and_is_never_ranked(dojo: Commands):
    script = HAND_IN_BASE + 'assert api.evaluate("out")["primary"]["n"] == 2\napi.submit("out")\n'
    run = dojo(*dojo.submit(dojo.agent("quick", script), "--limit", "2")).data["runs"][0]
    assert run["state"] == "done" and run["limit"] == 2
    assert dojo("show", run["id"]).data["grade"]["scores"]["items"] == 2
    answers = dojo.run_folder() / "private" / "items-1.jsonl"
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(lines) == 2 and set(lines[0]) >= {"id", "prompt", "gold", "response", "score", "parsed"}
    assert answers.stat().st_mode & 0o777 == 0o600 and answers.parent.stat().st_mode & 0o777 == 0o700
    assert len(dojo("items", run["id"]).data["items"]) == 2
    looked = dojo("grade", run["id"], "--limit", "1").data
    assert looked["scores"]["items"] == 1 and looked["limit"] == 1 and looked["kept"] is False
    assert dojo("show", run["id"]).data["grades"] == 1 and not (answers.parent / "items-2.jsonl").exists()
    board = dojo("leaderboard").data
    assert board["rows"] == [] and "quick look" in board["left_out"][0]["reason"]


def test_an_agent_whose_harness_is_killed_is_ended_by_its_sandbox_at_its_deadline(dojo: Commands):
    script = HAND_IN_BASE + (
        'api.submit("out")\n'
        "if os.fork() == 0:\n    os.setsid()\n"
        "    while True:\n        open('alive', 'w').write(str(time.time()))\n        time.sleep(0.05)\n"
        "api.note('ready')\ntime.sleep(600)\n"
    )
    process = dojo.start(*dojo.submit(dojo.agent("orphan", script), "--budget", "wall=8s"))
    dojo.wait_for(lambda events: any(event["kind"] == "note" for event in events))
    dojo.kill(process)
    started = next(event["time"] for event in dojo.events() if event["kind"] == "clock_started")
    over = datetime.fromisoformat(started).timestamp() + 8
    while time.time() < over + 2:
        time.sleep(0.1)  # its budget has to pass for real: nobody is there to be asked
    answer = dojo("resume")
    run = answer.data["runs"][0]
    assert run["state"] == "done" and run["outcome"]["cause"] == "agent_budget", (run, answer.stderr)
    assert float(KeptFiles(dojo.run_folder() / "workspace.zip").read("alive")) - over < 2
