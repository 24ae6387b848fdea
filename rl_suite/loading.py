"""From YAML text and ``key=value`` words to a validated configuration, or to errors that help.

A run is ``defaults <- block <- block ... <- key=value``, applied in this order. All mistakes are
reported at once, each with its dotted key and the nearest name that exists.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError

MOST_LISTED = 20  # names in a message
MAX_BYTES = 1_000_000
MOST_NODES, MOST_DEPTH = 20_000, 50  # of a configuration; ours have some hundreds, eight deep
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # and half surrogates
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]*")
MODIFIER = "modifier"
"""Key of a block, such as ``smoke``, that changes an experiment and is none by itself."""

MOST_SHOWN = 300  # characters of a word or name in a message
BRIEF = reprlib.Repr()
"""Values in messages: of long and deep ones only the beginning."""
BRIEF.maxdict = BRIEF.maxlist = BRIEF.maxtuple = 8
BRIEF.maxlevel = 4
BRIEF.maxstring = BRIEF.maxother = MOST_SHOWN


class StrictLoader(yaml.SafeLoader):
    """Safe YAML without old traps.

    Duplicate keys are errors, ``1e-3`` is a number, tags are refused, and so is what nests too deeply, holds
    control characters or, with every alias written out, more than ``MOST_NODES`` values.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  (a class attribute of PyYAML)
        first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":bool", ":float", ":timestamp"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and count what it holds; an alias counts as all that it stands for."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if getattr(event, "tag", None) is not None:
            raise yaml.constructor.ConstructorError(None, None, f"tags such as {event.tag!r} are not read", mark)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._sizes:
                self._count(self._sizes[event.anchor], mark)
            elif event.anchor in self.anchors:
                raise yaml.constructor.ConstructorError(None, None, f"&{event.anchor} holds itself", mark)
            return super().compose_node(parent, index)
        if isinstance(event, yaml.ScalarEvent) and CONTROL.search(event.value):
            raise yaml.constructor.ConstructorError(None, None, "control characters are not read", mark)
        before = self._nodes
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, "nested too deeply", mark)
        self._count(1, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._sizes[event.anchor] = self._nodes - before
        return node

    def __init__(self, stream: str):
        super().__init__(stream)
        self._nodes = self._depth = 0
        self._sizes: dict[str, int] = {}

    def _count(self, nodes: int, mark: Any) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            problem = f"more than {MOST_NODES} values, its aliases written out"
            raise yaml.constructor.ConstructorError(None, None, problem, mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing a key that stands twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, f"bad key {BRIEF.repr(key)}", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {BRIEF.repr(key)}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|false|False)$"), list("tTfF"))
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf|\.nan)$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, source: str) -> Any:
    """Parse one YAML document; a mistake becomes a ``UserError`` that names ``source`` and the line."""
    try:
        return yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{shortened(source)}, line {mark.line + 1}" if mark else shortened(source)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{place}: not valid YAML: {problem}") from None
    except ValueError:  # whole numbers of thousands of digits
        raise UserError(f"{shortened(source)}: not valid YAML: a number is too long") from None


def read_config(path: Path) -> dict[str, Any]:
    """Read a file with ``defaults`` and ``experiments``, both mappings; raises ``UserError`` otherwise."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: cannot be read: there is no such file; pass --config FILE")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES} bytes, so it is not a configuration")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text, so it is not a configuration") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}; pass --config FILE") from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict) or set(data) != {"defaults", "experiments"}:
        raise UserError(f"{path}: must hold exactly two keys, 'defaults:' and 'experiments:'")
    for key in ("defaults", "experiments"):
        if not isinstance(data[key], dict):
            raise UserError(f"{path}: '{key}:' must hold named settings")
    for name, block in data["experiments"].items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(f"{path}: experiment name {BRIEF.repr(name)} must be letters, digits, '_' and '-'")
        if not isinstance(block, dict):
            raise UserError(f"{path}: experiments.{shortened(name)} must hold settings")
        if not isinstance(block.get(MODIFIER, False), bool):
            raise UserError(f"{path}: experiments.{shortened(name)}.{MODIFIER} must be true or false")
    return data


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Turn ``["ppo.gamma=0.9", "seed=3"]`` into ``{"ppo": {"gamma": 0.9}, "seed": 3}``."""
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        parts = key.split(".")
        if not equals or not all(parts):
            raise UserError(f"{shortened(word)!r} is not of the form key=value, such as seed=3 or ppo.gamma=0.9")
        node = overrides
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise UserError(f"{shortened(word)!r} sets inside a value that an earlier word has set")
        if parts[-1] in node:
            raise UserError(f"{shortened(key)!r} is given twice")
        value = parse_yaml(text, word)
        # a shell leaves what stands behind "=" as it is, and nobody wants a folder that is called "~"
        node[parts[-1]] = str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value
    return overrides


def deep_merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """A new mapping: values of ``top`` over those of ``base``, key by key at every depth; ``key: {}`` empties."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and value:
            merged[key] = deep_merge(old, value)
        else:
            merged[key] = value
    return merged


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: spelt alike, or with these initials (``lr`` for ``learning_rate``)."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return close[0] if close else next((each for each in names if initials(each) == name.lower()), None)


def initials(name: str) -> str:
    """``learning_rate`` -> ``lr``."""
    return "".join(part[:1] for part in name.split("_")).lower()


def suggest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the nearest known name, or nothing."""
    near = nearest(str(name), known)
    return f"; did you mean {near!r}?" if near else ""


