"""The base of every model users meet: frozen, and strict about unknown fields."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A frozen value; an unknown field is an error, not noise."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")
