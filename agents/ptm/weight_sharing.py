"""Weight Sharing Attention in a policy: as features extractor of any SB3 policy, or as the whole actor.

``MultiPTMFeatureExtractor`` serves graph, Dict and pixel observations of stock SB3 policies::

    PPO("CnnPolicy", env, policy_kwargs=dict(
        features_extractor_class=MultiPTMFeatureExtractor,
        features_extractor_kwargs=dict(ptms=[{"model_type": "resnet18_imagenet"},
                                             {"model_type": "graph_cnn", "freeze": False}])))
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.graph.picture import SIDE
from agents.hybrid.unfit import OnPolicyActor
from agents.ptm.cache import EmbeddingCache, content_keys, weights_state
from agents.ptm.combiners import COMBINERS, WeightSharingAttention, require_sizes
from agents.ptm.inputs import PixelInputs, inputs_of
from agents.ptm.models import PretrainedModel, PTMConfig

__all__ = ["ActionParameters", "MultiPTMFeatureExtractor", "WSAEnhancedActor", "WeightSharingAttention"]

DEFAULT_PTMS: tuple[Mapping[str, Any], ...] = (
    {"model_type": "resnet18_imagenet", "freeze": True, "missing_weights": "random"},
    {"model_type": "graph_cnn", "freeze": False},
    {"model_type": "resnet18_random", "freeze": False},
)
UNIFORM_TEMPERATURE = 1e9  # at which a softmax is uniform
LOG_KAPPA_INIT = 1.0  # about 40 degrees of deviation
CACHE_BYTES = 256 * 2**20  # that the embeddings of one model may take, however many ``cache_size`` allows
COST_MEMORY = 0.9  # how much of the running mean of a model's cost is kept at each call


class MultiPTMFeatureExtractor(BaseFeaturesExtractor):
    """Several pre-trained models look at each observation; a combiner makes one representation of them.

    Args:
        observation_space: images, a Dict with images, or a padded graph. None: images (1, 24, 24).
        ptms: one mapping per model (see :class:`agents.ptm.models.PTMConfig`); by default a frozen ResNet-18
            with ImageNet weights (random ones where they cannot be had), a small CNN and a random ResNet-18.
        embedding_dim: d of each model's embedding.
        combiner: a name in :data:`agents.ptm.combiners.COMBINERS`.
        context_input_dim: width of the context that callers pass; None: it comes from the observation.
        cache_size: embeddings kept of each frozen model; as large as a rollout, each is computed once. 0 = none.
            They never take more than 256 MiB.
        **options: further arguments of the combiner, such as ``context_dim``, ``scorer``,
            ``attention_temperature``, ``learn_temperature`` and ``entropy_coef`` of ``"wsa"``.
    """

    active: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any] | None = None,
        ptms: Sequence[Mapping[str, Any] | PTMConfig] | None = None,
        embedding_dim: int = 256,
        combiner: str = "wsa",
        context_input_dim: int | None = None,
        cache_size: int = 4096,
        **options: Any,
    ):
        if combiner not in COMBINERS:
            raise ValueError(f"combiner must be one of {', '.join(COMBINERS)}, not {combiner!r}")
        require_sizes(1, embedding_dim=embedding_dim)
        require_sizes(0, cache_size=cache_size)
        inputs = PixelInputs((1, SIDE, SIDE)) if observation_space is None else inputs_of(observation_space)
        if ptms is not None and not isinstance(ptms, list | tuple):
            raise ValueError(f"ptms is a list of mappings such as {{model_type: graph_cnn}}, not {ptms!r}")
        configs = [PTMConfig.of(entry) for entry in (DEFAULT_PTMS if ptms is None else ptms)]
        if not any(config.join_at == 0 for config in configs):
            raise ValueError("ptms needs at least one model, and one of them with join_at: 0")
        models = [PretrainedModel(config, inputs.image_shape) for config in configs]
        try:
            module = COMBINERS[combiner](
                [(int(k), int(h), int(w)) for k, h, w in (model.out_shape for model in models)],
                inputs.context_dim if context_input_dim is None else context_input_dim,
                embedding_dim,
                **options,
            )
        except TypeError as error:
            said = str(error).rpartition("() ")[2]  # without the name of a constructor
            raise ValueError(f"combiner {combiner!r} {said}") from None
        super().__init__(observation_space or spaces.Box(0.0, 1.0, inputs.image_shape), module.features_dim)
        self.inputs = inputs
        self.ptms = nn.ModuleList(models)
        self.combiner = module
        self.names = _unique([model.name for model in models])
        self.cost_ms = [0.0] * len(models)
        """Running mean of the milliseconds that each model took per call, for whatever the cache left over."""
        self.register_buffer("active", torch.tensor([config.join_at == 0 for config in configs]))
        self._caches = [
            EmbeddingCache(min(cache_size, CACHE_BYTES // (4 * model.out_shape.numel()))) for model in models
        ]
        self._is_led = False

    def forward(
        self,
        observations: Any,
        context: Tensor | None = None,
        return_attention: bool = False,
        rows: Tensor | None = None,
    ) -> Any:
        """Representations (B, features_dim); with ``return_attention`` also weights (B, n), or None without attention.

        Args:
            observations: preprocessed, as SB3 passes them.
            context: (B, context_input_dim); None takes it from the observations.
            return_attention: whether to return a pair.
            rows: (R,) which observation each row of ``context`` belongs to (one context per node, say).
        """
        images, own_context = self.inputs(observations)
        return self.look(images, own_context if context is None else context, return_attention, rows)

    def look(self, images: Tensor, context: Tensor, return_attention: bool = False, rows: Tensor | None = None) -> Any:
        """As :meth:`forward`, from images (B, C, H, W) and contexts."""
        if self.training and torch.is_grad_enabled() and not self._is_led and self._is_waiting():
            raise ValueError(
                "join_at and unfreeze_at do nothing by themselves: learn with "
                "callback=rl_suite.sb3.AttentionCallback(), or call advance(step)"
            )
        combined, weights = self.combiner(self._maps(images), context, self.active, rows)
        return (combined, weights) if return_attention else combined

    def advance(self, step: int) -> list[str]:
        """Let models join and unfreeze as their configurations say; returns what happened, for the log."""
        self._is_led = True
        events = []
        for i, (name, model) in enumerate(zip(self.names, self.models(), strict=True)):
            if not self.active[i] and step >= model.config.join_at:
                self.active[i] = True
                events.append(f"{name} joins")
            if model.config.unfreeze_at is not None and model.frozen and step >= model.config.unfreeze_at:
                model.unfreeze()
                events.append(f"{name} is trained from now on")
        return events

    def _is_waiting(self) -> bool:
        """Whether some model has yet to join or to be trained."""
        return any(
            (model.config.join_at > 0 and not on) or (model.frozen and model.config.unfreeze_at is not None)
            for model, on in zip(self.models(), self.active.tolist(), strict=True)
        )

    def index(self, name: str) -> int:
        """Number of the model called ``name``."""
        if name not in self.names:
            raise ValueError(f"there is no pre-trained model {name!r} here; there are {', '.join(self.names)}")
        return self.names.index(name)

    def freeze(self, name: str) -> None:
        """Stop training one model."""
        self.models()[self.index(name)].freeze()

    def unfreeze(self, name: str) -> None:
        """Start training one model."""
        self.models()[self.index(name)].unfreeze()

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Leave one model out for a while: what would happen if it were not there?"""
        before = self.active.clone()
        self.active[self.index(name)] = False
        if not self.active.any():
            self.active.copy_(before)
            raise ValueError(f"{name!r} is the only model that takes part; nothing would be left without it")
        try:
            yield
        finally:
            self.active.copy_(before)

    def n_computed(self) -> list[int]:
        """Images that each model's cache could not answer so far."""
        return [cache.computed for cache in self._caches]

    def forget(self) -> None:
        """Empty the caches. An answer is the same each time to rounding only: it is computed among other images."""
        for cache in self._caches:
            cache.clear()

    def models(self) -> list[PretrainedModel]:
        """The pre-trained models, in the order of ``names``."""
        return [model for model in self.ptms if isinstance(model, PretrainedModel)]

    def _maps(self, images: Tensor) -> list[Tensor]:
        keys: list[bytes] | None = None
        maps = []
        for i, (model, cache) in enumerate(zip(self.models(), self._caches, strict=True)):
            start = time.perf_counter()
            if self.active[i]:
                model.calibrate(images)
            else:
                maps.append(images.new_zeros(len(images), *model.out_shape))
                continue
            if model.frozen and cache.capacity and not images.requires_grad:
                keys = content_keys(images) if keys is None else keys
                maps.append(cache(keys, images, model, weights_state(model.backbone)))
            else:
                if not model.frozen:
                    cache.clear()
                maps.append(model(images))
            cost = 1e3 * (time.perf_counter() - start)
            self.cost_ms[i] = COST_MEMORY * self.cost_ms[i] + (1.0 - COST_MEMORY) * cost if self.cost_ms[i] else cost
        return maps


