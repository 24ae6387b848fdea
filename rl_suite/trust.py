"""Which names of a stranger's run folder may be imported, and which folders are one's own.

A run folder is data. What its ``config.yaml`` names is used only if it is a world registered by this suite,
or a network, policy or optimiser class of this suite, stable-baselines3, sb3-contrib, ``torch.nn`` or
``torch.optim``. A folder that this user trained may name anything: its configuration bears an HMAC-SHA256
(RFC 2104) under a key that lies in the user's own configuration folder. ``SECURITY.md`` tells the rest.
"""

import contextlib
import hashlib
import hmac
import importlib
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from rl_suite.errors import UserError
from rl_suite.portable import CAREFULLY

HOME = Path(__file__).resolve().parent.parent
ALLOWED = ("agents", "stable_baselines3", "sb3_contrib", "torch.nn", "torch.optim")
TEXTS = ("about", "data", "target", "columns", "units", "known", "skeleton")  # top-level keys that never name code
SIGNATURE = "config.hmac"
KEY_BYTES = 32
MAKERS = ("vectorization_mode", "vector_kwargs", "wrappers", "additional_wrappers", "vector_entry_point", "entry_point")


def key_path() -> Path:
    """Where the user's key lies, or would."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path("~/.config").expanduser()) / "rl_suite" / "key"


def sign(config: bytes) -> bytes | None:
    """The mark of one's own configuration; None, and a line on standard error, where no key can be kept."""
    try:
        key = _key() or _make_key()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home at all
        reason = getattr(error, "strerror", None) or error
        sys.stderr.write(f"no key can be kept in {key_path().parent} ({reason}): evaluate.py will ask for ")
        sys.stderr.write("--trust-code where this run names modules of yours\n")
        return None
    return hmac.new(key, config, hashlib.sha256).hexdigest().encode()


def is_own(config: bytes, signature: bytes | None) -> bool:
    """Whether this user's key made ``signature`` of ``config``."""
    try:
        key = _key()
    except (OSError, RuntimeError):
        return False
    if key is None or signature is None:
        return False
    return hmac.compare_digest(hmac.new(key, config, hashlib.sha256).hexdigest().encode(), signature.strip())


def _key() -> bytes | None:
    """The key; None if there is none, or if somebody else could have written it."""
    path = key_path()
    try:
        state = path.stat()
        key = path.read_bytes() if state.st_size == KEY_BYTES else b""
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES or _is_shared(state):
        raise PermissionError(0, f"{path} must hold {KEY_BYTES} bytes that only its owner may read; delete it")
    return key


def _is_shared(state: os.stat_result) -> bool:
    """Whether others may read or write a file; on Windows the rights of the home folder decide."""
    return sys.platform != "win32" and (state.st_uid != os.getuid() or bool(state.st_mode & 0o077))


def _make_key() -> bytes:
    """Write a new key, whole or not at all; the first of two processes wins."""
    path = key_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".key.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CAREFULLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return path.read_bytes()


def check_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Refuse a stranger's configuration that names code from elsewhere; nothing of it has been imported then.

    Raises:
        UserError: what would run, and how to allow it.
    """
    for key, value in _strings(settings):
        if key.split(".")[0] in TEXTS:
            continue
        if key.rpartition(".")[2] == "id":
            complaint = _check_id(value)
        else:
            complaint = _check_name(value, folder) if ":" in value else None
        if complaint:
            raise UserError(
                f"{folder / 'config.yaml'}: {key}: {value} {complaint}; this folder was not written by you, so "
                "nothing of it was run. If you know what it would run: --trust-code"
            )


def check_options(spec: Any, options: Mapping[str, Any]) -> None:
    """Refuse constructor arguments that replace the code behind a registered id.

    Raises:
        UserError: ``world``, ``inner`` or an argument of ``gymnasium.make`` itself.
    """
    fixed = {
        name for name, value in spec.kwargs.items() if callable(value) or (isinstance(value, str) and ":" in value)
    }
    for name in options:
        if name in fixed or name in MAKERS:
            raise UserError(f"{spec.id}: {name!r} belongs to the id and cannot be set; choose another env.id")


def require_own_world(env_id: str, source: str) -> None:
    """Refuse the id of a world, named in data of ``source``, whose code is not of this suite; nothing was imported.

    Raises:
        UserError: what would run, and how to allow it.
    """
    if complaint := _check_id(env_id):
        raise UserError(f"{source}: {env_id} {complaint}. If you know what it would run: --trust-code")


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every text in nested settings, names of keys included."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, key)


def _check_id(env_id: str) -> str | None:
    import envs  # noqa: F401  # registers our worlds

    module, _, name = env_id.rpartition(":")
    if module not in ("", "envs"):
        return f"would import the module {module}"
    spec = gym.registry.get(name)
    if spec is None:
        return "is no world of this suite"
    if not str(spec.entry_point).startswith("envs."):
        return f"is no world of this suite: it would call {spec.entry_point}"
    return None


def _check_name(name: str, folder: Path) -> str | None:
    """What speaks against using ``"module:Class"``, or None."""
    module, _, attribute = name.partition(":")
    parts = module.split(".")
    root = next((allowed for allowed in ALLOWED if f"{module}.".startswith(f"{allowed}.")), None)
    if root is None or not all(part.isidentifier() for part in [*parts, attribute]):
        return f"would import the module {module} and call {attribute}"
    if root == "agents" and not _is_ours(parts, folder):
        return f"would import the module {module}, which is not of this suite"
    from torch import nn, optim

    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return "does not exist"
    if not (isinstance(found, type) and issubclass(found, nn.Module | optim.Optimizer)):
        return "is no network, policy or optimiser, and would be called"
    return None


def _is_ours(parts: list[str], folder: Path) -> bool:
    """Whether a module of ours has this name, and it was not brought along by a run folder that lies in our place."""
    base = HOME.joinpath(*parts)
    source = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
    return source is not None and not source.resolve().is_relative_to(folder.resolve().parent)
