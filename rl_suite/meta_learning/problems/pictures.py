"""Episodes of pictures out of a configuration: which data set, which classes are never trained on, which episodes."""

from pathlib import Path
from typing import Any, NamedTuple

from rl_suite.cli import show
from rl_suite.errors import UserError
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.folders import load_image_folder, split_classes
from rl_suite.meta_learning.data.glyphs import load_glyphs
from rl_suite.meta_learning.data.images import ImageSet
from rl_suite.meta_learning.data.jitter import Jitter
from rl_suite.meta_learning.data.omniglot import find_folder, load_omniglot
from rl_suite.meta_learning.sections import PicturesSection

VALIDATION_SEED, TEST_SEED = 1_000_001, 1_000_002  # the same episodes for every run; runs have smaller seeds


class Pictures(NamedTuple):
    """Classes for training, validation and tests, and where they come from."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    source: str


class PictureEpisodes(NamedTuple):
    """Sources of episodes, and what they are made of."""

    train: EpisodeSource
    validation: EpisodeSource
    test: EpisodeSource
    pictures: Pictures
    settings: dict[str, Any]
    """For the report."""


def load_pictures(section: PicturesSection) -> Pictures:
    """The data set that is asked for; what was found is said.

    Validation uses the groups of ``held_out``, which are then not trained on, or else the training classes.

    Raises:
        UserError: no such data, or too few classes.
    """
    if section.data == "glyphs" or (section.data == "auto" and find_folder() is None):
        train, test, source = load_glyphs(section.size, framed=section.framed)
        if section.data == "auto":
            source += " (no Omniglot was found; RL_SUITE_DATA names the folder that holds it)"
    elif section.data in ("auto", "omniglot"):
        found = load_omniglot(size=section.size, framed=section.framed)
        train, test, source = found.train, found.test, found.source
    else:
        folder = Path(section.data)
        if not folder.exists():
            raise UserError(f"{folder}: no such folder; data is auto, omniglot, glyphs, or a folder with your pictures")
        train, test, source = split_classes(
            load_image_folder(folder, section.size, section.colour), section.test_share, f"pictures of {folder.name}"
        )
    validation = train
    if section.held_out:
        validation = train.only_groups(section.held_out)
        train = train.only_groups([group for group in set(train.groups) if group not in section.held_out])
    return Pictures(train, validation, test, source)


def build_episodes(section: PicturesSection, seed: int) -> PictureEpisodes:
    """Episodes for training, and those on which every run is judged."""
    pictures = load_pictures(section)
    show(f"data: {pictures.source}")
    jitter = Jitter(**section.jitter.model_dump()) if section.jitter else None
    train = EpisodeSource(
        pictures.train.with_symmetries(section.symmetries),
        section.train_way,
        section.train_shot,
        section.train_query,
        seed,
        section.within,
        jitter,
    )
    shape = (section.n_way, section.k_shot, section.k_query)
    validation = EpisodeSource(pictures.validation, *shape, VALIDATION_SEED)
    test = EpisodeSource(pictures.test, *shape, TEST_SEED)
    settings = {
        "data": pictures.source,
        "training_classes": pictures.train.n_classes,
        "test_classes": pictures.test.n_classes,
        "test_groups": sorted(set(pictures.test.groups)),
        "episodes": f"{section.n_way}-way {section.k_shot}-shot, {section.k_query} queries of each class",
    }
    return PictureEpisodes(train, validation, test, pictures, settings)
