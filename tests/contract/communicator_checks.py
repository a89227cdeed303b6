"""What every communicator promises, checked inside a group of real ranks.

Usage, once per rank: communicator_checks.py NAME [CHECK...]
Every rank prints one line of JSON per check: its name, and what failed. Without checks named, runs all.
"""

import copy
import hashlib
import json
import sys
import time
import traceback

CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def several(communicator):
    return communicator.world.num_ranks > 1


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{function} raised nothing")


@check
def reduces_every_dtype(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    total = n * (n + 1) // 2
    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for dtype in (*floats, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        expected = {"sum": [total, 0], "min": [1, 0], "max": [n, 0]}
        if dtype in floats:
            expected["mean"] = [total / n, 0]
        for op, values in expected.items():
            result = communicator.allreduce(torch.tensor([rank + 1, 0]).to(dtype), op)
            assert result.dtype == dtype
            assert result.tolist() == values, (dtype, op, result)


@check
def reduces_truth_values(communicator):
    import torch

    own = torch.tensor([communicator.world.is_leader, True, False])
    assert communicator.allreduce(own, "max").tolist() == [True, True, False]
    assert communicator.allreduce(own, "min").tolist() == [not several(communicator), True, False]


@check
def sums_of_int64_are_exact(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    # Neither float32 nor float64 can hold these.
    result = communicator.allreduce(torch.tensor([2**60 + rank, -(2**53) - 1 - rank]), "sum")
    others = n * (n - 1) // 2
    assert result.tolist() == [n * 2**60 + others, -n * (2**53 + 1) - others]


@check
def reductions_are_bit_identical_on_all_ranks(communicator):
    import torch

    generator = torch.Generator().manual_seed(communicator.world.rank)
    for size in (1, 7, 1000, 300_001):
        own = torch.randn(size, generator=generator)
        for op in ("sum", "mean"):
            result = communicator.allreduce(own, op)
            digests = communicator.gather_objects(hashlib.sha256(result.numpy().tobytes()).hexdigest())
            assert len(set(digests)) == 1, (size, op)


@check
def reduces_any_shape_into_a_new_tensor(communicator):
    import torch

    n = communicator.world.num_ranks
    whole = torch.ones(4, 6)
    for own in (torch.tensor(1.0), torch.zeros(0, 3), whole, whole.t(), whole[:, ::2]):
        before = own.clone()
        result = communicator.allreduce(own, "sum")
        assert result.shape == own.shape
        assert torch.equal(own, before)
        assert torch.equal(result, before * n)
        assert own.numel() == 0 or result.data_ptr() != own.data_ptr()
    parameter = torch.nn.Parameter(torch.ones(2))
    assert not communicator.allreduce(parameter).requires_grad


@check
def refuses_what_a_dtype_cannot_hold(communicator):
    import torch

    for dtype in (torch.int64, torch.uint8, torch.bool):
        assert "mean" in raises(ValueError, communicator.allreduce, torch.ones(2, dtype=dtype), "mean")
    assert "torch.bool" in raises(ValueError, communicator.allreduce, torch.ones(2, dtype=torch.bool), "sum")
    assert "complex64" in raises(ValueError, communicator.allreduce, torch.ones(2, dtype=torch.complex64), "sum")
    assert "product" in raises(ValueError, communicator.allreduce, torch.ones(2), "product")
    raises(ValueError, communicator.gather_rows, torch.tensor(1.0))


@check
def broadcasts_every_dtype_in_place(communicator):
    import torch

    rank, root = communicator.world.rank, communicator.world.num_ranks - 1
    for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int16, torch.uint8, torch.bool):
        for own in (torch.full((3, 5), rank + 1).to(dtype), torch.full((4, 6), rank + 1).to(dtype).t()[::2]):
            communicator.broadcast(own, root)
            assert torch.equal(own, torch.full_like(own, root + 1)), (dtype, own)
    scalar, empty = torch.tensor(float(rank)), torch.zeros(0)
    parameter = torch.nn.Parameter(torch.full((2,), float(rank)))
    image = torch.full((1, 3, 2, 2), float(rank)).to(memory_format=torch.channels_last)
    for own in (scalar, empty, parameter, image):
        communicator.broadcast(own)
        assert not own.any(), own


@check
def gathers_any_object(communicator):
    import numpy as np

    rank, n = communicator.world.rank, communicator.world.num_ranks
    values = communicator.gather_objects({"rank": rank, "text": "ü" * rank, "none": None})
    assert values == [{"rank": r, "text": "ü" * r, "none": None} for r in range(n)]
    arrays = communicator.gather_objects(np.arange(100_000) if rank == 0 else np.arange(rank))
    assert [len(array) for array in arrays] == [100_000, *range(1, n)]
    assert communicator.gather_objects(None) == [None] * n


@check
def gathers_uneven_rows(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64):
        for width in (1, 3, 4096):
            own = torch.full((rank, width, 2), rank).to(dtype)
            parts = communicator.gather_rows(own)
            assert [tuple(part.shape) for part in parts] == [(r, width, 2) for r in range(n)]
            for r, part in enumerate(parts):
                assert part.dtype == dtype
                assert torch.equal(part, torch.full((r, width, 2), r).to(dtype)), (dtype, width, r)


@check
def gathers_rows_where_ranks_have_none(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    for some in (5, 5000):
        parts = communicator.gather_rows(torch.arange(some if rank == n - 1 else 0))
        assert [len(part) for part in parts] == [0] * (n - 1) + [some]
        assert parts[-1].tolist() == list(range(some))
    assert [tuple(part.shape) for part in communicator.gather_rows(torch.zeros(0, 7))] == [(0, 7)] * n
    strided = torch.arange(12).view(3, 4).t()
    assert all(torch.equal(part, strided) for part in communicator.gather_rows(strided))


@check
def tells_when_rows_do_not_fit(communicator):
    import torch

    from rehearse.core.errors import CommunicationError

    if several(communicator):
        odd = torch.zeros(2, 3) if communicator.world.is_leader else torch.zeros(2, 4)
        assert "ranks disagree in gather_rows" in raises(CommunicationError, communicator.gather_rows, odd)
        odd = torch.zeros(2, dtype=torch.float32 if communicator.world.is_leader else torch.int32)
        assert "torch.int32" in raises(CommunicationError, communicator.gather_rows, odd)
    assert len(communicator.gather_rows(torch.zeros(1))) == communicator.world.num_ranks


@check
def barrier_waits_for_the_last(communicator):
    if communicator.world.is_leader:
        time.sleep(0.2)
    entered_s = time.monotonic()
    communicator.barrier()
    left_s = time.monotonic()
    times = communicator.gather_objects((entered_s, left_s))
    assert max(entered for entered, _ in times) <= min(left for _, left in times)


def network(seed=0):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers = [nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 4)]
    return nn.Sequential(*layers)


def sgd(model, **options):
    import torch

    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, **options})


