"""Stop a network from forgetting: digits come in pairs, one pair after the other, and at the end all ten are asked.

python -m rl_suite.examples.stop_forgetting
"""

import torch
from rich.console import Console
from sklearn.datasets import load_digits
from torch import nn

from rl_suite.examples.usage import run
from rl_suite.meta_learning import EWC, ContinualLearner
from rl_suite.meta_learning.continual.outputs import Outputs

PAIRS = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
EPOCHS, TEST_SHARE = 10, 4  # every fourth image is for tests


def main() -> None:
    """Teach with nothing against forgetting, with EWC, and with a memory of 200 images."""
    console = Console(highlight=False)
    torch.set_num_threads(1)  # more only wait for each other in networks this small
    pixels, numbers = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(numbers)
    test = torch.arange(len(y)) % TEST_SHARE == 0
    parts = [[(x[rows], y[rows]) for rows in (part & torch.isin(y, torch.tensor(pair)) for pair in PAIRS)]
             for part in (~test, test)]  # fmt: skip
    train, asked = parts

    # 1. Which of all digits seen so far is it? (scenario "class"; "task" would tell the learner which pair it is)
    for strategy, options in (("naive", {}), ("ewc", {"ewc_lambda": 1e4}), ("replay", {"buffer_size": 200})):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        learner = ContinualLearner(network, strategy, outputs=Outputs("class", PAIRS), learning_rate=2e-3, **options)
        for task, data in enumerate(train):
            learner.train_task({"train": data, "val": asked[task]}, task, EPOCHS)
        left = learner.evaluate_all_tasks(dict(enumerate(asked)))
        console.print(
            f"{strategy:7s} accuracy on all ten {left['average_accuracy']:4.0%},"
            f" forgotten {left['forgetting_measure']:4.0%}"
        )

    # 2. The penalty alone, on a loop of your own.
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    ewc, optimizer = EWC(network, strength=1e4), torch.optim.Adam(network.parameters(), lr=1e-3)
    for inputs, labels in train[:2]:
        for _ in range(5 * EPOCHS):
            loss = nn.functional.cross_entropy(network(inputs), labels) + ewc.penalty()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        ewc.consolidate(inputs)
    inputs, labels = asked[0]
    kept = (network(inputs)[:, PAIRS[0]].argmax(-1) == labels).double().mean().item()
    console.print(f"own loop: {kept:4.0%} of the first pair are still told apart after the second")


if __name__ == "__main__":
    run(main, __doc__)
