"""Fabricated campaigns: run directories as training leaves them, with numbers that look like continual learning."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from rehearse.core.campaign import Campaign, load_campaign
from rehearse.core.cell import Cell
from rehearse.core.records import Metrics, PhaseTimes, RunFiles, Summary, write_atomically

LONG = "er_with_a_global_scope_reservoir_policy_and_seven_representatives_drawn_without_replacement"
STRATEGIES = {
    "incremental": {"strategy": {"name": "vanilla"}},
    "from_scratch": {"strategy": {"name": "vanilla", "reset_state_dict": True}, "concatenate_tasksets": True},
    "er": {"strategy": {"name": "er"}, "buffer": {"name": "python", "rehearsal_ratio": 30}},
}
# Share of what was learnt that is left after each later task.
RETENTION = {"incremental": 0.05, "from_scratch": 0.99, "er": 0.95}


@dataclass
class Fabricated:
    """A campaign file, the results below it, and what they were made from."""

    path: Path
    results: Path
    campaign: Campaign = field(init=False)

    def __post_init__(self):
        self.campaign = load_campaign(self.path)

    def files(self, cell: Cell) -> RunFiles:
        return RunFiles(cell.directory(self.results))


def write_campaign(path, *, datasets=("digits",), strategies=tuple(STRATEGIES), scalings=("n1r1",), seeds=(1,), **more):
    variant = {"dataset": {"name": "digits"}, "backbone": {"name": "mnistnet"}}
    matrix = {"datasets": datasets, "strategies": strategies, "scalings": scalings, "seeds": seeds}
    document = {
        "name": "paper",
        "description": "Rehearsal remembers <at> a fraction of the cost.",
        "datasets": dict.fromkeys(datasets, variant),
        "strategies": {label: STRATEGIES.get(label, STRATEGIES["er"]) for label in strategies},
        "matrix": [{key: list(value) for key, value in matrix.items()}],
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def make_matrix(strategy, num_tasks, noise, top):
    """A lower-triangular accuracy matrix, with the next task evaluated too, as training does."""
    kept = RETENTION.get(strategy, 0.9)
    rows = []
    for after in range(num_tasks):
        seen = [max(0.0, top * kept ** (after - on) + noise.uniform(-0.03, 0.0)) for on in range(after + 1)]
        ahead = [noise.uniform(0, 0.05)] if after + 1 < num_tasks else []
        rows.append((*seen, *ahead, *[None] * (num_tasks - len(seen) - len(ahead))))
    return tuple(rows)


def make_metrics(matrix):
    last = len(matrix) - 1
    rows = [sum(row[: task + 1]) / (task + 1) for task, row in enumerate(matrix)]
    if last == 0:
        return Metrics(faa=rows[-1], caa=rows[-1], forgetting=None, bwt=None, fwt=None)
    drops = [matrix[task][task] - matrix[last][task] for task in range(last)]
    best = [max(row[task] for row in matrix[task:-1]) - matrix[last][task] for task in range(last)]
    return Metrics(
        faa=rows[-1],
        caa=sum(rows) / len(rows),
        forgetting=sum(best) / last,
        bwt=-sum(drops) / last,
        fwt=sum(matrix[task - 1][task] for task in range(1, last + 1)) / last - 0.1,
    )


def make_phases(cell, noise, background):
    mean_ms = {"load": 0.4, "train": 6.0 / cell.num_ranks**0.3}
    if "er" in cell.strategy:
        mean_ms |= {"wait": 0.3, "assemble": 0.5}
        mean_ms |= dict.fromkeys(("populate", "plan", "fetch", "copy"), 0.8) if background else {}
    return {
        name: PhaseTimes(mean_ms=(ms := mean * noise.uniform(0.9, 1.1)), p50_ms=ms, p99_ms=2 * ms, total_s=ms)
        for name, mean in mean_ms.items()
    }


def make_summary(cell, *, num_tasks=5, background=False):
    noise = random.Random(cell.canonical_json())
    top1 = make_matrix(cell.strategy, num_tasks, noise, top=0.98)
    top5 = tuple(tuple(None if value is None else min(1.0, value + 0.02) for value in row) for row in top1)
    grows = cell.strategy == "from_scratch"
    # From scratch, task t trains on t times the data; rehearsal adds representatives to each minibatch.
    cost = [task + 1 if grows else 1.3 if "er" in cell.strategy else 1.0 for task in range(num_tasks)]
    step_s = 1.5 * noise.uniform(0.9, 1.1) / cell.num_ranks**0.8
    return Summary(
        cell=cell,
        num_ranks=cell.num_ranks,
        num_nodes=cell.num_nodes,
        num_tasks=num_tasks,
        classes=tuple((2 * task, 2 * task + 1) for task in range(num_tasks)),
        num_train_samples=1437,
        num_parameters=42000,
        top1=top1,
        top5=top5,
        top1_untrained=(0.1,) * num_tasks,
        metrics_top1=make_metrics(top1),
        metrics_top5=make_metrics(top5),
        num_steps=(144,) * num_tasks,
        training_s=tuple(step_s * factor for factor in cost),
        evaluation_s=(0.2,) * num_tasks,
        startup_s=2.5,
        phases=make_phases(cell, noise, background),
        timing_overhead_fraction=0.002,
        buffer={"stored": 430.0, "payload_bytes": 27520.0} if "er" in cell.strategy else None,
        buffer_fill=({"0": 43, "1": 43},) * cell.num_ranks if "er" in cell.strategy else None,
        parameter_sha256="0" * 64,
    )


def make_provenance(cell):
    return {
        "format": 1,
        "started_at": f"2025-01-0{1 + cell.seed % 9}T00:00:00+00:00",
        "config": cell.model_dump(mode="json"),
        "code": {"rehearse": "0.1", "commit": "0123456789abcdef", "dirty": False},
        "versions": {"python": "3.11.2", "torch": "2.13.0"},
        "scheduler": {},
        "ranks": [{"rank": rank, "host": "node<1>", "device": "cpu"} for rank in range(cell.num_ranks)],
    }


def fabricate(folder, *, num_tasks=5, background=False, **matrix):
    """Write a campaign and a finished run directory for each of its cells."""
    made = Fabricated(write_campaign(folder / "paper.yaml", **matrix), folder / "results")
    for cell in made.campaign.cells():
        files = made.files(cell)
        write_atomically(
            files.summary, make_summary(cell, num_tasks=num_tasks, background=background).model_dump_json()
        )
        write_atomically(files.provenance, json.dumps(make_provenance(cell)))
    return made


FULL = {"datasets": ("digits", "cifar10"), "scalings": ("n1r1", "n1r2"), "seeds": (1, 2, 3)}
VARIANTS = {
    "full": FULL,
    "quick": {"scalings": ("n1r1", "n1r2"), "seeds": (1, 2, 3)},
    "one_seed": {**FULL, "seeds": (1,)},
    "one_strategy": {**FULL, "strategies": ("er",)},
    "twenty_tasks": {"num_tasks": 20, "seeds": (1, 2)},
    "one_task": {"num_tasks": 1, "seeds": (1, 2)},
    "one_cell": {"strategies": ("er",)},
    "long_labels": {
        "datasets": ("a_dataset_with_a_very_long_label_of_its_own",),
        "strategies": ("incremental", LONG, LONG.replace("global", "local")),
        "scalings": ("n1r1", "n16r8"),
        "seeds": (1, 2, 3),
    },
    "background": {"background": True, "seeds": (1, 2)},
    "many": {
        "strategies": ("incremental", "from_scratch", "er", "der", "derpp", "agem", "icarl", "er_small", "er_large"),
        "scalings": ("n1r1", "n1r4", "n2r4", "n4r4", "n8r4"),
        "num_tasks": 10,
        "seeds": (1, 2, 3),
    },
}


@pytest.fixture(scope="session")
def variant(tmp_path_factory):
    """Gives the fabricated campaign of a name in VARIANTS; made once, not to be changed."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = fabricate(tmp_path_factory.mktemp(name), **VARIANTS[name])
        return made[name]

    return make


@pytest.fixture
def fabricated(tmp_path):
    """A function that writes a campaign and its results into a folder of this test."""
    return lambda **choices: fabricate(tmp_path, **choices)
