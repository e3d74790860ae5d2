import pytest
from ft_agent.methods.reward import READABLE, reward, same
from reading.rows import AnswerForm

BOXED, JSON, MARKED, PLAIN = (
    AnswerForm("boxed"),
    AnswerForm("json", "output"),
    AnswerForm("marker", lead="Answer:"),
    AnswerForm("plain"),
)


@pytest.mark.parametrize(
    ("said", "gold", "form", "worth"),
    [
        ("so it is \\boxed{12}", "12", BOXED, 1.0),
        ("\\boxed{12.0}", "12", BOXED, 1.0),
        ("\\boxed{11}, no: \\boxed{12}", "12", BOXED, 1.0),
        ("\\boxed{13}", "12", BOXED, READABLE),
        ("12", "12", BOXED, 0.0),
        ("\\boxed{}", "12", BOXED, 0.0),
        ('```json\n{"output": "Yes"}\n```', "Yes", JSON, 1.0),
        ('{"output": true}', "Yes", JSON, 1.0),
        ('{"output": "no"}', "Yes", JSON, READABLE),
        ('{"output": [1, 2]}', "[1,2]", JSON, 1.0),
        ('{"result": "Yes"}', "Yes", JSON, 0.0),
        ("yes", "Yes", JSON, 0.0),
        ("thinking\nAnswer: CCO", "CCO", MARKED, 1.0),
        ("Answer: cco", "CCO", MARKED, READABLE),
        ("CCO", "CCO", MARKED, 0.0),
        ("1,024", "1024", PLAIN, 1.0),
        ("", "7", PLAIN, 0.0),
    ],
)
def test_an_answer_is_worth_what_the_task_would_read_in_it(said: str, gold: str, form: AnswerForm, worth: float) -> None:
    assert reward(said, gold, form) == worth


def test_values_are_compared_as_what_they_are() -> None:
    assert same("0.50", "0.5") and same("Yes", "yes") and same('{"a": 1}', '{"a":1}')
    assert not same("0.51", "0.5") and not same("c1ccccc1", "C1CCCCC1") and not same("[1", "[2")
