"""``README.md`` of an exported folder: a model card, as model hubs read it, out of what the run has measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rl_suite.checkpoint import write_atomically
from rl_suite.config import ExperimentConfig
from rl_suite.reading import is_plain_file, read_json
from rl_suite.report.findings import estimate, part
from rl_suite.report.page import findings_of
from rl_suite.run import Run

HARMLESS = str.maketrans({"`": "'", "|": "/", "<": "(", ">": ")", "[": "(", "]": ")"})
LONGEST = 300  # characters of a text that a run folder brings


def write_card(config: ExperimentConfig, run: Run, folder: Path, lines: Mapping[str, str]) -> None:
    """Write ``README.md``: front matter with the measured return, the finding in a sentence, files, how to load."""
    findings, results = findings_of(run.path)
    head = yaml.safe_dump(_front_matter(config, results.get("evaluation.json", {})), sort_keys=False)
    text = [f"---\n{head}---", f"# {_plain(config.experiment)}, seed {config.seed}"]
    if findings is not None:
        text.append(_plain(findings.verdict))
        text.append("\n".join(f"- {_plain(reason.text)}" for reason in findings.judgements))
    text.append("One training seed; the numbers and all episodes are in `evaluation.json`.")
    if is_plain_file(folder / "film.webp"):
        text.append("![A held-out episode](film.webp)")
    text.append("## Files\n\n" + "\n".join(f"- `{name}`: {_plain(about)}" for name, about in lines.items()))
    text.append(_loading(config, folder))
    text.append(_origin(run))
    write_atomically(folder / "README.md", ("\n\n".join(part for part in text if part) + "\n").encode())


def _front_matter(config: ExperimentConfig, evaluation: Any) -> dict[str, Any]:
    world = str(getattr(getattr(config, "env", None), "id", config.kind))
    algorithm = str(getattr(config, "algorithm", config.kind))
    front: dict[str, Any] = {
        "library_name": "stable-baselines3" if config.kind == "sb3" else "rl_suite",
        "tags": ["reinforcement-learning", "rl_suite", world, algorithm],
    }
    reached = estimate(part(evaluation, "agents", "trained", "mean"))
    if reached is not None:
        value = reached.says()
        front["model-index"] = [
            {
                "name": algorithm,
                "results": [
                    {
                        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
                        "dataset": {"name": world, "type": world},
                        "metrics": [{"type": "mean_reward", "name": "mean_reward", "value": value, "verified": False}],
                    }
                ],
            }
        ]
    return front


def _loading(config: ExperimentConfig, folder: Path) -> str:
    parts = []
    if is_plain_file(folder / "policy.pt2"):
        parts.append(
            "```python\nimport torch\n\n"
            'act = torch.export.load("policy.pt2").module()  # only files that you trust\n'
            "actions = act(observations)  # a tensor, or a dictionary of tensors, with a leading axis\n```"
        )
    if is_plain_file(folder / "model.zip"):
        parts.append(
            "With this suite installed, `model.zip` is the model of stable-baselines3"
            + (
                " and `normalization.npz` what its observations are normalised with"
                * is_plain_file(folder / "normalization.npz")
            )
            + f", for `{_plain(str(getattr(getattr(config, 'env', None), 'id', '')))}`."
        )
    return "## Load\n\n" + "\n\n".join(parts) if parts else ""


def _origin(run: Run) -> str:
    path = run.path / "run.json"
    record = read_json(path) if is_plain_file(path) else {}
    if not isinstance(record, dict) or "command" not in record:
        return ""
    commit = _plain(str(record.get("git_commit") or "unknown"))[:12]
    return f"## Made by\n\n`{_plain(str(record['command']))}`, commit `{commit}`"


def _plain(text: str) -> str:
    """One line without markup."""
    return " ".join(text.translate(HARMLESS).split())[:LONGEST]
