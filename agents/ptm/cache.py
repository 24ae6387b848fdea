"""Embeddings of frozen networks, computed once per image.

PPO shows every observation of a rollout once while acting and then once per epoch, in shuffled
minibatches. A frozen network says the same each time, so its answers are kept by the content of the image,
for as long as its weights and statistics are the same ones.
"""

import hashlib
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

WeightsState = tuple[tuple[int, int, float], ...]


def content_keys(images: Tensor) -> list[bytes]:
    """One 16-byte digest per image of (B, C, H, W); equal images and only they have equal digests."""
    rows = images.detach().cpu().contiguous().flatten(1).numpy()
    return [hashlib.blake2b(row, digest_size=16).digest() for row in rows]


@torch.no_grad()
def weights_state(network: nn.Module) -> WeightsState:
    """What changes when any weight or statistic does: of each tensor its place, torch's version counter and a sum.

    The counter sees every write but those through ``.data``, as of SB3's ``polyak_update``; the sum of squares sees
    those. It costs about as much as reading the weights once.
    """
    tensors = list(chain(network.parameters(), network.buffers()))
    if not tensors:
        return ()
    flat = [tensor.detach().flatten().float() for tensor in tensors]
    sums = torch.stack([torch.dot(values, values) for values in flat]).tolist()
    versions = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
    return tuple(zip((tensor.data_ptr() for tensor in tensors), versions, sums, strict=True))


class EmbeddingCache:
    """The last ``capacity`` embeddings of one network; the oldest make room for new ones."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.computed = 0
        """Images that had to be computed so far."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._slots: dict[bytes, int] = {}
        self._owners: list[bytes | None] = [None] * self.capacity
        self._next = 0
        self._table: Tensor | None = None
        self._state: WeightsState | None = None

    def __deepcopy__(self, memo: object) -> "EmbeddingCache":
        return EmbeddingCache(self.capacity)

    def __getstate__(self) -> dict[str, int]:
        return {"capacity": self.capacity}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.capacity, self.computed = state["capacity"], 0
        self.clear()

    def __call__(
        self, keys: list[bytes], images: Tensor, compute: Callable[[Tensor], Tensor], state: WeightsState = ()
    ) -> Tensor:
        """Embeddings (B, ...) of ``images``; ``compute`` runs on those that are not known, without gradient.

        All that is known is forgotten when ``state`` (:func:`weights_state`) is not that of the last call.
        """
        if state != self._state or (self._table is not None and self._table.device != images.device):
            self.clear()
            self._state = state
        new: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            if key not in self._slots and key not in new:
                new[key] = row
        if len(keys) > self.capacity:  # it could push out its own rows
            with torch.no_grad():
                self.computed += len(keys)
                return compute(images)
        if new:
            self._insert(new, images, compute, keep=set(keys))
        assert self._table is not None  # there is at least one key, and it is in the table now
        return self._table[[self._slots[key] for key in keys]]

    def _insert(
        self, new: dict[bytes, int], images: Tensor, compute: Callable[[Tensor], Tensor], keep: set[bytes]
    ) -> None:
        with torch.no_grad():
            embeddings = compute(images[list(new.values())]).detach()
        self.computed += len(new)
        if self._table is None:
            self._table = embeddings.new_zeros(self.capacity, *embeddings.shape[1:])
        slots = []
        for key in new:
            slot = self._free_slot(keep)
            self._owners[slot], self._slots[key] = key, slot
            slots.append(slot)
        self._table[slots] = embeddings

    def _free_slot(self, keep: set[bytes]) -> int:
        """The slot of the oldest embedding that the present batch does not need."""
        while True:
            slot = self._next
            self._next = (self._next + 1) % self.capacity
            owner = self._owners[slot]
            if owner is None or owner not in keep:
                if owner is not None:
                    del self._slots[owner]
                return slot
