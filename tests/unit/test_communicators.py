"""What communicators do before there are peers; the contract test has the rest."""

import socket
import sys
from datetime import timedelta
from types import ModuleType

import pytest
import torch
from torch import nn

from rehearse.communicators._group import _reason
from rehearse.communicators._optimizer import BucketedOptimizer
from rehearse.communicators._rendezvous import _launch_id, leader_host, open_store
from rehearse.core import registry
from rehearse.core.config import validate
from rehearse.core.errors import CommunicationError, ConfigError, MissingDependencyError
from rehearse.core.world import World

SECOND = timedelta(seconds=1)
MPIRUN = World(rank=1, num_ranks=2, local_rank=1, local_num_ranks=2, launcher="mpirun")
HOROVODRUN = World(rank=1, num_ranks=2, local_rank=1, local_num_ranks=2, launcher="horovodrun")
TWO_NODES = World(rank=0, num_ranks=2, num_nodes=2, launcher="mpirun")


def build(name, world, **options):
    kind = registry.get("communicators", name)
    return kind(validate(kind.Config, {"name": name, **options}, source="test"), world)


def test_horovod_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    with pytest.raises(MissingDependencyError, match=r"communicator horovod needs Horovod, .* with: make setup"):
        build("horovod", MPIRUN)


@pytest.mark.parametrize(
    ("world", "parts", "missing"),
    [
        (MPIRUN, {}, "Horovod with PyTorch"),
        (MPIRUN, {"init": None, "mpi_built": lambda: False}, "Horovod with MPI"),
        (HOROVODRUN, {"init": None, "gloo_built": lambda: False}, "Horovod with Gloo"),
    ],
)
def test_horovod_built_without_a_part_says_which(monkeypatch, world, parts, missing):
    module = ModuleType("horovod.torch")
    vars(module).update(parts)
    monkeypatch.setitem(sys.modules, "horovod.torch", module)
    with pytest.raises(MissingDependencyError, match=f"{missing}, .* with: make setup"):
        build("horovod", world)


def test_horovod_over_gloo_needs_a_hostname_that_resolves(monkeypatch):
    def fail(*_):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(CommunicationError, match="does not resolve"):
        build("horovod", HOROVODRUN)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_nccl_needs_a_cuda_device():
    with pytest.raises(ConfigError, match=r"communicator\.backend is nccl, but torch sees no CUDA device"):
        build("torch", MPIRUN, backend="nccl")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("torch", {"backend": "mpi"}, "backend: must be 'auto', 'gloo' or 'nccl'"),
        ("torch", {"timeout_s": 0}, "timeout_s: must be greater than 0"),
        ("horovod", {"bucket_mb": 3}, "unknown key 'bucket_mb'; did you mean 'bucket_mib'"),
        ("single", {"timeout_s": 3}, "unknown key 'timeout_s'"),
    ],
)
def test_wrong_options_are_refused(name, options, said):
    with pytest.raises(ConfigError, match=said):
        build(name, World(), **options)


@pytest.mark.parametrize(
    ("world", "env", "said"),
    [
        (MPIRUN, {"MASTER_ADDR": "n1"}, "MASTER_ADDR is set, but not MASTER_PORT"),
        (MPIRUN, {}, "cannot tell this launch by mpirun from others; set MASTER_ADDR"),
        (World(rank=0, num_ranks=2, launcher="MPICH"), {}, "cannot tell this launch by MPICH"),
        (TWO_NODES, {"PMIX_NAMESPACE": "7"}, "does not know the host of rank 0"),
        (MPIRUN, {"PMIX_NAMESPACE": "a launch that nobody leads"}, "rank 0 did not arrive within 1 s"),
        (
            World(rank=0, num_ranks=3, local_num_ranks=3, launcher="mpirun"),
            {"PMIX_NAMESPACE": "a launch of one"},
            "2 of 3 ranks did not arrive within 1 s",
        ),
    ],
)
def test_ranks_that_cannot_meet_say_why(world, env, said):
    with pytest.raises(CommunicationError, match=said):
        open_store(world, env, SECOND)