def samples(num, seed=1):
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, 12, generator=generator), torch.randint(4, (num,), generator=generator)


def share_of_loss(communicator, model, inputs, labels):
    """This rank's part of the mean over all samples; the last rank may hold none."""
    from torch.nn import functional as F

    n = communicator.world.num_ranks
    rows = slice(communicator.world.rank, len(labels) - (n > 1), n)
    if len(labels[rows]) == 0:
        return sum((p * 0).sum() for p in model.parameters())
    used = len(labels) - (n > 1)
    return F.cross_entropy(model(inputs[rows]), labels[rows], reduction="sum") * n / used


def assert_equal_bits(communicator, model):
    bits = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    assert len(set(communicator.gather_objects(hashlib.sha256(bits).hexdigest()))) == 1


@check
def averages_gradients_exactly(communicator):
    import torch
    from torch import nn

    rank, n = communicator.world.rank, communicator.world.num_ranks
    model = nn.ModuleList([nn.Linear(3, 2, bias=False), nn.Linear(2000, 7, bias=False)])
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    for step in range(3):
        optimizer.zero_grad()
        sum(layer.weight.sum() * (rank + 1) * (step + 1) * (i + 1) for i, layer in enumerate(model)).backward()
        optimizer.synchronize()
        for i, layer in enumerate(model):
            mean = (n + 1) / 2 * (step + 1) * (i + 1)
            assert torch.equal(layer.weight.grad, torch.full_like(layer.weight, mean)), (step, i)
        optimizer.step()


@check
def gradient_equals_that_of_one_rank(communicator):
    import torch
    from torch.nn import functional as F

    n = communicator.world.num_ranks
    inputs, labels = samples(17)
    used = len(labels) - (n > 1)
    model, alone = network(), network()
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    optimizer.zero_grad()
    share_of_loss(communicator, model, inputs, labels).backward()
    optimizer.synchronize()
    F.cross_entropy(alone(inputs[:used]), labels[:used]).backward()
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


