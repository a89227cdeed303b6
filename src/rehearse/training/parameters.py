"""Parameters as bytes: to compare ranks and runs."""

from __future__ import annotations

import hashlib

from torch import nn

from rehearse.core.errors import CommunicationError
from rehearse.core.protocols import Communicator


def parameter_sha256(model: nn.Module) -> str:
    """Hash of all parameters' names and bits."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def agreed_parameter_sha256(model: nn.Module, communicator: Communicator) -> str:
    """The hash, after checking that all ranks hold the same bits.

    Raises:
        CommunicationError: Ranks have drifted apart.
    """
    hashes: list[str] = communicator.gather_objects(parameter_sha256(model))
    if len(set(hashes)) > 1:
        different = [rank for rank, value in enumerate(hashes) if value != hashes[0]]
        raise CommunicationError(f"parameters differ between rank 0 and ranks {different}")
    return hashes[0]


def broadcast_model(model: nn.Module, communicator: Communicator) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    for tensor in (*model.parameters(), *model.buffers()):
        communicator.broadcast(tensor.data)
