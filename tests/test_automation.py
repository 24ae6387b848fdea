"""The files that machines read name things that exist."""

import configparser
import re
import shlex
import stat

import yaml
from markdown_blocks import ROOT

from rl_suite.loading import parse_yaml


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def setup():
    parser = configparser.ConfigParser()
    parser.read_string(read("setup.cfg"))
    return parser


def make_targets(command):
    return [word for word in shlex.split(command) if word != "make" and "=" not in word]


def test_hooks_use_the_tools_that_the_set_up_installs():
    (repository,) = parse_yaml(read(".pre-commit-config.yaml"), "hooks")["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    development = setup()["options.extras_require"]["dev"]
    for hook in repository["hooks"]:
        if hook["language"] == "system":
            program, *arguments = shlex.split(hook["entry"])
            assert program.startswith(".venv/bin/")
            assert program.endswith("/python") or program.rpartition("/")[2] in development
            assert all((ROOT / word).exists() for word in arguments if word.endswith(".py"))
        if hook["language"] == "pygrep":
            re.compile(hook["entry"])


def test_the_patterns_of_the_hooks_find_what_they_are_for():
    (repository,) = parse_yaml(read(".pre-commit-config.yaml"), "hooks")["repos"]
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert re.search(hooks["trailing-whitespace"]["entry"], "x = 1 ")
    assert not re.search(hooks["trailing-whitespace"]["entry"], "x = 1")
    assert re.search(hooks["merge-conflict"]["entry"], "<<<<<<< HEAD")
    for name in ("runs/darkroom/0/config.yaml", "model.zip", "agents/weights.pt"):
        assert re.search(hooks["artefacts"]["files"], name)
    assert not re.search(hooks["artefacts"]["files"], "envs/batch.py")


def test_the_workflow_runs_what_everybody_runs():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make lint test"]
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    assert set(make_targets(commands[0])) <= set(targets)
    classifiers = setup()["metadata"]["classifiers"]
    assert job["strategy"]["matrix"]["python"] == re.findall(r"Python :: (3\.\d+)", classifiers)
    (cached,) = (
        step["with"]["cache-dependency-path"]
        for step in job["steps"]
        if "cache-dependency-path" in step.get("with", {})
    )
    assert all((ROOT / name).is_file() for name in cached.split())


def test_the_local_check_is_the_same():
    path = ROOT / ".ci" / "run"
    assert "make lint test" in path.read_text()
    assert path.stat().st_mode & stat.S_IXUSR


def test_the_license_is_the_one_that_is_declared():
    assert setup()["metadata"]["license"] == "MIT"
    assert "Permission is hereby granted, free of charge" in read(setup()["metadata"]["license_files"])
