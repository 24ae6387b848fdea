"""HybridActorCritic: an encoder of graphs, an actor (plain or with Weight Sharing Attention) and a critic.

One SB3 policy for padded graphs, with one action per node (a HybridBox with as many parts as nodes) or one
for the whole graph (a plain Box)::

    PPO(HybridActorCritic, env, policy_kwargs=dict(encoder="gnn", use_wsa=True, ptms=[
        {"model_type": "graph_cnn", "freeze": False}, {"model_type": "resnet18_imagenet", "freeze": True}]))
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from reprlib import repr as brief
from typing import Any, Literal, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from agents.graph.batch import GraphBatch, GraphShape, Tokens
from agents.graph.encoder import ENCODERS, EncoderName
from agents.graph.picture import graph_pictures
from agents.hybrid.circular import SharedAngles
from agents.hybrid.correlated import SharedNoise
from agents.hybrid.policy import LOG_STD_RANGE, ActionLayout, HybridPolicy, MaskedHybrid
from agents.hybrid.segments import segment_mean
from agents.hybrid.unfit import OnPolicyActor
from agents.ptm.combiners import require_numbers, require_sizes
from agents.ptm.weight_sharing import ActionHeads, ActionParameters, MultiPTMFeatureExtractor, WSAEnhancedActor

INERT = (
    "net_arch", "activation_fn", "features_extractor_class", "features_extractor_kwargs", "share_features_extractor",
    "normalize_images", "full_std", "use_expln",
)  # fmt: skip  # arguments of SB3's policy that shape networks which are not built here

__all__ = ["Actor", "Critic", "HybridActorCritic", "WSAEnhancedActor"]


class Actor(OnPolicyActor):
    """The plain actor: one hidden layer on the token of each part, and the heads.

    Its constructor and its call are those of :class:`agents.ptm.weight_sharing.WSAEnhancedActor`, so that one can
    take the other's place; ``graph_token`` enters beside the node's own.
    """

    def __init__(
        self,
        encoder_out_dim: int,
        hidden_dim: int,
        num_discrete_actions: int,
        continuous_dim: int,
        dropout_rate: float = 0.0,
        n_angles: int = 0,
        log_std_init: float = 0.0,
    ):
        super().__init__()
        self.from_node = nn.Linear(encoder_out_dim, hidden_dim)
        self.from_graph = nn.Linear(encoder_out_dim, hidden_dim, bias=False)
        self.dropout = nn.Dropout(dropout_rate)
        self.heads = ActionHeads(hidden_dim, num_discrete_actions, continuous_dim, n_angles, log_std_init)

    def forward(
        self, node_tokens: Tensor, graph_token: Tensor, node_graph: Tensor | None = None, pictures: Tensor | None = None
    ) -> ActionParameters:
        """Action parameters of M parts; arguments as those of the other actor (``pictures`` are not looked at)."""
        graph_token = graph_token.view(-1, graph_token.shape[-1])
        told = self.from_graph(graph_token)  # (B, H)
        told = told if node_graph is None else told[node_graph]
        return self.heads(self.dropout(torch.relu(self.from_node(node_tokens) + told)))  # type: ignore[no-any-return]


class Critic(nn.Module):
    """Values of the graph token: one head per component of the reward, and their sum is the value.

    The algorithm trains the sum. What each head says alone is only meaningful after the heads were fitted to
    returns per component with :meth:`fit_heads`, which leaves the layer below untouched.
    """

    def __init__(self, encoder_out_dim: int, hidden_dim: int, components: Sequence[str]):
        super().__init__()
        self.components = tuple(components)
        self.trunk = nn.Sequential(nn.Linear(encoder_out_dim, hidden_dim), nn.Tanh())
        self.heads = nn.Linear(hidden_dim, len(self.components))

    def forward(self, graph_token: Tensor) -> Tensor:
        """(B, D) to the values (B, components)."""
        return self.heads(self.trunk(graph_token))  # type: ignore[no-any-return]

    @torch.no_grad()
    def fit_heads(self, graph_tokens: Tensor, returns: Tensor, ridge: float) -> None:
        """Move the heads to the least-squares fit of ``returns`` (B, components), as near as ``ridge`` wants it."""
        latent = self.trunk(graph_tokens)
        inputs = torch.cat([latent, torch.ones_like(latent[:, :1])], dim=1)  # (B, H + 1)
        residual = returns - self.heads(latent)
        gram = inputs.t() @ inputs + ridge * len(inputs) * torch.eye(inputs.shape[1], device=inputs.device)
        step = torch.linalg.solve(gram, inputs.t() @ residual)  # (H + 1, components)
        self.heads.weight.add_(step[:-1].t())
        self.heads.bias.add_(step[-1])


def refuse_inert(kwargs: Mapping[str, Any]) -> None:
    """ValueError for arguments of SB3's own networks, which HybridActorCritic does not have."""
    inert = [name for name in INERT if name in kwargs]
    if inert:
        raise ValueError(
            f"HybridActorCritic has no use for {', '.join(inert)}: its networks are shaped by encoder, encoder_kwargs "
            "and hidden_dim, and ptms with use_wsa=true add pre-trained models"
        )


