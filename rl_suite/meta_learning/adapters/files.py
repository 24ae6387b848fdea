"""Adapters on disk: one safetensors file, no pickle, checked name by name before anything is taken over."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.reading import read_bytes

FORMAT = "rl_suite adapters 1"
MOST_SHOWN = 3  # names in a message


def write_tensors(path: Path, tensors: Mapping[str, Tensor], configs: Mapping[str, AdapterConfig]) -> None:
    """Write tensors by name; the configurations are told for readers, and never needed to load."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    told = json.dumps({name: describe(config) for name, config in configs.items()})
    write_atomically(path, save(plain, {"format": FORMAT, "adapters": told}))


def read_tensors(path: Path, into: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a file into those of the same names; all or none.

    Raises:
        UserError: not such a file, or names, shapes or types differ.
    """
    found = load_file(path)
    require_same(path, found, into)
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(found[name])


def load_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, with finite numbers."""
    try:
        found: dict[str, Tensor] = load(read_bytes(path))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not a safetensors file: {str(error).splitlines()[0]}") from None
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: {name} holds NaN or infinity")
    return found


def require_same(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise a ``UserError`` unless names, shapes and types are the same."""
    for names, problem in ((wanted.keys() - found.keys(), "lacks"), (found.keys() - wanted.keys(), "also holds")):
        if names:
            shown = ", ".join(sorted(names)[:MOST_SHOWN])
            raise UserError(f"{path}: {problem} {len(names)} tensors ({shown}): other adapters or another network")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape or found[name].dtype != tensor.dtype:
            there, here = found[name], tensor
            raise UserError(
                f"{path}: {name} is {tuple(there.shape)} of {there.dtype}, not {tuple(here.shape)} of {here.dtype}"
            )


def describe(config: AdapterConfig) -> dict[str, Any]:
    """A configuration as plain values."""
    plain = config.model_dump(exclude={"adapter_type"})
    kind = config.adapter_type.value if isinstance(config.adapter_type, AdapterType) else config.kind
    return {"adapter_type": kind, **plain}
