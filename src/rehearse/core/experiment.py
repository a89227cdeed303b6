"""What one training run is made of: the typed object that YAML, JSON and flags all build."""

from __future__ import annotations

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from rehearse.core.config import (
    BackboneSection,
    BufferSection,
    CommunicatorSection,
    DatasetSection,
    Float,
    LoaderSection,
    Model,
    ScenarioSection,
    StrategySection,
)


class Phase(Model):
    """A stretch of a learning-rate regime; it holds until the next phase's epoch."""

    epoch: int = Field(ge=0, description="First epoch of the task at which the phase holds, counted from 0.")
    lr_factor: Float = Field(default=1.0, ge=0, description="Factor on the scaled learning rate.")
    lr_offset: Float = Field(default=0.0, description="Added to the rate after the factor, which never falls below 0.")
    shape: Literal["constant", "cosine"] = Field(
        default="constant", description="How the rate moves inside the phase; cosine falls to `lr_min`."
    )


class Regime(Model):
    """Optimiser and learning-rate phases, given for `of_epochs` and stretched to the run's epochs."""

    optimizer: Literal["SGD", "RMSprop", "Adam", "AdamW"] = Field(default="SGD", description="torch.optim class.")
    momentum: Float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD and RMSprop.")
    weight_decay: Float = Field(default=0.0, ge=0, description="L2 penalty.")
    options: dict[str, Float] = Field(
        default_factory=dict, description="Further arguments of the optimiser, such as RMSprop's `alpha`."
    )
    lr_min: Float = Field(default=0.0, ge=0, description="Lowest rate of a cosine phase.")
    of_epochs: int = Field(default=30, ge=1, description="Number of epochs that the phases are given for.")
    phases: tuple[Phase, ...] = Field(
        default=(Phase(epoch=0),), min_length=1, description="Phases in ascending order of epoch, the first at 0."
    )

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        epochs = [phase.epoch for phase in self.phases]
        if epochs[0] != 0 or any(late <= early for early, late in itertools.pairwise(epochs)):
            raise ValueError(f"phases must start at epoch 0 and ascend, got {epochs}")
        if epochs[-1] >= self.of_epochs:
            raise ValueError(f"last phase starts at epoch {epochs[-1]}, but of_epochs is {self.of_epochs}")
        return self


class TrainingConfig(Model):
    """How the loop trains: epochs, minibatches, optimiser and what it reports."""

    epochs: int | tuple[int, ...] = Field(default=25, description="Epochs per task; a list gives each task its own.")
    warmup_epochs: int = Field(default=5, ge=0, description="Epochs of linear warm-up at the start of each task.")
    batch_size: int = Field(default=64, ge=1, description="Minibatch b per rank, in samples.")
    eval_batch_size: int | None = Field(default=None, ge=1, description="Evaluation minibatch; default batch_size.")
    lr: Float = Field(default=0.01, gt=0, description="Base learning rate of one rank; scaled by min(ranks, 64).")
    regime: Regime | None = Field(default=None, description="Replaces the backbone's own optimiser regime.")
    keep_optimizer_state: bool = Field(
        default=False, description="Keep momentum and other optimiser state from task to task instead of resetting it."
    )
    training_only: bool = Field(default=False, description="Evaluate only after the last task.")
    forward_transfer: bool = Field(
        default=True, description="Also evaluate the untrained model and the next task, as FWT needs."
    )
    log_interval: int = Field(default=10, ge=1, description="Steps between two step records.")
    limit_batches: int | None = Field(
        default=None, ge=1, description="Train and evaluate at most this many minibatches per epoch (smoke tests)."
    )
    num_threads: int = Field(
        default=1, ge=1, description="CPU threads of each rank; a run repeats bit for bit only with as many."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes CUDA where there is one.")

    @model_validator(mode="after")
    def _positive_epochs(self) -> Self:
        epochs = (self.epochs,) if isinstance(self.epochs, int) else self.epochs
        if not epochs or min(epochs) < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        return self

    def epochs_of(self, task: int) -> int:
        """Number of epochs of a task, counted from 0; the last entry of a list serves all later tasks."""
        if isinstance(self.epochs, int):
            return self.epochs
        return self.epochs[min(task, len(self.epochs) - 1)]


class Experiment(Model):
    """Everything that one run needs to know, besides where it runs and where results go."""

    dataset: DatasetSection = Field(description="What is learnt.")
    scenario: ScenarioSection | None = Field(
        default=None, description="How the dataset becomes tasks; absent: one task with everything."
    )
    concatenate_tasksets: bool = Field(
        default=False, description="Task t trains on the union of tasks 1..t (from scratch, transfer)."
    )
    backbone: BackboneSection = Field(description="The network.")
    strategy: StrategySection = Field(description="How forgetting is fought.")
    buffer: BufferSection | None = Field(default=None, description="Rehearsal buffer, for strategies that rehearse.")
    loader: LoaderSection = Field(default=LoaderSection(name="torch"), description="How samples are loaded.")
    communicator: CommunicatorSection = Field(
        default=CommunicatorSection(name="horovod"), description="How ranks talk when there are several."
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="Epochs, minibatches, optimiser.")
    seed: int = Field(default=42, ge=0, description="Seeds everything that is random.")
