"""What the doctor finds."""

from dataclasses import dataclass

OK, MISSING, BROKEN = "ok", "missing", "BROKEN"


@dataclass(frozen=True)
class Finding:
    """`state`: ok, missing (something works only with it) or BROKEN (nothing goes without it)."""

    what: str
    state: str
    text: str

    def __str__(self) -> str:
        return f"  {self.state:8} {self.what:22} {self.text}".rstrip()
