"""Configuration: order of blocks, numbers, and every mistake a user makes."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import KINDS, config_model, describe_experiments, load_experiment
from rl_suite.loading import deep_merge, parse_overrides, parse_yaml, read_config

EXPERIMENTS = [name for name, _ in describe_experiments(DEFAULT_CONFIG)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_shipped_block_is_valid_alone_and_with_smoke(name: str) -> None:
    config = load_experiment(DEFAULT_CONFIG, [f"experiment={name}"])
    assert config.about
    assert load_experiment(DEFAULT_CONFIG, [f"experiment={name},smoke"]).folder_name == f"{name}-smoke"


def test_defaults_hold_nothing_that_no_kind_reads() -> None:
    known = {field for kind in KINDS for field in config_model(kind).model_fields}
    assert set(read_config(DEFAULT_CONFIG)["defaults"]) <= known


def test_blocks_apply_in_order_and_words_last(tmp_path: Path) -> None:
    raw = read_config(DEFAULT_CONFIG)
    raw["experiments"] |= {
        "a": {"about": "first", "ppo": {"gamma": 0.5, "n_epochs": 7}},
        "b": {"about": "second", "ppo": {"gamma": 0.6}},
    }
    path = write(tmp_path / "c.yaml", yaml.safe_dump(raw))
    config = load_experiment(path, ["experiment=a,b"])
    assert (config.ppo.gamma, config.ppo.n_epochs, config.about) == (0.6, 7, "first")
    assert load_experiment(path, ["experiment=b,a"]).ppo.gamma == 0.5
    assert load_experiment(path, ["experiment=b,a", "ppo.gamma=0.7"]).ppo.gamma == 0.7


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.5e3", 1500.0), ("3", 3), ("-2.5", -2.5), (".5", 0.5), ("true", True), ("no", "no"),
        ("on", "on"),
        ("null", None), ("2020-01-01", "2020-01-01"), ("[1, 2]", [1, 2]), ("agents.x:Y", "agents.x:Y"),
        ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_people_mean_them(text: str, value: object) -> None:
    assert parse_yaml(text, "test") == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_the_command_line(value: float) -> None:
    parsed = parse_overrides([f"x={value!r}"])["x"]
    assert parsed == value
    assert isinstance(parsed, float)


tree = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), tree), st.dictionaries(st.sampled_from("abc"), tree))
def test_merge_takes_every_leaf_of_the_top(base: dict[str, object], top: dict[str, object]) -> None:
    merged = deep_merge(base, top)
    assert set(merged) == set(base) | set(top)
    assert deep_merge(merged, top) == merged
    assert deep_merge(base, {}) == base


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly two keys"),
        ("[1, 2]", "exactly two keys"),
        ("defaults: {}\n", "exactly two keys"),
        ("defaults: {}\nexperiments: 3\n", "'experiments:' must hold"),
        ("defaults: {}\nexperiments: {}\ndefaults: {}\n", "line 3: not valid YAML: duplicate key 'defaults'"),
        ("defaults: {a: 1, a: 2}\nexperiments: {}\n", "duplicate key 'a'"),
        ("defaults: {}\nexperiments: {../x: {}}\n", "must be letters"),
        ("defaults: {}\nexperiments: {x: 3}\n", "experiments.x must hold"),
        ("defaults: {\n", "not valid YAML"),
        ("defaults: !!python/object/apply:os.getcwd []\nexperiments: {}\n", "not valid YAML"),
        ("defaults: {[1]: 2}\nexperiments: {}\n", "bad key"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_files_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "c.yaml", text)
    with pytest.raises(UserError) as error:
        read_config(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_binary_and_huge_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: there is no such file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="not UTF-8"):
        read_config(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_text("#" * 1_000_001)
    with pytest.raises(UserError, match="larger than"):
        read_config(tmp_path / "huge.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=darkrom"], "unknown experiment 'darkrom'; did you mean 'darkroom'"),
        (["kind=sb4"], "unknown kind of experiment 'sb4'; did you mean 'sb3'"),
        (["ppo.n_stepz=3"], "command line: ppo.n_stepz: unknown key; did you mean 'ppo.n_steps'"),
        (["ppo.lr=1e-3"], "command line: ppo.lr: unknown key; did you mean 'ppo.learning_rate'"),
        (["learning_rate=1e-3"], "command line: learning_rate: unknown key; did you mean 'ppo.learning_rate'"),
        (["env={idd: x}"], "command line: env.idd: unknown key; did you mean 'env.id'"),
        (["ppo={}"], "command line: ppo.n_steps: missing"),
        (["ppoo.n_steps=3"], "ppoo: unknown key; did you mean 'ppo'"),
        (["algorithm=ppp"], "algorithm: input should be"),
        (["ppo.gamma=2"], "ppo.gamma: input should be less than or equal to 1 (got 2)"),
        (["ppo.gamma=.nan"], "ppo.gamma: "),
        (["ppo.n_steps=many"], "ppo.n_steps: input should be a valid integer"),
        (["seed=-1"], "seed: input should be greater than or equal to 0 (got -1)"),
        (["seed=99999999999"], "seed: input should be less than"),
        (["train.total_timesteps=0"], "train.total_timesteps: input should be greater than or equal to 1"),
        (["ppo.batch_size=1000"], "ppo.batch_size must divide"),
        (["device=gpu"], "device: input should be"),
        (["seed"], "'seed' is not of the form key=value"),
        (["seed=1", "seed=2"], "'seed' is given twice"),
        (["ppo=1", "ppo.gamma=2"], "sets inside a value"),
        (["ppo..gamma=2"], "not of the form"),
        (["seed={"], "not valid YAML"),
    ],
)
def test_mistakes_on_the_command_line(words: list[str], message: str) -> None:
    words = words if any(word.startswith("experiment=") for word in words) else ["experiment=darkroom", *words]
    with pytest.raises(UserError) as error:
        load_experiment(DEFAULT_CONFIG, words)
    assert message in str(error.value)


def test_a_mistake_in_the_file_names_the_file(tmp_path: Path) -> None:
    raw = read_config(DEFAULT_CONFIG)
    raw["experiments"]["darkroom"]["ppo"] = {"gama": 0.9}
    path = write(tmp_path / "mine.yaml", yaml.safe_dump(raw))
    with pytest.raises(UserError) as error:
        load_experiment(path, ["experiment=darkroom", "ppo.gamma=2"])
    lines = str(error.value).splitlines()
    assert f"{path}: ppo.gama: unknown key; did you mean 'ppo.gamma'?" in lines
    assert any(line.startswith("command line: ppo.gamma: ") for line in lines)


def test_an_empty_mapping_empties(tmp_path: Path) -> None:
    assert deep_merge({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": {}}}) == {"a": {"b": 1, "c": {}}}
    assert load_experiment(DEFAULT_CONFIG, ["experiment=darkroom"]).policy.kwargs
    assert load_experiment(DEFAULT_CONFIG, ["experiment=darkroom", "policy.kwargs={}"]).policy.kwargs == {}
    raw = read_config(DEFAULT_CONFIG)
    raw["experiments"]["plain"] = {"about": "no extractor", "policy": {"kwargs": {}}}
    path = write(tmp_path / "mine.yaml", yaml.safe_dump(raw))
    assert load_experiment(path, ["experiment=darkroom,plain"]).policy.kwargs == {}


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(UserError) as error:
        load_experiment(DEFAULT_CONFIG, ["experiment=darkroom", "ppo.gamma=2", "ppo.n_stepz=1", "seed=x"])
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert [key for key in ("seed", "ppo.gamma", "ppo.n_stepz") if any(key in line for line in lines)] == [
        "seed", "ppo.gamma", "ppo.n_stepz",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["experiment=", "experiment=darkroom,", "experiment=,smoke", "experiment=null"])
def test_a_name_that_is_left_out_is_said(word: str) -> None:
    with pytest.raises(UserError, match=r"^experiment=.* leaves a name out; --help lists|not valid YAML") as found:
        load_experiment(DEFAULT_CONFIG, [word])
    assert len(str(found.value)) < 200


def test_the_home_folder_is_meant_behind_an_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell puts it in there, and a folder called ``~`` is a trap."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_overrides(["runs_dir=~/runs", "name=~x"]) == {"runs_dir": "/home/somebody/runs", "name": "~x"}


def test_messages_list_no_more_than_one_can_read() -> None:
    with pytest.raises(UserError, match=r"and [0-9]+ others") as found:
        load_experiment(DEFAULT_CONFIG, ["experiment=qqqqqq"])
    assert len(str(found.value)) < 600
