"""Says what is wrong with a document: every problem at once, with its path and the nearest valid name."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rehearse.core import registry

_SLUG = "[A-Za-z0-9][A-Za-z0-9_.\\-]*"


def problem_list(source: str, problems: Iterable[str]) -> str:
    """One message out of several problems, each on a line of its own."""
    lines = list(problems)
    count = f"{len(lines)} problem{'s' if len(lines) != 1 else ''}"
    return "\n".join([f"{source}: {count}", *(f"  {line}" for line in lines)])


_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "keys and values",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "keys and values",
    "string_type": "text",
    "tuple_type": "a list",
}


def explain(model: type[BaseModel], error: ValidationError, within: str = "") -> list[str]:
    """Each problem of a validation error as ``path: what is wrong``, in the order of the document.

    Args:
        model: What was validated.
        error: What went wrong.
        within: Path of the model in a larger document.
    """
    lines: dict[str, list[str]] = {}
    items = error.errors()
    for item in items:
        location = _without_arms(model, item["loc"])
        path = ".".join(filter(None, (within, *map(str, location))))
        if item["type"] in _EXPECTED:
            # The arms of a union each say what they expected; one line says it once.
            line = f"{path or 'document'}: expected %s, got {item['input']!r}"
            lines.setdefault(line, []).append(_EXPECTED[item["type"]])
        elif not _follows_from_others(item, items):
            lines.update({line: [] for line in _explain_one(model, item, location, path).splitlines()})
    return [
        line.replace("%s", " or ".join(dict.fromkeys(words)), 1) if words else line for line, words in lines.items()
    ]


def _follows_from_others(item: ErrorDetails, items: Iterable[ErrorDetails]) -> bool:
    """Pydantic counts entries that it refused as absent, and then calls the list too short."""
    location = item["loc"]
    return item["type"] == "too_short" and any(
        len(other["loc"]) > len(location) and other["loc"][: len(location)] == location for other in items
    )


def _explain_one(model: type[BaseModel], item: ErrorDetails, location: tuple[int | str, ...], path: str) -> str:
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if item["type"] == "extra_forbidden":
        valid = _fields_at(model, location[:-1])
        return f"{path}: unknown key {str(location[-1])!r}{registry.suggestion(str(location[-1]), valid)}"
    if item["type"] == "missing":
        return f"{path}: required, but missing"
    if item["type"] == "too_short":
        return f"{path}: must not be empty"
    if item["type"] == "string_pattern_mismatch" and _SLUG in item["ctx"]["pattern"]:
        return f"{path}: {item['input']!r} must be letters, digits, '_', '-' and '.', and start with a letter or digit"
    if item["type"] == "value_error" and not path:
        # A check of the whole document names the path of each problem itself, one per line.
        return message
    if item["type"] in ("value_error", "unknown_plugin") or isinstance(item["input"], Mapping | list):
        return f"{path or 'document'}: {message}"
    return f"{path}: {message}, got {item['input']!r}"


def _without_arms(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A location without the names that pydantic gives to the arms of a union."""
    current: Any = model
    kept: list[int | str] = []
    for part in location:
        arms = [arm for arm in _arms(current) if arm is not type(None)]
        if len(arms) > 1 and isinstance(part, str) and not _models_in(current):
            current = next((arm for arm in arms if str(arm).startswith(part) or arm.__name__ == part), current)
            continue
        if part != "[key]":
            kept.append(part)
            current = _step_into(current, part)
    return tuple(kept)


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Field names of the model found by walking ``location`` down from ``model``."""
    current: Any = model
    for part in location:
        current = _step_into(current, part)
    models = _models_in(current)
    return tuple(name for found in models for name in found.model_fields)


def _step_into(annotation: Any, part: int | str) -> Any:
    for found in _models_in(annotation):
        if part in found.model_fields:
            return found.model_fields[str(part)].annotation
    for arm in _arms(annotation):
        if get_origin(arm) in (dict, tuple, list):
            return get_args(arm)[1 if get_origin(arm) is dict else 0]
    return annotation


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    return [arm for arm in _arms(annotation) if isinstance(arm, type) and issubclass(arm, BaseModel)]


def _arms(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _arms(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(arm for union in get_args(annotation) for arm in _arms(union))
    return (annotation,)
