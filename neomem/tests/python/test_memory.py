"""One rank: arrays in, arrays out, and every wrong input."""

from __future__ import annotations

import os
import threading
import time

import neomem
import numpy as np
import pytest

FIELDS = {"inputs": ("uint8", (3, 4, 4)), "logits": ("float16", (5,)), "half": ("bfloat16", (2, 2))}


def make(**options):
    defaults = {"budget": 40, "num_classes": 10, "candidates": 6, "max_batch": 32, "seed": 3}
    return neomem.Memory(FIELDS, **{**defaults, **options})


def batch(n, start=0, label=None):
    ids = np.arange(start, start + n, dtype=np.uint64)
    labels = (ids % 10).astype(np.int64) if label is None else np.full(n, label)
    small = (ids % 200).astype(np.uint8)
    fields = {
        "inputs": np.broadcast_to(small[:, None, None, None], (n, 3, 4, 4)).copy(),
        "logits": np.broadcast_to(small[:, None], (n, 5)).astype(np.float16),
        "half": np.broadcast_to(ids[:, None, None], (n, 2, 2)).astype(np.uint16),
    }
    return fields, labels, ids


def check_rows(fields, labels, ids):
    assert (labels == ids % 10).all()
    assert (fields["inputs"] == (ids % 200)[:, None, None, None]).all()
    assert (fields["logits"] == (ids % 200)[:, None]).all()
    assert (fields["half"] == ids[:, None, None]).all()


def test_records_come_back_whole_with_all_their_fields():
    with make() as memory:
        for step in range(50):
            sample = memory.step(*batch(32, 32 * step))
            assert len(sample) == (min(7, 6 * step) if step < 2 else 7)
            assert sample.fields["inputs"].shape == (len(sample), 3, 4, 4)
            assert sample.fields["logits"].dtype == np.float16
            check_rows(sample.fields, sample.labels, sample.ids)
            assert len(set(sample.ids.tolist())) == len(sample)
            assert sample.round == step
        memory.verify()
        assert memory.fill() == dict.fromkeys(range(10), 4)
        stats = memory.stats()
        assert stats["items"] == stats["capacity"] == 40
        assert stats["offered_rows"] == 50 * 32
        assert stats["candidate_rows"] == 50 * 6


def test_samples_are_views_that_outlive_the_memory():
    memory = make()
    memory.offer(*batch(20))
    sample = memory.sample()
    fields, labels, ids = sample.fields, sample.labels, sample.ids
    memory.close()
    check_rows(fields, labels, ids)
    assert not fields["inputs"].flags.owndata


def test_offers_keep_the_arrays_alive():
    with make() as memory:
        for step in range(200):
            memory.offer(*batch(32, 32 * step))
        memory.flush()
        memory.verify()
        check_rows((sample := memory.sample()).fields, sample.labels, sample.ids)


def test_augmented_minibatch():
    with make(augmented=True) as memory:
        memory.offer(*batch(20))
        memory.prefetch()
        fields, labels, _ids = batch(9, 100)
        memory.assemble(fields, labels)
        sample = memory.take()
        assert (sample.augmented_labels == np.concatenate([labels, sample.labels])).all()
        for name, rows in sample.augmented_fields.items():
            assert (rows == np.concatenate([fields[name], sample.fields[name]])).all()
            assert rows.flags.c_contiguous
        memory.prefetch()
        assert len(memory.take().augmented_labels) == 6


def test_plan_write_commit():
    with make() as memory:
        fields, labels, ids = batch(32)
        rows, slots = memory.plan(labels)
        assert len(set(rows.tolist())) == 6
        for name in fields:
            memory.slots(name)[slots] = fields[name][rows]
        memory.commit(ids)
        sample = memory.sample()
        assert set(sample.ids.tolist()) == set(rows.tolist())
        check_rows(sample.fields, sample.labels, sample.ids)


