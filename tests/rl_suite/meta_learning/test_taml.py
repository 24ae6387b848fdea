"""The documents' TAML: equivariant, of any number of classes, one pass through the body, and it learns."""

import copy

import pytest
import torch
from torch.utils.data import DataLoader

from rl_suite.benchmarks import Options
from rl_suite.benchmarks import taml as taml_benchmark
from rl_suite.errors import UserError
from rl_suite.meta_learning import TAMLDecoder, TAMLRelationNetwork, TaskAgnosticMetaLearning
from rl_suite.meta_learning.data.glyphs import load_glyphs
from rl_suite.meta_learning.learners.taml import Extras
from rl_suite.meta_learning.learners.taml_parts import APPROACHES, apply_head
from rl_suite.meta_learning.tasks import Task

SIZE = 12


def small(approach="per_layer_scalars", **options):
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, 2), torch.nn.ReLU())
    return TaskAgnosticMetaLearning(
        modulation_approach=approach, latent_dim=8, body=body, size=SIZE, outer_lr=3e-3, **options
    )


def episode(n_way=3, shots=2, queries=4, seed=0, hidden=False):
    """Classes are noisy copies of one random image each; ``hidden``: in the lower half there is nothing but noise."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n_way, 1, SIZE, SIZE, generator=generator)
    support_y, query_y = torch.arange(n_way).repeat(shots), torch.arange(n_way).repeat(queries)
    noisy = [centres[y] + 0.7 * torch.randn(len(y), 1, SIZE, SIZE, generator=generator) for y in (support_y, query_y)]
    for part in noisy if hidden else []:
        part[:, :, SIZE // 2 :] = 2.5 * torch.randn(part[:, :, SIZE // 2 :].shape, generator=generator)
    return Task(noisy[0], support_y, noisy[1], query_y)


@pytest.mark.parametrize("extras", [Extras(), Extras(weighted_support=True, step_rates=True)])
@pytest.mark.parametrize("approach", APPROACHES)
def test_permuting_the_classes_permutes_the_logits(approach, extras):
    taml, task = small(approach, extras=extras), episode(4)
    order = torch.tensor([2, 0, 3, 1])
    renamed = task._replace(support_y=order[task.support_y])
    (plain,), (permuted,) = taml.outputs([task]), taml.outputs([renamed])
    assert torch.allclose(permuted[:, order], plain, atol=1e-5)


def test_any_number_of_classes_and_ragged_batches():
    taml = small()
    tasks = [episode(2), episode(7), episode(3, shots=1), episode(2, seed=1)]
    together, alone = taml.outputs(tasks), [taml.outputs([task])[0] for task in tasks]
    assert [logits.shape[1] for logits in together] == [2, 7, 3, 2]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(together, alone, strict=True))
    assert taml.learn(tasks)["loss"] > 0


def test_unadapted_all_classes_are_alike():
    logits = small().outputs([episode()], steps=0)[0]
    assert torch.allclose(logits, logits[:, :1].expand_as(logits), atol=1e-6)


def test_images_pass_the_body_once_per_step():
    taml, calls = small(inner_steps=5), []
    taml.classifier.body.register_forward_hook(lambda *parts: calls.append(len(parts[1][0])))
    taml.learn([episode(), episode(seed=1)])
    assert calls == [2 * 3 * (2 + 4)]


def test_the_steps_of_the_documents_are_those_of_the_learner():
    taml, task = small().eval(), episode(4)
    codes = taml.encode_task(task.support_x, task.support_y)
    fast = taml.inner_update(task.support_x, task.support_y, *taml.decode_to_modulations(codes))
    assert codes.shape == (4, 8)
    logits = taml.classifier(task.query_x, head_weights=fast)
    assert torch.allclose(logits, taml.outputs([task])[0], atol=1e-5)


def test_one_inner_step_by_hand():
    taml, task = small(inner_steps=1).eval(), episode(3)
    modulations, rates = taml.decode_to_modulations(taml.encode_task(task.support_x, task.support_y))
    fast = taml.inner_update(task.support_x, task.support_y, modulations, rates)
    begin = {name: (part * modulations[name]).detach() for name, part in taml.classifier.head(3).items()}
    begin = {name: part.requires_grad_() for name, part in begin.items()}
    features = taml.classifier.features(task.support_x).detach()
    loss = torch.nn.functional.cross_entropy(apply_head(begin, features), task.support_y)
    for name, gradient in zip(begin, torch.autograd.grad(loss, list(begin.values())), strict=True):
        assert torch.allclose(fast[name], begin[name] - rates[name][0] * gradient, atol=1e-6)


@pytest.mark.parametrize("approach", [*APPROACHES, "per_parameter", "low_rank"])
def test_factors_and_rates_stay_in_their_ranges(approach):
    torch.manual_seed(0)
    decoder = TAMLDecoder(8, feature_dim=20, hidden=6, approach=approach, steps=3)
    factors, rates = decoder(100 * torch.randn(5, 8))
    shapes = {"weight1": (5, 6, 20), "bias1": (5, 6), "weight2": (5, 4, 6), "bias2": (5, 4)}
    for name, shape in shapes.items():
        assert torch.broadcast_shapes(factors[name].shape, shape) == shape
        assert 0.5 <= factors[name].min() <= factors[name].max() <= 1.5
        assert rates[name].shape[1] == 3
        assert torch.broadcast_shapes(rates[name][:, 0].shape, shape) == shape
        assert 0.001 <= rates[name].min() <= rates[name].max() <= 0.1


def test_the_relation_network_looks_at_all_pairs():
    relation, codes = TAMLRelationNetwork(4), torch.randn(3, 4)
    first = torch.stack([relation.layers(torch.cat([codes[0], other])) for other in codes]).mean(0)
    assert torch.allclose(relation(codes)[0], first, atol=1e-6)


def test_weights_of_examples_are_one_on_average_within_their_class():
    taml, task = small(extras=Extras(weighted_support=True)), episode(3, shots=4)
    features = taml.classifier.features(task.support_x)[None]
    members = torch.nn.functional.one_hot(task.support_y, 3)[None].float()
    weights = taml._weights(features, members)
    assert torch.allclose((members.mT @ weights[..., None]).squeeze() / 4, torch.ones(3), atol=1e-5)
    assert weights.std() > 0


@pytest.mark.parametrize("approach", APPROACHES)
def test_it_learns(approach):
    """What half of a picture to look at is the same in every task, and has to be learned."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE**2, 32))
    taml = TaskAgnosticMetaLearning(modulation_approach=approach, latent_dim=8, body=body, size=SIZE, outer_lr=1e-2)
    held_out = [episode(shots=1, seed=10_000 + i, hidden=True) for i in range(60)]

    def accuracy():
        found = zip(taml.outputs(held_out), held_out, strict=True)
        return sum(float((logits.argmax(-1) == t.query_y).float().mean()) for logits, t in found) / len(held_out)

    assert accuracy() < 0.65
    for i in range(40):
        taml.learn([episode(shots=1, seed=i * 8 + k, hidden=True) for k in range(8)])
    assert accuracy() > 0.75


