import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ft_agent.data import Context, Dataset, Example, build
from ft_agent.effects import table
from ft_agent.figures import ReportFacts, facts_of, figures, hypotheses, made_share
from ft_agent.history import fold
from ft_agent.picture import score_plot
from ft_agent.plan import Diagnosis, Iteration, Operation, Score
from ft_agent.report import iteration_text, report_text, write_iteration, write_report
from ft_agent.thinking import Thought
from ft_cases import TASK, a_plan, a_score, an_iteration
from reading.rows import Row
from test_ft_data import BOXED

CAUGHT = an_iteration(2, None, "caught", caught=({"rung": "static", "problem": "rate is not finite", "seconds": 0.01},))
HISTORY = (
    replace(an_iteration(1, 0.2), decision="replaces the base model: difference +0.200"),
    CAUGHT,
    an_iteration(
        3, None, "failed", caught=({"rung": "train", "problem": "diverged: x", "seconds": 12.0},), plan=a_plan(seconds=12.0)
    ),
    replace(an_iteration(4, 0.6), dev=a_score(0.5, "dev"), decision="replaces iteration 1: difference +0.400"),
)
FACTS = ReportFacts(
    iterations=HISTORY,
    champion=4,
    base=a_score(0.1),
    at={1: 40.0, 2: 41.0, 3: 60.0, 4: 260.0},
    first_submission=0.2,
    seconds=270.0,
)
SVG = "{http://www.w3.org/2000/svg}"


def thinking_run() -> ReportFacts:
    """A run in which a language model planned three iterations: one confirmed, one refuted, one that changed two knobs."""

    def score(value: float) -> Score:
        return Score("own", value, {}, {}, {f"i{k}": value + 0.01 * (k % 5) for k in range(20)})

    start = an_iteration(1, 0.2, plan=a_plan())
    rate = a_plan(author="llm", knob="a higher | rate\nnow", evidence="", trainer={**a_plan().trainer, "learning_rate": 0.004})
    rank = a_plan(author="llm", knob="rank 64", evidence="2v1", lora={**a_plan().lora, "r": 64, "lora_alpha": 128})
    both = replace(rate, lora={**rate.lora, "lora_dropout": 0.1}, trainer={**rate.trainer, "weight_decay": 0.1}, evidence="9v8")
    iterations = tuple(
        replace(an_iteration(n, 0.2, plan=p), own=score(v), decision=d)
        for n, p, v, d in (
            (1, start.plan, 0.2, "replaces the base model: it led"),
            (2, rate, 0.5, "replaces iteration 1: it led"),
            (3, rank, 0.1, "iteration 2 stays: within"),
            (4, both, 0.5, "iteration 2 stays: within"),
        )
    )
    return ReportFacts(
        iterations=iterations,
        champion=2,
        base=score(0.05),
        at={n: 60.0 * n for n in range(1, 5)},
        first_submission=0.3,
        seconds=250.0,
        effects=table(iterations, score(0.05)),
        thoughts=(
            Thought("survey", "good", "", 4.0, 2000, 300, 0),
            Thought("propose", "repaired", "no such argument", 6.0, 3000, 500, 2),
            Thought("propose", "fell_back", "no JSON", 9.0, 3000, 0, 3),
        ),
        counterfactuals={2: a_plan(knob="natural mix", data=(Operation("rebalance", {"power": 1.0}),)), 3: rank},
        dollars=0.08,
    )


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
    numbers = figures(FACTS)
    assert numbers["iterations"] == 4
    assert numbers["effective"] == 2
    assert numbers["improving_share"] == 1.0
    assert numbers["caught_by_rung"] == {"static": 1, "train": 1}
    assert numbers["seconds_lost_to_what_no_rung_caught"] == 12.0
    assert numbers["seconds_to_first_submission"] == 0.2
    assert numbers["seconds_to_best"] == 260.0