@check
def strategies_have_the_gradient_of_one_rank(communicator):
    """For vanilla and ER with a fixed set of representatives, and where the minibatch does not divide."""
    import torch

    from rehearse.core import registry
    from rehearse.core.batch import Batch
    from rehearse.core.protocols import StrategyContext
    from rehearse.training.criteria import cross_entropy

    rank, n = communicator.world.rank, communicator.world.num_ranks

    def batch(rows, parts):
        inputs, labels = samples(rows, seed=rows)
        place = rank if parts > 1 else 0
        return Batch(inputs=inputs[place::parts], labels=labels[place::parts], num_global=rows, num_ranks=parts)

    for name in ("vanilla", "er"):
        kind = registry.get("strategies", name)
        gradients = []
        for parts in (n, 1):
            model = network()
            context = StrategyContext(model=model, criterion=cross_entropy, communicator=communicator)
            draws = (batch(3 * n, parts),) * len(kind.draws)
            optimizer = communicator.wrap_optimizer(sgd(model), model) if parts == n else None
            kind(kind.Config(), context).loss(batch(8 * n - 3, parts), draws).backward()
            if optimizer is not None:
                optimizer.synchronize()
            gradients.append([parameter.grad for parameter in model.parameters()])
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@check
def parameters_stay_equal_with_uneven_data(communicator):
    model = network()
    optimizer = communicator.wrap_optimizer(sgd(model, weight_decay=1e-3), model)
    for step in range(5):
        # Fewer samples from step to step, in the end fewer than ranks.
        inputs, labels = samples(9 - 2 * step, seed=step)
        optimizer.zero_grad()
        share_of_loss(communicator, model, inputs, labels).backward()
        optimizer.synchronize()
        optimizer.step()
        assert_equal_bits(communicator, model)


@check
def ranks_may_use_different_parameters(communicator):
    import torch
    from torch import nn

    rank, n = communicator.world.rank, communicator.world.num_ranks
    model = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(n + 1))
    before = model[n].weight.detach().clone()
    optimizer = communicator.wrap_optimizer(sgd(model, weight_decay=0.5), model)
    for _ in range(2):
        optimizer.zero_grad()
        model[rank].weight.sum().backward()
        optimizer.synchronize()
        for layer in model[:n]:
            assert torch.equal(layer.weight.grad, torch.full((2, 2), 1 / n))
        assert model[n].weight.grad is None
        optimizer.step()
    # As on one rank, what nobody used does not decay either.
    assert torch.equal(model[n].weight, before)


@check
def gradients_may_change_before_the_step(communicator):
    import torch

    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = communicator.wrap_optimizer(sgd(model, lr=1.0, momentum=0.0), model)
    inputs, labels = samples(8)
    optimizer.zero_grad()
    share_of_loss(communicator, model, inputs, labels).backward()
    optimizer.synchronize()
    # A second average would show: ranks change their gradients differently.
    for p in model.parameters():
        p.grad.fill_(float(communicator.world.rank + 1))
    optimizer.step()
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p.detach(), old - (communicator.world.rank + 1))