def require_known(name: str, known: Iterable[str], what: str) -> None:
    """Raise a ``UserError`` with a suggestion if ``name`` is not among ``known``."""
    known = list(known)
    try:
        found = name in set(known)  # by hash: an array would be compared number by number
    except TypeError:
        found = False
    if not found:
        hint = suggest(name, known) or f"; known: {listed(known)}"
        raise UserError(f"unknown {what} {BRIEF.repr(name)}{hint}")


def listed(names: Iterable[str]) -> str:
    """The names in order, as many as a line of a message can show.

    >>> listed(f"{number:02}" for number in range(22))[-15:]
    '19 and 2 others'
    """
    names = sorted(names)
    others = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {others} others" if others > 0 else "")


def settings_of_block(block: Mapping[str, Any]) -> dict[str, Any]:
    """What a block sets, without what it says of itself."""
    return {key: value for key, value in block.items() if key != MODIFIER}


def split_blocks(raw: Mapping[str, Any], blocks: str) -> list[str]:
    """Several experiments out of block names: each block that is one, with all modifiers behind it.

    >>> split_blocks({"experiments": {"a": {}, "b": {}, "smoke": {"modifier": True}}}, "a,b,smoke")
    ['a,smoke', 'b,smoke']
    """
    names = list(dict.fromkeys(blocks.split(",")))
    for name in names:
        require_known(name, raw["experiments"], "experiment")
    modifiers = [name for name in names if raw["experiments"][name].get(MODIFIER, False)]
    return [",".join([name, *modifiers]) for name in names if name not in modifiers] or [",".join(modifiers)]


def require_counts(**counts: Any) -> None:
    """Raise a ``UserError`` for the first of ``counts`` that is no whole number of at least 1."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise UserError(f"{name} must be a whole number of at least 1, not {BRIEF.repr(count)}")


def merge_blocks(raw: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Apply the blocks that ``experiment`` names, then the overrides."""
    wanted = overrides.get("experiment", raw["defaults"].get("experiment"))
    names = [] if wanted is None else str(wanted).split(",")
    merged = dict(raw["defaults"])
    if not names or not all(names):
        raise UserError(f"experiment={','.join(names)} leaves a name out; --help lists the experiments")
    for name in names:
        require_known(name, raw["experiments"], "experiment")
        merged = deep_merge(merged, settings_of_block(raw["experiments"][name]))
    merged["about"] = raw["experiments"][names[0]].get("about", "")
    return deep_merge(merged, {**overrides, "experiment": ",".join(names)})


def validate(
    model: type[ExperimentConfig],
    merged: Mapping[str, Any],
    overrides: Mapping[str, Any],
    other_sections: Iterable[str],
    source: str,
) -> ExperimentConfig:
    """Check ``merged`` against ``model``.

    Sections of other kinds of experiment may stand in the file (``defaults`` and ``smoke`` serve all
    kinds) and are left out; a ``key=value`` word must be read by this kind and experiment.
    """
    foreign = set(other_sections) - set(model.model_fields)
    kept = {key: value for key, value in merged.items() if key not in foreign or key in overrides}
    try:
        config = model.model_validate(kept)
    except ValidationError as error:
        lines = [(item["loc"], _explain(model, item)) for item in error.errors()]
        places = (_place(overrides, location, source) for location, _ in lines)
        raise UserError("\n".join(f"{place}: {line}" for place, (_, line) in zip(places, lines, strict=True))) from None
    config.require_used(overrides)
    return config


def _explain(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    location: Sequence[Any] = item["loc"]
    key = shortened(".".join(str(part) for part in location))
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggest_key(model, [str(part) for part in location])}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]} (got {BRIEF.repr(item['input'])})" if key else message


def _place(overrides: Mapping[str, Any], location: Sequence[Any], source: str) -> str:
    """Where a mistake stands; one of several keys together may stand in both places."""
    if not location:
        return f"{source} with the command line" if set(overrides) - {"experiment"} else source
    return "command line" if _is_given(overrides, location) else source


def _is_given(overrides: Mapping[str, Any], location: Sequence[Any]) -> bool:
    """Whether a word of the command line has set what stands at ``location``, or emptied what it stood in."""
    node: Any = overrides
    for part in location:
        if not isinstance(node, Mapping) or (not node and node is not overrides):
            return True
        if part not in node:
            return False
        node = node[part]
    return True


def _suggest_key(model: type[BaseModel], location: list[str]) -> str:
    """The nearest key of the same section, else one of that name in another."""
    *section, name = location
    near = nearest(name, _fields_at(model, section))
    if near is not None:
        return f"; did you mean {'.'.join([*section, near])!r}?"
    elsewhere = [key for key in _dotted_keys(model) if key.split(".")[-1] == name]
    return f"; did you mean {elsewhere[0]!r}?" if elsewhere else ""


def _dotted_keys(model: type[BaseModel], before: str = "") -> list[str]:
    """All keys of a configuration, section by section."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(f"{before}{name}")
        for section in _sections(field.annotation):
            keys += _dotted_keys(section, f"{before}{name}.")
    return keys


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The models among a type and what it is a union of."""
    candidates = (annotation, *get_args(annotation))
    return [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]


def shortened(text: str) -> str:
    """The text as far as it fits into a message."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _fields_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Field names of the section that ``location`` leads to."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        models = _sections(field.annotation)
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)