def test_a_training_that_was_never_measured_is_time_that_no_rung_saved() -> None:
    lost = replace(an_iteration(1, plan=a_plan(seconds=33.0)), own=None)
    assert figures(ReportFacts(iterations=(lost,)))["seconds_lost_to_what_no_rung_caught"] == 33.0


def test_what_a_rung_caught_costs_once_however_much_it_found() -> None:
    def caught(number: int, *found: tuple[str, float]) -> Iteration:
        problems = tuple({"rung": r, "problem": "x", "seconds": s} for r, s in found)
        return an_iteration(number, None, "caught", caught=problems)

    facts = ReportFacts(iterations=(caught(1, ("data", 2.0), ("data", 2.0)), caught(2, ("data", 1.0)), caught(3, ("steps", 9.5))))
    assert figures(facts)["seconds_by_rung"] == {"data": 3.0, "steps": 9.5}
    assert figures(facts)["caught_by_rung"] == {"data": 3, "steps": 1}


def test_only_an_iteration_that_led_beyond_the_noise_improves() -> None:
    facts = replace(FACTS, iterations=(HISTORY[0], replace(HISTORY[3], decision="iteration 1 stays: within"))).effective
    assert len(facts) == 2
    assert figures(replace(FACTS, iterations=tuple(facts)))["improving_share"] == 0.5


def test_a_planners_hypotheses_are_counted_by_what_was_measured_not_by_what_it_says() -> None:
    llm = figures(thinking_run())["hypotheses"]["llm"]
    assert llm == {
        "planned": 3,
        "evidence": 1,  # 2v1 had been measured; 9v8 never was
        "trained": 3,
        "confirmed": 1,
        "refuted": 1,
        "open": 0,  # two knobs at once: nothing measured
        "confirmed_share": 0.5,
    }


def test_evidence_measured_only_later_was_a_guess() -> None:
    facts = thinking_run()
    early = replace(facts.iterations[1], plan=replace(facts.iterations[1].plan, evidence="3v1"))
    assert hypotheses((facts.iterations[0], early, *facts.iterations[2:]), facts.effects)["llm"]["evidence"] == 1


def test_thinking_is_counted_by_call_by_iteration_and_in_dollars_with_what_was_fallen_back_from() -> None:
    spent = figures(thinking_run())["thinking"]
    assert spent["tokens_by_iteration"] == {"0": 2300, "2": 3500, "3": 3000}
    assert spent["tokens_per_iteration"] == 2200.0
    assert (spent["dollars"], spent["dollars_per_iteration"]) == (0.08, 0.02)
    assert spent["fell_back"] == {"propose": 1}
    assert spent["calls"]["propose"]["repaired"] == 1
    assert figures(FACTS)["thinking"]["dollars"] is None


def test_the_rules_choice_stands_beside_each_of_a_planners() -> None:
    facts = thinking_run()
    assert figures(facts)["counterfactual"] == {"beside": 2, "same": 1}
    text = report_text(TASK, facts, figures(facts), "")
    assert "| 3 | rank 64 | iteration 2 stays: within | rank 64 | nothing: the same choice |" in text
    assert "| natural mix | trainer.learning_rate, data." in text


def test_made_rows_are_followed_through_the_recipe() -> None:
    rows = [Row(f"What is {n} + {n}?", str(2 * n), "", "s", "a", n) for n in range(20)]

    def make(rows: list[Row], args: dict[str, Any], _: Context) -> list[Row]:
        return rows + [Row(f"Say {n}.", str(n), "", "s", "made", n, made="synthesise") for n in range(args["rows"])]

    context = Context(BOXED, cap=25, makers={"synthesise": make})
    dataset = build(rows, (Operation("synthesise", {"rows": 10}),), context)
    assert [(d["operation"], d["rows_out"], d.get("made")) for d in dataset.log] == [
        ("synthesise", 30, {"synthesise": 10}),
        ("cap", 25, {"synthesise": 5}),
    ]
    assert made_share([an_iteration(1, data_log=dataset.log), an_iteration(2, None, "caught")]) == {"synthesise": 0.2}
    assert made_share([an_iteration(1)]) == {}


