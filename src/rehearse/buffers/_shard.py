"""One rank's part of the buffer: preallocated arrays, and which slots hold which class."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rehearse.core.errors import RehearsalError
from rehearse.core.protocols import RecordField

_LABEL_BYTES = 8


class Layout:
    """How a representative travels: its label, then its fields, as one row of bytes.

    Args:
        fields: Fields of a representative, without the label.

    Raises:
        RehearsalError: A dtype that torch does not know.
    """

    def __init__(self, fields: Mapping[str, RecordField]) -> None:
        self.dtypes = {name: _torch_dtype(name, field.dtype) for name, field in fields.items()}
        self.shapes = {name: tuple(field.shape) for name, field in fields.items()}
        self._widths = {name: math.prod(self.shapes[name]) * self.dtypes[name].itemsize for name in fields}

    @property
    def row_bytes(self) -> int:
        return _LABEL_BYTES + sum(self._widths.values())

    def pack(self, labels: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        """``(n, row_bytes)`` uint8 of n labels and the n rows of each field."""
        columns = [labels.view(torch.uint8).reshape(len(labels), _LABEL_BYTES)]
        for name, width in self._widths.items():
            flat = fields[name].contiguous().reshape(len(labels), math.prod(self.shapes[name]))
            columns.append(flat.view(torch.uint8).reshape(len(labels), width))
        return torch.cat(columns, dim=1)

    def unpack(self, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Labels and fields of packed rows, in new memory."""
        labels, start = _typed(rows[:, :_LABEL_BYTES], torch.int64).reshape(len(rows)), _LABEL_BYTES
        fields = {}
        for name, width in self._widths.items():
            column = rows[:, start : start + width]
            fields[name] = _typed(column, self.dtypes[name]).reshape(len(rows), *self.shapes[name])
            start += width
        return labels, fields


class Shard:
    """Slots ``[0, size)`` hold representatives; a removed one is replaced by the last.

    Finding, adding and removing a slot of a class takes the same time at any size.

    Args:
        capacity: Slots.
        layout: What a slot holds.

    Raises:
        RehearsalError: The arrays do not fit into memory.
    """

    def __init__(self, capacity: int, layout: Layout) -> None:
        self.capacity = capacity
        self.layout = layout
        self.size = 0
        try:
            self.fields = {
                name: torch.zeros((capacity, *layout.shapes[name]), dtype=dtype)
                for name, dtype in layout.dtypes.items()
            }
            self.labels = torch.zeros(capacity, dtype=torch.int64)
        except RuntimeError as error:
            raise RehearsalError(
                f"a shard of {capacity} slots needs {capacity * layout.row_bytes} bytes, which this machine does not "
                f"give; lower rehearsal_ratio or use more nodes ({error})"
            ) from None
        self._label_of = self.labels.numpy()  # the same memory, quicker to index one by one
        self._slots: dict[int, list[int]] = {}
        self._place = np.zeros(capacity, dtype=np.int64)  # of each slot in its class's list

    @property
    def num_bytes(self) -> int:
        """Size of the reserved arrays."""
        return self.capacity * self.layout.row_bytes

    def slots_of(self, label: int) -> Sequence[int]:
        """Slots that hold a class, in no particular order."""
        return self._slots.get(label, ())

    def fill(self) -> dict[int, int]:
        """Representatives by class, ascending, without classes that have none."""
        return {label: len(slots) for label, slots in sorted(self._slots.items()) if slots}

    def claim(self, label: int) -> int:
        """Give the next free slot to a class."""
        slot = self.size
        self.size += 1
        self._attach(slot, label)
        return slot

    def reassign(self, slot: int, label: int) -> None:
        """Give a slot in use to another class."""
        self._detach(slot)
        self._attach(slot, label)

    def remove(self, slot: int) -> None:
        """Forget what a slot holds."""
        last = self.size - 1
        self._detach(slot)
        if slot != last:
            label = int(self._label_of[last])
            self._detach(last)
            self._attach(slot, label)
            for rows in self.fields.values():
                rows[slot] = rows[last]
        self.size = last

    def write(self, slots: Sequence[int], fields: Mapping[str, Tensor], rows: Sequence[int]) -> None:
        """Copy some rows of each field into slots that were claimed or reassigned."""
        for name, stored in self.fields.items():
            stored[list(slots)] = fields[name][list(rows)]

    def pack(self, slots: Sequence[int]) -> Tensor:
        """``(n, row_bytes)`` uint8: what the slots hold, copied."""
        index = torch.tensor(slots, dtype=torch.int64)
        fields = {name: rows.index_select(0, index) for name, rows in self.fields.items()}
        return self.layout.pack(self.labels.index_select(0, index), fields)

    def sha256(self) -> str:
        """Digest of what is stored, slot by slot."""
        return hashlib.sha256(self.pack(range(self.size)).numpy().tobytes()).hexdigest()

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor]]:
        """What is stored, and the order in which victims of each class are counted."""
        order = [slot for _, slots in sorted(self._slots.items()) for slot in slots]
        return {
            "fields": {name: rows[: self.size].clone() for name, rows in self.fields.items()},
            "labels": self.labels[: self.size].clone(),
            "slots_by_class": torch.tensor(order, dtype=torch.int64),
        }

    def load_state_dict(self, labels: Tensor, fields: Mapping[str, Tensor], slots_by_class: Tensor) -> None:
        """Restore what ``state_dict`` gave."""
        self.size = len(labels)
        self.labels[: self.size] = labels
        for name, rows in self.fields.items():
            rows[: self.size] = fields[name]
        self._slots = {}
        for slot in slots_by_class.tolist():
            self._attach(slot, int(labels[slot]))

    def _attach(self, slot: int, label: int) -> None:
        slots = self._slots.setdefault(label, [])
        self._place[slot] = len(slots)
        slots.append(slot)
        self._label_of[slot] = label

    def _detach(self, slot: int) -> None:
        slots = self._slots[int(self._label_of[slot])]
        place, last = int(self._place[slot]), slots.pop()
        if last != slot:
            slots[place] = last
            self._place[last] = place


def _torch_dtype(field: str, name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise RehearsalError(f"field {field!r}: torch has no dtype {name!r}")
    return dtype


def _typed(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """The bytes of some columns as numbers, in new memory that is aligned for them."""
    return columns.clone(memory_format=torch.contiguous_format).view(dtype)
