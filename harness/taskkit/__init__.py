"""What a task's own code may import: ``building`` for ``prepare.py``, ``scoring`` for ``tests/grader.py``.

It rests on `harness.spec` and `harness.files` only.
"""