def test_facts_are_gathered_from_the_history_and_the_budget() -> None:
    records: list[dict[str, Any]] = [
        {"kind": "submitted", "number": 0, "at": 0.4},
        {"kind": "iteration", "iteration": HISTORY[0].to_json(), "champion": 1, "costs": {}, "at": 40.0},
        {"kind": "thought", "call": "survey", "outcome": "good", "input_tokens": 7},
        {"kind": "counterfactual", "number": 1, "plan": a_plan(knob="rules").to_json()},
    ]
    facts = facts_of(fold(records), 55.04, {"dollars": {"limit": 1.0, "used": 0.25, "left": 0.75}})
    assert (facts.champion, facts.at, facts.first_submission, facts.seconds) == (1, {1: 40.0}, 0.4, 55.0)
    assert facts.thoughts[0].input_tokens == 7
    assert facts.counterfactuals[1].knob == "rules"
    assert facts.dollars == 0.25
    assert facts_of(fold(records), 55.0, {"wall": {"limit": 1.0, "used": 0.5, "left": 0.5}}).dollars is None


def test_the_report_says_what_was_tried_what_helped_and_what_comes_next_with_a_picture(tmp_path: Path) -> None:
    write_report(tmp_path, TASK, FACTS, "Ended because the time was used up.")
    text = (tmp_path / "report.md").read_text()
    assert "Handed in: iteration 4, own split 0.600, dev 0.500; base model on the own split 0.100. Ended because the time" in text
    assert text.count("\n| ") >= 5
    assert "- starting point: replaces iteration 1: difference +0.400" in text
    assert "No slice stands out." in text
    assert json.loads((tmp_path / "figures.json").read_text())["effective"] == 2
    picture = ElementTree.parse(tmp_path / "scores.svg").getroot()
    assert len(picture.findall(f"{SVG}circle")) == 2
    assert len(picture.findall(f"{SVG}path[@class='dev']")) == 1
    assert len(picture.findall(f"{SVG}path[@class='lost']")) == 2


def test_the_report_tells_each_effect_with_its_error_and_what_the_hypotheses_were_worth() -> None:
    facts = thinking_run()
    text = report_text(TASK, facts, figures(facts), "")
    assert "| 2v1 | trainer.learning_rate | 0.001 → 0.004 | +0.300 ± 0.000 | 20 | helps | – |" in text
    assert "| llm | 3 | 1 | 3 | 1 | 1 | 0 | 0.5 |" in text
    assert "8800 tokens, 2200.0 an iteration, 0.0800 dollars (0.0200)." in text
    assert "| propose | 2 | 1 | 1 | 6000 | 500 | 15.0 |" in text


def test_what_the_champion_owes_its_score_to_is_told_from_its_ablations() -> None:
    facts = thinking_run()
    again = replace(facts.iterations[1], number=5, plan=replace(facts.iterations[1].plan, author="ablation"))
    without = replace(facts.iterations[0], number=6, plan=replace(facts.iterations[0].plan, author="ablation"))
    history = (*facts.iterations, again, without)
    facts = replace(facts, iterations=history, effects=table(history, facts.base))
    text = report_text(TASK, facts, figures(facts), "")
    assert "| trainer.learning_rate | 0.004 → 0.001 | -0.300 ± 0.000 | needed |" in text
    assert "owes its score" not in report_text(TASK, thinking_run(), figures(thinking_run()), "")


def test_a_planners_words_do_not_break_out_of_their_cell() -> None:
    facts = thinking_run()
    text = report_text(TASK, facts, figures(facts), "")
    assert "| 2 | probe | llm | a higher ¦ rate now | trained |" in text
    hostile = replace(HISTORY[0], plan=a_plan(knob='<script>alert("x")</script>' + "y" * 999))
    text = report_text(TASK, replace(FACTS, iterations=(hostile,)), figures(FACTS), "")
    assert "<script>" not in text
    assert "y" * 200 not in text
    ElementTree.fromstring(score_plot(replace(FACTS, iterations=(hostile,))))


