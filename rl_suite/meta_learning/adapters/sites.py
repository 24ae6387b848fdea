"""Which layers of a network a configuration means, and how wide they are."""

import difflib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.base import Site
from rl_suite.meta_learning.adapters.config import ALL_LINEAR, AdapterConfig, matches

WEIGHT_KINDS = ("lora", "ia3", "bitfit")
MOST_SHOWN = 5  # names in a message
ROOT = "(base)"  # how the network itself is called


def find_sites(base: nn.Module, config: AdapterConfig, saved: Sequence[str] = ()) -> list[Site]:
    """The layers that ``config`` adapts, in the order of ``base.named_modules()``.

    Args:
        base: the network.
        config: what is looked for.
        saved: names of modules that are trained whole; nothing is adapted inside them.

    Raises:
        UserError: a pattern matches nothing (with the nearest names), or nothing that can be adapted in this way.
    """
    known = {name or ROOT: module for name, module in base.named_modules() if not _inside(name, saved)}
    owned = {name for name, owner in known.items() if isinstance(owner, nn.MultiheadAttention)}
    patterns = config.patterns
    if patterns is None:
        wanted = _default(known, config)
        found = [site for name in wanted for site in _suitable(name, known[name], config)]
        what = f"{config.kind}: the network has no layer for it"
    else:
        found, what = [], f"{config.kind}: no layer among {', '.join(patterns)}"
        for pattern in patterns:
            found += _of_pattern(pattern, known, config)
    found = [site for site in found if site.owner is not None or not _read_by_owner(site.name, owned)]
    found = list({(id(site.layer), site.weight): site for site in found}.values())  # of several patterns: once
    found = _of_width(found, config, what)
    for pattern in (*config.rank_pattern, *config.alpha_pattern) if config.kind == "lora" else ():
        if not any(matches(pattern, site.name) for site in found):
            raise _nothing(pattern, [site.name for site in found])
    return found


