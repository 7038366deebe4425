"""Defaults of the user's own: the table `[tool.mfubench]` of the nearest pyproject.toml.

    [tool.mfubench]
    preset = "gpt2"
    devices = ["cuda"]

    [tool.mfubench.advise]
    budget = "10m"

Keys are options without their dashes. What stands in `[tool.mfubench]` holds for every command that
has the option; what stands in a command's own table for that command. `[tool.mfubench.gate]` has
the gate's limits, which the gate reads itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from mfubench.arguments import UserError, output_path, user_path
from mfubench.words import did_you_mean

NOT_DEFAULTS = ("gate",)
"""Tables that are no options."""
LARGEST_BYTES = 2**20
PATHS = (Path, user_path, output_path)
"""Parsers of paths, which start at the folder of the file."""


class Declared(Protocol):
    """An option as `mfubench.options` declares it."""

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The table, and the file that it is from; without a file there is nothing in it."""

    path: Path | None = None
    table: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def near(cls, folder: Path) -> Self:
        """The table of the first pyproject.toml that has one, from a folder upwards.

        Raises UserError for a file that is no TOML, or whose table is none.
        """
        for place in (folder, *folder.parents):
            path = place / "pyproject.toml"
            try:
                if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
                    continue
            except OSError:
                continue
            import tomllib  # most folders have no such file

            try:
                tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
            except (OSError, UnicodeDecodeError):
                continue  # not ours to judge: other tools say so
            except tomllib.TOMLDecodeError as error:
                raise UserError(f"{path} is not valid TOML: {error}") from None
            if isinstance(tool, dict) and "mfubench" in tool:
                if not isinstance(tool["mfubench"], dict):
                    raise UserError(f"{path}: tool.mfubench must be a table of options")
                return cls(path=path, table=tool["mfubench"])
        return cls()

    def check(self, parsers: Mapping[str, argparse.ArgumentParser]) -> None:
        """Raise UserError for a key that no command has."""
        options = {n for parser in parsers.values() for n in _actions(parser)}
        for key, value in self.table.items():
            is_table = isinstance(value, dict)
            known = {*parsers, *NOT_DEFAULTS} if is_table else options
            if key not in known:
                hint = did_you_mean(key, known) or "; `mfubench COMMAND --help` lists the options"
                what = "no command" if is_table else "no option of any command"
                raise UserError(f"{self.path}: [tool.mfubench] {key} is {what}{hint}")
            for name in value if is_table and key not in NOT_DEFAULTS else ():
                if name not in (own := _actions(parsers[key])):
                    hint = did_you_mean(name, own)
                    raise UserError(
                        f"{self.path}: [tool.mfubench.{key}] {name} is no option of "
                        f"mfubench {key}{hint}"
                    )

    def give(self, command: str, parser: argparse.ArgumentParser) -> list[str]:
        """Set the defaults of a command; gives what was set, as `key = value`, to be told."""
        told = []
        for key, action in _actions(parser).items():
            value = self._value(command, key)
            if value is not None:
                settings = {"type": action.type, "choices": action.choices}
                is_switch = action.nargs == 0
                parser.set_defaults(**{action.dest: self._parsed(key, value, settings, is_switch)})
                told.append(f"{key} = {_text(value)}")
        return told

    def of_option(self, option: Declared) -> dict[str, Any]:
        """The default of an option of a sweep, as `{"default": value}`; empty without one."""
        key, settings = option.name.lstrip("-"), option.settings
        value = self._value("bench", key)
        if value is None:
            return {}
        is_switch = settings.get("action") == "store_true"
        return {"default": self._parsed(key, value, settings, is_switch)}

    def _value(self, command: str, key: str) -> Any:
        own = self.table.get(command) if command not in NOT_DEFAULTS else None
        if isinstance(own, dict) and key in own:
            return own[key]
        value = self.table.get(key)
        return None if isinstance(value, dict) else value

    def _parsed(self, key: str, value: Any, settings: Mapping[str, Any], is_switch: bool) -> Any:
        """A value of the table as the command line would have it; raises UserError."""
        where = f"{self.path}: [tool.mfubench] {key}"
        if is_switch:
            if not isinstance(value, bool):
                raise UserError(f"{where} is {value!r}; allowed: true or false")
            return value
        text, parse = _text(value), settings.get("type")
        if parse in PATHS:
            assert self.path is not None
            return self.path.parent / Path(text).expanduser()
        choices = settings.get("choices")
        if choices is not None and text not in choices:
            hint = did_you_mean(text, choices)
            raise UserError(f"{where} is {text!r}; allowed: {', '.join(choices)}{hint}")
        try:
            return text if parse is None else parse(text)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise UserError(f"{where}: {error}") from None


def _text(value: Any) -> str:
    """A value as it is typed on the command line.

    >>> _text(["cpu", "cuda"]), _text(12)
    ('cpu,cuda', '12')
    """
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of a parser by their long names without dashes."""
    found = {}
    for action in parser._actions:
        for name in action.option_strings:
            if name.startswith("--") and name not in ("--help", "--version"):
                found[name.removeprefix("--")] = action
    return found


def told(lines: Iterable[str], path: Path | None) -> str:
    """What is said where defaults were used.

    >>> told(["budget = 10m"], Path("pyproject.toml"))
    'defaults from pyproject.toml: budget = 10m'
    """
    return f"defaults from {path}: {', '.join(lines)}"