def test_what_comes_next_names_the_effect_that_is_most_worth_a_second_look() -> None:
    facts = thinking_run()
    open_ = replace(facts.effects[1], confirmed=None, effect=0.03, error=0.02)
    falling = replace(facts.iterations[3], diagnosis=Diagnosis((), {"still_falling": True, "weak_slices": {"sums": 0.1}}))
    facts = replace(facts, effects=(open_,), iterations=(*facts.iterations[:3], falling))
    text = report_text(TASK, facts, figures(facts), "")
    assert (
        "the loss was still falling. More rows for 'sums'. A repeat of iteration 2: trainer.learning_rate +0.030 ± 0.020" in text
    )


def test_a_run_that_trained_nothing_still_reports(tmp_path: Path) -> None:
    write_report(tmp_path, TASK, ReportFacts(first_submission=0.1, seconds=5.0), "Time.")
    assert "Handed in: the base model" in (tmp_path / "report.md").read_text()
    ElementTree.parse(tmp_path / "scores.svg")


def test_the_picture_names_its_axes_its_phases_and_its_signs_and_follows_the_champion() -> None:
    phases = [
        replace(i, plan=replace(i.plan, phase=p)) for i, p in zip(HISTORY, ("probe", "probe", "exploit", "exploit"), strict=True)
    ]
    root = ElementTree.fromstring(score_plot(replace(FACTS, iterations=tuple(phases))))
    texts = [t.text for t in root.iter(f"{SVG}text")]
    for word in ("score", "seconds of the budget used", "probe", "exploit", "own split", "dev split", "champion (own split)"):
        assert word in texts
    assert len(root.findall(f"{SVG}rect[@class='phase']")) == 2
    line = root.find(f"{SVG}path[@class='champion']")
    assert line is not None
    assert line.attrib["d"].count("V") == 2  # two changes of the champion
    assert root.find(f"{SVG}path[@class='base']") is not None


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0.0, "seconds"), (1.0, "seconds"), (599.0, "seconds"), (3600.0, "minutes"), (43200.0, "hours")]
)
@pytest.mark.parametrize("value", [0.0, 0.013, 0.3, 1.0])
def test_the_axes_fit_any_run(seconds: float, unit: str, value: float) -> None:
    history = tuple(replace(an_iteration(n, 0.0), own=replace(a_score(0.0), value=value)) for n in range(1, 41))
    facts = ReportFacts(iterations=history, at={n: seconds * n / 40 for n in range(1, 41)}, seconds=seconds)
    root = ElementTree.fromstring(score_plot(facts))
    assert f"{unit} of the budget used" in [t.text for t in root.iter(f"{SVG}text")]
    for circle in root.findall(f"{SVG}circle"):
        assert 64 <= float(circle.attrib["cx"]) <= 836
        assert 34 <= float(circle.attrib["cy"]) <= 348


def test_a_training_that_said_how_fast_it_was_is_told_of_and_one_that_did_not_leaves_no_section() -> None:
    said = "2000 tokens/s, 59.6 TFLOP/s, 6.0% of the peak of NVIDIA H200 in bfloat16"
    fast = replace(HISTORY[0], speed=said)
    assert Iteration.from_json(json.loads(json.dumps(fast.to_json()))) == fast
    assert said in iteration_text(fast)
    told = replace(FACTS, iterations=(fast, *HISTORY[1:]))
    section = f"## How fast it trained\n\n| n | training |\n|---|---|\n| 1 | {said} |"
    assert section in report_text(TASK, told, figures(told), "")
    assert "How fast it trained" not in report_text(TASK, FACTS, figures(FACTS), "")
