"""What is known of models' prices."""

import datetime

import pytest

from harness.gateway.prices import known_model, known_models, price_of


def test_every_known_model_has_a_price_a_provider_and_the_day_it_was_read():
    models = known_models()
    assert len(models) >= 10
    for name, known in models.items():
        assert known.provider in ("openai", "anthropic", "google"), name
        assert 0 < known.prices.input < known.prices.output, name
        assert known.as_of <= datetime.date.today(), name


def test_a_dated_name_is_its_models(name="gpt-6.2-sol"):
    assert known_model(f"{name}-2026-11-01") == known_model(name) is not None


@pytest.mark.parametrize("name", ["", "my-own-model", "gpt-6.2", "claude"])
def test_nobody_guesses_the_price_of_an_unknown_model(name):
    assert price_of(name) is None
