"""One rank of ``er_step.py``: times training steps without and with rehearsal, in turns, on random samples.

python training_steps.py COMMUNICATOR SETTINGS_AS_JSON prints, on the leader, the times in ms of each
variant's steps and of what they waited for representatives.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from typing import Any

import torch

from rehearse.core import registry
from rehearse.core.batch import Batch
from rehearse.core.config import BackboneSection, BufferSection, CommunicatorSection, StrategySection, plugin_config
from rehearse.core.failure import abort_on_error
from rehearse.core.protocols import BufferSpec, Communicator, DatasetInfo, RecordField, StrategyContext
from rehearse.core.world import World
from rehearse.training.criteria import cross_entropy
from rehearse.training.optim import build_optimizer
from rehearse.training.parameters import broadcast_model
from rehearse.training.preprocess import Preprocessor
from rehearse.training.step import TrainStep
from rehearse.training.timing import PhaseTimer

CPU = torch.device("cpu")
NUM_MINIBATCHES = 16


def main(communicator_name: str, settings: dict[str, Any]) -> None:
    """Join the other rank, measure, print."""
    config = plugin_config(CommunicatorSection(name=communicator_name))
    communicator = registry.get("communicators", communicator_name)(config, World.from_env())
    with abort_on_error(communicator):
        times = measure(communicator, settings)
    communicator.barrier()
    if communicator.world.is_leader:
        print(json.dumps(times))
    communicator.close()


def measure(communicator: Communicator, settings: dict[str, Any]) -> dict[str, list[list[float]]]:
    """(step, wait) in ms of every timed step, by variant; variants take turns, so that all meet the same machine."""
    world, times = communicator.world, defaultdict(list)
    minibatches = make_minibatches(settings, world)
    steps = make_steps(communicator, settings)
    number = 0
    for _ in range(settings["turns"]):
        for name, step in steps.items():
            for of_turn in range(settings["steps_per_turn"]):
                current, upcoming = (minibatches[(number + ahead) % NUM_MINIBATCHES] for ahead in (0, 1))
                started_s = time.perf_counter()
                step(current, upcoming, number, 0)
                step_ms = 1e3 * (time.perf_counter() - started_s)
                number += 1
                if of_turn > 0:  # the first one also ends the other variant's work
                    times[name].append([step_ms, step.timer.last_ms()["wait_ms"]])
    for step in steps.values():
        if step.buffer is not None:
            step.buffer.take()
    communicator.barrier()
    return times


def make_minibatches(settings: dict[str, Any], world: World) -> list[Batch]:
    """Random samples of this rank."""
    draws = torch.Generator().manual_seed(world.rank)
    size = settings["batch_size"]
    return [
        Batch(
            inputs=torch.randint(0, 256, (size, *settings["shape"]), dtype=torch.uint8, generator=draws),
            labels=torch.randint(0, settings["num_classes"], (size,), generator=draws),
            num_global=size * world.num_ranks,
            num_ranks=world.num_ranks,
        )
        for _ in range(NUM_MINIBATCHES)
    ]


def make_steps(communicator: Communicator, settings: dict[str, Any]) -> dict[str, TrainStep]:
    """A training step for each variant, all of the same network."""
    shape, num_classes = tuple(settings["shape"]), settings["num_classes"]
    section = BackboneSection(name=settings["backbone"])
    backbone = registry.get("backbones", section.name)
    torch.manual_seed(0)
    model = backbone.build(plugin_config(section), shape, num_classes)
    broadcast_model(model, communicator)
    optimizer = communicator.wrap_optimizer(build_optimizer(model, backbone.regime, 1e-4), model)
    mean = (0.5,) * shape[0]
    info = DatasetInfo(num_classes=num_classes, input_shape=shape, mean=mean, std=mean)
    spec = BufferSpec(
        fields={"inputs": RecordField(dtype="uint8", shape=shape)},
        num_classes=num_classes,
        budget=settings["budget"],
        seed=1,
        batch_size=settings["batch_size"],
        draws=(settings["num_representatives"],),
    )
    steps = {}
    for name, options in settings["buffers"].items():
        strategy = registry.get("strategies", "er" if options else "vanilla")
        buffer = None
        if options:
            buffer_section = BufferSection(**options)
            kind = registry.get("buffers", buffer_section.name)
            buffer = kind(plugin_config(buffer_section), spec, communicator)
        steps[name] = TrainStep(
            model=model,
            strategy=strategy(
                plugin_config(StrategySection(name=strategy.Config().name)),
                StrategyContext(model=model, criterion=cross_entropy, communicator=communicator),
            ),
            buffer=buffer,
            optimizer=optimizer,
            preprocess=Preprocessor(info, CPU),
            world=communicator.world,
            device=CPU,
            timer=PhaseTimer(CPU),
            seed=1,
            first_tasks=(0,) * len(strategy.draws),
        )
    return steps


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
