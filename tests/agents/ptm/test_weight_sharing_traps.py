"""Ways in which pre-trained models mislead silently: stale answers, wrong names, constant or averaged features."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ptm_toys import FROZEN, IMAGES, TRAINED
from stable_baselines3 import PPO
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from agents.ptm import weight_sharing
from agents.ptm.combiners import WeightSharingAttention
from agents.ptm.models import PretrainedModel, PTMConfig, adapt_first_convolution
from agents.ptm.weight_sharing import MultiPTMFeatureExtractor

pytestmark = pytest.mark.usefixtures("seeded", "no_downloads")

RESNET = {"model_type": "resnet18_random", "freeze": True}


def load(old, new):
    old.load_state_dict(new.state_dict())


def polyak(old, new):
    polyak_update(new.parameters(), old.parameters(), 0.5)


def replace_data(old, new):
    for mine, other in zip(old.parameters(), new.parameters(), strict=True):
        mine.data = other.data.clone()


def write_one(old, new):
    next(old.parameters()).data[0, 0, 0, 0] += 1.0


@pytest.mark.parametrize("change", [load, polyak, replace_data, write_one])
def test_answers_of_old_weights_are_forgotten_however_they_were_changed(change):
    one, other = (MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN], embedding_dim=8) for _ in range(2))
    images = torch.rand(3, 3, 36, 36)
    before = one(images)
    assert torch.equal(one(images), before)
    change(one.ptms[0].backbone, other.ptms[0].backbone)
    after = one(images)
    one.forget()
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, one(images))


def test_caches_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(weight_sharing, "CACHE_BYTES", 10_000)
    extractor = MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN], embedding_dim=8)
    k, h, w = extractor.ptms[0].out_shape
    extractor(torch.rand(20, 3, 36, 36))
    assert extractor._caches[0].capacity == 10_000 // (4 * k * h * w)


def test_random_weights_are_never_called_imagenet():
    asked = {"model_type": "resnet18_imagenet", "missing_weights": "random"}
    assert MultiPTMFeatureExtractor(IMAGES, ptms=[asked]).names == ["resnet18_random"]


@pytest.mark.parametrize("n_images", [1, 8])
def test_a_frozen_random_network_says_something_of_what_it_sees(n_images):
    space = spaces.Box(0, 255, (3, 24, 24), np.uint8)
    extractor = MultiPTMFeatureExtractor(space, ptms=[RESNET], embedding_dim=8)
    model = extractor.models()[0]
    extractor(torch.rand(n_images, 3, 24, 24))
    features = model(torch.rand(16, 3, 24, 24)).flatten(1)
    assert features.std(dim=0).mean() > 0.05
    assert features.abs().max() < 100
    before = model.backbone.bn1.running_mean.clone()
    extractor(torch.zeros(4, 3, 24, 24))  # once is enough
    assert torch.equal(model.backbone.bn1.running_mean, before)


def test_pictures_without_contrast_set_no_statistics():
    model = PretrainedModel(PTMConfig.of(RESNET), (3, 24, 24))
    model.calibrate(torch.zeros(4, 3, 24, 24))
    assert not model.backbone.bn1.running_mean.any()


@pytest.mark.parametrize("channels", [4, 6, 12])
def test_frames_cameras_and_colours_are_told_apart(channels):
    model = PretrainedModel(PTMConfig.of(RESNET), (channels, 24, 24))
    film = torch.rand(4, channels, 24, 24)
    model.calibrate(film)
    size = model.picture_channels
    backwards = film.view(4, -1, size, 24, 24).flip(1).reshape(film.shape)
    with torch.no_grad():
        scale = model(film).abs().mean()
        assert (model(film) - model(backwards)).abs().mean() > 0.1 * scale
        if size == 3:
            red, blue = torch.zeros(2, 2, channels, 24, 24)
            red[:, 0::3], blue[:, 2::3] = 1.0, 1.0
            assert (model(red) - model(blue)).abs().mean() > 0.01 * scale


def test_a_first_convolution_keeps_its_geometry():
    old = nn.Conv2d(3, 8, 3, dilation=2, padding=2, padding_mode="reflect")
    adapted = adapt_first_convolution(old, 1)
    assert (adapted.dilation, adapted.padding_mode) == ((2, 2), "reflect")
    grey = torch.rand(2, 1, 12, 12)
    torch.testing.assert_close(adapted(grey), old(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="groups=3"):
        adapt_first_convolution(nn.Conv2d(3, 6, 3, groups=3), 1)


@pytest.mark.parametrize("by_name", [True, False])
def test_what_was_thawed_is_thawed_after_loading(by_name):
    one, other = (MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, FROZEN], embedding_dim=8) for _ in range(2))
    if by_name:
        one.unfreeze("graph_cnn_0")
    else:
        for parameter in one.ptms[0].backbone.parameters():
            parameter.requires_grad = True
    other.load_state_dict(one.state_dict())
    assert [model.frozen for model in other.models()] == [False, True]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
def test_numbers_that_are_none_are_refused_by_name(value):
    for name in ("attention_temperature", "entropy_coef"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number"):
            WeightSharingAttention(4, 3, **{name: value})
    with pytest.raises(ValueError, match="spectral_radius must be a finite number"):
        MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN], combiner="reservoir", spectral_radius=value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(0, 1, (24, 24, 3)), "channels last"),
        (spaces.Box(-1, 1, (3, 24, 24)), r"within \[0, 1\]"),
        (spaces.Box(0, 200, (3, 24, 24), np.uint8), "uint8 from 0 to 255"),
        (spaces.Dict({"camera": spaces.Box(0, 9, (3, 24, 24))}), "images 'camera' must be"),
        (
            spaces.Dict({"camera": spaces.Box(0, 1, (24, 24, 3)), "gears": spaces.MultiDiscrete([2, 3])}),
            "channels last",
        ),
        (spaces.Dict({"eye": IMAGES, "gears": spaces.MultiDiscrete([[2, 3], [3, 2]])}), "'gears' must be a flat"),
        (spaces.Dict({"eye": IMAGES, "gears": spaces.MultiDiscrete([2, 3], start=[0, 1])}), "'gears' .* from 0"),
        (spaces.Dict({"eye": IMAGES, "lamp": spaces.Discrete(2, start=-1)}), "'lamp' .* from 0"),
        (spaces.Dict({"eye": IMAGES, "word": spaces.Text(3)}), "else only vectors"),
        (spaces.Dict({"eye": IMAGES, "small": spaces.Box(0, 255, (3, 8, 8), np.uint8)}), "all of one height and width"),
    ],
)
def test_what_sb3_would_hand_on_wrongly_is_refused(space, message):
    with pytest.raises(ValueError, match=message):
        MultiPTMFeatureExtractor(space, ptms=[FROZEN])


def test_choices_beside_an_image_are_seen_as_sb3_shows_them():
    space = spaces.Dict({"eye": IMAGES, "gears": spaces.MultiDiscrete([3, 4]), "lamp": spaces.Discrete(2)})
    extractor = MultiPTMFeatureExtractor(space, ptms=[FROZEN], embedding_dim=8)
    sample = {key: torch.as_tensor(np.stack([space[key].sample() for _ in range(5)])) for key in space.spaces}
    assert extractor(preprocess_obs(sample, space)).shape == (5, 8)


def test_a_curriculum_that_nobody_leads_is_refused_when_learning_begins():
    late = {**TRAINED, "join_at": 20}
    options = {"ptms": [FROZEN, late], "embedding_dim": 8}
    kwargs = {"features_extractor_class": MultiPTMFeatureExtractor, "features_extractor_kwargs": options}
    env = DummyVecEnv([Frames])
    model = PPO("CnnPolicy", env, n_steps=8, batch_size=8, policy_kwargs=kwargs, device="cpu")
    with pytest.raises(ValueError, match="AttentionCallback"):
        model.learn(8)


class Frames(gym.Env):
    observation_space = IMAGES
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full((3, 36, 36), 7, np.uint8), {}

    def step(self, action):
        return np.full((3, 36, 36), 9, np.uint8), 0.0, False, False, {}


def test_pictures_without_pixels_and_memory_of_no_radius_are_refused() -> None:
    with pytest.raises(ValueError, match="hold no pixels"):
        MultiPTMFeatureExtractor(spaces.Box(0, 1, (0, 24, 24)), ptms=[FROZEN])
    for radius in (0, -1.0):
        with pytest.raises(ValueError, match="above 0"):
            MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN], combiner="reservoir", spectral_radius=radius)
