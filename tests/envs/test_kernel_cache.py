"""Kernels are as young as their sources wherever they are kept, and need no place to be kept at all."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from envs.kernel_cache import ROOT, kernel, sources_of

FILES = sorted(path for package in ("envs", "agents", "rl_suite") for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
LANGUAGE = {"types", "intrinsic"}  # what kernels are written with; nothing of it compiles or caches
PLACES = {
    "named": {"NUMBA_CACHE_DIR": "{0}/named"},
    "beside": {"NUMBA_CACHE_LOCATOR_CLASSES": "InTreeCacheLocator"},
    "users": {"NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator", "XDG_CACHE_HOME": "{0}/users"},
}
NOWHERE = {"NUMBA_CACHE_DIR": "/dev/null/named", "XDG_CACHE_HOME": "/dev/null/users"}
TOYS = {
    "__init__.py": "",
    "toys/__init__.py": "",
    "toys/sizes.py": "WIDTH = 7\n",
    "toys/inner.py": "from envs.kernel_cache import kernel\nfrom envs.toys import sizes\n"
    "from envs.toys.sizes import (\n    WIDTH,  # cells\n)\n\n\n"
    "@kernel()\ndef inner(x):\n    return 2 * x + WIDTH - sizes.WIDTH\n",
    "outer.py": "from envs.kernel_cache import kernel\nfrom envs.toys.inner import inner\n\n\n"
    "@kernel()\ndef outer(x):\n    return inner(x) + 1\n",
}


def import_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_kernel(node):
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "kernel"
        for mark in node.decorator_list
    )


KERNEL_FILES = [path for path in FILES if any(is_kernel(node) for node in ast.walk(TREES[path]))]


def test_every_kernel_is_compiled_by_the_one_decorator():
    assert len(KERNEL_FILES) > 25
    for path in FILES:
        if path != ROOT / "envs/kernel_cache.py":
            taken = {name.split(".")[-1] for name in import_names(TREES[path]) if name.startswith("numba.")}
            assert taken - {"extending"} <= LANGUAGE, f"{path}: compile with envs.kernel_cache.kernel"


def test_a_call_with_a_number_is_the_call_with_any():
    @kernel(allocates=False)
    def plus(x, n):
        return x + n

    @kernel(allocates=False)
    def sums(x, n):
        return plus(x, 1) + plus(x, 2) + plus(x, n) + plus(x, True)

    assert sums(10, 3) == 11 + 12 + 13 + 11
    assert [str(arguments[1]) for arguments in plus.overloads] == ["int64", "bool"]


def test_no_kernel_copies_a_slice():
    """Numba compiles the message of an error for each: ``copy_row`` of envs/symbolic/copying.py takes their place."""

    def is_number(node):  # constants, NAMES and np.nan, not arrays
        if isinstance(node, ast.IfExp):
            return is_number(node.body) and is_number(node.orelse)
        return isinstance(node, ast.Constant) or ast.unparse(node) == "np.nan" or ast.unparse(node).isupper()

    for path in KERNEL_FILES:
        for node in (node for function in filter(is_kernel, TREES[path].body) for node in ast.walk(function)):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                slices = [part for part in ast.walk(node.targets[0].slice) if isinstance(part, ast.Slice)]
                assert not slices or is_number(node.value), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_digest_covers_every_import(path):
    """What the fast reader of import lines finds is what Python's own parser finds."""
    expected, queue = {path}, [path]
    while queue:
        for name in import_names(TREES[queue.pop()]):
            place = ROOT / name.replace(".", "/")
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file in TREES and file not in expected:
                    expected.add(file)
                    queue.append(file)
    assert set(sources_of(path).values()) == expected


@pytest.fixture
def toys(tmp_path):
    """A small package ``envs`` whose kernel ``outer`` takes a function and a constant from other files."""
    for name, text in TOYS.items():
        file = tmp_path / "envs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    shutil.copy(ROOT / "envs/kernel_cache.py", tmp_path / "envs")
    return tmp_path