def named_modules(base: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """The modules that are to be trained whole, without those inside others of them."""
    found: dict[str, nn.Module] = {}
    known = {name: module for name, module in base.named_modules() if name}
    for pattern in patterns:
        matching = {name: module for name, module in known.items() if matches(pattern, name)}
        if not matching:
            raise _nothing(pattern, known)
        found |= {name: module for name, module in matching.items() if not _inside(name, tuple(found))}
    return found


def is_linear(module: nn.Module) -> bool:
    """Whether a module is y = W x + b over the last axis, whichever library it is from."""
    weight = getattr(module, "weight", None)
    graph_linear = type(module).__module__.startswith("torch_geometric.nn.dense") and hasattr(module, "in_channels")
    return isinstance(weight, Tensor) and weight.ndim == 2 and (isinstance(module, nn.Linear) or graph_linear)


def _default(known: dict[str, nn.Module], config: AdapterConfig) -> list[str]:
    if config.kind == "bitfit":
        return [name for name, module in known.items() if _has_bias(module)]
    attention = [name for name, module in known.items() if isinstance(module, nn.MultiheadAttention)]
    if config.kind == "prefix" and attention:
        return attention
    if config.kind == "multi_modal":
        raise UserError("multi_modal: say in target_modules which layers are called with several tensors")
    return _linear(known)


def _linear(known: dict[str, nn.Module]) -> list[str]:
    return [name for name, part in known.items() if is_linear(part) or isinstance(part, nn.MultiheadAttention)]


def _of_pattern(pattern: str, known: dict[str, nn.Module], config: AdapterConfig) -> list[Site]:
    if pattern == ALL_LINEAR:
        return [site for name in _linear(known) for site in _suitable(name, known[name], config)]
    projections = {
        site.name: site
        for name, module in known.items()
        if isinstance(module, nn.MultiheadAttention)
        for site in _projections(name, module)
    }
    names = [name for name in known if matches(pattern, name)]
    found = [site for name in names for site in _suitable(name, known[name], config)]
    if config.kind in WEIGHT_KINDS:
        found += [site for name, site in projections.items() if matches(pattern, name) and _fits(site, config)]
    if not names and not found:
        raise _nothing(pattern, [*known, *projections])
    if not found:
        raise UserError(f"{config.kind}: {pattern!r} {_why_not(names, known, config)}")
    return found


def _suitable(name: str, module: nn.Module, config: AdapterConfig) -> list[Site]:
    """What can be adapted at one module: nothing, one site, or the projections of an attention layer."""
    if config.kind in WEIGHT_KINDS and isinstance(module, nn.MultiheadAttention):
        return [site for site in _projections(name, module) if _fits(site, config)]
    widths = _widths(module)
    if widths is None:
        if config.input_dim is None or config.kind in WEIGHT_KINDS:
            return []
        widths = (config.input_dim, config.input_dim, -1)
    if not all(widths):  # a layer without inputs or outputs
        return []
    heads = module.num_heads if isinstance(module, nn.MultiheadAttention) else 1
    site = Site(name, module, widths[0], widths[1], widths[2], heads)
    return [site] if config.kind not in WEIGHT_KINDS or _fits(site, config) else []


def _fits(site: Site, config: AdapterConfig) -> bool:
    if config.kind == "bitfit":
        return site.bias_tensor is not None
    weight = site.weight_tensor
    return weight is not None and (config.kind != "lora" or weight.ndim > 1)


def _projections(name: str, attention: nn.MultiheadAttention) -> Iterator[Site]:
    """The weights of an attention layer, which reads them itself: hooks of its parts never run."""
    width, path = attention.embed_dim, "" if name == ROOT else f"{name}."
    if attention.in_proj_weight is not None:
        yield Site(f"{path}in_proj", attention, width, 3 * width, -1, 1, "in_proj_weight", "in_proj_bias", attention)
    else:
        for part, dim in (("q", width), ("k", attention.kdim), ("v", attention.vdim)):
            yield Site(f"{path}{part}_proj", attention, int(dim), width, -1, 1, f"{part}_proj_weight", "", attention)
    yield Site(f"{path}out_proj", attention.out_proj, width, width, -1, 1, "weight", "bias", attention)


def _widths(module: nn.Module) -> tuple[int, int, int] | None:
    """Width of the inputs and of the outputs, and the axis of the features in the output."""
    weight = getattr(module, "weight", None)
    if is_linear(module):
        assert isinstance(weight, Tensor)
        return weight.shape[1], weight.shape[0], -1
    if isinstance(module, nn.MultiheadAttention):
        return module.embed_dim, module.embed_dim, -1
    if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):  # which keeps its weight turned
        return module.in_channels, module.out_channels, 1
    if isinstance(module, nn.Embedding):
        return module.num_embeddings, module.embedding_dim, -1
    if isinstance(module, _BatchNorm | nn.GroupNorm):
        channels = module.num_features if isinstance(module, _BatchNorm) else module.num_channels
        return channels, channels, 1
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return module.normalized_shape[0], module.normalized_shape[0], -1
    return None


def _has_bias(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or isinstance(getattr(module, "bias", None), torch.Tensor)


def _of_width(found: list[Site], config: AdapterConfig, nothing: str) -> list[Site]:
    if not found:
        raise UserError(nothing)
    if config.input_dim is None:
        return found
    side = "width_in" if config.kind == "lora" else "width_out"
    kept = [site for site in found if getattr(site, side) == config.input_dim]
    if not kept:
        there = ", ".join(f"{site.name}: {getattr(site, side)}" for site in found[:MOST_SHOWN])
        raise UserError(f"{config.kind}: no layer has input_dim={config.input_dim}; widths are {there}")
    return kept


def _nothing(pattern: str, known: Sequence[str] | dict[str, nn.Module]) -> UserError:
    near = difflib.get_close_matches(pattern, list(known), n=MOST_SHOWN, cutoff=0.3) or list(known)[:MOST_SHOWN]
    return UserError(f"no module matches {pattern!r}; nearest names: {', '.join(near)}")


def _why_not(names: Sequence[str], known: dict[str, nn.Module], config: AdapterConfig) -> str:
    shown = ", ".join(f"{name} ({type(known[name]).__name__})" for name in names[:MOST_SHOWN])
    needs = {"lora": "a weight matrix", "ia3": "a weight", "bitfit": "a bias"}.get(
        config.kind, "a layer that shows its width (or input_dim)"
    )
    return f"matches {shown}, and {config.kind} needs {needs}"


def _inside(name: str, saved: Sequence[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in saved)


def _read_by_owner(name: str, owned: set[str]) -> bool:
    return name != ROOT and (name.rpartition(".")[0] or ROOT) in owned
