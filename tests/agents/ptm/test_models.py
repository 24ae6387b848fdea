import urllib.error

import pytest
import torch
from torch import nn
from torchvision import models

from agents.ptm import models as pretrained
from agents.ptm.cache import EmbeddingCache, content_keys
from agents.ptm.models import PretrainedModel, PTMConfig, adapt_first_convolution, fingerprint, register_ptm

IMAGE = (3, 24, 24)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def imagenet(monkeypatch):
    """Stand-in weights of a ResNet-18, as torch.hub would bring them."""
    weights = models.resnet18().state_dict()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **kwargs: weights)
    return weights


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path


def model(image=IMAGE, **entry):
    return PretrainedModel(PTMConfig.of(entry), image)


def test_imagenet_weights_arrive_unchanged(imagenet):
    network = model(model_type="resnet18_imagenet")
    torch.testing.assert_close(network.backbone.conv1.weight, imagenet["conv1.weight"])
    assert network.frozen
    assert network.out_shape == (512, 1, 1)


def test_one_channel_keeps_the_first_convolution_for_grey_images(imagenet):
    colour, grey = (model((c, 24, 24), model_type="resnet18_imagenet") for c in (3, 1))
    torch.testing.assert_close(grey.backbone.conv1.weight[:, 0], imagenet["conv1.weight"].sum(1))
    with torch.no_grad():  # the same grey image, standardised alike
        image = torch.rand(2, 1, 24, 24)
        alike = nn.functional.conv2d(image.expand(-1, 3, -1, -1), colour.backbone.conv1.weight, stride=2, padding=3)
        torch.testing.assert_close(grey.backbone.conv1(image), alike, rtol=1e-4, atol=1e-4)


def test_adapting_keeps_the_mean_and_leaves_equal_channels_alone():
    convolution = nn.Conv2d(3, 4, 3)
    assert adapt_first_convolution(convolution, 3) is convolution
    adapted = adapt_first_convolution(convolution, 6)
    torch.testing.assert_close(adapted.weight.sum(1), convolution.weight.sum(1))
    torch.testing.assert_close(adapted.bias, convolution.bias)


def test_frozen_models_do_not_move_even_in_training_mode():
    network = model(model_type="resnet18_random", freeze=True)
    before = fingerprint(network)
    network.train()
    network(torch.rand(8, *IMAGE))
    assert fingerprint(network) == before
    assert not network(torch.rand(2, *IMAGE)).requires_grad


def test_batch_statistics_of_a_trained_model_stay_too():
    network = model(model_type="resnet18_random", freeze=False)
    network.train()
    statistics = network.backbone.bn1.running_mean.clone()
    images = torch.rand(8, *IMAGE)
    together = network(images)
    assert torch.equal(network.backbone.bn1.running_mean, statistics)
    torch.testing.assert_close(network(images[:1]), together[:1], rtol=1e-4, atol=1e-5)  # no look at the others


def test_a_backbone_never_drops_anything(monkeypatch):
    """SB3 learns in training mode: a model that drops would say something else than it said while acting."""
    monkeypatch.setattr(pretrained, "REGISTRY", dict(pretrained.REGISTRY))
    register_ptm("dropping", lambda in_channels: nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.Dropout(0.5)))
    for freeze in (True, False):
        network, images = model(model_type="dropping", freeze=freeze), torch.rand(2, *IMAGE)
        acting = network(images)
        network.train()
        torch.testing.assert_close(network(images), acting)


def test_initialisers_do_not_reach_it():
    network = model(model_type="graph_cnn", freeze=False)
    before = fingerprint(network)
    nn.Sequential(network).apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, nn.Conv2d) else None)
    assert fingerprint(network) == before


def test_unfreezing_lets_it_learn():
    network = model(model_type="graph_cnn")
    network.unfreeze()
    network(torch.rand(2, *IMAGE)).sum().backward()
    assert network.backbone[0].weight.grad.abs().sum() > 0
    network.freeze()
    assert network.frozen


def test_offline_the_message_names_the_file_and_the_folder(offline):
    with pytest.raises(FileNotFoundError) as caught:
        model(model_type="resnet18_imagenet")
    message = str(caught.value)
    assert "resnet18-f37072fd.pth" in message
    assert str(offline / "checkpoints") in message
    assert "\n" not in message


def test_offline_random_weights_only_if_allowed(offline):
    assert model(model_type="resnet18", weights="imagenet", missing_weights="random").frozen


def test_a_damaged_file_is_named(monkeypatch):
    def damaged(*args, **kwargs):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", damaged)
    with pytest.raises(ValueError, match=r"resnet18-f37072fd.pth is damaged; delete it"):
        model(model_type="resnet18_imagenet")


