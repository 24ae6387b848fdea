"""Few-shot classification of your own pictures: one folder per class, a few classes to learn from, others to recognise.

    python -m rl_suite.examples.few_shot_images [folder]

Without a folder, invented characters are drawn into ./few_shot_pictures first. Some classes are held out: the learner
never sees them in training, gets one picture of each, and names the others.
"""

from pathlib import Path

import torch
from PIL import Image

from rl_suite.examples.usage import run
from rl_suite.meta_learning import EpisodeSource, ImageSet, PrototypicalNetwork, load_image_folder
from rl_suite.meta_learning.data.folders import split_classes
from rl_suite.meta_learning.data.glyphs import draw_alphabets
from rl_suite.meta_learning.learners.few_shot_encoder import ConvEncoder
from rl_suite.meta_learning.learners.few_shot_evaluation import pixel_learner

DRAWN = "few_shot_pictures"
SIZE, EPISODES, TEST_EPISODES = 28, 120, 200
WIDTHS = (16, 32, 32, 32)


def draw_pictures(folder: Path) -> None:
    """Write the characters of four invented alphabets as ``folder/alphabet/character/number.png``."""
    data = draw_alphabets(range(4), SIZE, seed=0)
    counts = [0] * data.n_classes
    for image, c in zip(data.images[:, 0], data.classes.tolist(), strict=True):
        path = folder / data.names[c] / f"{counts[c]:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(path)
        counts[c] += 1


def train(data: ImageSet) -> PrototypicalNetwork:
    """A prototypical network, trained on episodes of the classes of ``data``."""
    torch.manual_seed(0)
    learner = PrototypicalNetwork(ConvEncoder(data.shape[0], WIDTHS), learning_rate=3e-3, symmetric=True)
    episodes = EpisodeSource(data.with_symmetries(4), n_way=min(20, data.n_classes), k_shot=1, k_query=1, seed=0)
    for i in range(EPISODES):
        values = learner.train_episode(*episodes.task(i))
        if (i + 1) % 40 == 0:
            print(f"episode {i + 1}: loss {values['loss']:.2f}")
    return learner


def main(folder: Path) -> float:
    """Train, measure on held-out classes, and name some of their pictures; returns the accuracy."""
    train_set, test_set, _ = split_classes(load_image_folder(folder, SIZE), test_share=0.25)
    learner = train(train_set)

    n_way = min(5, test_set.n_classes)
    episodes = EpisodeSource(test_set, n_way, k_shot=1, k_query=1, seed=1)
    accuracy = learner.evaluate(episodes, TEST_EPISODES).interval
    pixels = pixel_learner().evaluate(episodes, TEST_EPISODES).interval
    print(f"{n_way}-way 1-shot on {test_set.n_classes} classes never seen: {accuracy}; by pixels: {pixels}")

    drawn = episodes.draw(0, 1)
    labels = [test_set.names[c] for c in drawn.classes[0]]
    support, query = test_set.images[drawn.images[0, :, 0]], test_set.images[drawn.images[0, :, 1]]
    for label, found in zip(labels, learner.predict(support, labels, query), strict=True):
        print(f"  a picture of {label} is taken for {found}")
    return float(accuracy.estimate)


def start(folder: Path) -> None:
    """Draw pictures if there are none in the default folder, then learn from them."""
    if folder == Path(DRAWN) and not folder.exists():
        draw_pictures(folder)
    main(folder)


if __name__ == "__main__":
    run(start, __doc__, folder=DRAWN)
