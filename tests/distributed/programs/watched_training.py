"""Trains a cell and checks after every step that all ranks hold the same bits; records what was trained."""

import sys
from pathlib import Path

import numpy as np

from rehearse.core.cell import Cell
from rehearse.core.config import validate
from rehearse.core.document import read_document
from rehearse.core.failure import abort_on_error
from rehearse.core.records import RunFiles
from rehearse.core.world import World
from rehearse.training.build import build_communicator, build_run
from rehearse.training.journal import Journal
from rehearse.training.loop import Trainer
from rehearse.training.parameters import agreed_parameter_sha256
from rehearse.training.sharding import epoch_permutation
from rehearse.training.step import TrainStep


def main(config, dataset_dir):
    cell = validate(Cell, read_document(Path(config)), source=config)
    communicator = build_communicator(cell, World.from_env())
    with abort_on_error(communicator):
        run = build_run(cell, communicator, Path(dataset_dir))
        trained, train = [], TrainStep.__call__

        def watched(step, minibatch, upcoming, number, task):
            loss = train(step, minibatch, upcoming, number, task)
            agreed_parameter_sha256(run.model, communicator)
            trained.append(minibatch.indices.numpy())
            return loss

        TrainStep.__call__ = watched
        Trainer(run, Journal(RunFiles(Path(config).parent), communicator.world.is_leader)).run()
        check(run, communicator.gather_objects(trained))
        run.close()
    communicator.close()
    print(f"{len(trained)} steps watched")


def check(run, trained_by_rank):
    """The indices that all ranks trained in an epoch are the epoch's permutation, each once."""
    experiment = run.experiment
    step = 0
    for task in run.data.stream.tasks:
        for epoch in range(experiment.training.epochs_of(task.id)):
            expected = epoch_permutation(task.train, experiment.seed, task.id, epoch)
            stride = experiment.training.batch_size * run.world.num_ranks
            for start in range(0, len(expected), stride):
                together = np.concatenate([steps[step] for steps in trained_by_rank])
                assert sorted(together) == sorted(expected[start : start + stride])
                step += 1
    assert all(len(steps) == step for steps in trained_by_rank)


main(*sys.argv[1:])
