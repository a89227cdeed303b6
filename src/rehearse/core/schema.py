"""The JSON schema of a campaign, with the options of every plug-in; generated from the types.

Editors complete and check campaigns with it, and the Snakefile refuses a wrong option with it
without importing a plug-in.
"""

from __future__ import annotations

import inspect
from typing import Any

from rehearse.core import registry
from rehearse.core.campaign import Campaign
from rehearse.core.config import SECTIONS, PluginConfig, Section
from rehearse.core.errors import PluginError

JsonObject = dict[str, Any]
_DEFINITION = "#/$defs/{model}"


def campaign_schema() -> JsonObject:
    """The schema, Draft 2020-12; imports every plug-in that a campaign can name."""
    schema = Campaign.model_json_schema(ref_template=_DEFINITION)
    definitions: JsonObject = schema["$defs"]
    for section in SECTIONS:
        if section.__name__ in definitions:
            definitions[section.__name__] = _section_schema(section, definitions)
    figures = next(arm for arm in schema["properties"]["figures"]["anyOf"] if arm["type"] == "array")
    figures["items"] = {"enum": list(registry.figure_names())}
    body = _without_titles({**schema, "$defs": dict(sorted(definitions.items()))})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Campaign of rehearse", **body}


def _section_schema(section: type[Section], definitions: JsonObject) -> JsonObject:
    """Which options are right depends on the name; if/then tells a reader what is wrong, where anyOf would not."""
    names, choices = [], []
    for name in registry.names(section.room):
        key = f"{section.room}.{name}"
        named = _add_definition(key, name, registry.get(section.room, name).Config, definitions)
        names.append(named)
        condition = {"properties": {"name": named}, "required": ["name"]}
        choices.append({"if": condition, "then": {"$ref": _DEFINITION.format(model=key)}})
    return {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"anyOf": names, "description": section.model_fields["name"].description}},
        "allOf": choices,
    }


def _add_definition(key: str, name: str, config: type[PluginConfig], definitions: JsonObject) -> JsonObject:
    """Add a plug-in's options, and the models inside them, to the definitions; returns what its name must be."""
    schema = config.model_json_schema(ref_template=_DEFINITION)
    for nested, definition in schema.pop("$defs", {}).items():
        if definitions.setdefault(nested, definition) != definition:
            raise PluginError(f"{key}: {nested} is the name of another model in the schema; rename one")
    field = schema["properties"]["name"]
    named = {"pattern": field["pattern"]} if "pattern" in field else {"const": name}
    schema["properties"]["name"] = named
    definitions[key] = {**schema, "description": _summary(key)}
    return named


def _summary(key: str) -> str:
    """The first line of what a plug-in's file says about it."""
    module = inspect.getmodule(registry.get(*key.split(".")))
    return (inspect.getdoc(module) or "").partition("\n")[0]


def _without_titles(schema: Any) -> Any:
    """Leave out the titles that repeat each key in capitals."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(value) for value in schema] if isinstance(schema, list) else schema
