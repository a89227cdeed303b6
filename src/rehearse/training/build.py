"""Composes a run from its configuration: the only place where plug-ins meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from rehearse.core import registry
from rehearse.core.cell import Cell
from rehearse.core.combinations import check_cell
from rehearse.core.config import CommunicatorSection, plugin_config
from rehearse.core.errors import ConfigError
from rehearse.core.experiment import Experiment, Regime
from rehearse.core.log import logger
from rehearse.core.protocols import (
    Backbone,
    Buffer,
    BufferSpec,
    Communicator,
    DistributedOptimizer,
    Loader,
    RecordField,
    Strategy,
    StrategyContext,
)
from rehearse.core.rehearsal import BufferConfig
from rehearse.core.world import World
from rehearse.training.criteria import cross_entropy
from rehearse.training.data import Data, load_data
from rehearse.training.evaluate import Evaluator
from rehearse.training.normalization import tolerate_lone_samples
from rehearse.training.optim import build_optimizer
from rehearse.training.parameters import broadcast_model
from rehearse.training.preprocess import Preprocessor
from rehearse.training.seeds import derive_seed, seed_everything


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a training run works with."""

    cell: Cell
    communicator: Communicator
    device: torch.device
    data: Data
    train_loader: Loader
    evaluator: Evaluator
    preprocess: Preprocessor
    model: nn.Module
    strategy: Strategy
    buffer: Buffer | None
    optimizer: DistributedOptimizer
    regime: Regime

    @property
    def experiment(self) -> Experiment:
        return self.cell.experiment

    @property
    def first_tasks(self) -> tuple[int, ...]:
        """For each of the strategy's draws, the task from which on it is trained with."""
        if self.experiment.buffer is None:
            return ()
        config = plugin_config(self.experiment.buffer)
        assert isinstance(config, BufferConfig)
        return tuple(config.first_task(kind) for kind in self.strategy.draws)

    @property
    def world(self) -> World:
        return self.communicator.world

    def close(self) -> None:
        """Release the buffer and the loaders."""
        if self.buffer is not None:
            self.buffer.close()
        self.train_loader.close()
        self.evaluator.loader.close()


def build_communicator(cell: Cell, world: World) -> Communicator:
    """Join the other ranks; one rank needs no library.

    Raises:
        ConfigError: The launcher started another number of ranks than the cell asks for, or parts of the
            cell cannot go together.
    """
    if problems := check_cell(cell):
        raise ConfigError("; ".join(problems))
    if world.num_ranks != cell.num_ranks:
        raise ConfigError(
            f"the configuration is for {cell.num_ranks} ranks ({cell.scaling}), but {world.launcher} started "
            f"{world.num_ranks}; launch it with: mpirun -np {cell.num_ranks} rehearse train …"
        )
    section = cell.experiment.communicator if world.num_ranks > 1 else CommunicatorSection(name="single")
    kind: type[Communicator] = registry.get("communicators", section.name)
    return kind(plugin_config(section), world)


def build_run(cell: Cell, communicator: Communicator, dataset_dir: Path) -> Run:
    """Build data, network, strategy, buffer and optimiser; collective.

    Raises:
        RehearseError: Whatever is wrong with the configuration, the data or the machine.
    """
    experiment, world = cell.experiment, communicator.world
    # Sums depend on how many threads share them, so neither the machine nor its environment may choose.
    torch.set_num_threads(experiment.training.num_threads)
    device = choose_device(experiment.training.device, world)
    data = load_data(experiment, dataset_dir, world.num_ranks)
    model, regime = _build_model(experiment, data, device)
    broadcast_model(model, communicator)
    # Weights are drawn alike on all ranks; what follows, such as dropout, must differ.
    seed_everything(experiment.seed, world.rank)
    strategy = _build_strategy(experiment, model, communicator)
    preprocess = Preprocessor(data.info, device)
    loader: type[Loader] = registry.get("loaders", experiment.loader.name)
    loader_config = plugin_config(experiment.loader)
    training = experiment.training
    optimizer = build_optimizer(model, regime, training.lr)
    return Run(
        cell=cell,
        communicator=communicator,
        device=device,
        data=data,
        train_loader=loader(loader_config, data.train, data.train_labels),
        evaluator=Evaluator(
            model=model,
            loader=loader(loader_config, data.test, data.test_labels),
            preprocess=preprocess,
            communicator=communicator,
            device=device,
            batch_size=training.eval_batch_size or training.batch_size,
            limit_batches=training.limit_batches,
        ),
        preprocess=preprocess,
        model=model,
        strategy=strategy,
        buffer=_build_buffer(experiment, strategy, data, communicator),
        optimizer=communicator.wrap_optimizer(optimizer, model),
        regime=regime,
    )


def choose_device(wanted: str, world: World) -> torch.device:
    """The device of this rank.

    Raises:
        ConfigError: CUDA is asked for, but there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigError("training.device is cuda, but torch sees no CUDA device; use auto or cpu")
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    device = torch.device("cuda", world.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def _build_model(experiment: Experiment, data: Data, device: torch.device) -> tuple[nn.Module, Regime]:
    kind: type[Backbone] = registry.get("backbones", experiment.backbone.name)
    torch.manual_seed(derive_seed(experiment.seed, "weights"))
    model = kind.build(plugin_config(experiment.backbone), data.info.input_shape, data.info.num_classes)
    tolerate_lone_samples(model)
    return model.to(device), experiment.training.regime or kind.regime


def _build_strategy(experiment: Experiment, model: nn.Module, communicator: Communicator) -> Strategy:
    kind: type[Strategy] = registry.get("strategies", experiment.strategy.name)
    context = StrategyContext(model=model, criterion=cross_entropy, communicator=communicator)
    return kind(plugin_config(experiment.strategy), context)


def _build_buffer(experiment: Experiment, strategy: Strategy, data: Data, communicator: Communicator) -> Buffer | None:
    section = experiment.buffer
    if section is None:
        return None
    kind: type[Buffer] = registry.get("buffers", section.name)
    config = plugin_config(section)
    assert isinstance(config, BufferConfig)
    inputs = RecordField(dtype=data.info.input_dtype, shape=data.info.input_shape)
    spec = BufferSpec(
        fields={"inputs": inputs, **strategy.stored_fields((data.info.num_classes,))},
        num_classes=data.info.num_classes,
        budget=config.num_slots(len(data.train_labels)),
        seed=derive_seed(experiment.seed, "buffer"),
        batch_size=experiment.training.batch_size,
        draws=tuple(config.num_drawn(kind) for kind in strategy.draws),
    )
    logger.info("buffer: %d slots over %d ranks", spec.budget, communicator.world.num_ranks)
    return kind(config, spec, communicator)
