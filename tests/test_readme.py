"""What the documents say exists, exists: commands, settings, files, names and code."""

import importlib
import itertools
import json
import re
import shlex
from importlib.util import find_spec

import gymnasium as gym
import pytest
import yaml
from markdown_blocks import ROOT, blocks, read_document

import envs  # noqa: F401  # registers the worlds
from rl_suite.benchmarks import BENCHMARKS, load
from rl_suite.benchmarks.symbolic_table import RESULTS, table
from rl_suite.cli import make_parser
from rl_suite.commands.console import COMMANDS
from rl_suite.errors import UserError
from rl_suite.evaluation.baselines import NAMES
from rl_suite.experiments import load_experiment
from rl_suite.naming import each_seed
from rl_suite.sweeps.plan import is_sweep, read_plan

PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *(page.relative_to(ROOT).as_posix() for page in PAGES))
OTHER_PROGRAMS = {"git", "cd", "tensorboard", "pip", "export", "pre-commit", "docker", "ray"}
GENERATED = {
    *("output.txt", "evaluation.json", "metrics.jsonl", "model.zip", "report.html", "config.json", "search.json"),
    *("manifest.json", "figs/attention/", "attention.json"),
    *("model.safetensors", "normalization.npz", "film.webp", "policy.pt2", "policy.onnx"),
    *("run.json", "found.yaml", "laws.json"),
}
SHRINK = {  # keyword in a shown call -> value that it gets here
    "total_timesteps": "64",
    "n_tasks": "4",
    "episodes_per_task": "2",
    "resamples": "50",
}


