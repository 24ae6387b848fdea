import csv
import io
import json
import os
import zipfile

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import envs  # noqa: F401  # registers the world
from envs.durotaxis.replay import Recorder, Replay, resimulate
from envs.durotaxis.text import describe

WORLD = "rl_suite/Durotaxis-v0"
SMALL = {"start_nodes": 12, "critical_nodes": 14, "node_limit": 40, "max_nodes": 40}
FIELD = 5 + np.linspace(0, 6, 361)[None, :] + np.linspace(0, 1, 361)[:, None] ** 2


def record(seed=5, steps=8, reset_options=None, **options):
    env = Recorder(gym.make(WORLD, **{**SMALL, **options}))
    env.reset(seed=seed, options=reset_options)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        if env.action_space.shape == (3,):
            action = np.array([0, *rng.uniform(-1, 1, 2)], np.float32)
        else:
            action = rng.uniform(-1, 1, (40, 5)).astype(np.float32)
            action[:, 0] = rng.integers(0, 3, 40)
            action = action.ravel()
        if env.step(action)[2]:
            break
    return env, env.replay()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"action_mode": "delete_ratio", "substrate": "random"},
        {"edges": "knn", "neighbours": 3, "motility": 1.0},
        {"substrate": "image", "image": FIELD, "direction": "measured"},
        {
            "curriculum": [{"gradient": 0.02}, {"goal_distance": 100.0}],
            "reset_options": {"stage": 1, "direction": 30.0},
        },
    ],
)
def test_an_episode_can_be_kept_and_lived_again(tmp_path, options):
    _, replay = record(**options)
    replay.save(tmp_path / "episode.npz")
    loaded = Replay.load(tmp_path / "episode.npz")
    again = resimulate(loaded)
    assert replay.hash() == loaded.hash() == again.hash()
    np.testing.assert_array_equal(again.metrics, replay.metrics)
    np.testing.assert_array_equal(again.edges, replay.edges)
    assert (tmp_path / "episode.npz").stat().st_size < 60_000 + 8 * FIELD.size * ("image" in options)


def test_other_actions_or_seeds_have_other_hashes():
    _, replay = record()
    assert record(seed=6)[1].hash() != replay.hash()
    changed = Replay.__new__(Replay)
    changed.__dict__.update(replay.__dict__)
    changed.__dict__["actions"] = replay.actions * np.float32(0.5)
    assert changed.hash() != replay.hash()


def test_moments_are_what_the_world_was():
    env, replay = record(steps=8)
    colonies = env.unwrapped.world.colonies
    n = int(colonies.nodes[0])
    last = slice(*replay.nodes_at[-2:])
    assert replay.identity[last].tolist() == colonies.identity[0, :n].tolist()
    np.testing.assert_allclose(replay.x[last], colonies.x[0, :n], rtol=1e-6)
    scene = replay.scene(len(replay))
    assert len(scene.x) == n
    assert len(scene.trail) == len(replay) + 1
    np.testing.assert_array_equal(scene.edges, env.unwrapped.world.scene(0).edges)
    assert scene.metrics["progress_px"] == pytest.approx(colonies.metrics[0, 2])


def test_lineage_names_the_mother_of_everybody_who_ever_lived():
    env, replay = record(steps=8)
    lineage = replay.lineage()
    assert len(lineage) == 12 + env.unwrapped.world.colonies.births[0] > 20
    for child, mother in lineage.items():
        assert (mother == -1) == (child < 12)
        assert mother < child
    born = dict(zip(replay.identity.tolist(), replay.born.tolist(), strict=True))
    assert all(born[child] > born[mother] for child, mother in lineage.items() if mother >= 0)


