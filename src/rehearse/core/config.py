"""Typed configuration: base models, plug-in sections, and errors that list every problem at once."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from rehearse.core import registry
from rehearse.core.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def _scientific(value: object) -> object:
    """YAML 1.1 reads ``1e-6`` as text; people mean a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Float = Annotated[float, BeforeValidator(_scientific, json_schema_input_type=float)]
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]


class Model(BaseModel):
    """Base of every configuration model: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class PluginConfig(Model):
    """Base of the ``Config`` that each plug-in file defines."""

    name: str = Field(description="Registered name of the plug-in: its file stem.")


class Section(BaseModel):
    """A plug-in's part of a document: its name, and options that its own ``Config`` checks."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    room: ClassVar[str]

    name: str = Field(description="Registered name of the plug-in.")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        valid = registry.names(cls.room)
        if name.partition(":")[0] not in valid:
            word = registry.singular(cls.room)
            raise PydanticCustomError("unknown_plugin", f"unknown {word} {name!r}{registry.suggestion(name, valid)}")
        return name

    @property
    def options(self) -> dict[str, Any]:
        """The section's keys besides ``name``."""
        return dict(self.model_extra or {})


class DatasetSection(Section):
    room: ClassVar[str] = "datasets"


class ScenarioSection(Section):
    room: ClassVar[str] = "scenarios"


class BackboneSection(Section):
    room: ClassVar[str] = "backbones"


class StrategySection(Section):
    room: ClassVar[str] = "strategies"


class BufferSection(Section):
    room: ClassVar[str] = "buffers"


class LoaderSection(Section):
    room: ClassVar[str] = "loaders"


class CommunicatorSection(Section):
    room: ClassVar[str] = "communicators"


class TrackerSection(Section):
    room: ClassVar[str] = "trackers"


SECTIONS: tuple[type[Section], ...] = (
    DatasetSection,
    ScenarioSection,
    BackboneSection,
    StrategySection,
    BufferSection,
    LoaderSection,
    CommunicatorSection,
    TrackerSection,
)


def plugin_config(section: Section) -> PluginConfig:
    """Import the plug-in that a section names and check its options.

    Raises:
        ConfigError: Options that the plug-in's ``Config`` refuses, all of them.
    """
    config: type[PluginConfig] = registry.get(section.room, section.name).Config
    return validate(config, section.model_dump(), source=f"{registry.singular(section.room)} {section.name}")


def read_document(path: Path) -> Any:
    """Read a YAML or JSON file.

    Raises:
        ConfigError: The file is missing, unreadable or not well-formed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: not well-formed: {' '.join(str(error).split())}") from None


def validate(model: type[M], document: object, *, source: str) -> M:
    """Check a document against a model.

    Raises:
        ConfigError: Lists every problem, one per line, with path, value and nearest valid name.
    """
    try:
        # JSON mode keeps strictness for scalars while lists may still become tuples.
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise ConfigError(problem_list(source, explain(model, error))) from None


def problem_list(source: str, problems: Iterable[str]) -> str:
    """One message out of several problems, each on a line of its own."""
    lines = list(problems)
    count = f"{len(lines)} problem{'s' if len(lines) != 1 else ''}"
    return "\n".join([f"{source}: {count}", *(f"  {line}" for line in lines)])


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Each problem of a validation error as ``path: what is wrong``."""
    return list(dict.fromkeys(_explain_one(model, item) for item in error.errors()))


def _explain_one(model: type[BaseModel], item: ErrorDetails) -> str:
    location = item["loc"]
    path = ".".join(str(part) for part in location) or "document"
    if item["type"] == "extra_forbidden":
        valid = _fields_at(model, location[:-1])
        return f"{path}: unknown key {str(location[-1])!r}{registry.suggestion(str(location[-1]), valid)}"
    if item["type"] == "missing":
        return f"{path}: required, but missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("value_error", "unknown_plugin") or isinstance(item["input"], Mapping | list):
        return f"{path}: {message}"
    return f"{path}: {message}, got {item['input']!r}"


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
