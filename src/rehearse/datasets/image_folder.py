"""Any tree of photos in class folders."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import Field

from rehearse.core.config import PluginConfig, Slug
from rehearse.core.protocols import Origin, Progress
from rehearse.core.registry import register
from rehearse.datasets._image_tree import ImageTreeDataset
from rehearse.datasets._photos import PhotoConfig


class Config(PhotoConfig):
    tree: Slug = Field(default="default", description="Name given to the tree: several can be staged side by side.")
    path: str | None = Field(
        default=None,
        description="Folder with train/<class>/* and val/<class>/* or test/<class>/*, or an archive of it; used when "
        "the tree is staged without --source.",
    )


@register
class ImageFolder(ImageTreeDataset):
    """A tree of the user's; mean and standard deviation are computed from its training images."""

    Config = Config

    @classmethod
    def stage(cls, config: PluginConfig, root: Path, source: Path | None, progress: Progress) -> Origin:
        path = cast(Config, config).path
        return super().stage(config, root, source or (Path(path) if path else None), progress)
