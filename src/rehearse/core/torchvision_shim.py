"""Lets torchvision import beside a CPU build of torch.

The package index carries one torchvision per platform, built against CUDA. Beside a CPU torch its
extension cannot be loaded, and the import then fails on operators that nobody defined. Declaring
their schemas first is enough for datasets, transforms and models; the operators themselves
(``torchvision.ops.nms`` and relatives) stay unavailable. A healthy torchvision is left alone.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []


def ensure_torchvision() -> Literal["native", "shim", "absent"]:
    """Make ``import torchvision`` work; call it before any import that leads to torchvision.

    Returns:
        ``native`` where torchvision's own extension loads, ``shim`` where its schemas were declared
        instead, ``absent`` where torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return "absent"
    if _libraries:
        return "shim"
    for extension in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            continue
        return "native"
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    return "shim"
