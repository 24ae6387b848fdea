"""Weights as one file in the safetensors format: a JSON header, then the numbers of each tensor, little-endian.

Only single-precision tensors are written and read, which is all that is needed; other programs that know the
format can read the files. Nothing of a file is trusted: names, shapes and places are checked before use.

Source: https://huggingface.co/docs/safetensors (format description).
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

KIND = "F32"
METADATA = "__metadata__"
MOST_HEADER = 1_000_000  # bytes


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file.

    Raises:
        TypeError: a tensor that is not of single precision.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)}
    parts, place = [], 0
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise TypeError(f"{name} is of {tensor.dtype}; only single precision is written")
        part = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": KIND, "shape": list(tensor.shape), "data_offsets": [place, place + len(part)]}
        parts.append(part)
        place += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def unpack(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file's bytes.

    Raises:
        ValueError: not such a file, cut off, or tensors of another kind.

    >>> tensors, about = unpack(pack({"w": torch.ones(2, 3)}, {"made by": "me"}))
    >>> tensors["w"].shape, about
    (torch.Size([2, 3]), {'made by': 'me'})
    """
    size = int.from_bytes(content[:8], "little")
    if size > min(len(content) - 8, MOST_HEADER):
        raise ValueError("a header that is longer than the file or than any header")
    header = json.loads(content[8 : 8 + size])
    data = content[8 + size :]
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata must be text")
    return {name: _tensor(name, entry, data) for name, entry in header.items()}, metadata


def _tensor(name: str, entry: Any, data: bytes) -> Tensor:
    if not isinstance(entry, dict) or entry.get("dtype") != KIND:
        raise ValueError(f"{name}: not a tensor of single precision")
    shape, place = (_whole_numbers(name, entry.get(key)) for key in ("shape", "data_offsets"))
    if len(place) != 2 or place[1] > len(data) or place[1] - place[0] != 4 * math.prod(shape):
        raise ValueError(f"{name}: its place in the file does not fit its shape")
    values = np.frombuffer(data[place[0] : place[1]], dtype="<f4").astype(np.float32)
    return torch.from_numpy(values.reshape(shape))


def _whole_numbers(name: str, given: Any) -> list[int]:
    if not isinstance(given, list) or not all(type(n) is int and n >= 0 for n in given):
        raise ValueError(f"{name}: shape and place must be whole numbers")
    return given
