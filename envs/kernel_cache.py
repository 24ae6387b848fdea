"""Compiled kernels that are never older than their sources: ``@kernel`` is numba's ``njit`` with such a cache.

Numba keeps a compiled function on disk and asks only whether its own file has changed. A kernel also
contains the functions and constants that it takes from other files, so after an edit there it would
silently go on with the old ones. Here the name of every cached file holds a digest of all sources that the
kernel may contain: those of its own file and of all that this imports from its own package or from this
project, and so on. What was compiled from other sources is therefore not found, in whichever folder
numba keeps it: ``NUMBA_CACHE_DIR``, ``__pycache__`` or the user's own cache.

Cached files are pickles. Numba also reads ``.numba_config.yaml`` of the folder in which a command is called, which
may be somebody else's run folder: where kernels are kept, only the environment says.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.types.misc import unliteral

Function = TypeVar("Function", bound=Callable[..., Any])

ROOT = Path(__file__).parent.parent
PROJECT = ("envs", "rl_suite")
IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*|[^\n]*)|import[ \t]+([^\n]*))", re.M)

for name in ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES"):
    os.environ.setdefault(name, "")  # numba's default, over whatever a file says
numba.config.reload_config()

logger = logging.getLogger(__name__)
_said: list[str] = []  # what has been said: once is enough
listeners: list[Callable[[str], None]] = []  # each is told the name of a kernel that is about to be compiled


def kernel(allocates: bool = True, **options: Any) -> Callable[[Function], Function]:
    """Compile a function with ``numba.njit(**options)`` when it is first called, and keep the result on disk.

    ``allocates=False`` promises that the function makes no arrays. Then numba counts no references to those that it
    is handed, and a function that is handed dozens of them is compiled in three quarters of the time.

    A call with a number that stands in the source, ``f(x, 3)``, is the call with any number: numba would compile ``f``
    anew for each, and LLVM puts the number in its place all the same where it inlines ``f``.

    Where no folder can be written to, kernels are compiled at every start; one line of the log says so.
    """

    def compiled(function: Function) -> Function:
        dispatcher: Any = numba.njit(no_cfunc_wrapper=True, _nrt=allocates, **options)(function)
        if dispatcher is not function:  # NUMBA_DISABLE_JIT leaves the function as it is
            dispatcher.get_call_template = _for_any_number(dispatcher.get_call_template)
            try:
                dispatcher._cache = KernelCache(function)
            except (RuntimeError, OSError) as error:  # numba finds no folder; a source cannot be read
                _say_once(error)
        return cast(Function, dispatcher)

    return compiled


def _for_any_number(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """How numba finds the compiled form of a call, with arguments of literal types taken as any of their type."""

    def resolve_any(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return resolve(tuple(map(unliteral, args)), {name: unliteral(kws[name]) for name in kws})

    return resolve_any


class _Stamped(CompileResultCacheImpl):  # type: ignore[misc]  # numba has no types
    """Numba's choice of a folder; the names of the files hold the digest of the sources."""

    def __init__(self, function: Any):
        self.digest = sources_digest(Path(function.__code__.co_filename))
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        """Numba's name (function, line, Python), the digest, and settings that numba's own key leaves out."""
        self.family = fullname.replace("<", "").replace(">", "")
        checked = "-boundscheck" if numba.config.BOUNDSCHECK else ""
        return f"{super().get_filename_base(fullname, abiflags)}.{self.digest}-O{int(numba.config.OPT)}{checked}"


class KernelCache(FunctionCache):  # type: ignore[misc]
    """The cache of one kernel. A file that cannot be read or written costs time and nothing else."""

    _impl_class = _Stamped

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel, or None where it is not in the cache; the listeners hear of that."""
        found = None
        with suppress(OSError):
            try:
                found = super().load_overload(sig, target_context)
            except EOFError:  # an empty file, as a crash of the machine leaves it
                self.flush()
        if found is None:
            for tell in tuple(listeners):
                tell(self._name)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel, and drop those of the same name that were made from other sources."""
        try:
            super().save_overload(sig, data)
            for path in Path(self.cache_path).glob(f"{self._impl.family}-*.nb[ic]"):
                if f".{self._impl.digest}-" not in path.name:
                    path.unlink(missing_ok=True)
        except OSError as error:
            self.disable()
            _say_once(error)


def _say_once(error: Exception) -> None:
    """One line, however many kernels are concerned: the reason of the first."""
    if not _said:
        _said.append(str(error))
        logger.warning("kernels are compiled at every start; name a folder for them in NUMBA_CACHE_DIR (%s)", error)


def sources_digest(path: Path) -> str:
    """Digest of a file and of all that it imports, directly or not, from its own package and from this project."""
    return hashlib.sha256(
        repr([(name, _digest(file)) for name, file in sources_of(path).items()]).encode()
    ).hexdigest()[:16]


def sources_of(path: Path) -> dict[str, Path]:
    """Names and files of all that a kernel in the file ``path`` may contain, the file itself included."""
    top = path.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    relative = path.relative_to(top)
    roots = {relative.parts[0]: top, **dict.fromkeys(PROJECT, ROOT)}
    found = {".".join(relative.with_suffix("").parts): path}
    queue = [path]
    while queue:
        for name in _imports(queue.pop()):
            root = roots.get(name.split(".")[0])
            file = None if root is None or name in found else _file_of(root, name)
            if file is not None:
                found[name] = file
                queue.append(file)
    return dict(sorted(found.items()))


@cache
def _imports(file: Path) -> tuple[str, ...]:
    """Dotted names that a file may import: both ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    names: list[str] = []
    for module, members, modules in IMPORT.findall(file.read_bytes()):
        if module:
            names += [module.decode(), *(f"{module.decode()}.{word}" for word in re.findall(r"\w+", members.decode()))]
        names += re.findall(r"[\w.]+", modules.decode())
    return tuple(dict.fromkeys(names))


@cache
def _file_of(root: Path, name: str) -> Path | None:
    """The file of the module or package ``name``; None if it is neither, as a function is not."""
    place = root.joinpath(*name.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
