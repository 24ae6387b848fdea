"""Adapters as users know them from the documents, alone, for several modalities, and in the suite's own agents."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from torch import nn

import envs  # noqa: F401
from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.policies import adapt_policy


def test_adapters_as_documented():
    torch.manual_seed(0)
    base_model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    dataloader, target = [torch.randn(4, 512)], torch.zeros(4, 10)

    def compute_loss(output, target):
        return (output - target).square().mean()

    from rl_suite.meta_learning import AdapterConfig, AdapterModel, AdapterType

    adapter_configs = [
        AdapterConfig(adapter_type=AdapterType.LINEAR, input_dim=512, hidden_dim=128),
        AdapterConfig(adapter_type=AdapterType.LORA, input_dim=512, lora_r=8, lora_alpha=16),
    ]
    adapter_model = AdapterModel(base_model, adapter_configs)
    optimizer = torch.optim.Adam(adapter_model.get_adapter_parameters())
    losses = []
    for batch in dataloader * 3:
        output = adapter_model(batch)
        loss = compute_loss(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    adapter_model.enable_adapters([AdapterType.LORA])
    adapter_model.disable_adapters([AdapterType.LINEAR])
    assert losses[-1] < losses[0]
    lora = 8 * (512 + 512) + 8 * (512 + 10)
    assert adapter_model.get_parameter_count()["trainable"] == lora


def test_several_modalities_as_documented():
    torch.manual_seed(0)
    from rl_suite.meta_learning import AdapterConfig, AdapterType, LanguageAdapter, MultiModalAdapter, VisionAdapter

    multimodal_config = AdapterConfig(adapter_type=AdapterType.ADAPTER, input_dim=768, hidden_dim=384)
    multimodal_adapter = MultiModalAdapter(multimodal_config)
    language_adapter = LanguageAdapter(multimodal_config)
    vision_adapter = VisionAdapter(multimodal_config)
    text, patches, maps = torch.randn(2, 5, 768), torch.randn(2, 9, 768), torch.randn(2, 768, 3, 3)
    assert torch.equal(multimodal_adapter(text, patches), text)
    assert torch.equal(language_adapter(text), text)
    assert torch.equal(vision_adapter(patches), patches)
    assert torch.equal(vision_adapter(maps), maps)


@pytest.mark.parametrize("fusion", ["attention", "concat", "sum"])
def test_one_modality_hears_the_others(fusion):
    torch.manual_seed(0)
    from rl_suite.meta_learning import AdapterConfig, AdapterModel, AdapterType, MultiModalAdapter

    config = AdapterConfig(adapter_type=AdapterType.MULTI_MODAL, input_dim=6, hidden_dim=4, fusion=fusion)
    adapter = MultiModalAdapter(config, {"vision": 3})
    nn.init.normal_(adapter.up.weight)
    text, vision = torch.randn(2, 5, 6), torch.randn(2, 3)
    heard = adapter(text=text, vision=vision)
    assert heard.shape == text.shape
    assert not torch.equal(heard, adapter(text=text, vision=vision + 1))
    with pytest.raises(UserError, match="unknown modality"):
        adapter(smell=text)
    with pytest.raises(UserError, match="no features"):
        adapter()

    class Meeting(nn.Module):
        def forward(self, text, vision):
            return text

    base = nn.ModuleDict({"meeting": Meeting()})
    adapted = AdapterModel(base, config.model_copy(update={"target_modules": ("meeting",)}))
    assert torch.equal(base["meeting"](text, text), text)
    (inside,) = adapted.adapters["multi_modal"].values()
    nn.init.normal_(inside.up.weight)
    assert not torch.equal(base["meeting"](text, text), base["meeting"](text, text + 1))


def test_stock_ppo_trains_the_adapters_of_a_policy(tmp_path):
    from rl_suite.meta_learning import AdapterConfig, AdapterType

    env = gym.make("rl_suite/DarkRoom-v0", show_goal=True)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=32, seed=0, device="cpu")
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    adapted = adapt_policy(model, AdapterConfig(adapter_type=AdapterType.LORA, lora_r=2))
    assert {id(p) for group in model.policy.optimizer.param_groups for p in group["params"]} == {
        id(p) for p in adapted.get_adapter_parameters()
    }
    model.learn(64)
    assert all(torch.equal(model.policy.state_dict()[name], value) for name, value in before.items())
    assert any(bool(adapter.b.any()) for adapter in adapted.adapters["lora"].values())
    adapted.save_adapters(tmp_path / "adapters.safetensors")
    with pytest.raises(UserError, match="already"):
        adapt_policy(model, AdapterConfig(adapter_type=AdapterType.LORA))
    adapted.unload()
    assert model.policy.state_dict().keys() == before.keys()
    observation, _ = env.reset(seed=0)
    assert np.all(np.isfinite(model.predict(observation)[0]))
    with pytest.raises(UserError, match="DQN"):
        adapt_policy(DQN("MlpPolicy", env), AdapterConfig(adapter_type=AdapterType.LORA))
