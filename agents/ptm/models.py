"""Pre-trained models (PTMs): a registry, loading, freezing, and the first convolution.

Three things that go wrong with pre-trained networks in reinforcement learning, and what is done here:

* SB3's ``ortho_init`` overwrites every layer of a features extractor: a PTM does not pass ``apply`` on.
* In training mode batch statistics move, even frozen ones, and units are dropped: backbones stay in evaluation mode.
* Another number of image channels means another first convolution: it is made of the old one's mean over
  the colours, never drawn anew. More than three channels are frames or cameras: each goes through the network
  on its own, as a mean over them could not tell a film from the same film backwards.
* A random network with initial batch statistics lets all it is shown fade: they are taken from the first pictures.
"""

import difflib
import hashlib
import itertools
import logging
import math
import pickle
import urllib.error
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Literal

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1], torchvision
GREY_MEAN, GREY_STD = 0.449, 0.226  # their means
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CALIBRATION_PICTURES = 64  # with fewer, deep layers of a small picture have next to no variance to measure
LEAST_CONTRAST = 1e-3  # standard deviation of pixels in [0, 1]
LEAST_VARIANCE = 1e-2  # of a channel, as a part of its layer's mean: what is nearly constant is not blown up


class Standardize(nn.Module):
    """Shift and scale images in [0, 1] as for torchvision's training on ImageNet; other channels as if grey."""

    def __init__(self, in_channels: int):
        super().__init__()
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if in_channels == 3 else ((GREY_MEAN,), (GREY_STD,))
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return (images - self.mean) / self.std  # type: ignore[operator]


