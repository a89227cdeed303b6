"""Several real processes over shared memory."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time

import neomem
import numpy as np
import pytest

FIELDS = {"inputs": ("uint8", (3, 16, 16)), "logits": ("float32", (10,))}


def make(rank, size, exchange, **options):
    defaults = {
        "budget": 100,
        "num_classes": 10,
        "candidates": 6,
        "max_batch": 16,
        "seed": 5,
        "deadline_ms": 10000,
        "transport": "shm",
    }
    return neomem.Memory(FIELDS, rank=rank, size=size, exchange=exchange, **{**defaults, **options})


def batch(rank, step, n=16):
    ids = np.arange(n, dtype=np.uint64) + step * n + rank * 1_000_000
    labels = np.random.default_rng([rank, step]).integers(0, min(10, 1 + step // 5), n)
    fill = (ids * 7 % 251).astype(np.uint8)
    fields = {
        "inputs": np.broadcast_to(fill[:, None, None, None], (n, 3, 16, 16)).copy(),
        "logits": np.broadcast_to(ids[:, None], (n, 10)).astype(np.float32),
    }
    return fields, labels, ids


def check_rows(sample):
    ids = sample.ids
    assert (sample.fields["inputs"] == (ids * 7 % 251)[:, None, None, None]).all()
    assert (sample.fields["logits"] == ids[:, None]).all()
    assert (sample.owners == ids // 1_000_000).all()
    assert len(set(ids.tolist())) == len(sample)


def chain(rank, size, exchange, steps, jitter_s, options):
    digest = hashlib.sha256()
    with make(rank, size, exchange, **options) as memory:
        for step in range(steps):
            time.sleep(random.random() * jitter_s)
            sample = memory.step(*batch(rank, step))
            check_rows(sample)
            digest.update(sample.ids.tobytes() + sample.labels.tobytes() + sample.fields["inputs"].tobytes())
            exchange(b"")
        memory.verify()
        assert memory.stats()["items"] == memory.capacity
        transport = options.get("transport", "shm")
        assert memory.transports == ["self" if peer == rank else transport for peer in range(size)]
        exchange(b"")
    return digest.hexdigest()


@pytest.mark.parametrize("size", [2, 4])
def test_lockstep_repeats_bit_for_bit(ranks, size):
    first = ranks(chain, size, 60, 0.0, {}).join()
    assert first == ranks(chain, size, 60, 0.004, {}).join()
    assert first == ranks(chain, size, 60, 0.004, {"transport": "tcp"}).join()
    assert len(set(first)) == size
    assert first != ranks(chain, size, 60, 0.0, {"seed": 6}).join()


def draw_counts(rank, size, exchange):
    counts = {}
    with make(rank, size, exchange, budget=60) as memory:
        for step in range(20):
            fields, labels, ids = batch(rank, step)
            keep = 16 if rank == 0 or step == 0 else 0  # shards fill unequally
            memory.offer({k: v[:keep] for k, v in fields.items()}, labels[:keep], ids[:keep])
        memory.flush()
        exchange(b"")
        empty = batch(rank, 0, 0)
        for _ in range(1500):
            memory.offer(*empty)
            sample = memory.sample()
            for identifier in sample.ids.tolist():
                counts[identifier] = counts.get(identifier, 0) + 1
            exchange(b"")
    return counts


def test_draws_are_uniform_over_unequal_shards(ranks):
    for counts in ranks(draw_counts, 2).join():
        observed = np.array(list(counts.values()), float)
        n, r = len(observed), 7
        assert n == 30 + 6
        statistic = ((observed - observed.mean()) ** 2 / observed.mean()).sum() * (n - 1) / (n - r)
        degrees = n - 1
        assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)


def survive(rank, size, exchange, mode, how, transport):
    memory = make(rank, size, exchange, mode=mode, deadline_ms=1500, transport=transport)
    for step in range(10):
        memory.step(*batch(rank, step))
        exchange(b"")
    if rank == 1:
        os.kill(os.getpid(), how)
    time.sleep(0.3)
    start = time.monotonic()
    try:
        for step in range(10, 20):
            check_rows(memory.step(*batch(rank, step)))
        outcome = memory.sample().population
    except neomem.PeerLost as lost:
        outcome = lost.ranks
    return outcome, time.monotonic() - start


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_lockstep_names_a_dead_or_frozen_peer_in_time(ranks, how, transport):
    outcome, seconds = ranks(survive, 2, "lockstep", how, transport).join(only={0})[0]
    assert outcome == (1,)
    assert seconds < 2.5
    if how == signal.SIGKILL:
        assert seconds < 1.0


def test_free_mode_serves_a_dead_local_peers_records(ranks):
    outcome, _ = ranks(survive, 2, "free", signal.SIGKILL, "shm").join()[0]
    assert outcome == 100


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_free_mode_goes_on_without_a_lost_remote_peer(ranks, how):
    outcome, seconds = ranks(survive, 2, "free", how, "tcp").join(only={0})[0]
    assert outcome == 50
    assert seconds < 2.5


def work_until_killed(rank, size, exchange, folder):
    """Rank 1 offers, draws and saves as fast as it can and is killed at any instant; rank 0 reads its records."""
    memory = make(rank, size, exchange, mode="free", deadline_ms=1500)
    memory.offer(*batch(rank, 0), wait=True)
    exchange(b"")
    if rank == 1:
        for step in range(1, 10**9):
            memory.offer(*batch(rank, step))
            memory.sample()
            if step % 5 == 0:
                memory.save(os.path.join(folder, "shard"))
    deadline = time.monotonic() + 20
    while not os.path.exists(os.path.join(folder, "killed")):
        assert time.monotonic() < deadline
        check_rows(memory.sample())
    for _ in range(300):
        check_rows(memory.sample())
    return memory.stats()["mapped_bytes"]


def test_an_owner_killed_at_any_instant_leaves_whole_records(ranks, tmp_path):
    for trial in range(int(os.environ.get("NEOMEM_KILLS", "3"))):
        folder = tmp_path / str(trial)
        folder.mkdir()
        group = ranks(work_until_killed, 2, str(folder))
        killer = threading.Thread(target=kill_soon, args=(group.processes[1], folder))
        killer.start()
        assert group.join(only={0})[0] > 0
        killer.join()
        if (folder / "shard").exists():
            with make(1, 2, lambda message: [message, message], scope="local", key=b"k") as memory:
                memory.restore([folder / "shard", folder / "shard"])
                memory.verify()


def kill_soon(process, folder):
    while not (folder / "shard").exists():
        time.sleep(0.005)
    time.sleep(random.random() * 0.1)
    process.kill()
    process.join()
    (folder / "killed").touch()


def wrong_key(rank, size, exchange, transport):
    with pytest.raises(neomem.Error, match="key|connect"):
        make(rank, size, exchange, key=b"one" if rank == 0 else b"two", transport=transport)
    return True


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_a_peer_without_the_key_gets_nothing(ranks, transport):
    assert ranks(wrong_key, 2, transport).join() == [True, True]


def descriptors(rank, size, exchange):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        memory = make(rank, size, exchange)
        memory.step(*batch(rank, 0))
        exchange(b"")
        memory.close()
    with open("/proc/self/maps") as maps:
        assert "memfd:neomem" not in maps.read()
    return len(os.listdir("/proc/self/fd")) - before


def test_nothing_leaks(ranks):
    assert ranks(descriptors, 2).join() == [0, 0]
    assert not [name for name in os.listdir("/dev/shm") if "neomem" in name]
