import os
import zipfile

import numpy as np
import pytest
import torch
from picture_toys import omniglot_zip, png
from torch.utils.data import DataLoader

from rl_suite import pictures
from rl_suite.errors import UserError
from rl_suite.meta_learning import OmniglotTaskDataset, load_omniglot_dataset
from rl_suite.meta_learning.data import reading
from rl_suite.meta_learning.data.folders import load_image_folder, split_classes
from rl_suite.meta_learning.data.glyphs import draw_alphabets
from rl_suite.meta_learning.data.official_runs import read_runs
from rl_suite.meta_learning.data.omniglot import find_folder, load_omniglot
from rl_suite.meta_learning.data.reading import read_files, read_pictures

WHITE = np.full((6, 6), 255)


@pytest.fixture
def omniglot(tmp_path):
    (tmp_path / "omniglot").mkdir()
    omniglot_zip(tmp_path / "omniglot" / "images_background_small1.zip", {"Greek": 3, "Korean": 4})
    omniglot_zip(tmp_path / "omniglot" / "images_background_small2.zip", {"Greek": 3, "Tagalog": 5})
    return tmp_path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_splits_are_by_alphabet_and_ink_is_bright(omniglot, monkeypatch):
    monkeypatch.setenv("RL_SUITE_DATA", str(omniglot))
    found = load_omniglot()
    assert set(found.train.groups) == {"Greek", "Korean"}
    assert set(found.test.groups) == {"Tagalog"}
    assert found.train.images.shape == (7 * 3, 1, 28, 28)
    assert found.train.images.dtype == torch.uint8
    assert found.train.images.float().mean() < 40
    assert "images_background_small1" in found.source
    assert load_omniglot(omniglot / "omniglot", size=105).train.shape == (1, 105, 105)
    framed = load_omniglot(framed=True).train.images
    assert framed.shape == found.train.images.shape
    assert not torch.equal(framed, found.train.images)


def test_the_full_set_is_preferred_and_folders_serve_as_archives(omniglot):
    for part, alphabet in (("images_background", "Latin"), ("images_evaluation", "Manipuri")):
        for character in "12":
            for drawing in "12":
                path = omniglot / "omniglot" / part / alphabet / f"character0{character}" / f"{drawing}.png"
                write(path, png(WHITE))
    found = load_omniglot(omniglot)
    assert set(found.train.groups) == {"Latin"}
    assert set(found.test.groups) == {"Manipuri"}


def test_no_omniglot_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RL_SUITE_DATA", raising=False)
    assert find_folder() is None
    with pytest.raises(UserError, match="no Omniglot in"):
        load_omniglot()
    omniglot_zip(tmp_path / "images_background_small1.zip", {"Greek": 2})
    with pytest.raises(UserError, match="holds only images_background_small1"):
        load_omniglot(tmp_path)


def test_names_of_the_documents(omniglot):
    train, test = load_omniglot_dataset(root=omniglot)
    pictures, index = train[2]
    assert (len(train), len(test), index) == (7, 5, 2)
    assert pictures.shape == (3, 1, 28, 28)
    tasks = OmniglotTaskDataset(test, n_way=5, k_shot=1, num_query=2, num_tasks=6)
    same = OmniglotTaskDataset(test, n_way=5, n_shot=1, k_query=2, num_tasks=6)
    assert all(torch.equal(a, b) for a, b in zip(tasks[3], same[3], strict=True))
    batch = next(iter(DataLoader(tasks, batch_size=4)))
    assert [tuple(part.shape) for part in batch] == [(4, 5, 1, 28, 28), (4, 5), (4, 10, 1, 28, 28), (4, 10)]
    assert torch.equal(batch[2][3], tasks[3][2])
    assert len(list(tasks)) == 6
    with pytest.raises(UserError, match="k_shot=1 and n_shot=2"):
        OmniglotTaskDataset(test, k_shot=1, n_shot=2)


def test_a_damaged_archive_a_folder_in_its_place_and_none(tmp_path):
    bad = tmp_path / "bad.zip"
    omniglot_zip(bad, {"Greek": 2})
    content = bytearray(bad.read_bytes())
    content[100:160] = os.urandom(60)
    bad.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        list(read_pictures(bad))
    bad.write_bytes(b"no archive")
    with pytest.raises(UserError, match="not a zip archive"):
        list(read_pictures(bad))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        list(read_pictures(tmp_path / "absent.zip"))
    folder = tmp_path / "images_background_small1.zip"
    folder.mkdir()
    (tmp_path / "images_background_small2.zip").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        load_omniglot(tmp_path)


