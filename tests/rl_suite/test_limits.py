"""Sizes are known before memory is taken, and names stay inside their folder."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from rl_suite import run as run_module
from rl_suite.cli import DEFAULT_CONFIG, prepare_process, run_command
from rl_suite.distillation import doctor
from rl_suite.distillation.histories import ARRAYS, Histories, load_histories, load_manifest, save_shard
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.memory import available_bytes
from rl_suite.reading import parse_arrays
from rl_suite.run import Run
from rl_suite.sb3.build import buffer_bytes, build_env, build_model, net_bytes
from rl_suite.sb3.config import SB3Config
from rl_suite.viz.saving import save_figure


def darkroom(*words: str) -> SB3Config:
    config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom,smoke", *words])
    assert isinstance(config, SB3Config)
    return config


@pytest.mark.parametrize(
    "word",
    ["env.n_envs=1000000000", "evaluation.n_envs=100000", "torch_threads=100000000", "evaluation.resamples=1e12"],
)
def test_sizes_beyond_any_use_are_refused_by_the_schema(word: str) -> None:
    with pytest.raises(UserError, match=word.partition("=")[0]):
        darkroom(word)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("ppo.n_steps=1000000000000", "ppo.batch_size=2"), "what ppo remembers of 4 copies needs .* GB"),
        (("algorithm=dqn", "dqn.buffer_size=1000000000000"), "what dqn remembers of 4 copies needs .* GB"),
        (("policy.kwargs.net_arch=[1000000000]",), "policy.kwargs.net_arch needs .* GB"),
        (("policy.kwargs.net_arch={pi: [1000000000], vf: [8]}",), "policy.kwargs.net_arch needs .* GB"),
    ],
)
def test_what_does_not_fit_is_said_in_gigabytes(words: tuple[str, ...], what: str) -> None:
    config = darkroom(*words)
    with pytest.raises(UserError, match=what):
        build_model(config, build_env(config, config.env.train_kwargs, config.env.n_envs))


def test_sizes_by_hand() -> None:
    config = darkroom("ppo.n_steps=8", "ppo.batch_size=32", "policy.kwargs.net_arch=[5, 3]")
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    inputs = sum(int(np.prod(part.shape or (1,))) for part in [env.observation_space])
    assert net_bytes([5, 3], env) == 16 * (inputs * 5 + 5 * 3)
    assert net_bytes({"pi": [5], "vf": [3]}, env) == 16 * inputs * 8
    assert net_bytes(None, env) == net_bytes([], env) == 0
    itemsize = 8 if env.observation_space.dtype is None else env.observation_space.dtype.itemsize
    assert buffer_bytes(config, env) == 8 * 4 * (inputs * itemsize + 24)
    assert 10**7 < available_bytes() < 10**15


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 8 TiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8\nx")]
)
def test_running_out_of_memory_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as left:
        run_command(fail)
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: out of memory")
    assert told.count("\n") == 1
    prepare_process(darkroom())


@pytest.mark.parametrize("target", ["../../../up", "m/s", "..", "x\ty", "[/red]", "y" * 400, ".hidden"])
def test_a_target_cannot_lead_out_of_the_folder_of_runs(target: str, tmp_path: Path) -> None:
    place = tmp_path / "runs"
    words = ["experiment=symbolic_search,smoke", "data=t.csv", f"target={json.dumps(target)}", f"runs_dir={place}"]
    with Run.start(load_experiment(DEFAULT_CONFIG, words)) as run:
        assert run.path.parent.parent == place
        assert not run.path.parent.name.startswith(".")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert run_module._plain("...") == "_"


def histories() -> Histories:
    column = np.zeros((2, 3), dtype=np.int64)
    seen = column[:, :, None]
    arrays: dict[str, Any] = dict.fromkeys(ARRAYS, column) | {"observations": seen, "next_observations": seen}
    arrays |= {"first": column == 0, "tasks": column[:, 0]}
    return Histories(**arrays)


MANIFEST = {
    "format": "rl_suite histories 1",
    "env_id": "rl_suite/DarkRoom-v0",
    "env_options": {},
    "source": {},
    "split": "train",
    "episode_length": 3,
    "n_actions": 5,
    "seed": 0,
    "histories": 2,
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "another"},
        {"seed": "x"},
        {"shards": {}},
        {"shards": [{"file": 3}]},
        {"shards": [{"file": "../shard_00000.npz", "sha256": "", "histories": 2}]},
        {"shards": [{"file": "/etc/passwd", "sha256": "", "histories": 2}]},
        {"env_options": []},
    ],
    ids=str,
)
def test_a_manifest_is_checked_before_it_is_used(change: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "histories"
    shard = save_shard(folder, 0, histories())
    good = {**MANIFEST, "shards": [{"file": shard.file, "sha256": shard.sha256, "histories": 2}]}
    (folder / "manifest.json").write_text(json.dumps(good))
    assert len(load_histories(folder)[0]) == 2
    (folder / "manifest.json").write_text(json.dumps({**good, **change}))
    with pytest.raises(UserError, match=r"not a manifest|not written in the format"):
        load_manifest(folder)


WRONG: dict[str, list[Any]] = {
    "observations": [np.zeros((2, 3)), np.full((2, 3, 1), "a"), np.full((2, 3, 1), 1j)],
    "next_observations": [np.zeros((2, 3, 2)), np.zeros((2, 3, 1), "datetime64[s]")],
    "actions": [
        np.full((2, 3), "a"),
        np.full((2, 3), 0.5),
        np.zeros((2, 3), [("a", "i4")]),
        np.zeros(2, int),
        np.int64(3),
    ],
    "rewards": [np.full((2, 3), "a"), np.zeros((2, 4))],
    "first": [np.zeros((2, 3)), np.full((2, 3), "x")],
    "labels": [np.full((2, 3), "x"), np.zeros((2, 3, 5, 2)), np.zeros((3, 2), int)],
    "tasks": [np.full(2, "a"), np.zeros(3, int), np.zeros((2, 1), int)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_an_array_of_another_kind_is_no_shard(
    name: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {field: getattr(histories(), field) for field in ARRAYS}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{**good, name: value})
    (tmp_path / "shard_00000.npz").write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    shards = [{"file": "shard_00000.npz", "sha256": digest, "histories": 2}]
    (tmp_path / "manifest.json").write_text(json.dumps({**MANIFEST, "shards": shards}))
    with pytest.raises(UserError, match="not a shard of histories"):
        load_histories(tmp_path)
    assert doctor.main(["check", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1


def npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + b"\0" * 8


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", npz(a=b"x"), npz(a=claiming((10**12,))), npz(a=claiming((2**62, 4))), npz(a=claiming((1,), "|O"))],
    ids=["nothing", "a beginning", "no array", "too long", "beyond 64 bits", "objects"],  # bytes hold the time
)
def test_arrays_that_claim_more_than_the_file_holds_are_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="not a file of arrays"):
        parse_arrays(data, Path("x.npz"))


def test_an_archive_that_would_grow_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = npz(a=claiming((1000,)) + b"\0" * 8000)
    assert parse_arrays(packed, Path("x.npz"))["a"].shape == (1000,)
    monkeypatch.setattr("rl_suite.memory.available_bytes", lambda: 2000)
    with pytest.raises(UserError, match=r"x\.npz needs .* GB"):
        parse_arrays(packed, Path("x.npz"))


def test_pictures_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / "curve.png").symlink_to(tmp_path / "precious")
    save_figure(Figure(figsize=(1, 1)), tmp_path / "curve.png", dpi=10)
    assert (tmp_path / "precious").read_text() == "x"
    assert (tmp_path / "curve.png").read_bytes()[1:4] == b"PNG"
