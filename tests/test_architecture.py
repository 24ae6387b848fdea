"""The habits of the house, read off the syntax trees of all files."""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "agents", "rl_suite")
COMMANDS = ("train.py", "evaluate.py")
LONGEST_FILE, LONGEST_COMMAND, LONGEST_EXAMPLE, LONGEST_FUNCTION = 400, 60, 80, 60  # lines
MOST_PARAMETERS = 10
# (file, function): a list that may only shrink
MANY_PARAMETERS = {
    ("rl_suite/symbolic/regressor.py", "__init__"),  # scikit-learn: every option is a parameter of its own
    ("agents/ptm/weight_sharing.py", "__init__"),  # features_extractor_kwargs, too
}

# what each package may import besides the standard library and itself
NUMERIC = {"numpy", "scipy", "numba", "networkx", "gymnasium"}
DRAWING = {"matplotlib", "PIL"}
LEARNING = {"torch", "stable_baselines3", "sb3_contrib", "torch_geometric", "torchvision"}
ALLOWED = {"envs": NUMERIC | DRAWING, "agents": NUMERIC | LEARNING}
OURS = set(PACKAGES)

PRINTING_PLACES = ("rl_suite/examples/", "rl_suite/benchmarks/")
FORBIDDEN_CALLS = {
    "eval": "parse with our own tokenizer",
    "exec": "call a function",
    "compile": "numba and torch compile; text is never code",
    "sympify": "it evaluates its argument",
    "parse_expr": "it evaluates its argument",
    "__import__": "use importlib",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
VERSION_WORDS = re.compile(
    r"(^|_)(v[0-9]+|new|old|legacy|enhanced|advanced|improved|updated|final|deprecated|backup|copy)(_|$)"
)
SEED_NAMES = {  # the user's own names
    "EnhancedMAMLTrainer",
    "EnhancedMetaLearningConfig",
    "EnhancedMetaLearningPolicy",
    "WSAEnhancedActor",
}


def sources(*packages):
    return sorted(
        path
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


def name_of(path):
    return path.relative_to(ROOT).as_posix()


LIBRARY = sources(*PACKAGES)
TESTS = sources("tests")
ROOT_FILES = [ROOT / name for name in COMMANDS if (ROOT / name).is_file()]
EVERYTHING = LIBRARY + TESTS + ROOT_FILES
TREES = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in EVERYTHING}

library_files = pytest.mark.parametrize("path", LIBRARY, ids=name_of)
all_files = pytest.mark.parametrize("path", EVERYTHING, ids=name_of)


def imported(tree):
    """(top-level module, line) of every import, wherever it stands; ``if TYPE_CHECKING`` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name, not relatively"
            yield node.module.split(".")[0], node.lineno


def called(node):
    """``f`` for ``f(...)``, ``a.b.f`` for ``a.b.f(...)``, ``.f`` for ``g().f(...)``."""
    parts, target = [], node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    parts.append(target.id if isinstance(target, ast.Name) else "")  # "": a method of some expression
    return ".".join(reversed(parts))


def calls(tree):
    return ((called(node), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


@library_files
def test_import_arrows(path):
    package = path.relative_to(ROOT).parts[0]
    for module, line in imported(TREES[path]):
        if module in sys.stdlib_module_names or module == package:
            continue
        if module in OURS:
            assert package == "rl_suite", f"line {line}: {package} must not import {module}"
        elif package in ALLOWED:
            assert module in ALLOWED[package], f"line {line}: {package} must not import {module}"


@pytest.mark.parametrize("path", sources("envs"), ids=name_of)
def test_drawing_is_imported_late(path):
    """A world that is never drawn must not pay for matplotlib."""
    for node in TREES[path].body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not DRAWING & {module for module, _ in imported(ast.Module([node], []))}, f"line {node.lineno}"


@all_files
def test_files_can_be_held_in_mind(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = LONGEST_COMMAND if path in ROOT_FILES else LONGEST_FILE
    if name_of(path).startswith("rl_suite/examples/"):
        limit = LONGEST_EXAMPLE
    assert lines <= limit, f"{lines} lines; split it by idea"


def functions(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def parameters(function):
    """How many things a caller may give, ``self`` and ``cls`` aside."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


@library_files
def test_functions_can_be_held_in_mind(path):
    for node in functions(TREES[path]):
        lines = node.end_lineno - node.lineno + 1
        assert lines <= LONGEST_FUNCTION, f"line {node.lineno}: {node.name} has {lines} lines"
        allowed = (name_of(path), node.name) in MANY_PARAMETERS
        assert allowed or parameters(node) <= MOST_PARAMETERS, f"line {node.lineno}: {node.name} takes too much"


@pytest.mark.parametrize(("path", "name"), sorted(MANY_PARAMETERS))
def test_exceptions_are_still_needed(path, name):
    counts = [parameters(node) for node in functions(TREES[ROOT / path]) if node.name == name]
    assert max(counts) > MOST_PARAMETERS, "the list of exceptions may only shrink: take it out"


def dotted(path):
    """``rl_suite/run.py`` is ``rl_suite.run``, and a package is its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(trees):
    """Module -> modules of ours that it imports, lazily and for type checking as well."""
    modules = {dotted(path): tree for path, tree in trees.items()}
    graph = {}
    for module, tree in modules.items():
        used = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    used.add(inner if inner in modules else node.module)
        graph[module] = (used & set(modules)) - {module}
    return graph


def circles(graph):
    """Groups of nodes that reach each other."""
    whole = networkx.DiGraph([(module, used) for module in graph for used in graph[module]])
    return [sorted(group) for group in networkx.strongly_connected_components(whole) if len(group) > 1]


def folder_graph(graph, packages):
    """Folder -> folders beside it that it imports from; a folder and the rooms inside it are one place."""

    def home(module):
        return module if module in packages else module.rpartition(".")[0]

    folders = {}
    for module, others in graph.items():
        for other in others:
            here, there = home(module), home(other)
            if not f"{here}.".startswith(f"{there}.") and not f"{there}.".startswith(f"{here}."):
                folders.setdefault(here, set()).add(there)
    return folders


def mutual(folders):
    return [(a, b) for a in folders for b in folders[a] if a < b and a in folders.get(b, ())]


PACKAGE_NAMES = {dotted(path) for path in LIBRARY if path.name == "__init__.py"}


def test_no_import_goes_in_circles():
    assert not circles(import_graph({path: TREES[path] for path in LIBRARY}))


def test_no_two_folders_import_each_other():
    assert not mutual(folder_graph(import_graph({path: TREES[path] for path in LIBRARY}), PACKAGE_NAMES))


def test_circles_are_found():
    graph = {"p.a.x": {"p.b.y"}, "p.b.y": {"p.a.z"}, "p.a.z": set(), "p.c": {"p.a.x"}}
    assert not circles(graph)
    assert mutual(folder_graph(graph, {"p", "p.a", "p.b"})) == [("p.a", "p.b")]
    assert circles({**graph, "p.a.z": {"p.c"}}) == [["p.a.x", "p.a.z", "p.b.y", "p.c"]]


@all_files
def test_no_error_is_swallowed(path):
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.ExceptHandler):
            continue
        assert node.type is not None, f"line {node.lineno}: name the exceptions"
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = {kind.id for kind in kinds if isinstance(kind, ast.Name)} & {"Exception", "BaseException"}
        reraises = any(isinstance(step, ast.Raise) and step.exc is None for step in node.body)
        assert not broad or reraises, f"line {node.lineno}: {broad.pop()} is too broad"


@library_files
def test_the_library_does_not_print(path):
    if name_of(path).startswith(PRINTING_PLACES):
        return
    for name, node in calls(TREES[path]):
        assert name != "print", f"line {node.lineno}: use rich in the command line, logging elsewhere"


@library_files
def test_warnings_are_not_silenced_for_everybody(path):
    for name, node in calls(TREES[path]):
        assert name not in {"warnings.filterwarnings", "warnings.simplefilter", "logging.basicConfig"} or inside_with(
            TREES[path], node, "catch_warnings"
        ), f"line {node.lineno}: {name} changes the whole process"


def inside_with(tree, call, manager):
    """Whether ``call`` stands in a ``with ...manager()`` block."""
    return any(
        any(call is inner for inner in ast.walk(block))
        and any(
            isinstance(item.context_expr, ast.Call) and manager in called(item.context_expr) for item in block.items
        )
        for block in ast.walk(tree)
        if isinstance(block, ast.With)
    )


@library_files
def test_whatever_is_public_says_what_it_is(path):
    tree = TREES[path]
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (tree, *classes):
        for node in owner.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            assert not public or ast.get_docstring(node) or is_variant(node), f"line {node.lineno}: {node.name}"


def pickle_uses(tree):
    """Lines that could unpickle; to name the error that torch's safe loader raises is harmless."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            loads = any(alias.name in FORBIDDEN_MODULES and alias.asname for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            loads = node.module in FORBIDDEN_MODULES and {alias.name for alias in node.names} != {"UnpicklingError"}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            loads = node.value.id in FORBIDDEN_MODULES and node.attr != "UnpicklingError"
        else:
            continue
        if loads:
            yield node.lineno


def is_variant(node):
    """Overloads and property setters are described where the thing itself is."""
    return any(
        ast.unparse(decorator) == "overload" or ast.unparse(decorator).endswith(".setter")
        for decorator in node.decorator_list
    )


@all_files
def test_nothing_can_run_foreign_code(path):
    """No evaluation of text, no pickle, and loaders only in their safe mode."""
    assert path in TESTS or not list(pickle_uses(TREES[path])), "pickle runs what it reads"
    for name, node in calls(TREES[path]):
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        last = name.rpartition(".")[2]
        reason = FORBIDDEN_CALLS.get(last if last in ("sympify", "parse_expr") else name)
        assert reason is None or (path in TESTS and name in ("compile", "exec")), (
            f"line {node.lineno}: {name}: {reason}"
        )
        if name == "torch.load":
            safe = keywords.get("weights_only")
            assert isinstance(safe, ast.Constant), f"line {node.lineno}: torch.load needs weights_only=True"
            assert safe.value is True, f"line {node.lineno}: torch.load needs weights_only=True"
        allowed = keywords.get("allow_pickle")
        if allowed is not None:
            assert isinstance(allowed, ast.Constant), f"line {node.lineno}: allow_pickle=False"
            assert allowed.value is False, f"line {node.lineno}: allow_pickle=False"
        assert name not in {"yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}, f"line {node.lineno}: {name}"
        assert name not in {"os.system", "os.popen"}, f"line {node.lineno}: {name}"
        shell = keywords.get("shell")
        assert not (isinstance(shell, ast.Constant) and shell.value), f"line {node.lineno}: shell=True"


@all_files
def test_names_carry_no_history(path):
    """Git remembers what was old; a name says what a thing is."""
    assert not VERSION_WORDS.search(path.stem), "a file is replaced, not renumbered"
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ClassDef) and node.name not in SEED_NAMES:
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.name).lower()
            assert not VERSION_WORDS.search(words), f"line {node.lineno}: {node.name}"