def _unique(names: Sequence[str]) -> list[str]:
    """Number those that come more than once."""
    return [f"{name}_{names[:i].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


class ActionParameters(NamedTuple):
    """What an actor says of each of M parts, of which a values are angles and c are not.

    ``logits`` (M, n_options); ``mean`` (M, c); ``vectors`` (M, a, 2), where the angles want to point; ``offsets``
    (M, a), radians from the common direction. Scales of the noise, logarithmic: ``log_std`` (c,) of each part's
    own, ``shared_log_std`` (c,) of what the parts of a graph share, ``log_kappa`` (a,) of each part's own angle.
    """

    logits: Tensor
    mean: Tensor
    vectors: Tensor
    offsets: Tensor
    log_std: Tensor
    shared_log_std: Tensor
    log_kappa: Tensor


class ActionHeads(nn.Module):
    """From latents (M, hidden_dim) to :class:`ActionParameters`; small weights, so that all begins near the middle."""

    def __init__(
        self, hidden_dim: int, num_discrete_actions: int, continuous_dim: int, n_angles: int, log_std_init: float
    ):
        super().__init__()
        if n_angles > continuous_dim:
            raise ValueError(f"n_angles={n_angles} cannot be more than continuous_dim={continuous_dim}")
        self.n_angles = n_angles
        self.widths = [num_discrete_actions, continuous_dim - n_angles, 2 * n_angles, n_angles]
        self.head = nn.Linear(hidden_dim, sum(self.widths))
        nn.init.orthogonal_(self.head.weight, gain=0.01)
        nn.init.zeros_(self.head.bias)
        self.log_std = nn.Parameter(torch.full((continuous_dim - n_angles,), log_std_init))
        self.shared_log_std = nn.Parameter(torch.full((continuous_dim - n_angles,), log_std_init))
        self.log_kappa = nn.Parameter(torch.full((n_angles,), LOG_KAPPA_INIT))

    def forward(self, latent: Tensor) -> ActionParameters:
        """Read the parameters off the latents."""
        logits, mean, vectors, offsets = torch.split(self.head(latent), self.widths, dim=-1)
        vectors = vectors.reshape(len(latent), self.n_angles, 2)
        return ActionParameters(logits, mean, vectors, offsets, self.log_std, self.shared_log_std, self.log_kappa)


class WSAEnhancedActor(OnPolicyActor):
    """An actor whose nodes decide in the light of what several pre-trained models see in the whole graph.

    Args:
        encoder_out_dim: width of node and graph tokens.
        hidden_dim: width of the layer before the heads.
        num_discrete_actions: logits of one part.
        continuous_dim: values of one part.
        dropout_rate: before the heads. Leave it 0 under PPO: acting has no dropout, learning would.
        embedding_dim: d of each model's embedding.
        use_wsa: False gives all models the same weight for ever, the control of the attention.
        level: one context, hence one set of weights, per ``"graph"`` or per ``"node"``.
        image: what the models see: ``"tokens"``, a picture (1, 24, 24) that a linear layer makes of the tokens, or
            ``"picture"``, one that the caller draws (and that frozen models need to see only once).
        picture_shape: of the caller's pictures.
        n_angles: how many of the values are angles.
        log_std_init: logarithm of the standard deviations to begin with.
        **options: of :class:`MultiPTMFeatureExtractor`.
    """

    def __init__(
        self,
        encoder_out_dim: int,
        hidden_dim: int,
        num_discrete_actions: int,
        continuous_dim: int,
        dropout_rate: float = 0.0,
        embedding_dim: int = 256,
        use_wsa: bool = True,
        level: Literal["graph", "node"] = "graph",
        image: Literal["tokens", "picture"] = "tokens",
        picture_shape: tuple[int, int, int] = (3, SIDE, SIDE),
        n_angles: int = 0,
        log_std_init: float = 0.0,
        **options: Any,
    ):
        super().__init__()
        for name, value, choices in (("level", level, ("graph", "node")), ("image", image, ("tokens", "picture"))):
            if value not in choices:
                raise ValueError(f"{name} must be one of {choices}, not {value!r}")
        if not use_wsa:
            options["attention_temperature"] = UNIFORM_TEMPERATURE
        self.level = level
        space = spaces.Box(0.0, 1.0, (1, SIDE, SIDE) if image == "tokens" else picture_shape)
        self.feature_extractor = MultiPTMFeatureExtractor(
            space, embedding_dim=embedding_dim, context_input_dim=encoder_out_dim, **options
        )
        self.draw = nn.Linear(2 * encoder_out_dim, SIDE * SIDE) if image == "tokens" else None
        width = self.feature_extractor.features_dim
        self.refine = nn.Sequential(nn.Linear(width, hidden_dim), nn.LayerNorm(hidden_dim), nn.GELU())
        self.from_token = nn.Linear(encoder_out_dim, hidden_dim)
        self.mix = nn.Sequential(nn.GELU(), nn.Dropout(dropout_rate), nn.Linear(hidden_dim, hidden_dim), nn.GELU())
        self.heads = ActionHeads(hidden_dim, num_discrete_actions, continuous_dim, n_angles, log_std_init)

    def forward(
        self,
        node_tokens: Tensor,
        graph_token: Tensor,
        node_graph: Tensor | None = None,
        pictures: Tensor | None = None,
        return_attention: bool = False,
    ) -> Any:
        """Action parameters of M parts; with ``return_attention`` also the weights, (B, n) or per node (M, n).

        Args:
            node_tokens: (M, D).
            graph_token: (B, D), or (D,) of a single graph.
            node_graph: (M,) sorted, the graph of each node; may be left out for a single graph.
            pictures: (B, C, H, W), with ``image="picture"``.
            return_attention: whether to return a pair.
        """
        graph_token = graph_token.view(-1, graph_token.shape[-1])
        if node_graph is None:
            if len(graph_token) != 1:
                raise ValueError(f"node_graph is needed to tell the nodes of {len(graph_token)} graphs apart")
            node_graph = torch.zeros(len(node_tokens), dtype=torch.long, device=node_tokens.device)
        if self.draw is not None:
            counts = torch.bincount(node_graph, minlength=len(graph_token)).clamp(min=1)
            mean = torch.zeros_like(graph_token).index_add(0, node_graph, node_tokens) / counts.unsqueeze(1)
            pictures = torch.sigmoid(self.draw(torch.cat([mean, graph_token], dim=1))).view(-1, 1, SIDE, SIDE)
        if pictures is None:
            raise ValueError("this actor was made with image='picture'; pass pictures")
        per_node = self.level == "node"
        context, rows = (node_tokens, node_graph) if per_node else (graph_token, None)
        combined, weights = self.feature_extractor.look(pictures, context, return_attention=True, rows=rows)
        seen = self.refine(combined)
        latent = self.mix(self.from_token(node_tokens) + (seen if per_node else seen[node_graph]))
        parameters = self.heads(latent)
        return (parameters, weights) if return_attention else parameters
