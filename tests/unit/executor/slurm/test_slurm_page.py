"""docs/operate-on-slurm.md says what is so: every setting with its default, every state of a job that ends one."""

import re

from harness.executor.slurm.ends import Ended, end_of
from harness.executor.slurm.settings import PREFIX, SlurmSettings
from harness.project import bundled

_PAGE = (bundled("docs") / "operate-on-slurm.md").read_text(encoding="utf-8")


def test_every_setting_stands_there_with_its_default_and_no_other_does() -> None:
    rows = [line for line in _PAGE.splitlines() if line.startswith(f"| `{PREFIX}")]
    named = {name: row for row in rows for name in re.findall(rf"`{PREFIX}([A-Z_]+)`", row.split("|")[1])}
    assert set(named) == {name.upper() for name in SlurmSettings.model_fields}
    for name, field in SlurmSettings.model_fields.items():
        if field.default:
            assert (
                f"`{field.default:g}`" in named[name.upper()]
                if isinstance(field.default, float)
                else (f"`{field.default}`" in named[name.upper()])
            ), name


def test_every_state_that_stands_there_is_known_and_does_what_is_said() -> None:
    table = _PAGE.partition("| Slurm says | the run |")[2].partition("\n\n")[0]
    again = {state: "another job" in row or "begins again" in row for row in table.splitlines() for state in _states(row)}
    assert len(again) == 7
    for state, said in again.items():
        if state != "FAILED":
            assert Ended("1", state).over and (end_of(Ended("1", state), "", "/log").error is None) == said, state


def _states(row: str) -> list[str]:
    return re.findall(r"`([A-Z_]{5,})`", row.split("|")[1]) if "|" in row else []