def test_test_files_have_unique_names():
    twice = [
        name for name, count in Counter(path.name for path in TESTS if path.name != "conftest.py").items() if count > 1
    ]
    assert not twice, "pytest imports test files by their base names"
    assert not [name_of(path) for path in TESTS if path.name == "__init__.py"]


def test_packages_are_complete():
    """Every folder with Python files is a package, or it would be missing after an installation."""
    for path in LIBRARY:
        assert (path.parent / "__init__.py").is_file(), f"{name_of(path.parent)} needs an __init__.py"


def test_dependencies_are_declared():
    """What the library imports stands in setup.cfg, as a requirement or as an extra."""
    declared = (ROOT / "setup.cfg").read_text(encoding="utf-8").lower().replace("-", "_")
    other_names = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit_learn"}
    for path in LIBRARY + ROOT_FILES:
        for module, line in imported(TREES[path]):
            if module not in sys.stdlib_module_names and module not in OURS:
                name = other_names.get(module, module).lower()
                assert re.search(rf"^\s+{name}\b", declared, re.MULTILINE), f"{name_of(path)}:{line}: {module}"


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (test_import_arrows, "import torch"),
        (test_import_arrows, "def f():\n    from rl_suite import run"),
        (test_drawing_is_imported_late, "from matplotlib import pyplot"),
        (test_files_can_be_held_in_mind, "x = 1\n" * 401),
        (test_functions_can_be_held_in_mind, "def f():\n" + "    x = 1\n" * 60),
        (test_functions_can_be_held_in_mind, "def f(a, b, c, d, e, f, *, g, h, i, j, k):\n    pass"),
        (test_no_error_is_swallowed, "try:\n    x = 1\nexcept (OSError, Exception):\n    x = 2"),
        (test_no_error_is_swallowed, "try:\n    x = 1\nexcept:\n    raise"),
        (test_the_library_does_not_print, "print(1)"),
        (test_warnings_are_not_silenced_for_everybody, "import warnings\nwarnings.filterwarnings('ignore')"),
        (
            test_whatever_is_public_says_what_it_is,
            '"""Module."""\nclass A:\n    """A."""\n    def f(self):\n        return 1',
        ),
        (test_nothing_can_run_foreign_code, "x = eval('1')"),
        (test_nothing_can_run_foreign_code, "import pickle\npickle.loads(b'')"),
        (test_nothing_can_run_foreign_code, "import pickle as p"),
        (test_nothing_can_run_foreign_code, "from cloudpickle import loads"),
        (test_nothing_can_run_foreign_code, "import sympy\nsympy.sympify('1')"),
        (test_nothing_can_run_foreign_code, "import torch\ntorch.load('x')"),
        (test_nothing_can_run_foreign_code, "import numpy as np\nnp.load('x', allow_pickle=True)"),
        (test_names_carry_no_history, "class ImprovedPolicy:\n    pass"),
    ],
)
def test_the_checks_above_can_fail(check, source, tmp_path, monkeypatch):
    path = tmp_path / "envs" / "probe.py"
    path.parent.mkdir()
    path.write_text(source)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setitem(TREES, path, ast.parse(source))
    with pytest.raises(AssertionError):
        check(path)
