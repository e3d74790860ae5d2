"""The hidden grader: lm-eval worker, submission check, metrics, references, verdict."""