class GraphCNN(nn.Sequential):
    """Three 3x3 convolutions that halve the picture; a small network to be trained from scratch."""

    def __init__(self, in_channels: int, width: int = 64):
        if width < 1:
            raise ValueError(f"graph_cnn needs a width of at least 1, not {width}")
        widths = [in_channels, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for previous, following in itertools.pairwise(widths):
            layers += [nn.Conv2d(previous, following, 3, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers)


@dataclass(frozen=True)
class ModelType:
    """One entry of the registry.

    Attributes:
        build: makes the network for a number of image channels.
        min_size: smallest height and width of an image that it can take.
        imagenet: name of torchvision's weights, for those that have them.
        one_picture: whether it knows one grey or coloured picture at a time, so that frames and cameras, stacked
            along the channels, are shown to it one by one and its feature maps are stacked.
    """

    build: Callable[..., nn.Module]
    min_size: int
    imagenet: str | None = None
    one_picture: bool = False


def _resnet(name: str) -> Callable[..., nn.Module]:
    def build(in_channels: int, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
        from torchvision.models import get_model  # late: it takes longer than all other imports of an agent together

        network = get_model(name)
        if weights is not None:
            network.load_state_dict(weights)
        network.conv1 = adapt_first_convolution(network.conv1, in_channels)
        body = list(network.named_children())[:-2]  # without pooling and classification
        return nn.Sequential(OrderedDict([("standardize", Standardize(in_channels)), *body]))

    return build


REGISTRY: dict[str, ModelType] = {
    "graph_cnn": ModelType(GraphCNN, 8),
    "resnet18": ModelType(_resnet("resnet18"), 16, "ResNet18_Weights.IMAGENET1K_V1", True),
    "resnet34": ModelType(_resnet("resnet34"), 16, "ResNet34_Weights.IMAGENET1K_V1", True),
    "resnet50": ModelType(_resnet("resnet50"), 16, "ResNet50_Weights.IMAGENET1K_V2", True),
}


def register_ptm(name: str, build: Callable[..., nn.Module], min_size: int = 1) -> None:
    """Make a class or function of your own known as ``model_type: name``.

    Args:
        name: must be new.
        build: called as ``build(in_channels, **options)``; the network maps images (B, in_channels, H, W) in
            [0, 1] to feature maps (B, K, h, w) or vectors (B, K).
        min_size: smallest height and width that it can take.
    """
    if name in REGISTRY:
        raise ValueError(f"a pre-trained model named {name!r} is registered already")
    REGISTRY[name] = ModelType(build, min_size)


@dataclass(frozen=True)
class PTMConfig:
    """One pre-trained model as a configuration names it.

    Attributes:
        model_type: a name in the registry, or for a ResNet also ``<name>_imagenet`` and ``<name>_random``.
        freeze: whether it stays as it is.
        weights: ``"imagenet"``, ``"random"``, or the path of a state dict.
        missing_weights: when ImageNet weights are not in torch's cache folder: ``"error"`` downloads them and
            fails where that is impossible, ``"random"`` never touches the network and begins with random ones.
        join_at: steps after which it takes part (a curriculum of PTMs).
        unfreeze_at: steps after which a frozen one is trained; None = never.
        options: further arguments of the builder, such as ``{"width": 16}`` of graph_cnn.
    """

    model_type: str
    freeze: bool = True
    weights: str = "random"
    missing_weights: Literal["error", "random"] = "error"
    join_at: int = 0
    unfreeze_at: int | None = None
    options: Mapping[str, Any] | None = None

    @staticmethod
    def of(entry: "Mapping[str, Any] | PTMConfig") -> "PTMConfig":
        """Check one entry of a ``ptms:`` list, and read ``resnet18_imagenet`` as resnet18 with those weights."""
        if isinstance(entry, PTMConfig):
            return entry
        if not isinstance(entry, Mapping):
            raise ValueError(f"an entry of ptms is a mapping such as {{model_type: graph_cnn}}, not {brief(entry)}")
        known = [field.name for field in fields(PTMConfig)]
        unknown = [key for key in entry if key not in known]
        if unknown or "model_type" not in entry:
            raise ValueError(f"an entry of ptms needs model_type and may have {known[1:]}, not {brief(dict(entry))}")
        values = dict(entry)
        name, _, suffix = str(values["model_type"]).rpartition("_")
        if suffix in ("imagenet", "random") and name in REGISTRY and REGISTRY[name].imagenet is not None:
            if values.setdefault("weights", suffix) != suffix:
                raise ValueError(f"model_type {values['model_type']} contradicts weights: {brief(values['weights'])}")
            values["model_type"] = name
        config = PTMConfig(**values)
        config._check_types()
        if config.model_type not in REGISTRY:
            weighted = [name for name, registered in REGISTRY.items() if registered.imagenet]
            names = [*REGISTRY, *(f"{name}_{weights}" for name in weighted for weights in ("imagenet", "random"))]
            near = difflib.get_close_matches(config.model_type, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise ValueError(f"unknown pre-trained model {brief(config.model_type)}; {hint}")
        if config.unfreeze_at is not None and not config.freeze:
            raise ValueError(f"{config.model_type}: unfreeze_at needs freeze: true")
        return config

    def _check_types(self) -> None:
        """What YAML can get wrong: ``freeze: perhaps`` would be true."""
        rules: tuple[tuple[str, bool, str], ...] = (
            ("model_type", isinstance(self.model_type, str), "a name"),
            ("freeze", isinstance(self.freeze, bool), "true or false"),
            ("weights", isinstance(self.weights, str), "imagenet, random or a path"),
            ("missing_weights", self.missing_weights in ("error", "random"), "error or random"),
            ("join_at", _is_step(self.join_at), "a number of steps"),
            ("unfreeze_at", self.unfreeze_at is None or _is_step(self.unfreeze_at), "a number of steps or null"),
            ("options", self.options is None or isinstance(self.options, Mapping), "a mapping or null"),
        )
        for name, fits, wanted in rules:
            if not fits:
                raise ValueError(
                    f"{name} of {str(self.model_type)[:60]} must be {wanted}, not {brief(vars(self)[name])}"
                )


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class PretrainedModel(nn.Module):
    """A backbone that can be frozen, in evaluation mode for good.

    Attributes:
        backbone: the network, images (B, C, H, W) in [0, 1] to feature maps (B, K, h, w).
        out_shape: (K, h, w) for the given image.
        name: ``model_type``, with the weights that it began with where there is a choice: ``resnet18_random`` where
            those of ImageNet were asked for and could not be had.
    """

    def __init__(self, config: PTMConfig, image_shape: tuple[int, int, int]):
        super().__init__()
        self.config = config
        kind = REGISTRY[config.model_type]
        if min(image_shape[1:]) < kind.min_size:
            raise ValueError(
                f"{config.model_type} needs images of at least {kind.min_size}x{kind.min_size}, "
                f"not {image_shape[1]}x{image_shape[2]}"
            )
        options = dict(config.options or {})
        weights = config.weights
        if config.weights == "imagenet":
            if kind.imagenet is None:
                raise ValueError(f"{config.model_type} has no ImageNet weights; set weights: random or a path")
            options["weights"] = imagenet_weights(kind.imagenet, config.missing_weights)
            weights = "random" if options["weights"] is None else "imagenet"
        has_choice = kind.imagenet is not None and weights in ("imagenet", "random")
        self.name = f"{config.model_type}_{weights}" if has_choice else config.model_type
        channels = image_shape[0]
        self.picture_channels = channels if not kind.one_picture else 3 if channels % 3 == 0 else 1
        try:
            self.backbone = kind.build(self.picture_channels, **options)
        except (TypeError, RuntimeError) as error:
            said = str(error).rpartition("() ")[2]  # without the name of a constructor
            raise ValueError(f"options of {config.model_type}: {said}") from None
        if config.weights not in ("imagenet", "random"):
            self._load(Path(config.weights))
        if config.freeze:
            self.freeze()
        self.train(False)
        with torch.no_grad():
            self.out_shape: torch.Size = self(torch.zeros(1, *image_shape)).shape[1:]

    def _load(self, path: Path) -> None:
        try:
            self.backbone.load_state_dict(_read_weights(path))
        except (RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} does not hold weights of {self.config.model_type}: {reason}") from None

    @property
    def frozen(self) -> bool:
        """Whether nothing in it is trained."""
        return not any(parameter.requires_grad for parameter in self.backbone.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps (B, K, h, w) of images (B, C, H, W) in [0, 1]."""
        pictures = images.reshape(-1, self.picture_channels, *images.shape[2:])  # (B * frames, c, H, W)
        features: Tensor = self.backbone(pictures)
        features = features if features.dim() == 4 else features[:, :, None, None]
        return features.reshape(len(images), -1, *features.shape[2:])  # (B, frames * K, h, w)

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Take batch statistics from ``images`` (B, C, H, W), once, if the network still has the initial ones.

        A few pictures are shown shifted, mirrored and in other brightness, too. Pictures without any contrast are
        waited out.
        """
        norms = [module for module in self.backbone.modules() if isinstance(module, BATCH_NORMS)]
        norms = [norm for norm in norms if norm.running_mean is not None and norm.running_var is not None]
        if not norms or norms[0].running_mean.any() or float(images.std()) < LEAST_CONTRAST:  # type: ignore[union-attr]
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # the plain mean over calls, of which there is one
            norm.train()
        self(varied(images))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
            assert norm.running_var is not None
            norm.running_var.clamp_(min=LEAST_VARIANCE * float(norm.running_var.mean()))

    def get_extra_state(self) -> Tensor:
        """Which parameters are trained (n,) bool, so that what was thawed is thawed after loading, too."""
        return torch.tensor([parameter.requires_grad for parameter in self.backbone.parameters()])

    def set_extra_state(self, state: Tensor) -> None:
        """Freeze and thaw as :meth:`get_extra_state` said."""
        for parameter, trained in zip(self.backbone.parameters(), state.tolist(), strict=True):
            parameter.requires_grad_(bool(trained))

    def freeze(self) -> None:
        """Stop training it."""
        self.backbone.requires_grad_(False)

    def unfreeze(self) -> None:
        """Start training it."""
        self.backbone.requires_grad_(True)

    def apply(self, fn: Callable[[nn.Module], None]) -> "PretrainedModel":
        """Initialisers stop here: what is pre-trained must not be drawn anew."""
        return self

    def train(self, mode: bool = True) -> "PretrainedModel":
        """Switch modes, except for the backbone: batch statistics stay, and nothing is dropped."""
        super().train(mode)
        self.backbone.eval()
        return self

    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.backbone.parameters())


def varied(images: Tensor) -> Tensor:
    """At least ``CALIBRATION_PICTURES`` images, made of (B, C, H, W) by shifts, mirrors and brightness; no chance."""
    copies = math.ceil(CALIBRATION_PICTURES / len(images))
    shown = [images]
    for i in range(1, copies):
        shift = (i * images.shape[2] // copies, (5 * i) % copies * images.shape[3] // copies)
        turned = torch.roll(images, shift, dims=(2, 3)).flip(2 if i % 2 else 3)
        shown.append(turned * (0.5 + 0.5 * i / copies))
    return torch.cat(shown)


def adapt_first_convolution(convolution: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """The same convolution for another number of channels: each gets the mean over the old ones.

    It is scaled so that a grey image, the same in all channels, gives the same answer as before. With more channels
    than before it cannot tell them apart.

    Raises:
        ValueError: the convolution is a grouped one.
    """
    if convolution.in_channels == in_channels:
        return convolution
    if convolution.groups != 1:
        raise ValueError(f"a convolution with groups={convolution.groups} cannot be adapted to other channels")
    adapted = nn.Conv2d(
        in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        convolution.padding,  # type: ignore[arg-type]
        convolution.dilation,  # type: ignore[arg-type]
        bias=convolution.bias is not None,
        padding_mode=convolution.padding_mode,
    )
    with torch.no_grad():
        total = convolution.weight.sum(dim=1, keepdim=True)  # (K, 1, h, w)
        adapted.weight.copy_((total / in_channels).expand_as(adapted.weight))
        if convolution.bias is not None and adapted.bias is not None:
            adapted.bias.copy_(convolution.bias)
    return adapted


def imagenet_weights(name: str, missing: Literal["error", "random"]) -> Mapping[str, Tensor] | None:
    """torchvision's state dict of that name from the cache folder or the network; None for random initialisation.

    Raises:
        FileNotFoundError: it is in neither, and ``missing`` is "error"; the message names file and folder.
        ValueError: the file is damaged.
    """
    from torchvision.models import get_weight

    path = Path(torch.hub.get_dir(), "checkpoints", (url := str(get_weight(name).url)).rpartition("/")[2])
    if missing == "random" and not path.is_file():
        log.warning("%s has no %s: its weights are random", path.parent, path.name)
        return None
    try:
        weights: Mapping[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, str(path.parent), progress=False, check_hash=True, weights_only=True
        )
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged; delete it to have it downloaded again") from error
    except (urllib.error.URLError, OSError) as error:
        raise FileNotFoundError(
            f"ImageNet weights cannot be downloaded ({error}): place {path.name} in {path.parent}, "
            "or set missing_weights: random for this model"
        ) from None
    return weights


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights; give a path, or weights: imagenet or random")
    try:
        weights: object = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, LookupError, TypeError, ValueError, AttributeError):
        weights = None
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path} is no file of weights that torch.save wrote")
    if any(value.numel() * value.element_size() > value.untyped_storage().nbytes() for value in weights.values()):
        raise ValueError(f"{path}: a tensor claims more than the file holds")
    return weights


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all weights and statistics; two equal ones mean that nothing was changed."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
