"""LoRA in the files of the PEFT library: ``adapter_config.json`` and ``adapter_model.safetensors`` in one folder."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.files import load_file
from rl_suite.meta_learning.adapters.model import AdapterModel
from rl_suite.meta_learning.adapters.weights import LoRA
from rl_suite.reading import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>A\.weight|B\.weight|embedding_A|embedding_B)")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
CHANGES_MEANING = ("use_dora", "fan_in_fan_out", "layer_replication", "modules_to_save", "lora_bias", "use_qalora")
"""Settings under which the same matrices would mean something else; a file that uses one is refused."""


def save_peft(model: AdapterModel, folder: str | Path, name: str = "lora") -> None:
    """Write one LoRA adapter as ``peft.PeftModel.from_pretrained(base, folder)`` reads it.

    Raises:
        UserError: no such adapter, not LoRA, or LoRA inside an attention layer of torch, which PEFT stores otherwise.
    """
    config = model.configs.get(name)
    if config is None or config.adapter_type is not AdapterType.LORA:
        raise UserError(f"{name!r} is no LoRA adapter of this model; there are: {', '.join(model.configs)}")
    tensors: dict[str, Tensor] = {}
    ranks, alphas = {}, {}
    for junction in model.junctions:
        site = junction.site
        for state, adapter in junction.slots:
            if state is not model.states[name] or not isinstance(adapter, LoRA):
                continue
            if site.owner is not None or site.name == "(base)":
                raise UserError(f"PEFT has no such file for {site.name}; use save_adapters")
            tensors |= {
                f"{PREFIX}{site.name}.lora_{key}": value for key, value in _to_peft(site.layer, adapter).items()
            }
            ranks[re.escape(site.name)] = len(adapter.a)
            alphas[re.escape(site.name)] = adapter.scale * len(adapter.a)
    told = {
        "peft_type": "LORA",
        "r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "target_modules": f"({'|'.join(ranks)})",  # a regular expression for whole names
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    folder = Path(folder)
    write_atomically(folder / WEIGHTS, save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))
    write_atomically(folder / CONFIG, (json.dumps(told, indent=1) + "\n").encode())


def load_peft(base: nn.Module, folder: str | Path, name: str = "lora") -> AdapterModel:
    """Put the LoRA of a PEFT folder into ``base``; layers and ranks are those of its tensors.

    Raises:
        UserError: not such a folder, a variant that means something else (DoRA, trained biases), or another network.
    """
    folder = Path(folder)
    told = read_json(folder / CONFIG)
    if told.get("peft_type") != "LORA":
        raise UserError(f"{folder / CONFIG}: peft_type is {str(told.get('peft_type'))[:40]!r}; LoRA is read")
    used = [key for key in CHANGES_MEANING if told.get(key)]
    if used or told.get("bias", "none") != "none":
        raise UserError(f"{folder / CONFIG}: {', '.join(used) or 'bias'} is not read")
    layers = _by_layer(folder / WEIGHTS)
    modules = dict(base.named_modules())
    ranks, alphas = {}, {}
    for layer, parts in layers.items():
        if layer not in modules:
            raise UserError(f"{folder / WEIGHTS}: the network has no {layer[:80]!r}")
        first = next(key for key in parts if key.endswith("A") or key == "A.weight")
        ranks[f"/{layer}"] = parts[first].shape[0]
        alphas[f"/{layer}"] = _alpha(told, layer, parts[first].shape[0], folder / CONFIG)
    config = AdapterConfig(
        adapter_type=AdapterType.LORA, name=name, target_modules=tuple(ranks), rank_pattern=ranks, alpha_pattern=alphas
    )
    model = AdapterModel(base, config)
    with torch.no_grad():
        for junction in model.junctions:
            for _, adapter in junction.slots:
                assert isinstance(adapter, LoRA)
                _from_peft(junction.site.layer, adapter, layers[junction.site.name], folder / WEIGHTS)
    return model


def _by_layer(path: Path) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in load_file(path).items():
        match = KEY.fullmatch(key)
        if match is None:
            raise UserError(f"{path}: {key[:80]!r} is no LoRA of a layer")
        layers.setdefault(match["layer"], {})[match["part"]] = tensor
    for layer, parts in layers.items():
        if parts.keys() not in ({"A.weight", "B.weight"}, {"embedding_A", "embedding_B"}):
            raise UserError(f"{path}: {layer[:80]} has only one of its two matrices")
    if not layers:
        raise UserError(f"{path}: no tensors")
    return layers


def _alpha(told: Mapping[str, Any], layer: str, rank: int, path: Path) -> float:
    """Alpha of one layer. Patterns are compared as plain endings of names: an expression of a file is never run."""
    found = told.get("lora_alpha", rank)
    patterns = told.get("alpha_pattern") or {}
    for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
        plain = str(pattern).removeprefix("^").removesuffix("$").replace("\\", "")
        if not PLAIN_NAME.fullmatch(plain):
            raise UserError(f"{path}: alpha_pattern {str(pattern)[:80]!r} is no plain name")
        if layer == plain or layer.endswith(f".{plain}"):
            found = value
            break
    if not isinstance(found, int | float) or not math.isfinite(found) or found <= 0:
        raise UserError(f"{path}: alpha of {layer} is {str(found)[:40]!r}")
    return float(found) * (math.sqrt(rank) if told.get("use_rslora") else 1.0)  # rank-stabilised: alpha / sqrt(r)


def _to_peft(layer: nn.Module, adapter: LoRA) -> dict[str, Tensor]:
    if isinstance(layer, nn.Embedding):
        return {"embedding_A": adapter.b.T, "embedding_B": adapter.a.T}
    if isinstance(layer, nn.Linear):
        return {"A.weight": adapter.a, "B.weight": adapter.b}
    weight = layer.weight
    assert isinstance(weight, Tensor)
    kernel = weight.shape[1:]
    ones = [1] * (weight.ndim - 2)
    return {"A.weight": adapter.a.reshape(-1, *kernel), "B.weight": adapter.b.reshape(*adapter.b.shape, *ones)}


def _from_peft(layer: nn.Module, adapter: LoRA, parts: Mapping[str, Tensor], path: Path) -> None:
    if isinstance(layer, nn.Embedding):
        pairs = (
            (adapter.a, parts.get("embedding_B", torch.empty(0)).T),
            (adapter.b, parts.get("embedding_A", torch.empty(0)).T),
        )
    else:
        a, b = (parts.get(key, torch.empty(0)) for key in ("A.weight", "B.weight"))
        pairs = ((adapter.a, a.flatten(1) if a.ndim > 1 else a), (adapter.b, b.flatten(1) if b.ndim > 1 else b))
    for into, value in pairs:
        if into.shape != value.shape:
            raise UserError(f"{path}: a matrix is {tuple(value.shape)}, and this layer needs {tuple(into.shape)}")
        into.copy_(value)
