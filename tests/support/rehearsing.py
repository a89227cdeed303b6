"""Buffers with small contents whose every sample can be told apart."""

import torch

from rehearse.core import registry
from rehearse.core.batch import Batch
from rehearse.core.config import BufferSection, plugin_config
from rehearse.core.protocols import BufferSpec, RecordField

FIELDS = {"inputs": RecordField(dtype="uint8", shape=(1, 2, 4))}
WITH_LOGITS = {**FIELDS, "logits": RecordField(dtype="float16", shape=(3,))}


def spec(budget, num_classes=10, seed=1, fields=FIELDS):
    return BufferSpec(fields=fields, num_classes=num_classes, budget=budget, seed=seed)


def buffer(communicator, budget, name="python", num_classes=10, seed=1, fields=FIELDS, **options):
    """A buffer by its registered name."""
    section = BufferSection(name=name, budget=budget, **options)
    return registry.get("buffers", name)(plugin_config(section), spec(budget, num_classes, seed, fields), communicator)


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
