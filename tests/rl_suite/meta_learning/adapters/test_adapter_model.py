"""Adapters inside any module: nothing changes at the start, only what was asked for is trained, all comes back."""

import copy

import pytest
import torch
from adapter_toys import FOLDING, NETWORKS, SHIPPED, Block, calls, config, perceptron, train
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning import AdapterConfig, AdapterModel, AdapterType, BaseAdapter
from rl_suite.meta_learning.adapters.model import optimizer_bytes

kinds = pytest.mark.parametrize("kind", SHIPPED, ids=lambda kind: kind.value)
networks = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)


@kinds
@networks
def test_an_adapter_is_the_identity_at_the_start_and_gone_when_disabled(network, kind, seeded):
    base, inputs = network()
    base.requires_grad_(False)  # torch folds products with frozen matrices otherwise, and rounds otherwise
    before, state = calls(base, inputs), copy.deepcopy(base.state_dict())
    base.requires_grad_(True)
    model = AdapterModel(base, config(kind)).eval()
    assert torch.equal(calls(model, inputs), before)
    train(model, inputs)
    assert not torch.equal(calls(model, inputs), before)
    model.disable_adapters()
    assert torch.equal(calls(model, inputs), before)
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())
    assert not model.get_adapter_parameters()
    model.enable_adapters()
    assert not torch.equal(calls(model, inputs), before)
    assert all(parameter.requires_grad for parameter in model.unload().parameters())
    assert torch.equal(calls(base.requires_grad_(False), inputs), before)


@kinds
@networks
def test_only_the_adapter_is_trained_and_every_part_of_it(network, kind, seeded):
    base, inputs = network()
    state = copy.deepcopy(base.state_dict())
    model = AdapterModel(base, config(kind))
    before = [parameter.clone() for parameter in model.get_adapter_parameters()]
    train(model, inputs)
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())  # statistics, too
    moved = [not torch.equal(a, b) for a, b in zip(before, model.get_adapter_parameters(), strict=True)]
    assert all(moved)
    assert not model.unreached()


@pytest.mark.parametrize("kind", FOLDING, ids=lambda kind: kind.value)
@networks
def test_merged_equals_unmerged_and_unmerge_is_exact(network, kind, seeded):
    """Alpha 32 of rank 4 and layers with biases: with alpha = rank, a forgotten scale would not show."""
    base, inputs = network()
    state = copy.deepcopy(base.state_dict())
    model = AdapterModel(base, config(kind, lora_r=4, lora_alpha=32)).eval()
    train(model, inputs)
    adapted = calls(model, inputs)
    assert model.merge() == [kind.value]
    torch.testing.assert_close(calls(model, inputs), adapted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(calls(base, inputs), adapted, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="unmerge"):
        model.train()
    model.unmerge()
    assert torch.equal(calls(model, inputs), adapted)
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())


@settings(max_examples=15)
@given(order=st.permutations(["lora", "ia3", "bitfit", "linear"]), alpha=st.floats(0.5, 64), rank=st.integers(1, 6))
def test_merging_keeps_the_output_in_any_order_of_adapters(order, alpha, rank):
    torch.manual_seed(0)
    base, inputs = perceptron()
    before = calls(base, inputs)
    model = AdapterModel(base, [config(AdapterType(kind), lora_r=rank, lora_alpha=alpha) for kind in order]).eval()
    train(model, inputs, rate=0.01)
    adapted = calls(model, inputs)
    assert set(model.merge()) == {"lora", "ia3", "bitfit"}
    torch.testing.assert_close(calls(model, inputs), adapted, rtol=1e-4, atol=1e-5)
    model.disable_adapters()  # undoes the merge first
    assert torch.equal(calls(model, inputs), before)


def test_lora_changes_a_weight_as_the_paper_says():
    base = nn.Linear(3, 2)
    model = AdapterModel(base, AdapterConfig(adapter_type=AdapterType.LORA, lora_r=4, lora_alpha=32))
    (adapter,) = model.adapters["lora"].values()
    with torch.no_grad():
        adapter.a.fill_(0.5)
        adapter.b.fill_(0.25)
    x = torch.randn(7, 3)
    expected = x @ (base.weight + 32 / 4 * adapter.b @ adapter.a).T + base.bias  # = W + 4 everywhere
    torch.testing.assert_close(model(x), expected)
    assert model.get_parameter_count() == {"total": 8 + 4 * 5, "trainable": 20, "frozen": 8, "base": 8, "lora": 20}
    assert model.get_parameter_efficiency() == 20 / 28


def test_rank_and_alpha_per_pattern():
    base = nn.ModuleDict({"q": nn.Linear(4, 4), "k": nn.Linear(4, 4)})
    table = {"rank_pattern": {"q": 2}, "alpha_pattern": {"k": 3}, "lora_r": 1, "lora_alpha": 8}
    model = AdapterModel(base, AdapterConfig(adapter_type=AdapterType.LORA, **table))
    q, k = model.adapters["lora"].values()
    assert (len(q.a), q.scale, len(k.a), k.scale) == (2, 8 / 2, 1, 3 / 1)


