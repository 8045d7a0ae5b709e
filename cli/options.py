"""Options made of the fields of a `Request`: type, default and help stand there, once, for recipes and Python too.

    @with_options("labels", *PREPROCESSING, seed="Of splitting the data.")
    def validate(original: ..., *, given: Settings) -> None: ...

typer sees one parameter an option; the command gets those that were given as `Settings`. Values are text here and are
read by `Settings.build`, as a recipe's are.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from seam_onnx.errors import UsageError
from seam_onnx.keys import Key, keys_of
from seam_onnx.request import Request
from seam_onnx.settings import Setting, Settings
from seam_onnx.values import core

__all__ = ["COMMON", "PREPROCESSING", "PRUNE", "Grouped", "flag", "report_path", "sizes", "with_options"]

PREPROCESSING: Final = ("preprocess", "size", "mean", "std", "scale", "layout", "channels")
COMMON: Final = ("require", "json", "overwrite", "quiet")
_FLAGS: Final = {"batches": "--batch", "sizes": "--shape", "snippet": "--export-snippet", "overwrite": "--force"}
"""Options that are called otherwise than their key."""
_REPEATED: Final = ("sizes", "require")
"""Options of which each use adds an entry."""
_HYPERPARAMETERS: Final = (
    "epochs", "rate", "schedule", "keep", "nm", "mask_rate", "head_rate", "alpha", "seed",
)  # fmt: skip
"""Of the numbers of a search those that are options; the others are set by --set or a recipe."""
PRUNE: Final = tuple(
    name
    for name, key in keys_of(Request).items()
    if name != "model" and (name in _HYPERPARAMETERS or key.places[0].path[0] not in ("recipe", "seam"))
)
"""Every option of prune that is a key of a recipe."""

Command = Callable[..., None]


class Grouped(TyperCommand):
    """A command whose help lists its options by the sections of a recipe."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            title = "Arguments" if one.param_type_name == "argument" else getattr(one, "rich_help_panel", None)
            if record := one.get_help_record(ctx):
                groups.setdefault(title or "Options", []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def with_options(*names: str, **helps: str) -> Callable[[Command], Command]:
    """Give a command the options of these keys; those that a user gave arrive as its keyword `given`.

    Args:
        names: of keys of `Request`, as in Python.
        helps: for names among them, help that says what is meant here.
    """
    keys = keys_of(Request)

    def wrap(command: Command) -> Command:
        def called(**values: Any) -> None:
            found = {name: values.pop(name) for name in (*names, *helps)}
            given = {n: Setting(v, flag(n)) for n, v in found.items() if v not in (None, False, [])}
            command(**values, given=Settings(given))

        own = inspect.signature(command).parameters
        hints = get_type_hints(command, include_extras=True)
        made = [p.replace(annotation=hints[name]) for name, p in own.items() if name != "given"]
        made += [_parameter(keys[name], helps.get(name)) for name in (*names, *helps)]
        called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in made]
        )
        called.__annotations__ = {p.name: p.annotation for p in made}
        called.__name__, called.__doc__, called.__module__ = command.__name__, command.__doc__, command.__module__
        return called

    return wrap


def _parameter(key: Key, words: str | None) -> inspect.Parameter:
    """The parameter that typer makes an option of."""
    hint = key.places[0].hint
    kind: Any = bool if hint is bool else list[str] | None if key.name in _REPEATED else str | None
    text = f"{words or key.text} [{key.defaults}]" if key.defaults else words or key.text
    option = typer.Option(
        *(("-o",) if key.name == "output" else ()), flag(key.name), help=text, metavar=_metavar(hint),
        rich_help_panel=key.section.capitalize(), show_default=False,
    )  # fmt: skip
    default = False if hint is bool else None
    return inspect.Parameter(
        key.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def flag(name: str) -> str:
    """The option of a key."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def _metavar(hint: Any) -> str | None:
    """What stands for a value in the help: `<path>`, `<channel|weight>`; nothing for a switch."""
    hint = core(hint)
    if hint is bool:
        return None
    if get_origin(hint) is Literal:
        return f"<{'|'.join(get_args(hint))}>"
    return {int: "<int>", float: "<float>", Path: "<path>"}.get(hint, "<text>")


def sizes(entries: Sequence[str]) -> dict[str, int]:
    """`name=size` entries."""
    found = {}
    for entry in entries:
        name, _, size = entry.rpartition("=")
        if not name or not re.fullmatch("[0-9]{1,9}", size) or int(size) < 1:
            raise UsageError(f"--shape {entry!r}", "is not name=size", "write for example --shape seq=128")
        found[name] = int(size)
    return found


def report_path(text: str | None, option: str, *, overwrite: bool, others: Sequence[Path | None]) -> None:
    """Refuse, before any work, a file for a report that cannot be written or is another file of the command."""
    from seam_onnx.atomic import check_report_path  # imported late: --help stays fast

    if text is not None and text != "-":
        check_report_path(
            Path(text), option, overwrite=overwrite, others=[other for other in others if other is not None]
        )
