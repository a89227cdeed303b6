"""Reads YAML and JSON files the way people mean them, with errors that name the line."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from rehearse.core.errors import ConfigError

# PyYAML follows YAML 1.1, where a number with an exponent also needs a point: `1e-6` would be text.
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``1e-6`` is a number and a key that appears twice is remembered."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                self.repeated.append(f"{line}: key {key.value!r} appears twice, first on line {lines[key.value]}")
            lines.setdefault(key.value, line)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def read_document(path: Path) -> Any:
    """Read a YAML or JSON file.

    Raises:
        ConfigError: The file is missing, unreadable or not well-formed, or a key appears twice; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)


def _parse_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: not well-formed JSON: {error.msg}") from None


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        loader = _Loader(text)
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "; indent with spaces, not tabs" if "'\\t'" in message else ""
        raise ConfigError(f"{where}: not well-formed YAML: {message}{hint}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not well-formed YAML: {' '.join(str(error).split())}") from None
    if loader.repeated:
        raise ConfigError("\n".join(f"{path}:{problem}" for problem in loader.repeated))
    return document
