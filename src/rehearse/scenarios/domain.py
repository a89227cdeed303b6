"""Another name of the instance-incremental scenario: the same classes in every task, other samples."""

from __future__ import annotations

from typing import Literal

from rehearse.core.registry import register
from rehearse.scenarios.instance import InstanceOptions, InstanceScenario


class DomainScenarioConfig(InstanceOptions):
    """Options of the domain-incremental scenario, those of ``instance``."""

    name: Literal["domain"] = "domain"


@register
class DomainScenario(InstanceScenario):
    """See ``instance``."""

    Config = DomainScenarioConfig
