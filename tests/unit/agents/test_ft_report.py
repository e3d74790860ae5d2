import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from ft_agent.data import Dataset, Example
from ft_agent.report import figures, iteration_text, write_iteration, write_report
from ft_cases import TASK, a_plan, a_score, an_iteration

CAUGHT = an_iteration(2, None, "caught", caught=({"rung": "static", "problem": "rate is not finite", "seconds": 0.01},))
HISTORY = [
    replace(an_iteration(1, 0.2), decision="replaces the base model: difference +0.200"),
    CAUGHT,
    an_iteration(
        3, None, "failed", caught=({"rung": "train", "problem": "diverged: x", "seconds": 12.0},), plan=a_plan(seconds=12.0)
    ),
    replace(an_iteration(4, 0.6), dev=a_score(0.5, "dev"), decision="replaces iteration 1: difference +0.400"),
]
EVENTS = {
    "first_submission": 0.2,
    "iteration 1": 40.0,
    "iteration 2": 41.0,
    "iteration 3": 60.0,
    "iteration 4": 260.0,
    "end": 270.0,
}


def test_an_iterations_folder_holds_hypothesis_recipe_configuration_curve_metrics_diagnosis_and_decision(tmp_path: Path) -> None:
    data = Dataset((Example("a:1", "Say 1.", "\\boxed{1}", "s"),), ())
    write_iteration(tmp_path / "004", HISTORY[3], data, {"evaluation": 1})
    text = (tmp_path / "004" / "README.md").read_text()
    for part in ("it learns", "| clean |", '"learning_rate": 0.001', "Nothing.", "16 steps, 128 examples", "| rounding | 0.400 |",
                 "Dev split (metered)", "loss 2.0 → 0.1", "replaces iteration 1"):  # fmt: skip
        assert part in text
    assert (tmp_path / "004" / "loss.csv").read_text().splitlines()[:2] == ["step,loss", "0,2"]
    assert json.loads((tmp_path / "004" / "train.jsonl").read_text())["answer"] == "\\boxed{1}"
    assert json.loads((tmp_path / "004" / "iteration.json").read_text())["number"] == 4
    assert json.loads((tmp_path / "004" / "dev.json").read_text()) == {"evaluation": 1}


def test_what_validation_caught_is_told() -> None:
    assert "- static after 0.0 s: rate is not finite" in iteration_text(CAUGHT)


def test_the_figures_count_only_iterations_that_were_trained_and_measured_as_effective() -> None:
    numbers = figures(HISTORY, EVENTS)
    assert numbers["iterations"] == 4
    assert numbers["effective"] == 2
    assert numbers["improving_share"] == 1.0
    assert numbers["caught_by_rung"] == {"static": 1, "train": 1}
    assert numbers["seconds_lost_to_what_no_rung_caught"] == 12.0
    assert numbers["seconds_to_first_submission"] == 0.2
    assert numbers["seconds_to_best"] == 260.0


def test_the_report_says_what_was_tried_what_helped_and_what_comes_next_with_a_picture(tmp_path: Path) -> None:
    write_report(tmp_path, TASK, HISTORY, 4, a_score(0.1), EVENTS, "More rows of sums.")
    text = (tmp_path / "report.md").read_text()
    assert "Handed in: iteration 4, own split 0.600, dev 0.500; base model on the own split 0.100." in text
    assert text.count("\n| ") >= 5
    assert "- starting point: replaces iteration 1: difference +0.400" in text
    assert "More rows of sums." in text
    picture = ElementTree.parse(tmp_path / "scores.svg").getroot()
    assert len(picture.findall("{http://www.w3.org/2000/svg}circle")) == 3


def test_a_run_that_trained_nothing_still_reports(tmp_path: Path) -> None:
    write_report(tmp_path, TASK, [], 0, None, {"first_submission": 0.1, "end": 5.0}, "Time.")
    assert "Handed in: the base model" in (tmp_path / "report.md").read_text()
