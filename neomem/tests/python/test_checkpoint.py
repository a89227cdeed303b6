"""Save, die, restore: the same stream of draws, at the same number of ranks; the same law at another."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import threading
import time
from pathlib import Path

import neomem
import numpy as np
import pytest
from neomem import checkpoint
from test_processes import batch, check_rows, make


def walk(rank, size, exchange, folder, steps, saves, restore_from):
    """Hash of all samples from the first save on; `saves` says after which steps, and on which base."""
    digest = hashlib.sha256()
    with make(rank, size, exchange) as memory:
        first = 0
        if restore_from is not None:
            checkpoint.restore(memory, Path(folder), restore_from)
            first = memory.round()
            memory.prefetch()  # the draw that was in flight
            exchange(b"")
        for step in range(first, steps):
            if step > 0:
                sample = memory.take()
                check_rows(sample)
                digest.update(sample.ids.tobytes() + sample.fields["inputs"].tobytes())
            memory.offer(*batch(rank, step))
            memory.prefetch()
            exchange(b"")
            if step in saves:
                checkpoint.save(memory, Path(folder), f"step-{step}", rank=rank, exchange=exchange, base=saves[step])
                digest = hashlib.sha256()
        exchange(b"")
    return digest.hexdigest()


@pytest.mark.parametrize("size", [1, 3])
def test_a_restored_run_continues_bit_for_bit(ranks, tmp_path, size):
    expected = ranks(walk, size, str(tmp_path), 60, {30: None}, None).join()
    assert ranks(walk, size, str(tmp_path), 60, {}, "step-30").join() == expected


def test_increments_restore_like_full_checkpoints(ranks, tmp_path):
    expected = ranks(walk, 2, str(tmp_path), 50, {20: None, 40: "step-20"}, None).join()
    full, change = (sum(f.stat().st_size for f in (tmp_path / tag).glob("*.neo")) for tag in ("step-20", "step-40"))
    assert change <= full
    assert ranks(walk, 2, str(tmp_path), 50, {}, "step-40").join() == expected


def reshard(rank, size, exchange, folder):
    with make(rank, size, exchange) as memory:
        checkpoint.restore(memory, Path(folder), "step-30")
        memory.verify()
        exchange(b"")
        sample = memory.sample()
        check_content(sample)
        exchange(b"")
        memory.offer(*batch(rank, 100 + rank))
        memory.verify()
        return memory.stats()["items"], sample.population


def check_content(sample):
    assert (sample.fields["inputs"] == (sample.ids * 7 % 251)[:, None, None, None]).all()


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2)])
def test_shards_are_dealt_to_another_number_of_ranks(ranks, tmp_path, before, after):
    ranks(walk, before, str(tmp_path), 31, {30: None}, None).join()
    results = ranks(reshard, after, str(tmp_path)).join()
    assert [population for _, population in results] == [100] * after
    assert sum(items for items, _ in results) == 100


def test_dump_and_restore_through_an_array():
    with make(0, 1, None) as memory, make(0, 1, None) as again:
        for step in range(20):
            memory.offer(*batch(0, step))
        image = memory.dump()
        assert image.dtype == np.uint8
        again.restore([image])
        assert again.sample().ids.tolist() == memory.sample().ids.tolist()
        with pytest.raises(neomem.Error, match="only a new shard"):
            again.restore([image])
    broken = image.copy()
    broken[len(broken) // 2] ^= 1
    with make(0, 1, None) as other, pytest.raises(neomem.CheckpointError):
        other.restore([broken])


def test_saving_does_not_hold_up_the_engine(tmp_path):
    fields = {"inputs": ("uint8", (3, 224, 224))}
    rows = {"inputs": np.ones((14, 3, 224, 224), np.uint8)}
    labels = np.arange(14)
    with neomem.Memory(fields, budget=1500, num_classes=14, max_batch=14) as memory:
        for _ in range(110):
            memory.offer(rows, labels)
        memory.flush()
        thread = threading.Thread(target=memory.save, args=(tmp_path / "shard",))
        thread.start()
        rounds = 0
        while thread.is_alive():
            memory.step(rows, labels)
            rounds += 1
        thread.join()
    assert rounds > 5
    with neomem.Memory(fields, budget=1500, num_classes=14, max_batch=14) as again:
        again.restore([tmp_path / "shard"])
        again.verify()


def test_a_full_disk_is_an_error_and_the_previous_checkpoint_stays(tmp_path):
    with make(0, 1, None) as memory, make(0, 1, None) as again:
        for step in range(20):
            memory.offer(*batch(0, step))
        memory.save(tmp_path / "shard")
        good = (tmp_path / "shard").read_bytes()
        memory.offer(*batch(0, 20))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        try:
            with pytest.raises(neomem.CheckpointError, match="writing failed"):
                memory.save(tmp_path / "shard")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert (tmp_path / "shard").read_bytes() == good
        assert [path.name for path in tmp_path.iterdir()] == ["shard"]
        again.restore([tmp_path / "shard"])
        memory.offer(*batch(0, 21))
        memory.verify()


def save_for_ever(rank, size, exchange, folder):
    with make(rank, size, exchange) as memory:
        for step in range(30):
            memory.offer(*batch(rank, step))
        Path(folder, "ready").touch()
        for step in range(30, 10**6):
            memory.offer(*batch(rank, step))
            memory.save(Path(folder, "shard"))


def test_a_kill_during_a_save_leaves_a_whole_checkpoint(ranks, tmp_path):
    for trial in range(8):
        group = ranks(save_for_ever, 1, str(tmp_path))
        while not (tmp_path / "shard").exists():
            time.sleep(0.01)
        time.sleep(random.random() * 0.1)
        os.kill(group.processes[0].pid, signal.SIGKILL)
        group.processes[0].join()
        with make(0, 1, None) as memory:
            memory.restore([tmp_path / "shard"])
            memory.verify()
            check_rows(memory.sample())
        if trial % 2:
            (tmp_path / "shard").unlink()


def test_an_incomplete_checkpoint_is_named(tmp_path):
    exchange = lambda message: [message]  # noqa: E731
    with make(0, 1, exchange) as memory:
        memory.offer(*batch(0, 0))
        checkpoint.save(memory, tmp_path, "a", rank=0, exchange=exchange)
    with make(0, 1, exchange) as memory:
        with pytest.raises(neomem.CheckpointError, match="not complete"):
            checkpoint.restore(memory, tmp_path, "b")
        shard = tmp_path / "a" / "rank-0.neo"
        content = shard.read_bytes()
        shard.write_bytes(content[:-1])
        with pytest.raises(neomem.CheckpointError, match=r"rank-0.neo: has \d+ bytes"):
            checkpoint.restore(memory, tmp_path, "a")
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(neomem.CheckpointError, match="is damaged"):
            checkpoint.restore(memory, tmp_path, "a")
