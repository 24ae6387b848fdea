"""Every reader of the suite and a corpus of broken files: it reads, or says in one line what is wrong; nothing else."""

import hashlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import envs  # noqa: F401  # registers our worlds
from agents.ptm import models
from envs.durotaxis.replay import Recorder, Replay
from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation.histories import Shard, load_manifest, load_shard
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.loading import read_config
from rl_suite.meta_learning.adapters.files import load_file
from rl_suite.meta_learning.data.folders import load_image_folder
from rl_suite.meta_learning.tuning.bayesian import BayesianOptimizer
from rl_suite.record import Record, Start
from rl_suite.report.attention import read_attention
from rl_suite.report.page import write_report
from rl_suite.report.replay import read_replay
from rl_suite.run import Run
from rl_suite.sb3.build import build_env
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import load_agent
from rl_suite.sb3.exported import load_normalization, save_normalization
from rl_suite.symbolic.prior import Prior
from rl_suite.symbolic.table import read_table
from rl_suite.tensor_file import pack
from rl_suite.tuning.experiment import read_confirmed
from rl_suite.viz.curves import read_metrics

SECONDS = 60  # that one file may take, on a busy machine
LONGEST = 1200  # characters of a message


class Reader(NamedTuple):
    """A file name, what a good file of it holds, how it is read, and the errors that its face turns into a line."""

    name: str
    good: Callable[[Path], bytes]
    read: Callable[[Path], object]
    refuses: tuple[type[Exception], ...] = (UserError,)


def saved(write: Callable[[Path], object]) -> Callable[[Path], bytes]:
    """The bytes that a function writes."""

    def content(folder: Path) -> bytes:
        write(folder / "good")
        return (folder / "good").read_bytes()

    return content


def as_zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def torch_file(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures() -> bytes:
    return as_zip(**{f"{kind}__{i}.png": picture() for kind in "ab" for i in range(3)})


def shard() -> bytes:
    column = np.zeros((2, 3), np.int64)
    arrays = {"actions": column, "rewards": column, "first": column == 0, "labels": column, "tasks": column[:, 0]}
    seen = np.zeros((2, 3, 1))
    buffer = io.BytesIO()
    np.savez(buffer, observations=seen, next_observations=seen, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def a_shard(path: Path) -> object:
    """A shard whose checksum is that of what stands there: the manifest may be the stranger's too."""
    data = path.read_bytes() if path.is_file() and path.stat().st_size < 10**8 else b""
    return load_shard(path.parent, Shard(path.name, hashlib.sha256(data).hexdigest(), 2))


def pendulum() -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make("Pendulum-v1")])


def statistics(path: Path) -> None:
    save_normalization(VecNormalize(pendulum()), path)


def darkroom(*words: str) -> SB3Config:
    config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom,smoke", *words])
    assert isinstance(config, SB3Config)
    return config


def measured(path: Path) -> object:
    """A field of stiffness, as a configuration names it."""
    kwargs = f"{{substrate: image, image: {json.dumps(str(path))}}}"
    words = ["experiment=smoke", "env.id=rl_suite/Durotaxis-v0", f"env.kwargs={kwargs}"]
    config = load_experiment(DEFAULT_CONFIG, words)
    assert isinstance(config, SB3Config)
    return build_env(config, {}, 1)


def episode(path: Path) -> None:
    recorder = Recorder(gym.make("rl_suite/Durotaxis-v0"))
    recorder.reset(seed=0)
    recorder.step(np.zeros(recorder.action_space.shape, np.float32))  # type: ignore[arg-type]
    recorder.replay().save(path)


def resume(run: Run) -> None:
    with Run.start(darkroom(f"runs_dir={run.path.parent.parent}")) as again:
        again.go_on_from(again.checkpoints.read_latest())
        again.log_line(2, {"train/loss": 1.0})


def run_with(name: str, *acts: Callable[[Run], object]) -> Callable[[Path], object]:
    """A run folder one of whose files is the one at hand, and what is done with it."""

    def read(path: Path) -> object:
        folder = path.parent / "runs"
        config = darkroom(f"runs_dir={folder}")
        with Run.start(config) as run:
            run.log_line(1, {"train/loss": 1.0})
        place = run.path / name
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)
        path.rename(place)
        told = []
        for act in acts:
            try:
                act(Run.open(run.path))
            except UserError as error:
                told.append(str(error))
        if told:
            raise UserError(max(told, key=lambda line: (line.count("\n"), len(line))))
        return None

    return read


def search(path: Path) -> None:
    BayesianOptimizer({"x": (0.0, 1.0)}, storage=path).optimize(lambda params: -params["x"], 2)


