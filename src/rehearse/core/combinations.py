"""What cannot go together, although each part is right on its own.

The trainer and ``rehearse check`` ask the same functions, so a campaign that passes the check is
not refused later for its configuration.
"""

from __future__ import annotations

from rehearse.core import registry
from rehearse.core.cell import Cell
from rehearse.core.config import plugin_config
from rehearse.core.experiment import Experiment
from rehearse.core.rehearsal import BufferConfig

_OPTIONS_OF_DRAWS = {
    "num_representatives_distillation": "distillation",
    "soft_augmentations_offset": "distillation",
    "augmentations_offset": "augmentation",
}


def check_cell(cell: Cell) -> list[str]:
    """Problems of a cell: those of its experiment, and those of its number of ranks."""
    problems = check_experiment(cell.experiment)
    if cell.num_ranks > 1 and cell.experiment.communicator.name == "single":
        problems.append(
            f"communicator: single serves one rank, but {cell.scaling} has {cell.num_ranks}; choose horovod or torch"
        )
    return problems


def check_experiment(experiment: Experiment) -> list[str]:
    """Problems of a combination of plug-ins, each as ``path: what is wrong``; imports the strategy.

    The options of each plug-in must have been checked before.
    """
    name, buffer = experiment.strategy.name, experiment.buffer
    rehearses = registry.get("strategies", name).rehearses
    if rehearses and buffer is None:
        return [f"buffer: {name} rehearses and needs one, for example name: neomem"]
    if buffer is None:
        return []
    if not rehearses:
        return [f"buffer: {name} does not rehearse; leave the buffer out"]
    return _unused_options(experiment)


def _unused_options(experiment: Experiment) -> list[str]:
    """Options of the buffer that would do nothing with this strategy."""
    assert experiment.buffer is not None
    draws = registry.get("strategies", experiment.strategy.name).draws
    return [
        f"buffer.{option}: {experiment.strategy.name} does not use draws for {kind}"
        for option, kind in _OPTIONS_OF_DRAWS.items()
        if option in experiment.buffer.options and kind not in draws
    ]


def doubts(experiment: Experiment) -> list[str]:
    """What is possible but surely not meant, each as ``path: what happens``."""
    found = []
    batch_size = experiment.training.batch_size
    config = plugin_config(experiment.buffer) if experiment.buffer is not None else None
    if isinstance(config, BufferConfig) and config.num_candidates > batch_size:
        found.append(
            f"buffer.num_candidates: {config.num_candidates} candidates are asked for, but a minibatch has only "
            f"{batch_size} samples (training.batch_size)"
        )
    if experiment.concatenate_tasksets and experiment.buffer is not None:
        found.append("concatenate_tasksets: past tasks are trained on in full, and rehearsed from the buffer as well")
    return found
