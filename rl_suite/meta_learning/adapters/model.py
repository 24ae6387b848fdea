"""A frozen network with adapters inside it."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rl_suite.errors import UserError
from rl_suite.loading import BRIEF, require_known
from rl_suite.meta_learning.adapters.base import BaseAdapter, Site
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.files import read_tensors, write_tensors
from rl_suite.meta_learning.adapters.junctions import Junction, State
from rl_suite.meta_learning.adapters.kinds import class_of
from rl_suite.meta_learning.adapters.sites import find_sites, named_modules

BASE = "base"

Which = AdapterType | str
"""A kind, or the name of one adapter."""


class ParameterRow(NamedTuple):
    """One parameter of the whole model."""

    part: str
    """``"base"`` or the name of an adapter."""
    name: str
    numbers: int
    trained: bool


class AdapterModel(nn.Module):
    """Adapters inside ``base_model``, whose own parameters are frozen and whose layers stay what they are.

    Calls go to the base, so inputs and outputs are the base's. At the start the outputs are those of the frozen base,
    bit for bit. (Torch may round a network otherwise once it is frozen, and ``nn.TransformerEncoder`` when hooks keep
    it from its fused inference; ``torch.backends.mha.set_fastpath_enabled(False)`` rules the latter out.) Statistics of
    batch normalisation in the base stay as they are, in training mode as well. The base can also be called directly, as
    SB3 does with a policy: the adapters are inside it, until :meth:`unload`.

    Args:
        base_model: any module.
        adapter_configs: one configuration or several; at one layer they act in this order, changes of weights first.

    Raises:
        UserError: a pattern matches nothing, or a layer cannot be adapted in this way.
    """

    def __init__(self, base_model: nn.Module, adapter_configs: AdapterConfig | Sequence[AdapterConfig]):
        super().__init__()
        if not isinstance(base_model, nn.Module):
            raise UserError(f"adapters go into a torch.nn.Module, not into {type(base_model).__name__}")
        one = isinstance(adapter_configs, AdapterConfig) or not isinstance(adapter_configs, Iterable)
        configs: list[Any] = [adapter_configs] if one else list(adapter_configs)  # type: ignore[arg-type]
        if not configs or not all(isinstance(config, AdapterConfig) for config in configs):
            raise UserError("adapters are told by one AdapterConfig or a list of them; each may have a name of its own")
        self.base = base_model
        self.configs = _named(configs)
        self.states = {name: State() for name in self.configs}
        self.adapters, self.copies, self.replaced = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.junctions: list[Junction] = []
        self._originals: list[tuple[nn.Parameter, Tensor]] = []  # what merge wrote over
        saved = {name: named_modules(base_model, config.modules_to_save) for name, config in self.configs.items()}
        everywhere = sorted({place for places in saved.values() for place in places})
        sites = {name: find_sites(base_model, config, everywhere) for name, config in self.configs.items()}
        for name, places in saved.items():
            self.copies[name] = nn.ModuleDict({_key(place): copy.deepcopy(part) for place, part in places.items()})
            self.replaced.update({_key(place): part for place, part in places.items()})
        self._insert(sites)
        self._was_trained = {name: parameter.requires_grad for name, parameter in all_parameters(base_model)}
        base_model.requires_grad_(False)
        self._holds = [
            part.register_forward_pre_hook(_hold_statistics)
            for part in base_model.modules()
            if isinstance(part, _BatchNorm)
        ]
        self._refresh()

    def _insert(self, sites: dict[str, list[Site]]) -> None:
        junctions: dict[tuple[int, str], Junction] = {}
        for name, config in self.configs.items():
            built: list[BaseAdapter] = []
            for site in sites[name]:
                adapter = class_of(config).at(config, site, built)
                near = next(site.layer.parameters(), None)
                adapter.to(near) if near is not None else adapter
                built.append(adapter)
                place = (id(site.layer), site.weight)
                junctions.setdefault(place, Junction(site)).add(self.states[name], adapter)
            self.adapters[name] = nn.ModuleDict(
                {_key(site.name): adapter for site, adapter in zip(sites[name], built, strict=True)}
            )
        self.junctions = list(junctions.values())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the base returns, adapted inside."""
        return self.base(*args, **kwargs)

    def train(self, mode: bool = True) -> "AdapterModel":
        """Training or evaluation mode; what is merged cannot be trained."""
        if mode and self._originals:
            raise UserError("merged adapters cannot be trained; call unmerge() first")
        super().train(mode)
        return self

    def enable_adapters(self, which: Which | Iterable[Which] | None = None) -> None:
        """Let adapters act (all of them by default); the others stay as they are."""
        self._set(which, True)

    def disable_adapters(self, which: Which | Iterable[Which] | None = None) -> None:
        """Take adapters out of the way (all by default); without any, the outputs are the base's own, bit for bit."""
        self._set(which, False)

    def merge(self) -> list[str]:
        """Write all enabled changes of weights into the base's weights; the outputs stay, the calls cost nothing more.

        Returns:
            Names of what was merged: LoRA, (IA)^3 and BitFit; other kinds go on acting.

        Raises:
            UserError: nothing can be merged, or a weight belongs to two layers, one of which would change unasked.
        """
        names = [name for name, state in self.states.items() if state.acts and self._folds(name)]
        if not names:
            raise UserError("nothing to merge: only enabled adapters that change weights (lora, ia3, bitfit) can be")
        states = [self.states[name] for name in names]
        concerned = [j for j in self.junctions if any(any(s is state for state in states) for s, _ in j.slots)]
        for junction in concerned:
            self._refuse_shared(junction.site)
        for junction in concerned:
            site = junction.site
            changed = [tensor.detach().clone() for tensor in junction.fold(states) if tensor is not None]
            for tensor, value in zip((site.weight_tensor, site.bias_tensor), changed, strict=False):
                assert isinstance(tensor, nn.Parameter)
                self._originals.append((tensor, tensor.detach().clone()))
                tensor.data.copy_(value)
        for state in states:
            state.merged = True
        self._refresh()
        return names

    def unmerge(self) -> None:
        """Put the base's weights back, bit for bit, and let the adapters act again."""
        for parameter, value in self._originals:
            parameter.data.copy_(value)
        self._originals = []
        for state in self.states.values():
            state.merged = False
        self._refresh()

    def unload(self) -> nn.Module:
        """The base as it was given, without any adapter; this object is of no use afterwards."""
        self.disable_adapters()
        for hold in self._holds:
            hold.remove()
        if getattr(self.base, "adapters", None) is self.adapters:  # a policy's guests
            del self.base.adapters
        for name, parameter in all_parameters(self.base):
            parameter.requires_grad_(self._was_trained[name])
        return self.base

    def rows(self) -> list[ParameterRow]:
        """Every parameter: whose it is, and whether it is trained."""
        parts = [(name, *item) for name in self.configs for item in self._parts(name).named_parameters()]
        own = {id(parameter) for _, _, parameter in parts}
        hidden = [(BASE, f"{_place(key)}.{n}", p) for key, m in self.replaced.items() for n, p in m.named_parameters()]
        seen = {id(parameter) for _, _, parameter in hidden}
        base = [(BASE, name, parameter) for name, parameter in all_parameters(self.base)]
        base = [item for item in base if id(item[2]) not in own | seen] + hidden
        return [
            ParameterRow(part, _place(name), parameter.numel(), parameter.requires_grad)
            for part, name, parameter in (*base, *parts)
        ]

    def get_parameter_count(self) -> dict[str, int]:
        """Numbers in all, trained and frozen, and of each part."""
        rows = self.rows()
        trained = sum(row.numbers for row in rows if row.trained)
        total = sum(row.numbers for row in rows)
        parts = {part: sum(row.numbers for row in rows if row.part == part) for part in (BASE, *self.configs)}
        return {"total": total, "trainable": trained, "frozen": total - trained, **parts}

    def get_parameter_efficiency(self) -> float:
        """Share of all numbers that is trained."""
        count = self.get_parameter_count()
        return count["trainable"] / count["total"]

    def get_adapter_parameters(self) -> list[nn.Parameter]:
        """What an optimiser should be given: everything that is trained now."""
        found = {id(p): p for name in self.configs for p in self._parts(name).parameters() if p.requires_grad}
        return list(found.values())

    def summary(self) -> Table:
        """What is frozen and what is trained, one row per part and layer."""
        table = Table(title=f"{100 * self.get_parameter_efficiency():.2f} % trained", title_justify="left")
        for heading in ("part", "parameter", "numbers", "trained"):
            table.add_column(heading, justify="right" if heading == "numbers" else "left")
        for row in self.rows():
            table.add_row(row.part, row.name, f"{row.numbers:,}", "yes" if row.trained else "frozen")
        return table

    def unreached(self) -> list[str]:
        """Layers that were never called since the adapters went in: what is adapted there has had no effect."""
        return [junction.site.name for junction in self.junctions if not junction.reached]

    def save_adapters(self, path: str | Path) -> None:
        """Write all adapters and copies, not the base, into one safetensors file."""
        write_tensors(Path(path), self._tensors(), self.configs)

    def load_adapters(self, path: str | Path) -> None:
        """Read what :meth:`save_adapters` wrote for the same configurations and base.

        Raises:
            UserError: no such file, or tensors that are missing, superfluous or of another shape.
        """
        if self._originals:
            raise UserError("merged adapters cannot be replaced; call unmerge() first")
        read_tensors(Path(path), self._tensors())

    def _tensors(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name in self.configs:
            for key, tensor in self._parts(name).state_dict(keep_vars=True).items():
                if id(tensor) not in seen:  # what siblings share is written once
                    seen.add(id(tensor))
                    found[f"{name}/{key}"] = tensor
        return found

    def _parts(self, name: str) -> nn.ModuleDict:
        parts: dict[str, nn.Module] = {"adapters": self.adapters[name], "copies": self.copies[name]}
        return nn.ModuleDict({key: part for key, part in parts.items() if len(list(part.children()))})

    def _folds(self, name: str) -> bool:
        return class_of(self.configs[name]).folds

    def _set(self, which: Which | Iterable[Which] | None, enabled: bool) -> None:
        names = self._resolve(which)
        if self._originals:
            self.unmerge()
        for name in names:
            self.states[name].enabled = enabled
        self._refresh()

    def _resolve(self, which: Which | Iterable[Which] | None) -> list[str]:
        if which is None:
            return list(self.configs)
        chosen: list[str] = []
        if not isinstance(which, AdapterType | str | Iterable):
            raise UserError(f"adapters are named by kind or name, not by {BRIEF.repr(which)}")
        for item in [which] if isinstance(which, AdapterType | str) else which:
            kind = item.value if isinstance(item, AdapterType) else item
            of_kind = [name for name, config in self.configs.items() if config.kind == kind]
            if kind not in self.configs and not of_kind:
                require_known(kind, self.configs, "adapter")
            chosen += [kind] if kind in self.configs and not isinstance(item, AdapterType) else of_kind
        return chosen

    def _refresh(self) -> None:
        """Copies of enabled adapters stand in the base; only what acts is trained."""
        holders: dict[str, str] = {}
        for name, parts in self.copies.items():
            assert isinstance(parts, nn.ModuleDict)
            for key in parts if self.states[name].enabled else ():
                if key in holders:
                    first = holders[key]
                    self.states[name].enabled = False
                    raise UserError(f"{first} and {name} both train {_place(key)} whole; disable one of them first")
                holders[key] = name
        for key, original in self.replaced.items():
            part = self.copies[holders[key]].get_submodule(key) if key in holders else original
            parent, _, child = _place(key).rpartition(".")
            setattr(self.base.get_submodule(parent), child, part)
        for name, state in self.states.items():
            for part in (self.adapters[name], self.copies[name]):
                part.requires_grad_(state.enabled)
        for junction in self.junctions:
            junction.refresh()

    def _refuse_shared(self, site: Site) -> None:
        weight = site.weight_tensor
        owners = [
            f"{name}.{key}" if name else key
            for name, module in self.base.named_modules()
            for key, parameter in module.named_parameters(recurse=False)
            if parameter is weight
        ]
        if len(owners) > 1:
            raise UserError(f"{' and '.join(owners)} are one tensor: merging would change both; leave it unmerged")


def _named(configs: Sequence[AdapterConfig]) -> dict[str, AdapterConfig]:
    """By name; kinds that stand there several times are numbered."""
    named: dict[str, AdapterConfig] = {}
    for config in configs:
        name, number = config.name or config.kind, 2
        if config.name is not None and name in named:
            raise UserError(f"two adapters are called {name!r}")
        while name in named:
            name, number = f"{config.kind}_{number}", number + 1
        named[name] = config
    return named


def _key(name: str) -> str:
    return name.replace(".", "/")


def _place(key: str) -> str:
    return key.replace("/", ".")


def _hold_statistics(module: nn.Module, args: Any) -> None:
    """A frozen network keeps its statistics, whatever mode it is put into."""
    module.training = False


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Memory that an optimiser holds beside the parameters, in bytes."""
    tensors = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def all_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Frozen ones as well, also of a policy whose ``named_parameters`` lists only what is trained."""
    return nn.Module.named_parameters(model)