CONFIRMED = b'{"own settings": {"1000": 0.5}, "settings found": {"1000": 0.75}}'
CSV = "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(30))
RECORD = json.dumps(Record(starts=[Start.now()]).model_dump()).encode()
MANIFEST = b"""{"format": "rl_suite histories 1", "env_id": "rl_suite/DarkRoom-v0", "env_options": {}, "source": {},
 "split": "train", "episode_length": 3, "n_actions": 5, "seed": 0, "histories": 2, "shards": []}"""
ROOM = (
    b"""{"kind": "room", "about": "x", "size": 3, "landmarks": [], "cells": [1], "rewards": [0.0], "episodes": [0]}"""
)
METRICS = b'{"step": 1, "train/loss": 1.0}\n{"step": 2, "train/loss": 0.5}\n'
READERS = [
    Reader("config.yaml", lambda _: DEFAULT_CONFIG.read_bytes(), read_config),
    Reader("config.yaml", lambda _: b"kind: sb3\n", run_with("config.yaml", resume, write_report, Run.settings_to_use)),
    Reader("config.hmac", lambda _: b"0" * 64, run_with("config.hmac", Run.settings_to_use)),
    Reader("run.json", lambda _: RECORD, Record.read),
    Reader("run.json", lambda _: RECORD, run_with("run.json", resume, write_report)),
    Reader("metrics.jsonl", lambda _: METRICS, read_metrics),
    Reader("metrics.jsonl", lambda _: METRICS, run_with("metrics.jsonl", resume, write_report)),
    Reader("evaluation.json", lambda _: b'{"title": "x", "agents": {}}', run_with("evaluation.json", write_report)),
    Reader("laws.json", lambda _: b'{"title": "x"}', run_with("laws.json", write_report)),
    Reader("replay.json", lambda _: ROOM, run_with("replay.json", write_report)),
    Reader("replay.json", lambda _: ROOM, read_replay),
    Reader("attention.json", lambda _: b"{}", read_attention),
    Reader("curve.png", lambda _: picture(), run_with("curve.png", write_report)),
    Reader("search.log", saved(search), lambda p: BayesianOptimizer({"x": (0.0, 1.0)}, storage=p)),
    Reader("confirmed.json", lambda _: CONFIRMED, run_with("confirmed.json", read_confirmed)),
    Reader("x.ckpt", saved(lambda p: save_checkpoint(p, {"a": torch.ones(3)}, {"metrics.jsonl": 3})), load_checkpoint),
    Reader("x", saved(lambda p: save_checkpoint(p, {"a": 1})), run_with("checkpoints/step_000000000001.ckpt", resume)),
    Reader("manifest.json", lambda _: MANIFEST, lambda p: load_manifest(p.parent)),
    Reader("shard_00000.npz", lambda _: shard(), a_shard),
    Reader("table.csv", lambda _: CSV.encode(), lambda p: read_table(p, "b")),
    Reader("pictures.zip", lambda _: pictures(), lambda p: load_image_folder(p, 8)),
    Reader("1.png", lambda _: picture(), lambda p: load_image_folder(p.parent.parent, 8)),
    Reader("field.csv", lambda _: b"1,2\n3,4\n", measured),
    Reader("field.npy", lambda _: b"", measured),
    Reader("field.png", lambda _: picture(), measured),
    Reader("model.zip", lambda _: as_zip(data=b"{}"), lambda p: load_agent(darkroom(), p)),
    Reader("normalization.npz", saved(statistics), lambda p: load_normalization(p, pendulum())),
    Reader("adapter.safetensors", lambda _: pack({"w": torch.ones(2)}, {}), load_file),
    Reader("prior.safetensors", lambda _: pack({"w": torch.ones(2)}, {"about": "{}"}), Prior.load),
    Reader("weights.pt", lambda _: torch_file({"w": torch.ones(2)}), models._read_weights, (ValueError, OSError)),
    Reader("replay.npz", saved(episode), Replay.load, (ValueError,)),
]