def test_bitfit_trains_biases_and_nothing_else():
    base, _ = perceptron()
    model = AdapterModel(base, config(AdapterType.BITFIT))
    trained = [row for row in model.rows() if row.trained]
    assert all(row.name.endswith("bias") for row in trained)
    assert sum(row.numbers for row in trained) == 16 + 16 + 16 + 4  # batch normalisation has one as well


def test_a_compacter_shares_its_rules_and_is_small():
    base, _ = perceptron()
    model = AdapterModel(base, config(AdapterType.COMPACTER, phm_dim=4)).eval()
    rules = {id(adapter.rules) for adapter in model.adapters["compacter"].values()}
    assert len(rules) == 1
    (first_adapter, *_) = model.adapters["compacter"].values()
    layer = first_adapter.down
    a, s, t = layer.rules, layer.s, layer.t
    whole = sum(torch.kron(a[i], s[i] @ t[i]) for i in range(4))
    torch.testing.assert_close(layer.weight, whole)
    x = torch.randn(3, 16)
    torch.testing.assert_close(layer(x), x @ whole.T + layer.bias)


def test_several_adapters_side_by_side():
    base, inputs = perceptron()
    before = calls(base, inputs)
    seen = config(AdapterType.LORA, name="seen"), config(AdapterType.LORA, name="unseen"), config(AdapterType.LINEAR)
    model = AdapterModel(base, seen).eval()
    model.disable_adapters(["unseen", AdapterType.LINEAR])
    train(model, inputs)
    alone = calls(model, inputs)
    model.disable_adapters("seen")
    assert torch.equal(calls(model, inputs), before)  # the others were not trained
    model.enable_adapters(AdapterType.LORA)
    assert torch.equal(calls(model, inputs), alone)
    assert {row.part for row in model.rows() if row.trained} == {"seen", "unseen"}
    with pytest.raises(UserError, match="did you mean 'unseen'"):
        model.enable_adapters("unsen")
    assert "frozen" in {str(cell) for cell in model.summary().columns[3]._cells}


def test_modules_trained_whole_are_copies_with_statistics_of_their_own(seeded, tmp_path):
    base, inputs = perceptron()
    before, state = calls(base, inputs), copy.deepcopy(base.state_dict())
    one = config(AdapterType.LORA, modules_to_save=("1", "5"))
    model = AdapterModel(base, one).eval()
    assert torch.equal(calls(model, inputs), before)
    train(model, inputs)
    adapted = calls(model, inputs)
    copied = model.copies["lora"]["1"]
    assert not torch.equal(copied.running_mean, state["1.running_mean"])
    model.save_adapters(tmp_path / "a.safetensors")
    model.disable_adapters()
    assert torch.equal(calls(base, inputs), before)
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())

    torch.manual_seed(1)
    other = AdapterModel(copy.deepcopy(model.unload()), one).eval()
    other.load_adapters(tmp_path / "a.safetensors")
    assert torch.equal(calls(other, inputs), adapted)
    for name, buffer in copied.named_buffers():
        assert torch.equal(other.copies["lora"]["1"].get_buffer(name), buffer)


def test_two_adapters_cannot_both_train_a_module_whole():
    base, _ = perceptron()
    configs = [config(AdapterType.LORA, name=name, modules_to_save=("5",)) for name in ("one", "two")]
    with pytest.raises(UserError, match="one and two both train 5 whole"):
        AdapterModel(base, configs)


def test_forgetting_is_measured_from_the_bare_base(seeded):
    """Disabled, the model is the base; the loss that an adapter adds on old data is not hidden in it."""
    base, inputs = perceptron()
    target = calls(base, inputs)
    model = AdapterModel(base, config(AdapterType.LINEAR, modules_to_save=("5",))).eval()
    train(model, inputs)
    model.disable_adapters()
    assert (calls(model, inputs) - target).abs().max() == 0
    model.enable_adapters()
    assert (calls(model, inputs) - target).abs().max() > 0


class Shift(BaseAdapter):
    def __init__(self, config):
        super().__init__(config)
        self.shift = nn.Parameter(torch.zeros(config.input_dim))

    def forward(self, x):
        return x + self.shift


def test_an_adapter_of_ones_own():
    base, inputs = perceptron()
    before = calls(base, inputs)
    model = AdapterModel(base, AdapterConfig(adapter_type=Shift, target_modules="5")).eval()
    assert torch.equal(calls(model, inputs), before)
    (adapter,) = model.adapters["Shift"].values()
    adapter.shift.data += 1
    torch.testing.assert_close(calls(model, inputs), before + 1)
    assert adapter.get_num_parameters() == 4
    with pytest.raises(UserError, match="no subclass of BaseAdapter"):
        AdapterModel(base, AdapterConfig(adapter_type=nn.Linear))


