"""The training loop: tasks, epochs, steps, and an evaluation after each task."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from rehearse.core.batch import Batch
from rehearse.core.protocols import TaskSpec
from rehearse.core.records import Summary
from rehearse.training.build import Run
from rehearse.training.history import History
from rehearse.training.journal import Journal
from rehearse.training.loss_meter import LossMeter
from rehearse.training.normalization import average_running_statistics
from rehearse.training.regimes import Schedule
from rehearse.training.seeds import derive_seed
from rehearse.training.sharding import EpochPlan, epoch_permutation, plan_epoch
from rehearse.training.step import TrainStep
from rehearse.training.summarize import summarize
from rehearse.training.timing import PhaseTimer


class Trainer:
    """Trains a run's stream of tasks and evaluates after each."""

    def __init__(self, run: Run, journal: Journal) -> None:
        self._run = run
        self._journal = journal
        self._timer = PhaseTimer(run.device)
        self._history = History(num_tasks=len(run.data.stream.tasks))
        self._epoch_loss = LossMeter(run.communicator, run.device)
        self._interval_loss = LossMeter(run.communicator, run.device)
        self._initial = {name: value.clone() for name, value in run.model.state_dict().items()}
        self._step_number = 0
        self._train_step = TrainStep(
            model=run.model,
            strategy=run.strategy,
            buffer=run.buffer,
            optimizer=run.optimizer,
            preprocess=run.preprocess,
            world=run.world,
            device=run.device,
            timer=self._timer,
            seed=run.experiment.seed,
            first_tasks=run.first_tasks,
        )

    def run(self) -> Summary:
        """Train all tasks; every rank returns the same summary."""
        run, training = self._run, self._run.experiment.training
        tasks = run.data.stream.tasks
        self._journal.start(run)
        if training.forward_transfer and not training.training_only and len(tasks) > 1:
            self._history.untrained = [accuracy.top1 for accuracy in run.evaluator.accuracies(tasks)]
        for task in tasks:
            self._train_task(task)
            self._evaluate_after(task)
        summary = summarize(run, self._history, self._timer, self._journal.startup_s)
        self._journal.end(summary)
        return summary

    def _train_task(self, task: TaskSpec) -> None:
        run = self._run
        epochs = run.experiment.training.epochs_of(task.id)
        self._journal.task_start(task, epochs)
        if task.id > 0 and run.strategy.reinitializes:
            run.model.load_state_dict(self._initial)
        if task.id > 0 and not run.experiment.training.keep_optimizer_state:
            run.optimizer.reset_state()
        run.model.train()
        run.strategy.begin_task(task)
        first_step, started_s = self._step_number, time.perf_counter()
        for epoch in range(epochs):
            self._train_epoch(task, epoch, epochs, first_step)
        run.strategy.end_task(task)
        self._history.training_s.append(time.perf_counter() - started_s)
        self._history.num_steps.append(self._step_number - first_step)

    def _train_epoch(self, task: TaskSpec, epoch: int, epochs: int, first_step: int) -> None:
        run, started_s = self._run, time.perf_counter()
        plan = self._plan(task, epoch)
        schedule = self._schedule(epochs, len(plan.steps))
        minibatches = self._minibatches(task, epoch, plan)
        for _ in plan.steps:
            with self._timer.phase("load"):
                minibatch, upcoming = next(minibatches)
            lr = schedule.at(self._step_number - first_step)
            for group in run.optimizer.param_groups:
                group["lr"] = lr
            loss = self._train_step(minibatch, upcoming, self._step_number, task.id)
            self._epoch_loss.add(loss, minibatch.num_global, self._step_number)
            self._interval_loss.add(loss, minibatch.num_global, self._step_number)
            self._log_step(task.id, epoch, lr)
            self._step_number += 1
        mean_loss = self._epoch_loss.read(self._journal.last_good)
        self._journal.epoch(task.id, epoch, mean_loss, sum(plan.num_global), time.perf_counter() - started_s)

    def _plan(self, task: TaskSpec, epoch: int) -> EpochPlan:
        experiment, world = self._run.experiment, self._run.world
        return plan_epoch(
            epoch_permutation(np.asarray(task.train), experiment.seed, task.id, epoch),
            experiment.training.batch_size,
            world.rank,
            world.num_ranks,
            experiment.training.limit_batches,
        )

    def _minibatches(self, task: TaskSpec, epoch: int, plan: EpochPlan) -> Iterator[tuple[Batch, Batch | None]]:
        """Each minibatch with the one after it, which the buffer can get ready for meanwhile."""
        run = self._run
        seed = derive_seed(run.experiment.seed, "crop", task.id, epoch)
        loaded = zip(run.train_loader.minibatches(plan.steps, seed=seed), plan.num_global, strict=True)
        minibatches = (
            Batch(
                inputs=samples.inputs,
                labels=samples.labels,
                num_global=num_global,
                num_ranks=run.world.num_ranks,
                targets=samples.targets,
                indices=samples.indices,
            )
            for samples, num_global in loaded
        )
        return _with_next(minibatches)

    def _schedule(self, epochs: int, steps_per_epoch: int) -> Schedule:
        training = self._run.experiment.training
        return Schedule(
            regime=self._run.regime,
            lr=training.lr,
            num_ranks=self._run.world.num_ranks,
            epochs=epochs,
            warmup_epochs=training.warmup_epochs,
            steps_per_epoch=steps_per_epoch,
        )

    def _log_step(self, task: int, epoch: int, lr: float) -> None:
        if self._step_number % self._run.experiment.training.log_interval:
            return
        loss = self._interval_loss.read(self._journal.last_good)
        self._journal.step(task, epoch, self._step_number, {"loss": loss, "lr": lr, **self._timer.last_ms()})

    def _evaluate_after(self, task: TaskSpec) -> None:
        run, training = self._run, self._run.experiment.training
        tasks = run.data.stream.tasks
        started_s = time.perf_counter()
        average_running_statistics(run.model, run.communicator)
        if training.training_only and task is not tasks[-1]:
            evaluated: tuple[TaskSpec, ...] = ()
        else:
            evaluated = tasks[: task.id + 1 + training.forward_transfer]
        accuracies = run.evaluator.accuracies(evaluated)
        self._history.add_row(accuracies)
        self._history.evaluation_s.append(time.perf_counter() - started_s)
        self._journal.evaluated(task.id, accuracies, self._history)


def _with_next(minibatches: Iterator[Batch]) -> Iterator[tuple[Batch, Batch | None]]:
    current = next(minibatches, None)
    while current is not None:
        following = next(minibatches, None)
        yield current, following
        current = following