def deep(opening: bytes) -> bytes:
    return opening * 100_000


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "whole": lambda good: good,
    "empty": lambda good: b"",
    "half": lambda good: good[: len(good) // 2],
    "all but a byte": lambda good: good[:-1],
    "more": lambda good: good + good,
    "flipped": lambda good: good[: len(good) // 2] + bytes(b ^ 0x55 for b in good[len(good) // 2 :]),
    "binary": lambda good: np.random.default_rng(0).bytes(5000),
    "zeros": lambda good: b"\0" * 5000,
    "zero bytes inside": lambda good: good[:5] + b"\0" + good[5:],
    "null": lambda good: b"null",
    "list": lambda good: b"[1, 2]",
    "number": lambda good: b"3",
    "other keys": lambda good: b'{"format": [], "step": {}, "status": 3, "title": [], "kind": {}, "agents": "x"}',
    "surrogates": lambda good: b'{"title": "\\ud800", "kind": "\\udfff", "command": "\\ud800", "format": "\\ud800"}',
    "raw surrogates": lambda good: b'{"title": "\xed\xa0\x80"}',
    "byte order mark": lambda good: b"\xff\xfe" + "{}".encode("utf-16-le"),
    "other version": lambda good: good.replace(b"rl_suite", b"rl_suito").replace(b" 1", b" 9"),
    "deep lists": lambda good: deep(b"["),
    "deep mappings": lambda good: deep(b'{"a":'),
    "digits": lambda good: b'{"step": ' + b"9" * 10_000 + b"}",
    "text": lambda good: b"<script>[red]\x1b[2J",
}


@contextmanager
def no_waiting() -> Iterator[None]:
    """A reader that waits for ever, as for the other end of a pipe, fails."""

    def give_up(number: int, frame: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


FEWER = ("empty", "half", "binary", "zeros", "null", "other keys", "surrogates", "deep lists")  # where a run is made


def require_one_line(reader: Reader, path: Path) -> bool:
    """Whether it was read; if not, it must have said why in one line that a terminal can be shown."""
    try:
        with no_waiting():
            reader.read(path)
    except reader.refuses as error:
        said = str(error)
        assert said.count("\n") == 0, said
        assert len(said) < LONGEST, said
        return False
    return True


def ids(reader: Reader) -> str:
    return f"{reader.name}-{getattr(reader.read, '__qualname__', 'read').split('.')[0]}"


@pytest.mark.parametrize("reader", READERS, ids=ids)
def test_contents(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    good = reader.good(tmp_path / "good")
    names = FEWER if "run_with" in ids(reader) else DAMAGES
    for i, damage in enumerate(DAMAGES[name] for name in names):
        folder = tmp_path / str(i) / "class"
        folder.mkdir(parents=True)
        (folder / reader.name).write_bytes(damage(good))
        require_one_line(reader, folder / reader.name)


@pytest.mark.parametrize("reader", READERS, ids=ids)
@pytest.mark.parametrize("what", ["pipe", "folder", "device", "dangling link", "link in a circle", "missing"])
def test_things_that_are_no_files(reader: Reader, what: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "class"
    folder.mkdir(parents=True)
    path = folder / reader.name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "dangling link":
        path.symlink_to(tmp_path / "nothing")
    elif what == "link in a circle":
        path.symlink_to(path)
    if what != "missing" or "run_with" not in ids(reader):
        require_one_line(reader, path)


@pytest.mark.parametrize("reader", READERS, ids=ids)
def test_a_file_larger_than_the_memory(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "class"
    folder.mkdir(parents=True)
    with (folder / reader.name).open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    if "a_shard" not in ids(reader):
        require_one_line(reader, folder / reader.name)


SECRET = b"a secret of this machine"


@pytest.mark.parametrize("reader", [reader for reader in READERS if "run_with" in ids(reader)], ids=ids)
def test_links_out_of_a_run_folder_are_not_followed(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    (folder / reader.name).symlink_to(tmp_path / "secret")
    require_one_line(reader, folder / reader.name)
    assert (tmp_path / "secret").read_bytes() == SECRET
    for page in folder.rglob("*.html"):
        assert SECRET not in page.read_bytes()


def test_good_files_are_read(tmp_path: Path) -> None:
    """The corpus is worth something only where the files that it breaks are good ones."""
    (tmp_path / "good").mkdir()
    unread = []
    for i, reader in enumerate(READERS):
        folder = tmp_path / str(i) / "class"
        folder.mkdir(parents=True)
        (folder / reader.name).write_bytes(reader.good(tmp_path / "good"))
        if not require_one_line(reader, folder / reader.name):
            unread.append(ids(reader))
    # Good as files, though a single class is no episode, a run's configuration is none of this experiment, and the maps
    # (one of them empty) are smaller than a dish.
    allowed: set[Any] = {"attention.json-read_attention", "model.zip-<lambda>", "prior.safetensors-Prior"}
    allowed |= {"1.png-<lambda>", "config.yaml-run_with"}
    allowed |= {f"field.{ending}-measured" for ending in ("csv", "npy", "png")}
    assert set(unread) - allowed == set()