def test_layers_that_return_tuples_are_adapted_in_their_first_part(seeded):
    lstm = nn.LSTM(8, 16, batch_first=True)
    x = torch.randn(2, 5, 8)
    plain, (hidden, _) = lstm(x)
    model = AdapterModel(lstm, config(AdapterType.LINEAR, input_dim=16, target_modules="(base)")).eval()
    output, (same, _) = model(x)
    assert torch.equal(output, plain)
    assert torch.equal(same, hidden)
    train(model, (x,))
    assert not torch.equal(calls(model, (x,)), plain)


class Told(nn.Module):
    def forward(self, x):
        return {"logits": x}


@pytest.mark.parametrize(
    ("base", "asked", "problem"),
    [
        (Block(), {"target_modules": "q_prj"}, "nearest names: q_proj"),
        (Block(), {"target_modules": "norm"}, "norm .LayerNorm., and lora needs a weight matrix"),
        (nn.LSTM(4, 4), {"target_modules": "(base)"}, "lora needs a weight matrix"),
        (nn.ReLU(), {}, "no layer for it"),
        (Block(), {"input_dim": 5}, "no layer has input_dim=5; widths are attention.in_proj: 16"),
        (Block(), {"modules_to_save": "heads"}, "no module matches 'heads'"),
        (perceptron()[0], {"adapter_type": AdapterType.COMPACTER, "phm_dim": 3}, "multiples of it"),
        (perceptron()[0], {"adapter_type": AdapterType.LINEAR, "target_modules": "2"}, "input_dim"),
        (perceptron()[0], {"adapter_type": AdapterType.MULTI_MODAL}, "several tensors"),
    ],
)
def test_what_cannot_be_adapted_is_said_in_one_line(base, asked, problem):
    with pytest.raises(UserError, match=problem) as caught:
        AdapterModel(base, AdapterConfig(**{"adapter_type": AdapterType.LORA, **asked}))
    assert "\n" not in str(caught.value)
    assert all(parameter.requires_grad for parameter in base.parameters())


@pytest.mark.parametrize("configs", [[], {"a": config(AdapterType.LORA)}, ["lora"]])
def test_what_are_no_configurations_is_refused(configs):
    with pytest.raises(UserError, match="one AdapterConfig or a list"):
        AdapterModel(perceptron()[0], configs)


@pytest.mark.parametrize("value", [7.5, 3, True, {"a": 1}, [[]], [None]])
@pytest.mark.parametrize("name", ["target_modules", "modules_to_save"])
def test_what_are_no_patterns_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=name):
        config(AdapterType.LORA, **{name: value})


def test_outputs_that_hold_no_tensor_first_are_refused():
    base = nn.Sequential(Told())
    model = AdapterModel(base, config(AdapterType.LINEAR, input_dim=4, target_modules="0"))
    with pytest.raises(UserError, match="0 returns dict"):
        model(torch.zeros(1, 4))


def test_a_shared_weight_is_not_merged_behind_the_back_of_the_other_layer():
    embedding, head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    head.weight = embedding.weight
    model = AdapterModel(nn.Sequential(embedding, head), config(AdapterType.LORA, target_modules="1")).eval()
    with pytest.raises(UserError, match="one tensor"):
        model.merge()
    with pytest.raises(UserError, match="nothing to merge"):
        AdapterModel(nn.Sequential(nn.Linear(4, 4)), config(AdapterType.LINEAR)).merge()


def test_a_failed_call_leaves_the_weights_where_they_were():
    base = nn.Conv2d(1, 2, 3)
    model = AdapterModel(base, config(AdapterType.LORA, target_modules="(base)"))
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 3, 5, 5))
    assert isinstance(base.weight, nn.Parameter)
    assert "weight" not in vars(base)


def test_a_copy_has_adapters_of_its_own(seeded):
    base, inputs = perceptron()
    model = AdapterModel(base, config(AdapterType.LORA, modules_to_save=("5",))).eval()
    twin = copy.deepcopy(model)
    before = calls(model, inputs)
    train(twin, inputs)
    assert torch.equal(calls(model, inputs), before)
    assert not torch.equal(calls(twin, inputs), before)


def test_the_optimiser_holds_two_numbers_per_trained_one():
    base, inputs = perceptron()
    model = AdapterModel(base, config(AdapterType.LORA))
    optimizer = torch.optim.Adam(model.get_adapter_parameters())
    model(*inputs).sum().backward()
    optimizer.step()
    steps = 4 * len(model.get_adapter_parameters())  # a counter each
    assert optimizer_bytes(optimizer) - steps == 2 * 4 * model.get_parameter_count()["trainable"]


def test_what_is_no_module_is_one_line():
    with pytest.raises(UserError, match="not into int"):
        AdapterModel(3, AdapterConfig(adapter_type=AdapterType.LORA))