@check
def accumulates_several_backward_passes(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    for _ in range(2):
        optimizer.zero_grad()
        with optimizer.accumulate():
            (model.weight.sum() * (rank + 1)).backward()
            model.weight.sum().backward()
        model.weight.sum().backward()
        optimizer.synchronize()
        assert torch.equal(model.weight.grad, torch.full((2, 3), (n + 1) / 2 + 2))
        optimizer.step()


@check
def refuses_steps_in_wrong_order(communicator):
    import torch

    if not several(communicator):
        return
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    optimizer.zero_grad()
    model.weight.sum().backward()
    assert "synchronize" in raises(RuntimeError, optimizer.step)
    assert "accumulate" in raises(RuntimeError, model.weight.sum().backward)
    optimizer.zero_grad()
    model.weight.sum().backward()
    optimizer.synchronize()
    assert torch.equal(model.weight.grad, torch.ones(2, 3))
    optimizer.step()


@check
def follows_parameters_that_freeze_and_thaw(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    model = torch.nn.ModuleList(torch.nn.Linear(2, 2, bias=False) for _ in range(2))
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    for frozen in (None, 0, 1, None):
        for index, layer in enumerate(model):
            layer.requires_grad_(index != frozen)
        optimizer.zero_grad()
        sum(layer.weight.sum() * (rank + 1) for layer in model).backward()
        optimizer.synchronize()
        for index, layer in enumerate(model):
            expected = None if index == frozen else torch.full((2, 2), (n + 1) / 2)
            assert expected is layer.weight.grad or torch.equal(expected, layer.weight.grad)
        optimizer.step()


@check
def a_model_may_be_wrapped_again(communicator):
    import torch

    rank, n = communicator.world.rank, communicator.world.num_ranks
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    optimizer.zero_grad()
    (model.weight.sum() * (rank + 1)).backward()
    optimizer.synchronize()
    assert torch.equal(model.weight.grad, torch.full((2, 3), (n + 1) / 2))


@check
def averages_half_precision_parameters(communicator):
    import torch
    from torch import nn

    rank, n = communicator.world.rank, communicator.world.num_ranks
    model = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2, dtype=torch.bfloat16), nn.Linear(2, 2)])
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    optimizer.zero_grad()
    sum(layer.weight.float().sum() * (rank + 1) for layer in model).backward()
    optimizer.synchronize()
    for layer in model:
        assert layer.weight.grad.dtype == layer.weight.dtype
        assert torch.equal(layer.weight.grad, torch.full_like(layer.weight, (n + 1) / 2))
    optimizer.step()


@check
def reset_state_forgets_everything(communicator):
    import torch

    for kind, options in ((torch.optim.SGD, {"momentum": 0.9}), (torch.optim.AdamW, {}), (torch.optim.RMSprop, {})):
        model = network()
        inner = kind(model.parameters(), lr=0.01, **options)
        optimizer = communicator.wrap_optimizer(inner, model)

        def steps(optimizer, model, seed):
            for step in range(2):
                optimizer.zero_grad()
                share_of_loss(communicator, model, *samples(9, seed=seed + step)).backward()
                optimizer.synchronize()
                optimizer.step()

        steps(optimizer, model, 0)
        assert optimizer.state_dict()["state"]
        optimizer.reset_state()
        assert not optimizer.state_dict()["state"]
        fresh = network()
        fresh.load_state_dict(model.state_dict())
        steps(optimizer, model, 7)
        steps(communicator.wrap_optimizer(kind(fresh.parameters(), lr=0.01, **options), fresh), fresh, 7)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True)), kind


@check
def state_survives_saving_and_loading(communicator):
    import torch

    model = network()
    optimizer = communicator.wrap_optimizer(sgd(model), model)

    def step(optimizer, model):
        optimizer.zero_grad()
        share_of_loss(communicator, model, *samples(9)).backward()
        optimizer.synchronize()
        optimizer.step()

    step(optimizer, model)
    twin = network(seed=5)
    restored = communicator.wrap_optimizer(sgd(twin), twin)
    twin.load_state_dict(model.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.param_groups[0]["lr"] = restored.param_groups[0]["lr"] = 0.05
    step(optimizer, model)
    step(restored, twin)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@check
def trains_to_the_same_bits(communicator):
    """Prints the digest that another launch must print as well."""
    model = network()
    optimizer = communicator.wrap_optimizer(sgd(model), model)
    for step in range(40):
        optimizer.zero_grad()
        share_of_loss(communicator, model, *samples(33, seed=step)).backward()
        optimizer.synchronize()
        optimizer.step()
    assert_equal_bits(communicator, model)
    bits = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print(json.dumps({"digest": hashlib.sha256(bits).hexdigest()}), flush=True)


def main():
    from rehearse.core import registry
    from rehearse.core.config import validate
    from rehearse.core.failure import abort_on_error
    from rehearse.core.world import World

    name, *wanted = sys.argv[1:]
    kind = registry.get("communicators", name)
    # Small buckets, so that even a small network has several in flight.
    options = {} if name == "single" else {"timeout_s": 30, "bucket_mib": 0.001}
    config = validate(kind.Config, {"name": name, **options}, source="contract")
    communicator = kind(config, World.from_env())
    with abort_on_error(communicator):
        for check_name in wanted or CHECKS:
            error = None
            try:
                CHECKS[check_name](communicator)
            except Exception:
                error = traceback.format_exc()
            print(json.dumps({"check": check_name, "error": error}), flush=True)
        communicator.close()


if __name__ == "__main__":
    main()
