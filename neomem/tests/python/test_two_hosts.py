"""Two network namespaces as two hosts: other Unix sockets, other loopback, packets that are late or lost."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess

import neomem
import pytest
from test_processes import chain, make

SPACES = ["neomem-a", "neomem-b"]


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True)


def remove():
    for space in SPACES:
        ip("netns", "del", space, check=False)


@pytest.fixture
def hosts():
    """Names of two namespaces joined by a cable with the addresses 10.77.0.1 and 10.77.0.2."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root, and ip of iproute2 (Debian: apt-get install iproute2)")
    remove()
    if ip("netns", "add", SPACES[0], check=False).returncode != 0:
        pytest.skip("this machine does not allow network namespaces")
    ip("netns", "add", SPACES[1])
    ip("link", "add", "neomem-v0", "netns", SPACES[0], "type", "veth", "peer", "name", "neomem-v1", "netns", SPACES[1])
    for index, space in enumerate(SPACES):
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "addr", "add", f"10.77.0.{index + 1}/24", "dev", f"neomem-v{index}")
        ip("-n", space, "link", "set", f"neomem-v{index}", "up")
    yield SPACES
    remove()


def enter(space):
    """Move this process, before it has threads, to another namespace."""
    with open(f"/var/run/netns/{space}") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def chain_on_host(rank, size, exchange, steps, options):
    enter(SPACES[rank % 2])
    return chain(rank, size, exchange, steps, 0.0, {**options, "bind": f"neomem-v{rank % 2}"})


def transports_on_host(rank, size, exchange):
    enter(SPACES[rank % 2])
    with make(rank, size, exchange, transport="auto", bind=f"neomem-v{rank % 2}") as memory:
        exchange(b"")
        return memory.transports


def refused_on_host(rank, size, exchange):
    enter(SPACES[rank % 2])
    with pytest.raises(neomem.ConfigError, match="pass the network's address or interface as `bind`"):
        make(rank, size, exchange, transport="tcp")
    return True


def test_the_same_draws_over_a_network(ranks, hosts):
    expected = ranks(chain, 2, 30, 0.0, {}).join()
    assert ranks(chain_on_host, 2, 30, {"transport": "tcp"}).join() == expected


def test_the_same_draws_over_a_bad_network(ranks, hosts):
    tc = shutil.which("tc")
    for index, space in enumerate(hosts):
        rule = ["qdisc", "add", "dev", f"neomem-v{index}", "root", "netem", "delay", "2ms", "loss", "1%"]
        if tc is None or subprocess.run([tc, "-n", space, *rule], check=False, capture_output=True).returncode != 0:
            pytest.skip("needs tc of iproute2 and a kernel with netem; test_faults.cpp has a slow relay instead")
    expected = ranks(chain, 2, 20, 0.0, {}).join()
    assert ranks(chain_on_host, 2, 20, {"transport": "tcp"}).join() == expected


def test_auto_takes_shared_memory_on_a_host_and_the_network_between_hosts(ranks, hosts):
    found = ranks(transports_on_host, 4).join()
    assert found[0] == ["self", "tcp", "shm", "tcp"]
    assert found[3] == ["tcp", "shm", "tcp", "self"]


def test_loopback_between_hosts_is_refused(ranks, hosts):
    assert ranks(refused_on_host, 2).join() == [True, True]