def test_weights_of_ones_own(tmp_path):
    first = model(model_type="graph_cnn", options={"width": 4})
    torch.save(first.backbone.state_dict(), tmp_path / "cnn.pt")
    second = model(model_type="graph_cnn", weights=str(tmp_path / "cnn.pt"), options={"width": 4})
    assert fingerprint(first) == fingerprint(second)
    with pytest.raises(FileNotFoundError, match="no such file of weights"):
        model(model_type="graph_cnn", weights=str(tmp_path / "none.pt"))


class Flat(nn.Module):
    def __init__(self, in_channels, size=5):
        super().__init__()
        self.linear = nn.Linear(in_channels, size)

    def forward(self, images):
        return self.linear(images.mean(dim=(2, 3)))


def test_a_class_of_ones_own(monkeypatch):
    monkeypatch.setattr(pretrained, "REGISTRY", dict(pretrained.REGISTRY))
    register_ptm("flat", Flat)
    network = model(model_type="flat", options={"size": 7})
    assert network(torch.rand(2, *IMAGE)).shape == (2, 7, 1, 1)
    with pytest.raises(ValueError, match="registered already"):
        register_ptm("flat", Flat)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model_type": "resnt18"}, "did you mean 'resnet18"),
        ({"model_type": "zzz"}, "there are graph_cnn"),
        ({"model_type": "graph_cnn", "weights": "imagenet"}, "no ImageNet weights"),
        ({"freeze": True}, "needs model_type"),
        ({"model_type": "graph_cnn", "frozen": True}, "needs model_type and may have"),
        ({"model_type": "resnet18_random", "weights": "imagenet"}, "contradicts"),
        (
            {"model_type": "graph_cnn", "missing_weights": "perhaps"},
            "missing_weights of graph_cnn must be error or random",
        ),
        ({"model_type": "graph_cnn", "freeze": False, "unfreeze_at": 5}, "unfreeze_at needs freeze"),
        ({"model_type": 5}, "model_type of 5 must be a name"),
        ({"model_type": ["graph_cnn"]}, "must be a name"),
        ({"model_type": {}}, "must be a name"),
        ({"model_type": "graph_cnn", "freeze": "perhaps"}, "freeze of graph_cnn must be true or false"),
        ({"model_type": "graph_cnn", "join_at": -1}, "join_at of graph_cnn must be a number of steps"),
        ({"model_type": "graph_cnn", "unfreeze_at": "later"}, "unfreeze_at of graph_cnn must be a number of steps"),
        ({"model_type": "graph_cnn", "options": {"wdith": 4}}, "options of graph_cnn: .*'wdith'"),
        ({"model_type": "graph_cnn", "options": {"width": 0}}, "width of at least 1"),
    ],
)
def test_bad_entries_are_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        model(**entry)


def test_an_entry_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match=r"a mapping such as \{model_type: graph_cnn\}, not 'resnet18'"):
        PTMConfig.of("resnet18")


def test_files_that_hold_no_such_weights_are_named(tmp_path):
    (tmp_path / "text.pt").write_text("not a tensor in it")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"text.pt is no file of weights that torch.save wrote"):
        model(model_type="graph_cnn", weights=str(tmp_path / "text.pt"))
    with pytest.raises(ValueError, match=r"other.pt does not hold weights of graph_cnn") as caught:
        model(model_type="graph_cnn", weights=str(tmp_path / "other.pt"))
    assert "\n" not in str(caught.value)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="at least 16x16, not 8x24"):
        model((3, 8, 24), model_type="resnet18_random")


def test_the_cache_computes_each_image_once_and_forgets_the_oldest():
    seen = []

    def compute(images):
        seen.append(len(images))
        return images.flatten(1).sum(1, keepdim=True)

    cache = EmbeddingCache(4)
    images = torch.arange(6.0).view(6, 1, 1, 1)
    keys = content_keys(images)
    assert len(set(keys)) == 6
    first = cache(keys[:3], images[:3], compute)
    assert first.flatten().tolist() == [0.0, 1.0, 2.0]
    repeated = cache([keys[2], keys[0], keys[2]], images[[2, 0, 2]], compute)
    assert repeated.flatten().tolist() == [2.0, 0.0, 2.0]
    assert seen == [3]
    cache([keys[0], keys[3], keys[4]], images[[0, 3, 4]], compute)  # pushes out 1, not 0, which is needed
    assert seen == [3, 2]
    assert cache([keys[0], keys[2]], images[[0, 2]], compute).flatten().tolist() == [0.0, 2.0]
    assert seen == [3, 2]
    assert cache([keys[1]], images[[1]], compute).item() == 1.0
    assert seen == [3, 2, 1]
    assert cache(keys, images, compute).flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]  # more than fit
    assert cache.computed == 12