def test_bombs_are_not_unpacked(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b/1.png", bytes(4_000_000))
    with pytest.raises(UserError, match="claims to unpack to 4000000 bytes"):
        list(read_pictures(bomb))
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("a/b/1.png", png(WHITE))
        archive.writestr("a/b/2.png", png(WHITE))
    for module, name, limit, message in (
        (reading, "MAX_FILES", 1, "2 files"),
        (reading, "MAX_TOTAL_BYTES", 50, "more than"),
        (pictures, "MAX_SIDE", 5, "6 x 6"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, limit)
            with pytest.raises(UserError, match=message):
                list(read_pictures(bomb))


def test_names_in_an_archive_are_never_paths(tmp_path):
    archive_path = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive_path, "w") as archive:
        archive.writestr("../../evil/class/1.png", png(WHITE))
        archive.writestr("/etc/class/2.png", png(WHITE))
        archive.writestr("notes.txt", b"nothing")
    before = set(tmp_path.parent.rglob("*"))
    assert len(list(read_pictures(archive_path))) == 2
    assert set(tmp_path.parent.rglob("*")) == before
    assert list(read_files(archive_path, (".txt",))) == ["notes.txt"]


def test_links_are_not_followed_and_other_files_are_no_pictures(tmp_path):
    write(tmp_path / "set" / "cat" / "1.png", png(WHITE))
    write(tmp_path / "elsewhere" / "2.png", png(WHITE))
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    assert len(list(read_pictures(tmp_path / "set"))) == 1
    write(tmp_path / "set" / "cat" / "3.jpg", b"text")
    with pytest.raises(UserError, match="not a picture"):
        list(read_pictures(tmp_path / "set"))


def test_your_own_folder_of_pictures_of_mixed_sizes(tmp_path):
    for c, name in enumerate(("cat", "dog", "eel", "fox", "gnu")):
        for i in range(2):
            write(tmp_path / name / f"{i}.png", png(np.full((5 + i, 8 + c, 3), 40 * c)))
    data = load_image_folder(tmp_path, 12, colour=True)
    assert data.names == ("cat", "dog", "eel", "fox", "gnu")
    assert data.shape == (3, 12, 12)
    assert data.images[data.classes == 3].unique().tolist() == [120]
    split = split_classes(data, 0.4)
    assert (split.train.n_classes, split.test.n_classes) == (3, 2)
    assert not set(split.train.names) & set(split.test.names)
    assert split_classes(data, 0.4).test.names == split.test.names
    with pytest.raises(UserError, match="too few"):
        split_classes(data, 0.9)
    write(tmp_path / "loose.png", png(WHITE))
    with pytest.raises(UserError, match=r"loose.png lies in no class folder"):
        load_image_folder(tmp_path, 12)
    with pytest.raises(UserError, match="only one class"):
        load_image_folder(_one_class(tmp_path), 12)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        load_image_folder(tmp_path / "empty", 12)


def _one_class(folder):
    write(folder / "alone" / "cat" / "1.png", png(WHITE))
    return folder / "alone"


def test_groups_are_held_out_whole(tmp_path):
    for group in "abc":
        for name in "xyz":
            write(tmp_path / group / name / "1.png", png(WHITE))
    split = split_classes(load_image_folder(tmp_path, 6), 0.3)
    assert len(set(split.test.groups)) == 1
    assert not set(split.test.groups) & set(split.train.groups)


def runs_folder(folder, text=None):
    for run in ("run01", "run02"):
        for i in (1, 2):
            write(folder / run / "training" / f"class0{i}.png", png(WHITE * (i == 1)))
            write(folder / run / "test" / f"item0{i}.png", png(WHITE * (i == 2)))
        lines = f"{run}/test/item01.png {run}/training/class02.png\n{run}/test/item02.png {run}/training/class01.png\n"
        write(folder / run / "class_labels.txt", (text or lines).encode())
    return folder


def test_official_runs(tmp_path):
    runs = read_runs(runs_folder(tmp_path / "all_runs"), size=3)
    assert [run.name for run in runs] == ["run01", "run02"]
    assert runs[0].answers.tolist() == [1, 0]
    assert runs[0].support.shape == (2, 1, 3, 3)
    assert torch.equal(runs[0].support[runs[0].answers], runs[0].query)
    assert read_runs(tmp_path / "all_runs", size=3, framed=True)[0].support.shape == (2, 1, 3, 3)
    archive = tmp_path / "all_runs.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (tmp_path / "all_runs").rglob("*.*"):
            packed.write(path, path.relative_to(tmp_path))
    assert torch.equal(read_runs(archive, size=3)[1].query, runs[1].query)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run01/test/item01.png /etc/passwd", "names .*passwd, which is not there"),
        ("run01/test/item01.png", "must name a test image and a training image"),
        ("run01/test/item01.png run01/training/class09.png", "class09.png, which is not there"),
        ("\xe9 a", "not text"),
    ],
)
def test_labels_that_name_nothing(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_runs(runs_folder(tmp_path, text), size=3)


def test_no_runs(tmp_path):
    with pytest.raises(UserError, match="holds no one-shot runs"):
        read_runs(tmp_path, size=3)


def test_invented_alphabets_are_the_same_whatever_else_is_drawn():
    both = draw_alphabets(range(2), 16, seed=0)
    second = draw_alphabets(range(1, 2), 16, seed=0)
    assert torch.equal(both.only_groups(["alphabet01"]).images, second.images)
    assert not torch.equal(draw_alphabets(range(1, 2), 16, seed=1).images, second.images)
    assert 5 < second.images.float().mean() < 80


def test_drawings_of_one_character_are_alike_and_differ():
    data = draw_alphabets(range(1), 28, seed=0)
    images = data.images.float().reshape(24, 20, -1)
    means = images.mean(1)
    own = (images - means[:, None]).square().sum(-1).mean()
    other = (means[:, None] - means[None]).square().sum(-1).sum() / (24 * 23)
    assert 0.05 < own / other < 1.5
    assert all(len(character.unique(dim=0)) == 20 for character in images)
