"""Campaign documents for tests: a small valid one to spoil, and a Hypothesis strategy of valid ones."""

import copy

from hypothesis import strategies as st

SMALL = {
    "name": "small",
    "datasets": {
        "digits": {
            "dataset": {"name": "digits"},
            "scenario": {"name": "class", "increment": 2},
            "backbone": {"name": "mnistnet"},
            "training": {"epochs": 2, "lr": 0.1},
        }
    },
    "strategies": {
        "incremental": {"strategy": {"name": "vanilla"}},
        "er": {"strategy": {"name": "er"}, "buffer": {"name": "python", "budget": 100}},
    },
    "matrix": [{"datasets": ["digits"], "strategies": ["incremental", "er"], "scalings": ["n1r1"], "seeds": [1, 2]}],
}


def small(**changes):
    """The small campaign with changes by dotted path, such as ``datasets__digits__training__epochs=3``."""
    document = copy.deepcopy(SMALL)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key]
        place[last] = value
    return document


labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
scalings = st.builds("n{}r{}".format, st.integers(1, 64), st.integers(1, 16))


def _several(values, most=3):
    return st.lists(values, min_size=1, max_size=most, unique=True)


@st.composite
def documents(draw):
    """Valid campaigns of one block, with plain plug-ins."""
    datasets, strategies = draw(_several(labels)), draw(_several(labels))
    variant = {"dataset": {"name": "digits"}, "backbone": {"name": "mnistnet"}}
    return {
        "name": draw(labels),
        "datasets": dict.fromkeys(datasets, variant),
        "strategies": {label: {"strategy": {"name": "vanilla"}} for label in strategies},
        "matrix": [
            {
                "datasets": draw(st.permutations(datasets)),
                "strategies": draw(st.permutations(strategies)),
                "scalings": draw(_several(scalings)),
                "seeds": draw(_several(st.integers(0, 2**31), 4)),
            }
        ],
    }