def test_csv_has_a_line_per_node_and_moment(tmp_path):
    _, replay = record(um_per_px=2.0)
    replay.save_csv(tmp_path / "nodes.csv")
    with (tmp_path / "nodes.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(replay.identity)
    assert {int(line["step"]) for line in lines} == set(range(len(replay) + 1))
    first = [line for line in lines if line["step"] == "0"]
    assert len(first) == 12
    assert float(first[3]["x_um"]) == pytest.approx(2 * replay.x[3], abs=1e-3)
    np.testing.assert_allclose([float(line["stiffness_kpa"]) for line in first], replay.intensity[:12], atol=1e-4)
    assert [line["neighbour_towards_root"] for line in first].count("-1") == 1


def test_animations(tmp_path):
    _, replay = record(steps=4)
    replay.save_animation(tmp_path / "colony.webp", fps=10, every=2)
    with Image.open(tmp_path / "colony.webp") as animation:
        assert animation.n_frames == 3
        assert animation.size == (940, 640)
    for name in ("colony.bmp", "colony.mp4"):
        with pytest.raises(ValueError, match=r"must be \.webp or \.gif"):
            replay.save_animation(tmp_path / name)


def test_a_seed_is_drawn_where_none_is_given():
    env = Recorder(gym.make(WORLD, **SMALL))
    seeds = set()
    for _ in range(3):
        env.reset()
        replay = env.replay()
        seeds.add(replay.seed)
        assert resimulate(replay).hash() == replay.hash()
    assert len(seeds) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(ValueError, match="is no durotaxis replay"):
        Replay.load(tmp_path / "broken.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="is no durotaxis replay"):
        Replay.load(tmp_path / "other.npz")


def arrays_and_about(path):
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    return arrays, json.loads(str(arrays.pop("about")))


def look_at(path):
    """Load a replay and use all of it; None if it is refused."""
    try:
        replay = Replay.load(path)
    except ValueError:
        return None
    for moment in range(len(replay) + 1):
        scene = replay.scene(moment)
        assert describe(scene)
        assert len(scene.hull) <= len(scene.x)
    replay.save_csv(path.with_suffix(".csv"))
    replay.lineage()
    try:
        return resimulate(replay)
    except ValueError:  # actions that the world refuses
        return replay


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid|divide).*:RuntimeWarning")
@pytest.mark.parametrize("options", [{"edges": "knn", "neighbours": 3}, {"substrate": "image", "image": FIELD}])
def test_no_array_of_a_strangers_replay_is_used_unchecked(tmp_path, options):
    """Every extreme, type and shape in every array: refused, or a replay that can be looked at and lived again."""
    path, refused = tmp_path / "episode.npz", 0
    record(steps=3, action_mode="delete_ratio", **options)[1].save(path)
    arrays, about = arrays_and_about(path)
    for name, array in arrays.items():
        for value in extremes(array) + places(array):
            np.savez(path, about=np.array(json.dumps(about)), **{**arrays, name: value})
            refused += look_at(path) is None
        np.savez(path, about=np.array(json.dumps(about)), **{key: arrays[key] for key in arrays if key != name})
        assert look_at(path) is None, f"without {name}"
    assert refused > 100


def extremes(array):
    """Arrays that a stranger could put in its place, in type and out of it."""
    if array.dtype.kind in "iu":
        values = [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, -1, 120]
    else:
        values = [np.nan, np.inf, -np.inf, np.finfo(array.dtype).max, 20000, 0]
    wrong = [array.ravel()[:0], array[:-1], array.astype(np.float16), array.astype(str), array[..., None]]
    return [np.full_like(array, value) for value in values] + [array[::-1].copy()] + wrong


def places(array):
    """The first and the last entry alone set to an extreme."""
    changed = []
    for index in (0, -1):
        for value in (np.iinfo(array.dtype).max, -1) if array.dtype.kind in "iu" else (np.nan, 1e30):
            changed.append(array.copy())
            changed[-1].reshape(-1)[index] = value
    return changed


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1}, {"seed": 2**70}, {"seed": "5"}, {"seed": None}, {"seed": True},
        {"reset_options": []}, {"reset_options": {"goal": 3}}, {"options": []}, {"options": {"gamma": 10**400}},
        {"options": {"substrate": "image", "image": "/etc/hostname"}}, {"options": {"substrate": "gaussian"}},
        {"options": {"max_nodes": 20000}}, {"options": {"goal_distanse": 1}}, {"format": "other"}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_replay_says_about_itself_is_checked(tmp_path, change):
    path = tmp_path / "episode.npz"
    record(steps=2)[1].save(path)
    arrays, about = arrays_and_about(path)
    np.savez(path, about=np.array(json.dumps({**about, **change})), **arrays)
    with pytest.raises(ValueError, match="is no durotaxis replay"):
        Replay.load(path)


@pytest.mark.parametrize("about", ["[" * 100_000, "null", '"text"', "1" * 9000, ""])
def test_text_that_is_no_description_is_refused(tmp_path, about):
    path = tmp_path / "episode.npz"
    record(steps=1)[1].save(path)
    np.savez(path, about=np.array(about), **arrays_and_about(path)[0])
    with pytest.raises(ValueError, match="is no durotaxis replay"):
        Replay.load(path)


def test_a_replay_is_a_plain_file_of_sane_size(tmp_path):
    record(steps=1)[1].save(tmp_path / "real.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("task.npy", npy_header((2**28,)))
    for name in ("link.npz", "pipe.npz", "bomb.npz", "nowhere.npz"):
        with pytest.raises(ValueError, match="is no durotaxis replay"):
            Replay.load(tmp_path / name)


def npy_header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_a_measured_map_lies_in_the_replay_itself(tmp_path):
    """Whoever opens the replay needs no other file."""
    np.save(tmp_path / "map.npy", FIELD)
    _, replay = record(steps=3, substrate="image", image=str(tmp_path / "map.npy"))
    (tmp_path / "map.npy").unlink()
    replay.save(tmp_path / "episode.npz")
    assert resimulate(Replay.load(tmp_path / "episode.npz")).hash() == replay.hash()


def test_only_durotaxis_can_be_recorded():
    with pytest.raises(ValueError, match="for a single durotaxis environment"):
        Recorder(gym.make("rl_suite/DarkRoom-v0"))
    with pytest.raises(ValueError, match="reset the environment first"):
        Recorder(gym.make(WORLD)).replay()


def test_a_replay_of_another_version_is_refused(tmp_path):
    _, replay = record(steps=2)
    object.__setattr__(replay, "task", replay.task[:-1])
    replay.save(tmp_path / "old.npz")
    with pytest.raises(ValueError, match="recorded in another version of the world"):
        Replay.load(tmp_path / "old.npz")