def test_two_seeds_differ_and_one_repeats():
    def run(seed):
        with make(seed=seed) as memory:
            return [memory.step(*batch(32, 32 * step)).ids.tolist() for step in range(20)]

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, y, i: ({**f, "inputs": f["inputs"].astype(np.int8)}, y, i), "inputs: dtype is int8, expected uint8"),
        (lambda f, y, i: ({**f, "logits": f["logits"].astype(np.float32)}, y, i), "logits: dtype is float32"),
        (lambda f, y, i: ({**f, "inputs": f["inputs"][:, :2]}, y, i), "inputs: shape is"),
        (lambda f, y, i: ({**f, "inputs": f["inputs"][:5]}, y, i), "inputs: shape is"),
        (lambda f, y, i: ({**f, "inputs": np.asfortranarray(f["inputs"])}, y, i), "inputs: rows must be contiguous"),
        (lambda f, y, i: ({**f, "inputs": f["inputs"].tolist()}, y, i), "inputs: expected a numpy array"),
        (lambda f, y, i: ({k: f[k] for k in ("inputs", "half")}, y, i), 'field "logits" is missing'),
        (lambda f, y, i: ({**f, "more": f["half"]}, y, i), "fields that records do not have"),
        (lambda f, y, i: (f, y.astype(np.int32), i), "labels: dtype is int32, expected int64"),
        (lambda f, y, i: (f, y[:, None], i), "labels: shape is"),
        (lambda f, y, i: (f, np.where(y == 3, 10, y), i), r"labels: row 3 is 10, not in \[0, 10\)"),
        (lambda f, y, i: (f, np.where(y == 3, -1, y), i), "labels: row 3 is -1"),
        (lambda f, y, i: (f, y, i.astype(np.int64)), "ids: dtype is int64, expected uint64"),
        (lambda f, y, i: (f, y, i[:2]), "ids: shape is"),
        (lambda f, y, i: batch(33), "more than max_batch 32"),
    ],
)
def test_wrong_rows_are_refused_before_anything_is_stored(change, message):
    with make() as memory:
        with pytest.raises(neomem.SchemaError, match=message) as caught:
            memory.offer(*change(*batch(20)))
        assert isinstance(caught.value, ValueError)
        assert memory.round() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget must be in"),
        ({"policy": "lifo"}, 'unknown policy "lifo"; known are class_quota, reservoir'),
        ({"mode": "fast"}, 'unknown mode "fast"'),
        ({"scope": "world"}, 'unknown scope "world"'),
        ({"transport": "mail"}, 'unknown transport "mail"'),
        ({"size": 2}, "`exchange` is needed"),
        ({"rank": 1}, "rank 1 is not below size 1"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(neomem.ConfigError, match=message):
        make(**options)


def test_too_much_memory_is_refused_with_both_numbers():
    with pytest.raises(neomem.MemoryBudgetError, match="lower the budget") as caught:
        make(budget=10**9 * 2)
    assert caught.value.asked_bytes > 2 * 10**9 * 64
    assert caught.value.available_bytes < caught.value.asked_bytes
    assert isinstance(caught.value, MemoryError)


def test_waits_end_with_their_timeout():
    with make() as memory:
        for _ in range(3):
            memory.prefetch()
        with pytest.raises(neomem.Timeout, match="no free slab"):
            memory.prefetch(timeout_ms=50)
        for _ in range(3):
            memory.take()
        with pytest.raises(neomem.Error, match="no such draw"):
            memory.take()


def test_closed_memory_says_so():
    memory = make()
    memory.close()
    memory.close()
    for call in (memory.prefetch, memory.take, memory.stats, memory.fill, lambda: memory.offer(*batch(2))):
        with pytest.raises(neomem.ClosedError):
            call()


def test_forked_child_gets_an_error_and_does_no_harm():
    memory = make()
    memory.offer(*batch(32))
    memory.flush()
    child = os.fork()
    if child == 0:
        calls = (lambda: memory.sample(timeout_ms=1000), lambda: memory.slots("inputs"), lambda: memory.staging)
        refused = 0
        for call in calls:
            try:
                call()
            except neomem.ClosedError:
                refused += 1
        code = len(calls) - refused
        del memory
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    memory.offer(*batch(32, 50))
    assert len(memory.sample()) == 7
    memory.close()


def test_the_gil_is_free_while_waiting():
    def late_exchange(message):
        return [message]

    with make(exchange=late_exchange) as memory:
        for _ in range(3):
            memory.prefetch()
        memory.flush()
        ticks = []
        thread = threading.Thread(target=lambda: [ticks.append(time.sleep(0.01)) for _ in range(10)])
        thread.start()
        with pytest.raises(neomem.Timeout):
            memory.prefetch(timeout_ms=300)
        assert len(ticks) == 10
        thread.join()


def test_resident_memory_is_constant():
    def resident_kb():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    with make() as memory:
        rows = batch(32)
        for _ in range(5000):
            memory.step(*rows)
        before = resident_kb()
        for _ in range(int(os.environ.get("NEOMEM_RSS_ROUNDS", "100000"))):
            memory.step(*rows)
        assert resident_kb() - before < 512


def test_quota_functions_agree_with_the_budget():
    assert sum(neomem.shard_capacity(13, 4, rank) for rank in range(4)) == 13
    assert sum(neomem.class_quota(13, 10, position, 4, rank) for rank in range(4) for position in range(10)) == 13
