"""The reference page of campaign files, ``config/README.md``; generated from the JSON schema."""

from __future__ import annotations

import json
from typing import Any

from rehearse.core import registry
from rehearse.core.config import SECTIONS
from rehearse.core.schema import JsonObject

_INTRODUCTION = """\
# Campaign files

<!-- Generated from the types in src/rehearse by `make docs`; edits here are overwritten. -->

One YAML file is one campaign: named variants of datasets and strategies, and the matrix of
combinations that run. Nothing is merged into it: neither a second file nor `--config key=value`.

```
rehearse check config/quickstart.yaml                                         # every problem at once
snakemake --profile profiles/default --configfile config/quickstart.yaml      # run it
```

A cell is one (dataset, strategy, scaling, seed). `n4r8` is a scaling: 4 nodes × 8 ranks per node.
Keys without a default are required. A YAML language server checks and completes a file that starts with
`# yaml-language-server: $schema=campaign.schema.json`.
"""

_MODELS = {
    "Campaign": "The whole file",
    "DatasetVariant": "`datasets.<label>`",
    "StrategyVariant": "`strategies.<label>`",
    "Block": "`matrix[]`",
    "TrainingConfig": "`datasets.<label>.training`",
    "Regime": "`datasets.<label>.training.regime`",
    "Phase": "`datasets.<label>.training.regime.phases[]`",
}

_HEADER = "| key | type | default | bounds | meaning |\n|---|---|---|---|---|"


def reference_page(schema: JsonObject) -> str:
    """The page in Markdown: a table of keys per part of the document and per plug-in.

    Args:
        schema: What ``campaign_schema`` returns.
    """
    definitions: JsonObject = {**schema["$defs"], "Campaign": schema}
    parts = [_INTRODUCTION]
    parts += [_chapter(title, definitions[model]) for model, title in _MODELS.items()]
    for section in SECTIONS:
        if section.__name__ in definitions:
            parts.append(_room(section.room, section.__name__, definitions))
    return "\n".join(parts)


def _chapter(title: str, definition: JsonObject) -> str:
    return f"## {title}\n\n{definition['description']}\n\n{_table(definition)}\n"


def _room(room: str, model: str, definitions: JsonObject) -> str:
    """All plug-ins of a room, each with its options."""
    text = [f"## {registry.singular(room).capitalize()} plug-ins\n"]
    for name in registry.names(room):
        definition = definitions[f"{room}.{name}"]
        shown = {**definition, "properties": dict(definition["properties"])}
        named = shown["properties"].pop("name")
        written = named.get("const", f"{name}:…")
        text.append(f"### `name: {written}`\n\n{definition['description']}\n")
        text.append(f"{_table(shown)}\n" if shown["properties"] else "No options.\n")
    return "\n".join(text)


def _table(definition: JsonObject) -> str:
    required = definition.get("required", [])
    rows = [_row(key, field, key in required) for key, field in definition["properties"].items()]
    return "\n".join([_HEADER, *rows])


def _row(key: str, field: JsonObject, required: bool) -> str:
    default = "" if required else _default(field.get("default", {}))
    cells = (f"`{key}`", _type(field), default, _bounds(field), field.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(value: Any) -> str:
    if value is None:
        return "absent"
    return "see there" if isinstance(value, dict) and len(value) > 1 else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A value as one writes it in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _type(field: JsonObject) -> str:
    if "$ref" in field:
        return _named(field["$ref"].rpartition("/")[2])
    if "anyOf" in field:
        return " or ".join(_type(arm) for arm in field["anyOf"] if arm.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        items = field["prefixItems"] if "prefixItems" in field else [field["items"]]
        number = f"{len(items)} " if "prefixItems" in field else ""
        return f"list of {number}{_type(items[0])}".replace("number", "numbers")
    if field.get("type") == "object":
        inner = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")][0]
        return f"label → {_type(inner)}" if isinstance(inner, dict) else "keys and values"
    return {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}[field["type"]]


def _named(model: str) -> str:
    rooms = {section.__name__: section.room for section in SECTIONS}
    return f"{registry.singular(rooms[model])} plug-in" if model in rooms else f"{_MODELS[model]}, below"


def _bounds(field: JsonObject) -> str:
    """Limits of a number, or of the entries of a list."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    arms = [field, *field.get("anyOf", []), field.get("items", {})]
    limits = [f"{sign} {arm[key]:g}" for arm in arms for key, sign in signs.items() if key in arm]
    if field.get("minItems") and "prefixItems" not in field:
        limits.append("not empty")
    return ", ".join(limits)
