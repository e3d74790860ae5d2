"""For ``tests/grader.py``: the contract, answers found in text, code shut in; the only part of taskkit beside hostile weights."""