def test_a_second_leader_of_the_same_launch_is_refused():
    with socket.socket(socket.AF_UNIX) as taken:
        world = World(num_ranks=2, local_num_ranks=2, launcher="mpirun")
        env = {"PMIX_NAMESPACE": "started twice"}
        taken.bind(f"\0rehearse-{_launch_id(world, env)}")
        with pytest.raises(CommunicationError, match="another rank 0 of this launch is already there"):
            open_store(world, env, SECOND)


def test_a_leader_s_host_that_does_not_resolve_is_said_at_once(tmp_path):
    nodes = tmp_path / "nodes"
    nodes.write_text("no-such-host.invalid\nother\n")
    env = {"PMIX_NAMESPACE": "nowhere", "PBS_NODEFILE": str(nodes)}
    with pytest.raises(CommunicationError, match=r"no-such-host.invalid, .* does not resolve .*; set MASTER_ADDR"):
        open_store(TWO_NODES, env, timedelta(seconds=60))


def test_a_taken_port_between_nodes_says_what_to_set(tmp_path):
    nodes = tmp_path / "nodes"
    nodes.write_text("127.0.0.1\n127.0.0.1\n")
    env = {"PMIX_NAMESPACE": "the same port twice", "PBS_NODEFILE": str(nodes)}
    first = open_store(TWO_NODES, env, SECOND)
    with pytest.raises(CommunicationError, match=r"cannot meet at 127.0.0.1:\d+; set MASTER_ADDR"):
        open_store(TWO_NODES, env, SECOND)
    del first


def test_the_leader_is_the_first_node_of_pbs(tmp_path):
    nodes = tmp_path / "nodes"
    nodes.write_text("x3004\nx3004\nx3005\n")
    assert leader_host({"PBS_NODEFILE": str(nodes)}) == "x3004"
    with pytest.raises(CommunicationError, match="PBS_NODEFILE"):
        leader_host({"PBS_NODEFILE": str(tmp_path / "absent")})


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "[/x/pair.cc:547] Connection closed by peer [::1]:31003. Check the logs",
            "Connection closed by peer [::1]:31003",
        ),
        ("Horovod has been shut down. This was caused by", "Horovod has been shut down"),
        ("one line\nand a stack", "one line"),
        (
            "[enforce fail at /x/device.cc:84] ifa != nullptr. No address for: eth7",
            "ifa != nullptr. No address for: eth7",
        ),
        ("", "RuntimeError"),
    ],
)
def test_backends_are_quoted_briefly(said, reason):
    assert _reason(RuntimeError(said)) == reason


class Sums:
    """Stands in for a backend: notes the order and size of the sums of a rank without peers."""

    def __init__(self):
        self.started = []

    def __call__(self, flat, name):
        self.started.append((name, flat.numel()))
        return lambda: None


def test_buckets_are_cut_in_reverse_order_and_launched_in_fixed_order():
    model = nn.ModuleList(nn.Linear(10, 10, bias=False) for _ in range(5))
    sums = Sums()
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = BucketedOptimizer(inner, model, sums, num_ranks=1, bucket_bytes=700)
    for layer in model:
        layer.weight.sum().backward()
        # The gradients of the first bucket arrive last.
        assert not sums.started or layer is model[4]
    optimizer.synchronize()
    assert sums.started == [("gradients.0", 202), ("gradients.1", 202), ("gradients.2", 101)]


def test_sums_start_while_the_backward_pass_runs():
    model = nn.ModuleList(nn.Linear(10, 10, bias=False) for _ in range(3))
    sums = Sums()
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = BucketedOptimizer(inner, model, sums, num_ranks=1, bucket_bytes=1)
    seen = []
    hidden = model[0](torch.ones(1, 10))
    hidden.register_hook(lambda _: seen.append(len(sums.started)))
    model[2](model[1](hidden)).sum().backward()
    assert seen[0] in (1, 2)
    optimizer.synchronize()
    assert len(sums.started) == 3