def play(toys, settings, before=""):
    """(outer(10), whether it was compiled, lines on stderr) of a new process."""
    program = f"from envs.outer import outer\n{before}\nprint(outer(10), sum(outer.stats.cache_misses.values()))"
    names = ("PATH", "HOME", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    kept |= {"PYTHONPATH": str(toys), "PYTHONDONTWRITEBYTECODE": "1"}
    kept |= {name: value.format(toys) for name, value in settings.items()}
    done = subprocess.run([sys.executable, "-c", program], env=kept, cwd=toys, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value, misses = done.stdout.split()
    return int(value), misses != "0", done.stderr.splitlines()


def kept_files(toys):
    return sorted(path.name for path in toys.rglob("*.nb[ic]"))


EDITS = {  # file, text, another of the same length; outer(10) is 21 before and ...
    "named": ("inner.py", "2 * x", "3 * x", 31),
    "beside": ("sizes.py", "WIDTH = 7", "WIDTH = 8", 21),
    "users": ("inner.py", " - sizes.WIDTH", " - sizes.WIDTH + 1", 22),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_edit_in_another_file_is_seen_wherever_the_cache_lies(toys, place):
    name, text, other, after = EDITS[place]
    edited = toys / "envs/toys" / name
    assert play(toys, PLACES[place]) == (21, True, [])
    if place == "named":  # the places differ in nothing else
        os.utime(edited)
        assert play(toys, PLACES[place]) == (21, False, []), "the same text at another time is the same source"
    before, times = kept_files(toys), edited.stat()
    edited.write_text(edited.read_text().replace(text, other))
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))  # no clock is asked
    assert play(toys, PLACES[place]) == (after, True, [])
    assert len(kept_files(toys)) == len(before), "what was made from other sources is dropped"
    assert not set(kept_files(toys)) & set(before)


def test_without_a_folder_kernels_run_and_one_line_says_so(toys):
    (toys / "envs/__pycache__").write_text("not a folder")
    (toys / "envs/toys/__pycache__").write_text("not a folder")
    value, _, lines = play(toys, NOWHERE)
    assert value == 21
    assert len(lines) == 1
    assert "NUMBA_CACHE_DIR" in lines[0]
    assert not kept_files(toys)


def test_a_folder_that_breaks_after_the_start_costs_a_line_and_nothing_else(toys):
    gone = "import shutil, pathlib\nshutil.rmtree('named')\npathlib.Path('named').write_text('in its place')"
    value, _, lines = play(toys, PLACES["named"], before=gone)
    assert value == 21
    assert len(lines) == 1
    assert "NUMBA_CACHE_DIR" in lines[0]


def test_an_empty_file_counts_as_absent(toys):
    play(toys, PLACES["named"])
    for file in toys.rglob("*.nb[ic]"):
        file.write_bytes(b"")
    assert play(toys, PLACES["named"]) == (21, True, [])


def test_bounds_checks_are_not_served_from_an_unchecked_cache(toys):
    play(toys, PLACES["named"])
    assert play(toys, {**PLACES["named"], "NUMBA_BOUNDSCHECK": "1"}) == (21, True, [])
    assert play(toys, PLACES["named"]) == (21, False, [])


def test_without_numba_a_kernel_is_its_function(monkeypatch):
    def double(x):
        return 2 * x

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert kernel()(double) is double


def test_a_file_in_the_folder_of_a_call_does_not_say_where_kernels_lie(tmp_path: Path) -> None:
    """Cached kernels are pickles: a stranger's folder must not bring them along."""
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: here\ncache_locator_classes: evil.Locator\n")
    code = "import envs.kernel_cache, numba; print(repr((numba.config.CACHE_DIR, numba.config.CACHE_LOCATOR_CLASSES)))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CACHE")}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "('', '')"