def commands():
    """(place, words) of every shell line in the documents, without comments and environment settings."""
    for block in blocks(*DOCUMENTS):
        if block.language not in ("bash", "sh", "shell", "console"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\|\||;|\|)\s", line.removeprefix("$ ")):
                words = shlex.split(re.sub(r"\s>\s\S+$", "", part), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield pytest.param(words, id=f"{block.place} {' '.join(words)}")


def inline_code():
    """(document, text) of everything in single backticks."""
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```", "", read_document(document), flags=re.MULTILINE | re.DOTALL)
        for text in sorted(set(re.findall(r"`([^`\n]+)`", prose))):
            yield pytest.param(document, text, id=f"{document} {text}")


def make_targets():
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """config.yaml with the experiments that the documents show."""
    content = yaml.safe_load((ROOT / "config.yaml").read_text())
    for block in blocks(*DOCUMENTS, language="yaml"):
        shown = yaml.safe_load(block.text)
        content["experiments"].update(shown.get("experiments", shown))
    path = tmp_path_factory.mktemp("documents") / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def check_train(words, config):
    arguments = make_parser("", "train").parse_args(words)
    path = config if arguments.config.name == "config.yaml" else ROOT / arguments.config
    if is_sweep(arguments.words):
        read_plan(path, arguments.words)
        return
    for words_of_one in each_seed(arguments.words):
        load_experiment(path, words_of_one)


def check_evaluate(words, config):
    parser = make_parser("", "evaluate")
    parser.add_argument("--out")
    parser.add_argument("--trust-pickle", action="store_true")
    settings = []
    for word in parser.parse_args(words).words:
        key, equals, value = word.partition("=")
        if not equals:
            assert re.fullmatch(r"runs/[^/]+/\d+", word), f"{word} is no run folder"
            settings.append(f"experiment={word.split('/')[1].replace('-', ',')}")
        elif key == "baseline":
            assert value in NAMES, f"no baseline {value}"
        elif key != "checkpoint":
            settings.append(word)
    load_experiment(config, settings)


def check_module(words):
    module, arguments = words[0], words[1:]
    assert find_spec(module), f"no module {module}"
    is_package = find_spec(module).submodule_search_locations is not None
    assert not is_package or find_spec(f"{module}.__main__"), f"{module} cannot be run"
    if module == "rl_suite.benchmarks":
        check_benchmarks(arguments)


def check_benchmarks(arguments):
    """Names first; after a single name, options that this benchmark reads itself."""
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    assert set(names) <= {*BENCHMARKS, "all"}, f"no benchmark {set(names) - set(BENCHMARKS)}"
    if names != arguments:
        assert len(names) == 1, f"{arguments}: options of several benchmarks"
        load(names[0], BENCHMARKS).parse(arguments[1:])


def check_command(words, config):
    words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "torchrun":
        program, arguments = "python", arguments[arguments.index("train.py") :]
    if program == "rl-suite":
        assert arguments[0] in COMMANDS, f"no command {arguments[0]}"
        if arguments[0] in ("train", "sweep"):
            check_train(arguments[1:], config)
    elif program == "make":
        targets = [word for word in arguments if "=" not in word]
        assert set(targets) <= make_targets(), f"the Makefile has no {targets}"
    elif program in ("python", "python3"):
        if arguments[:1] == ["-m"]:
            if arguments[1] not in ("pip", "venv"):
                check_module(arguments[1:])
            return
        assert (ROOT / arguments[0]).is_file(), f"no file {arguments[0]}"
        rest = [word for word in arguments[1:] if word not in ("-h", "--help")]
        if arguments[0] == "train.py":
            check_train(rest, config)
        if arguments[0] == "evaluate.py" and rest:
            check_evaluate(rest, config)
    else:
        assert program in OTHER_PROGRAMS, f"what is {program}?"


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_exists(words, config):
    check_command(words, config)


@pytest.mark.parametrize(("document", "text"), list(inline_code()))
def test_every_name_in_the_text_exists(document, text, config):
    """Commands, files, dotted names and experiments in backticks."""
    shown = {block.file_name for block in blocks(document)}
    if re.match(r"(make|python|\.venv/bin/\w+) \S", text) and "..." not in text:
        check_command(shlex.split(text), config)
    elif re.fullmatch(r"(envs|agents|rl_suite)(\.\w+)+", text):
        resolve(text)
    elif match := re.fullmatch(r"\"?((?:envs|agents|rl_suite)[\w.]*):(\w+)\"?", text):
        assert hasattr(importlib.import_module(match[1]), match[2]), text
    elif match := re.fullmatch(r"([\w.-]+/)*[\w.-]+\.(py|yaml|cfg|toml|md|txt|json|jsonl|zip|html)|([\w.-]+/)+", text):
        known = text in shown | GENERATED or text.startswith("runs/") or (ROOT / text).exists()
        assert known, f"no file {text}"
    elif match := re.fullmatch(r"experiment=([\w,-]+)", text):
        load_experiment(config, [text])


def resolve(name):
    """Import the longest module of a dotted name and look the rest up."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if find_spec(".".join(parts[:1])) and module_exists(".".join(parts[:end])):
            found = importlib.import_module(".".join(parts[:end]))
            for part in parts[end:]:
                found = getattr(found, part)
            return found
    raise AssertionError(f"no {name}")


def module_exists(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_world_exists(document):
    text = read_document(document)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        there = (ROOT / document).parent / target
        assert target.startswith(("http://", "https://")) or there.exists(), f"no file {target}"
    for name in set(re.findall(r"\brl_suite/[A-Z]\w*-v\d+", text)):
        assert name in gym.registry, f"no world {name}"


@pytest.mark.parametrize("block", blocks(*DOCUMENTS, language="python"), ids=lambda block: block.place)
def test_every_python_block_runs(block, tmp_path, monkeypatch):
    """In a small size; blocks that are files of the worked example have their own test."""
    text = block.text
    for keyword, value in SHRINK.items():
        text = re.sub(rf"\b{keyword}=[\d_]+", f"{keyword}={value}", text)
    if block.file_name is not None:
        return
    text = re.sub(r"^(STEPS|EPISODES) = \d+", r"\1 = 3", text, flags=re.MULTILINE)
    for needed in re.findall(r"^# needs (\w+)", text, re.MULTILINE):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    exec(compile(text, block.place, "exec"), {"__name__": "readme"})


@pytest.mark.parametrize(
    "line",
    [
        "make nonsense",
        "python train.py experiment=nonsense",
        "python train.py experiment=darkroom ppo.no_such_key=1",
        "python evaluate.py baseline=nonsense experiment=darkroom",
        "python evaluate.py runs/nonsense/0",
        "python -m rl_suite.nonsense",
        "python -m rl_suite.benchmarks nonsense",
        "python nonsense.py",
        "nonsense",
    ],
)
def test_the_checks_above_can_fail(line, config):
    with pytest.raises((AssertionError, UserError)):
        check_command(line.split(), config)


def test_the_documents_are_found():
    assert len(list(commands())) > 5
    assert len(list(inline_code())) > 10


def share(name, solver="ours"):
    """What a solver recovered in a stored result of symbolic search, as the README writes it."""
    trials = json.loads((RESULTS / f"symbolic_{name}.json").read_text(encoding="utf-8"))["trials"]
    recovered = [trial["recovered"] for trial in trials if trial["solver"] == solver]
    return f"{100 * sum(recovered) / len(recovered):.1f} %".replace(".0 %", " %")


def test_recovered_laws_are_those_of_the_stored_results():
    results = read_document("docs/results.md")
    for text in (results, read_document("README.md")):
        assert ", ".join(map(share, ("nguyen", "livermore", "strogatz"))) in text
        assert f"gplearn {share('nguyen', 'gplearn')}" in text
        assert f"Operon {share('nguyen', 'pyoperon')}" in text
    noise = ", ".join(map(share, ("feynman", "feynman_noise0.01", "feynman_noise0.1")))
    assert f"{noise}; {share('feynman_units')}" in results
    assert table() in read_document("docs/symbolic.md")
