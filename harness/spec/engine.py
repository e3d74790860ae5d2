"""What a grader generates answers with: which engine is asked for, and what a grade says of the one it had."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from harness.spec.base import Spec

EngineName = Literal["transformers", "vllm"]
EngineWish = Literal["auto", "transformers", "vllm"]
"""``auto``: vllm where the grader has a GPU and vLLM is there, else transformers."""

_Word = Annotated[str, StringConstraints(max_length=100)]


class EngineRecord(Spec):
    """How a grade's answers were computed. Grades written before there were two engines read as transformers."""

    name: EngineName = "transformers"
    device: _Word = Field("", description="cpu or cuda; empty where it was not recorded")
    dtype: _Word = Field("", description="float32 or bfloat16; empty where it was not recorded")
    adapter: Literal["", "merged", "served"] = Field(
        "", description="an adapter was multiplied into the base's weights, or computed beside them; empty: there was none"
    )
    why: Annotated[str, StringConstraints(max_length=300)] = Field(
        "", description="why vLLM did not serve an adapter that was merged"
    )
    versions: dict[_Word, _Word] = Field(default_factory=dict, description="of vllm, torch and transformers that computed")

    @property
    def words(self) -> str:
        """The record in one line: ``vllm on cpu, float32, adapter merged (…); torch 2.13.0, …``."""
        adapter = f"adapter {self.adapter}" if self.adapter else ""
        what = ", ".join(filter(None, (f"{self.name} on {self.device}" if self.device else self.name, self.dtype, adapter)))
        versions = ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))
        return what + (f" ({self.why})" if self.why else "") + (f"; {versions}" if versions else "")
