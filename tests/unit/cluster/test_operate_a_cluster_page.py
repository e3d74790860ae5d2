"""docs/operate-a-cluster.md names the overlays and settings that there are, and commands that parse."""

import re
import shlex

import pytest
import yaml

from harness.cli.main import main
from harness.cluster.choices import KNOWN
from harness.cluster.install import Plan, overlays, rendered
from harness.project import bundled
from harness.sandbox.kubernetes.queues import name_for

PAGE = (bundled("docs") / "operate-a-cluster.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^dojo (?:cluster|images|submit) [^\[\n]*$", PAGE, re.MULTILINE)


def test_it_names_every_overlay_and_no_other() -> None:
    assert set(re.findall(r"^\| `([a-z][a-z-]+)`(?: \(default\))? \| .* \|$", PAGE, re.MULTILINE)) == set(overlays())


def test_it_names_every_setting_and_no_other() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if re.match(r"\| `[a-z-]+=", line)]
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)=", row)} == set(KNOWN)


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_the_options_that_it_gives_them(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, *words = shlex.split(command)
    assert main([*words, "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_the_queues_of_two_users_are_called_as_they_are_asked_for_and_share_the_flavor_of_the_one_queue() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    made = list(yaml.safe_load_all(text))
    kinds = {kind: [body for body in made if body["kind"] == kind] for kind in ("ClusterQueue", "LocalQueue")}
    (ours,) = [body for body in rendered(Plan("gpu-cluster")) if body["kind"] == "ClusterQueue"]
    for cluster, local, owner in zip(*kinds.values(), ("ann", "bob"), strict=True):
        assert local["metadata"] == {"name": name_for("dojo-{owner}", owner), "namespace": "dojo-sandboxes"}
        assert local["spec"] == {"clusterQueue": cluster["metadata"]["name"]}
        spec, (group,), (our_group,) = cluster["spec"], cluster["spec"]["resourceGroups"], ours["spec"]["resourceGroups"]
        assert cluster["apiVersion"] == ours["apiVersion"] and spec["preemption"] == ours["spec"]["preemption"]
        assert spec["namespaceSelector"] == ours["spec"]["namespaceSelector"] and spec["cohortName"] == "dojo"
        assert group["coveredResources"] == our_group["coveredResources"]
        assert [flavor["name"] for flavor in group["flavors"]] == [flavor["name"] for flavor in our_group["flavors"]]
