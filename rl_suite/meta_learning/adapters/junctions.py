"""Where adapters meet the network: hooks on its layers, which stay what and where they are."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.base import (
    BaseAdapter,
    Site,
    WeightAdapter,
    first_tensor,
    replace_first,
    tensors_in,
)
from rl_suite.meta_learning.adapters.sites import is_linear


@dataclass
class State:
    """What one adapter does now."""

    enabled: bool = True
    merged: bool = False

    @property
    def acts(self) -> bool:
        """Whether hooks have work to do for it."""
        return self.enabled and not self.merged


@dataclass
class Junction:
    """The adapters of one weight or layer, weights first: what can be merged comes before what cannot."""

    site: Site
    slots: list[tuple[State, BaseAdapter]] = field(default_factory=list)
    handles: list[Any] = field(default_factory=list)
    reached: bool = False
    """Whether the layer was called since; a layer whose weight is read elsewhere never is."""

    def add(self, state: State, adapter: BaseAdapter) -> None:
        """One more adapter, in its place."""
        self.slots.append((state, adapter))
        self.slots.sort(key=lambda slot: not slot[1].folds)

    def refresh(self) -> None:
        """Hooks where something acts, none where nothing does: then the layer is called as if it had never had any."""
        acts = any(state.acts for state, _ in self.slots)
        if acts and not self.handles:
            self._connect()
        elif not acts:
            for handle in self.handles:
                handle.remove()
            self.handles.clear()

    def _connect(self) -> None:
        site = self.site
        if any(adapter.folds for _, adapter in self.slots) and not self.adapts_output:
            reader = site.owner if site.owner is not None else site.layer
            self.handles.append(reader.register_forward_pre_hook(self.lend))
            self.handles.append(reader.register_forward_hook(self.take_back, always_call=True))
        if site.owner is None:
            self.handles.append(site.layer.register_forward_hook(self.pass_on, with_kwargs=True))

    @property
    def adapts_output(self) -> bool:
        """Whether changes of the weight are made to the output instead, which costs less and is the same."""
        return self.site.owner is None and is_linear(self.site.layer)

    def fold(self, states: Iterable[State] | None = None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the changes of the adapters that act (or of those with one of ``states``)."""
        weight, bias = self.site.weight_tensor, self.site.bias_tensor
        assert weight is not None
        wanted = None if states is None else [id(state) for state in states]
        for state, adapter in self.slots:
            if isinstance(adapter, WeightAdapter) and (state.acts if wanted is None else id(state) in wanted):
                weight, bias = adapter.fold(weight, bias)
        return weight, bias

    def lend(self, reader: nn.Module, args: Any) -> None:
        """Before a call: the changed tensors stand before the parameters, which stay where they are."""
        self.reached = True
        if any(state.acts and adapter.folds for state, adapter in self.slots):
            weight, bias = self.fold()
            self.site.layer.__dict__[self.site.weight] = weight
            if bias is not None:
                self.site.layer.__dict__[self.site.bias] = bias

    def take_back(self, reader: nn.Module, args: Any, output: Any) -> None:
        """After the call, also one that failed."""
        self.site.layer.__dict__.pop(self.site.weight, None)
        self.site.layer.__dict__.pop(self.site.bias, None)

    def pass_on(self, layer: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        """The layer's output through the adapters."""
        self.reached = True
        acting = [adapter for state, adapter in self.slots if state.acts and (self.adapts_output or not adapter.folds)]
        if not acting:
            return None
        first = first_tensor(output, self.site.name)
        x = first if self.site.axis == -1 else first.movedim(self.site.axis, -1)
        if x.shape[-1] != self.site.width_out:
            raise UserError(f"{self.site.name} returns {x.shape[-1]} features, not the {self.site.width_out} expected")
        inputs = tuple(tensors_in(args, kwargs))
        for adapter in acting:
            x = adapter.adapt(inputs, x)
        return replace_first(output, x if self.site.axis == -1 else x.movedim(-1, self.site.axis))
