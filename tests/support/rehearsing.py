"""Buffers with small contents whose every sample can be told apart."""

import json

import torch

from rehearse.core import registry
from rehearse.core.batch import Batch
from rehearse.core.config import BufferSection, plugin_config
from rehearse.core.protocols import BufferSpec, RecordField

FIELDS = {"inputs": RecordField(dtype="uint8", shape=(1, 2, 4))}
WITH_LOGITS = {**FIELDS, "logits": RecordField(dtype="float16", shape=(3,))}
BATCH_SIZE = 64


def spec(budget, num_classes=10, seed=1, fields=FIELDS, draws=(7,)):
    return BufferSpec(
        fields=fields, num_classes=num_classes, budget=budget, seed=seed, batch_size=BATCH_SIZE, draws=draws
    )


def buffer(communicator, budget, name="python", num_classes=10, seed=1, fields=FIELDS, draws=None, **options):
    """A buffer by its registered name, with one draw of num_representatives unless others are asked for."""
    config = plugin_config(BufferSection(name=name, budget=budget, **options))
    wanted = spec(budget, num_classes, seed, fields, draws or (config.num_drawn("augmentation"),))
    return registry.get("buffers", name)(config, wanted, communicator)


def samples(identities, labels, num_global=None, num_ranks=1, fields=FIELDS):
    """A minibatch; inputs hold identity and label as bytes, logits are a function of the identity."""
    identities = torch.tensor([int(identity) for identity in identities], dtype=torch.int64)
    labels = torch.tensor([int(label) for label in labels], dtype=torch.int64)
    inputs = identities.view(torch.uint8).reshape(-1, 1, 2, 4).clone()
    inputs[:, 0, 1, 3] = labels.to(torch.uint8)
    return Batch(
        inputs=inputs,
        labels=labels,
        num_global=len(labels) if num_global is None else num_global,
        num_ranks=num_ranks,
        targets={"logits": logits_of(identities)} if "logits" in fields else {},
    )


def logits_of(identities):
    return torch.stack([identities % 7, identities % 11, -(identities % 13)], dim=1).to(torch.float16)


def identities(batch):
    """Which samples a batch holds; checks that their labels are those they were offered with."""
    inputs = batch.inputs.clone()
    assert inputs[:, 0, 1, 3].tolist() == batch.labels.tolist()
    inputs[:, 0, 1, 3] = 0
    return inputs.reshape(-1, 8).view(torch.int64).reshape(-1).tolist()


EMPTY = samples([], [])


def through_a_checkpoint(state):
    """The state as a checkpoint keeps it: tensors apart, the rest as JSON."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        assert all(isinstance(key, str) for key in state)
        return {key: through_a_checkpoint(value) for key, value in state.items()}
    if isinstance(state, list):
        return [through_a_checkpoint(item) for item in state]
    return json.loads(json.dumps(state))


def check_shard(shard):
    """Every slot is in exactly one class's list, at the place that is noted."""
    listed = sorted(slot for label in shard.fill() for slot in shard.slots_of(label))
    assert listed == list(range(shard.size))
    for label in shard.fill():
        for place, slot in enumerate(shard.slots_of(label)):
            assert shard._place[slot] == place
            assert int(shard.labels[slot]) == label


def trace(communicator, name, **options):
    """What one rank draws and stores over some rounds in which ranks hold different numbers of samples."""
    rank, num_ranks = communicator.world.rank, communicator.world.num_ranks
    options = {"num_representatives": 5, "num_candidates": 6, "fields": WITH_LOGITS, **options}
    with buffer(communicator, 17, name=name, **options) as rehearsal:
        rounds = []
        for number in range(30):
            own = torch.arange((number + rank) % 9) + 100 * number + 10_000 * rank
            minibatch = samples(own, own % (2 + number // 4), num_ranks=num_ranks, fields=WITH_LOGITS)
            trained, (taken,) = rehearsal.exchange(minibatch)
            assert identities(trained) == own.tolist()
            assert torch.equal(taken.targets["logits"], logits_of(torch.tensor(identities(taken), dtype=torch.int64)))
            fill = {str(label): held for label, held in rehearsal.fill().items()}
            rounds.append([identities(taken), taken.num_global, fill])
        rehearsal.take()
        communicator.barrier()  # nobody leaves while others still read from it
        return rounds
