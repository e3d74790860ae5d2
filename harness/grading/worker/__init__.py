"""What runs inside a grader's sandbox, beside hostile weights: the worker, its warm model, its lm-eval tasks."""
