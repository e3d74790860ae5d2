"""Which extra of dojo brings which package, so that a missing one names itself."""

from __future__ import annotations

import importlib.util

from harness.spec.errors import MissingError

# The first extra that a package is in, by the name it is imported by.
_EXTRA_OF = {
    "docker": "docker",
    "requests": "docker",
    "kubernetes": "k8s",
    "cryptography": "k8s",
    "psycopg": "postgres",
    "psycopg2": "postgres",
    "matplotlib": "analysis",
    "vllm": "serve",
    "fastapi": "service",
    "prometheus_client": "service",
    "atif": "atif",
    "fsspec": "s3",
    "obstore": "s3",
    **dict.fromkeys(("torch", "transformers", "peft", "trl", "datasets", "accelerate", "optuna", "safetensors"), "ml"),
    **dict.fromkeys(("tokenizers", "huggingface_hub", "pandas", "gguf"), "ml"),
    **dict.fromkeys(("lm_eval", "math_verify", "rdkit", "rouge_score"), "ml"),
}


def missing(package: str) -> MissingError:
    """Return the error for a package that is not installed; it says which extra brings it."""
    name = package.partition(".")[0]
    wanted = f"dojo-bench[{extra}]" if (extra := _EXTRA_OF.get(name)) else name
    return MissingError(
        f"the package {name} is not installed",
        hint=f"pip install '{wanted}' (in a checkout: make setup)",
        code="missing_package",
    )


def require(*packages: str) -> None:
    """Check that packages are installed without importing them, so that nothing is begun that could not be ended.

    Raises:
        MissingError: names the first that is not, and its extra.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise missing(package)
