"""Typed configuration: base models, plug-in sections, and how a document is checked against them."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from rehearse.core import registry
from rehearse.core.errors import ConfigError
from rehearse.core.problems import explain, problem_list

M = TypeVar("M", bound=BaseModel)

Float = Annotated[float, Field(allow_inf_nan=False)]
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
    source = f"{registry.singular(section.room)} {section.name}"
    return validate(_config_of(section), section.model_dump(), source=source)


def section_problems(section: Section, path: str) -> list[str]:
    """Import the plug-in that a section names and check its options.

    Args:
        section: What to check.
        path: Where the section stands in its document.

    Returns:
        Each problem as ``path: what is wrong``.
    """
    return parse(_config_of(section), section.model_dump(), path)[1]


def section_kinds(model: type[BaseModel]) -> dict[str, type[Section]]:
    """The fields of a model that hold a plug-in's section, and which kind of plug-in each names."""
    kinds = {}
    for key, field in model.model_fields.items():
        for arm in (field.annotation, *get_args(field.annotation)):
            if isinstance(arm, type) and issubclass(arm, Section):
                kinds[key] = arm
    return kinds


def _config_of(section: Section) -> type[PluginConfig]:
    config: type[PluginConfig] = registry.get(section.room, section.name).Config
    return config


def validate(model: type[M], document: object, *, source: str) -> M:
    """Check a document against a model.

    Raises:
        ConfigError: Lists every problem, one per line, with path, value and nearest valid name.
    """
    parsed, problems = parse(model, document)
    if parsed is None:
        raise ConfigError(problem_list(source, problems))
    return parsed


def parse(model: type[M], document: object, within: str = "") -> tuple[M | None, list[str]]:
    """The document as a model, or None and each problem as ``path: what is wrong``.

    Args:
        model: What it should be.
        document: As YAML or JSON gave it.
        within: Path of the document in a larger one.
    """
    try:
        # JSON mode keeps strictness for scalars while lists may still become tuples.
        return model.model_validate_json(json.dumps(document, default=str)), []
    except ValidationError as error:
        return None, explain(model, error, within)