class GraphLatents(NamedTuple):
    """What actor and critic read: the batch, its tokens, and pictures where somebody looks at them."""

    batch: GraphBatch
    tokens: Tokens
    pictures: Tensor | None


@dataclass(frozen=True)
class HybridOptions:
    """What shapes a :class:`HybridActorCritic`.

    Attributes:
        encoder: ``"features"``, ``"deepsets"`` or ``"gnn"`` (:mod:`agents.graph.encoder`).
        encoder_kwargs: further arguments of the encoder.
        hidden_dim: width of tokens and hidden layers.
        use_wsa: whether pre-trained models take part.
        wsa_placement: ``"actor"`` replaces the actor by WSAEnhancedActor; ``"features"`` keeps actor and critic
            as they are and adds what the models see to the graph token of both.
        ptms: the pre-trained models (:class:`agents.ptm.models.PTMConfig`).
        wsa_config: further arguments of WSAEnhancedActor or MultiPTMFeatureExtractor; may hold ``ptms`` too.
        reward_components: names of the critic's heads.
        shared_noise: whether the nodes of a graph share a part of the noise of their plain values, so that what
            they do together is explored too (:mod:`agents.hybrid.correlated`).

    Raises:
        ValueError: an option is none of these values, or would do nothing.
    """

    encoder: EncoderName = "gnn"
    encoder_kwargs: Mapping[str, Any] | None = None
    hidden_dim: int = 64
    use_wsa: bool = False
    wsa_placement: Literal["actor", "features"] = "actor"
    ptms: Sequence[Mapping[str, Any]] | None = None
    wsa_config: Mapping[str, Any] | None = None
    reward_components: Sequence[str] = ("total",)
    shared_noise: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, str) or self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not {brief(self.encoder)}")
        if self.wsa_placement not in ("actor", "features"):
            raise ValueError(f"wsa_placement must be 'actor' or 'features', not {brief(self.wsa_placement)}")
        require_sizes(1, hidden_dim=self.hidden_dim)
        for name, value in (("use_wsa", self.use_wsa), ("shared_noise", self.shared_noise)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false, not {brief(value)}")
        components = self.reward_components
        if (
            not isinstance(components, list | tuple)
            or not components
            or not all(isinstance(n, str) for n in components)
        ):
            raise ValueError(f"reward_components must be a list with at least one name, not {brief(components)}")
        if self.wsa_config is not None and not isinstance(self.wsa_config, Mapping):
            raise ValueError(f"wsa_config must be a mapping, not {brief(self.wsa_config)}")
        config = self.wsa_config or {}
        if self.ptms is not None and "ptms" in config:
            raise ValueError("ptms is given twice, beside wsa_config and in it")
        if config.get("dropout_rate"):
            raise ValueError("dropout_rate must be 0 in a policy: learning would drop what acting did not")
        given = self.ptms is not None or self.wsa_config is not None or self.wsa_placement != "actor"
        if given and not self.use_wsa:
            raise ValueError("ptms, wsa_config and wsa_placement do nothing without use_wsa=true")

    @property
    def of_models(self) -> dict[str, Any]:
        """Arguments of the actor or the extractor with pre-trained models."""
        return {**(self.wsa_config or {}), **({} if self.ptms is None else {"ptms": self.ptms})}


OWN = tuple(field.name for field in fields(HybridOptions))


class HybridActorCritic(HybridPolicy):
    """SB3 policy for padded graphs (see :mod:`agents.graph.batch` for the observation).

    Args:
        angles: which of the continuous values are angles in units of pi, hence wrap around.
        log_std_init: logarithm of the standard deviations to begin with.
        **kwargs: those of :class:`HybridOptions` (``encoder``, ``hidden_dim``, ``use_wsa``, ``ptms`` ...), and of SB3's
            ActorCriticPolicy but for those that shape its networks (:data:`INERT`), which are refused.

    Raises:
        ValueError: the spaces do not fit, a pre-trained model is unknown or does not fit, or an argument would do
            nothing.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        angles: Sequence[int] = (),
        log_std_init: float = -0.5,
        **kwargs: Any,
    ):
        self.graph_shape = GraphShape.of(observation_space)
        layout = ActionLayout.of(action_space, angles)
        self.per_node = layout.n_parts > 1
        if self.per_node and layout.n_parts != self.graph_shape.max_nodes:
            raise ValueError(
                f"actions have {layout.n_parts} parts but the graph has up to {self.graph_shape.max_nodes} nodes; "
                "there must be one part per node, or a single one for the graph"
            )
        self.options = HybridOptions(**{name: kwargs.pop(name) for name in OWN if name in kwargs})
        refuse_inert(kwargs)
        require_numbers(log_std_init=log_std_init)
        log_std_init = float(log_std_init)  # a whole number would make a parameter of whole numbers
        kwargs.setdefault("ortho_init", False)  # every part has its own initialisation
        super().__init__(
            observation_space, action_space, lr_schedule, angles=angles, log_std_init=log_std_init, **kwargs
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        own = {name: getattr(self.options, name) for name in OWN}
        return {**{name: value for name, value in parameters.items() if name not in INERT}, **own}

    def _build(self, lr_schedule: Schedule) -> None:
        own, layout = self.options, self.layout
        self.encoder = ENCODERS[own.encoder](
            self.graph_shape, own.hidden_dim, self.per_node, **(own.encoder_kwargs or {})
        )
        width = self.encoder.out_dim
        widths = (width, own.hidden_dim, layout.n_options, layout.n_continuous)
        self.seen: nn.Module | None = None
        self.add_seen: nn.Module | None = None
        self.actor: nn.Module
        if own.use_wsa and own.wsa_placement == "actor":
            options = {"image": "picture", **own.of_models}
            self.actor = WSAEnhancedActor(
                *widths, n_angles=len(layout.angles), log_std_init=self.log_std_init, **options
            )
        else:
            self.actor = Actor(*widths, n_angles=len(layout.angles), log_std_init=self.log_std_init)
        if own.use_wsa and own.wsa_placement == "features":
            self.seen = MultiPTMFeatureExtractor(self.observation_space, context_input_dim=width, **own.of_models)
            self.add_seen = nn.Linear(self.seen.features_dim, width)
        self.critic = Critic(width, own.hidden_dim, own.reward_components)
        everything = [parameter for _, parameter in super().named_parameters()]  # what is frozen may be trained later
        fast = {"fused": True} if self.optimizer_class in (torch.optim.Adam, torch.optim.AdamW) else {}
        self.optimizer = self.optimizer_class(everything, lr=lr_schedule(1), **{**fast, **self.optimizer_kwargs})  # type: ignore[call-arg]

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Those that are trained: TRPO asks for the gradient of each and stumbles over frozen ones."""
        return ((name, p) for name, p in super().named_parameters(*args, **kwargs) if p.requires_grad)

    @property
    def multi_ptm(self) -> MultiPTMFeatureExtractor | None:
        """The pre-trained models, wherever they take part."""
        if isinstance(self.actor, WSAEnhancedActor):
            return self.actor.feature_extractor
        return self.seen if isinstance(self.seen, MultiPTMFeatureExtractor) else None

    def latents(self, obs: PyTorchObs) -> tuple[GraphLatents, GraphLatents]:
        """Encode observations as they come from the buffer (nothing is rescaled or cast beforehand)."""
        latents, _ = self._encode(obs)
        return latents, latents

    def hybrid_distribution(self, latent_pi: GraphLatents, obs: PyTorchObs) -> MaskedHybrid:
        """The distribution over the actions of all real nodes, or of the graph."""
        said: ActionParameters = self._act(latent_pi)
        if not self.per_node:
            return MaskedHybrid(self.layout, said.logits, said.mean, said.log_std, vectors=said.vectors)
        parts, allowed = latent_pi.batch.parts, latent_pi.batch.allowed(self.layout.n_options)
        noise, angles = None, None
        if self.options.shared_noise:
            own, shared = (scale.clamp(*LOG_STD_RANGE) for scale in (said.log_std, said.shared_log_std))
            noise = SharedNoise(own, shared, parts.graph, parts.counts)
            lead = segment_mean(said.vectors, parts.counts, parts.graph)  # the nodes vote
            angles = SharedAngles(lead, said.offsets, said.log_kappa, parts.graph, parts.counts)
        return MaskedHybrid(
            self.layout, said.logits, said.mean, said.log_std, parts, allowed, said.vectors, noise, angles
        )

    def value(self, latent_vf: GraphLatents) -> Tensor:
        """Values (B, 1): the sum over the components."""
        return self.component_values(latent_vf).sum(dim=1, keepdim=True)

    def component_values(self, latents: GraphLatents) -> Tensor:
        """Values (B, components) of :meth:`latents`."""
        return self.critic(latents.tokens.graph)  # type: ignore[no-any-return]

    @torch.no_grad()
    def attention(self, obs: PyTorchObs) -> Tensor:
        """Weights of the pre-trained models, (B, n), or (M, n) per node; rows sum to 1."""
        latents, weights = self._encode(obs)
        if isinstance(self.actor, WSAEnhancedActor):
            _, weights = self._act(latents, return_attention=True)
        if weights is None:
            raise ValueError("this policy has no attention over pre-trained models")
        return weights

    def _encode(self, obs: PyTorchObs) -> tuple[GraphLatents, Tensor | None]:
        if not isinstance(obs, dict):
            raise ValueError("a graph policy needs a Dict observation")
        batch = GraphBatch(obs)
        tokens: Tokens = self.encoder(batch)
        pictures = None if self.multi_ptm is None else graph_pictures(batch)
        weights = None
        if isinstance(self.seen, MultiPTMFeatureExtractor) and self.add_seen is not None:
            seen, weights = self.seen.look(pictures, tokens.graph, return_attention=True)  # type: ignore[arg-type]
            graph = tokens.graph + self.add_seen(seen)
            tokens = Tokens(tokens.nodes if self.per_node else graph, graph)
        return GraphLatents(batch, tokens, pictures), weights

    def _act(self, latents: GraphLatents, **options: Any) -> Any:
        tokens = latents.tokens
        if self.per_node:
            return self.actor(tokens.nodes, tokens.graph, latents.batch.parts.graph, latents.pictures, **options)
        rows = torch.arange(latents.batch.size, device=tokens.graph.device)
        return self.actor(tokens.graph, tokens.graph, rows, latents.pictures, **options)
