"""Where torch's ranks meet, also under launchers that know nothing of torch."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from torch.distributed.rendezvous import rendezvous

from rehearse.core.errors import CommunicationError
from rehearse.core.world import World

if TYPE_CHECKING:
    # torch.distributed exports its stores at run time only.
    from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
else:
    from torch.distributed import PrefixStore, Store, TCPStore

_LOOPBACK = "127.0.0.1"
# Below the ports that systems hand out to outgoing connections (32768 and up on Linux).
_FIRST_PORT, _NUM_PORTS = 20000, 12000

# Variables that together tell one live launch from all others on its nodes.
_LAUNCH_KEYS = {
    "mpirun": ("PMIX_NAMESPACE", "OMPI_MCA_orte_precondition_transports"),
    "horovodrun": ("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT"),
    "srun": ("SLURM_JOB_ID", "SLURM_STEP_ID"),
    "PALS": ("PALS_APID",),
}


def open_store(world: World, env: Mapping[str, str], timeout: timedelta) -> Store:
    """A key-value store that all ranks of a launch share, and no other launch.

    MASTER_ADDR and MASTER_PORT win where they are set (torchrun sets them). Otherwise ranks on one
    node ask the leader for its port through a socket named after the launch; ranks on several nodes
    take the leader's host from the node list of the batch system, and a port computed from the launch.

    Raises:
        CommunicationError: The launch cannot be told from others, the leader's host is unknown, its
            port is taken, or ranks did not arrive in time.
    """
    if "MASTER_ADDR" in env:
        if "MASTER_PORT" not in env:
            raise CommunicationError("MASTER_ADDR is set, but not MASTER_PORT; set a free port of that host")
        stores = rendezvous("env://", rank=world.rank, world_size=world.num_ranks, timeout=timeout)
        store: Store = next(stores)[0]
        return store
    launch = _launch_id(world, env)
    if world.num_nodes == 1:
        return _meet_on_one_node(world, launch, timeout)
    return _meet_between_nodes(world, launch, leader_host(env), timeout)


def _launch_id(world: World, env: Mapping[str, str]) -> str:
    values = [f"{name}={env[name]}" for name in _LAUNCH_KEYS.get(world.launcher, ()) if name in env]
    if not values:
        raise CommunicationError(
            f"communicator torch cannot tell this launch by {world.launcher} from others; "
            "set MASTER_ADDR to the host of rank 0 and MASTER_PORT to a free port on it, on all ranks"
        )
    return hashlib.sha256(" ".join(values).encode()).hexdigest()


def _meet_on_one_node(world: World, launch: str, timeout: timedelta) -> Store:
    """The leader listens on a port of the system's choice and tells the others.

    The socket lives in Linux's abstract namespace: it vanishes with the leader, so none is ever stale.
    """
    name, end_s = f"\0rehearse-{launch}", time.monotonic() + timeout.total_seconds()
    if not world.is_leader:
        return TCPStore(_LOOPBACK, _ask_port(name, timeout.total_seconds()), timeout=timeout)
    server = socket.create_server((_LOOPBACK, 0))
    port = server.getsockname()[1]
    store = TCPStore(
        _LOOPBACK, port, is_master=True, timeout=timeout, wait_for_workers=False, master_listen_fd=server.detach()
    )
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.bind(name)
        except OSError:
            raise CommunicationError(
                "another rank 0 of this launch is already there; a rank can join its group only once"
            ) from None
        door.listen(world.num_ranks)
        for missing in range(world.num_ranks - 1, 0, -1):
            door.settimeout(max(0.001, end_s - time.monotonic()))
            try:
                visitor, _ = door.accept()
            except TimeoutError:
                raise CommunicationError(
                    f"{missing} of {world.num_ranks} ranks did not arrive within {timeout.total_seconds():g} s"
                ) from None
            with visitor:
                visitor.sendall(str(port).encode())
    return store


def _ask_port(name: str, timeout_s: float) -> int:
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(max(0.001, end_s - time.monotonic()))
                door.connect(name)
                return int(door.recv(16))
        except (OSError, ValueError):
            # The leader has not opened the door yet.
            if time.monotonic() > end_s:
                raise CommunicationError(f"rank 0 did not arrive within {timeout_s:g} s") from None
            time.sleep(0.02)


def _meet_between_nodes(world: World, launch: str, host: str, timeout: timedelta) -> Store:
    port = _FIRST_PORT + int(launch, 16) % _NUM_PORTS
    try:
        socket.getaddrinfo(host, port)
    except OSError:
        # Torch would try again until the time is over.
        raise CommunicationError(
            f"{host}, the host of rank 0 by the batch system's node list, does not resolve on this node; set "
            "MASTER_ADDR to an address of that host and MASTER_PORT to a free port on it, on all ranks"
        ) from None
    try:
        store = TCPStore(host, port, is_master=world.is_leader, timeout=timeout, wait_for_workers=False)
    except RuntimeError as error:
        raise CommunicationError(
            f"ranks cannot meet at {host}:{port}; set MASTER_ADDR to the host of rank 0 and MASTER_PORT "
            f"to a free port on it, on all ranks: {str(error).splitlines()[0]}"
        ) from error
    # Another launch may have computed the same port; its keys are not ours.
    return PrefixStore(launch, store)


def leader_host(env: Mapping[str, str]) -> str:
    """Host of rank 0 of a launch on several nodes: the first of the step's or job's node list.

    Raises:
        CommunicationError: No batch system says which nodes there are.
    """
    nodes = env.get("SLURM_STEP_NODELIST", env.get("SLURM_JOB_NODELIST"))
    if nodes and shutil.which("scontrol"):
        found = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.split():
            return found.stdout.split()[0]
    if "PBS_NODEFILE" in env:
        try:
            return Path(env["PBS_NODEFILE"]).read_text(encoding="utf-8").split()[0]
        except (OSError, IndexError) as error:
            raise CommunicationError(f"PBS_NODEFILE {env['PBS_NODEFILE']}: cannot be read: {error}") from None
    raise CommunicationError(
        "communicator torch does not know the host of rank 0: neither Slurm nor PBS lists the nodes; "
        "set MASTER_ADDR to that host and MASTER_PORT to a free port on it, on all ranks"
    )