def test_labels_may_be_anything_and_the_state_is_whole():
    taml, task = small(), episode(3)
    taml.learn([task])
    names = [["b", "a", "c"][label] for label in task.support_y]
    other = small()
    other.load_meta_state(copy.deepcopy(taml.get_meta_state()))
    answers = taml.predict(task.support_x, names, task.query_x)
    assert set(answers) <= {"a", "b", "c"}
    assert other.predict(task.support_x, names, task.query_x) == answers
    assert taml.learn([task]) == other.learn([task])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TaskAgnosticMetaLearning(num_classes=1), "2 classes"),
        (lambda: TaskAgnosticMetaLearning(inner_steps=0), "inner_steps"),
        (lambda: TaskAgnosticMetaLearning(modulation_approach="wish"), "wish"),
        (lambda: small().outputs([]), "no tasks"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_training_and_adapting_as_documented():
    from rl_suite.meta_learning import OmniglotTaskDataset, train_taml

    train_dataset, test_dataset, _ = load_glyphs(28)
    sizes = {"n_way": 5, "k_shot": 1, "num_query": 2}
    train_task_dataset = OmniglotTaskDataset(train_dataset, **sizes, num_tasks=4)
    train_loader = DataLoader(train_task_dataset, batch_size=2, shuffle=True)
    model, losses = train_taml(  # noqa: RUF059  (as in the documents)
        num_classes=5,
        task_dataloader=train_loader,
        latent_dim=64,
        modulation_approach="per_layer_scalars",
        inner_steps=5,
        outer_lr=0.001,
    )
    assert len(losses) == 2

    taml = TaskAgnosticMetaLearning(
        num_classes=5, latent_dim=64, modulation_approach="per_layer_scalars", inner_steps=5, outer_lr=0.001
    )
    device = torch.device("cpu")
    taml = taml.to(device)
    taml.initialize_optimizer(device=device)
    for task_batch in train_loader:
        support_data, support_labels, query_data, query_labels = task_batch
        loss = taml.meta_train_step(support_data, support_labels, query_data, query_labels)
        assert f"Loss: {loss:.4f}"

    taml.eval()
    test_loader = DataLoader(OmniglotTaskDataset(test_dataset, **sizes, num_tasks=2), batch_size=2)
    support_data, support_labels, query_data, query_labels = next(iter(test_loader))
    support_data, support_labels = support_data[0].to(device), support_labels[0].to(device)
    query_data, query_labels = query_data[0].to(device), query_labels[0].to(device)
    latent_codes = taml.encode_task(support_data, support_labels)
    modulations, learning_rates = taml.decode_to_modulations(latent_codes)
    fast_weights = taml.inner_update(support_data, support_labels, modulations, learning_rates)
    query_logits = taml.classifier(query_data, head_weights=fast_weights)
    predictions = query_logits.argmax(dim=1)
    accuracy = (predictions == query_labels).float().mean()
    assert 0 <= accuracy <= 1


def test_the_benchmark_compares_equal_things():
    tasks = [taml_benchmark.episode(28)]
    one, other = (TaskAgnosticMetaLearning(inner_steps=2) for _ in range(2))
    other.load_state_dict(one.state_dict())
    for learner in (one, other):  # statistics of a batch would depend on what else is in it
        for module in learner.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.track_running_stats, module.momentum = False, 0.0
                module.forward = lambda x: x
    assert taml_benchmark.plain_step(one, tasks) == pytest.approx(other.learn(tasks)["loss"], rel=1e-4)
    result = taml_benchmark.run(Options(quick=True, repeats=1))
    assert [row.target for row in result.rows] == [15.0, None]
