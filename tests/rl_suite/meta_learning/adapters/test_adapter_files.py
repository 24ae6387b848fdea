"""Adapters on disk: exact, refused where they do not fit, and exchanged with PEFT."""

import json

import pytest
import torch
from adapter_toys import NETWORKS, SHIPPED, calls, config, convolutional, perceptron, train
from safetensors.torch import load_file, save_file
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.config import AdapterType
from rl_suite.meta_learning.adapters.model import AdapterModel
from rl_suite.meta_learning.adapters.peft import load_peft, save_peft


@pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.value)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_what_is_saved_comes_back_exactly(network, kind, tmp_path):
    torch.manual_seed(0)
    base, inputs = network()
    model = AdapterModel(base, config(kind)).eval()
    train(model, inputs)
    adapted = calls(model, inputs)
    model.save_adapters(tmp_path / "adapters.safetensors")
    other = AdapterModel(model.unload(), config(kind)).eval()
    assert not torch.equal(calls(other, inputs), adapted)
    other.load_adapters(tmp_path / "adapters.safetensors")
    assert torch.equal(calls(other, inputs), adapted)


def test_files_that_do_not_fit_change_nothing(tmp_path):
    base, _ = perceptron()
    model = AdapterModel(base, config(AdapterType.LORA)).eval()
    path = tmp_path / "adapters.safetensors"
    model.save_adapters(path)
    before = {name: value.clone() for name, value in model.adapters.state_dict().items()}
    tensors = load_file(path)
    name = sorted(tensors)[0]
    cases = {
        "lacks 1 tensors": {key: value for key, value in tensors.items() if key != name},
        "also holds 1": {**tensors, "lora/more": torch.zeros(1)},
        "is .1,.": {**tensors, name: torch.zeros(1)},
        "NaN": {**tensors, name: torch.full_like(tensors[name], torch.nan)},
    }
    for problem, content in cases.items():
        save_file(content, path)
        with pytest.raises(UserError, match=problem):
            model.load_adapters(path)
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(UserError, match="not a safetensors file"):
        model.load_adapters(path)
    with pytest.raises(UserError, match="absent"):
        model.load_adapters(tmp_path / "absent")
    assert all(torch.equal(value, before[key]) for key, value in model.adapters.state_dict().items())


@pytest.mark.parametrize("network", [perceptron, convolutional], ids=lambda network: network.__name__)
def test_lora_in_the_files_of_peft_comes_back(network, tmp_path):
    torch.manual_seed(0)
    base, inputs = network()
    target = ("0", "3", "5") if network is perceptron else ("0", "4")
    asked = config(AdapterType.LORA, target_modules=target, rank_pattern={"/0": 2}, alpha_pattern={"/0": 5}, lora_r=4)
    model = AdapterModel(base, asked).eval()
    train(model, inputs)
    adapted = calls(model, inputs)
    save_peft(model, tmp_path)
    told = json.loads((tmp_path / "adapter_config.json").read_text())
    assert told["rank_pattern"]["0"] == 2
    assert {key.split(".lora_")[1] for key in load_file(tmp_path / "adapter_model.safetensors")} == {
        "A.weight",
        "B.weight",
    }
    model.unload()
    other = load_peft(base, tmp_path).eval()
    torch.testing.assert_close(calls(other, inputs), adapted, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
def test_peft_reads_our_files_and_we_read_its(tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    inputs = (torch.randn(4, 6),)
    model = AdapterModel(base, config(AdapterType.LORA, lora_r=2, lora_alpha=7, rank_pattern={"/2": 3})).eval()
    train(model, inputs)
    adapted = calls(model, inputs)
    save_peft(model, tmp_path / "ours")
    model.unload()
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
    torch.testing.assert_close(calls(theirs, inputs), adapted)

    fresh = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    plain = {name: value.clone() for name, value in fresh.state_dict().items()}
    asked = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["0", "2"], use_rslora=True, init_lora_weights=False)
    theirs = peft.get_peft_model(fresh, asked).eval()
    adapted = calls(theirs, inputs)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    ours.load_state_dict(plain)
    torch.testing.assert_close(calls(load_peft(ours, tmp_path / "theirs").eval(), inputs), adapted)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"peft_type": "IA3"}, "LoRA is read"),
        ({"use_dora": True}, "use_dora is not read"),
        ({"bias": "all"}, "bias is not read"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "no plain name"),
        ({"lora_alpha": float("nan"), "alpha_pattern": None}, "alpha of"),
    ],
)
def test_peft_files_that_mean_something_else_are_refused(change, problem, tmp_path):
    base, _ = perceptron()
    model = AdapterModel(base, config(AdapterType.LORA))
    save_peft(model, tmp_path)
    model.unload()
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=problem):
        load_peft(base, tmp_path)


def test_a_peft_folder_of_another_network_is_refused(tmp_path):
    base, _ = perceptron()
    model = AdapterModel(base, config(AdapterType.LORA))
    save_peft(model, tmp_path)
    with pytest.raises(UserError, match="the network has no '5'"):
        load_peft(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(4, 4), nn.Linear(16, 16)), tmp_path)
    with pytest.raises(UserError, match="a matrix is"):
        load_peft(nn.Sequential(*[nn.Linear(3, 3) for _ in range(6)]), tmp_path)
    with pytest.raises(UserError, match="no LoRA adapter"):
        save_peft(model, tmp_path, "linear")
