"""Tables in a page that says more than they do: what stands between two marks is replaced, the text around it stays."""

from pathlib import Path

__all__ = ["BEGIN", "END", "put"]

BEGIN, END = "<!-- tables, made by a command -->", "<!-- end of tables -->"


def put(page: Path, lines: list[str]) -> None:
    """Put lines between the marks of a page; a page that does not exist, or has no marks, ends with them."""
    text = page.read_text() if page.exists() else ""
    before, begun, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if begun else "\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]))
