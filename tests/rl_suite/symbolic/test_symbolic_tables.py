"""People's tables and known parts: what is read, what is refused and how, and the whole way to a law."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluate
import train
from rl_suite.benchmarks.__main__ import main as benchmarks
from rl_suite.cli import DEFAULT_CONFIG, run_command
from rl_suite.errors import UserError
from rl_suite.examples import law_search
from rl_suite.experiments import load_experiment
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.data import DEFAULT_BUDGET, Options
from rl_suite.symbolic.experiment import options_of
from rl_suite.symbolic.laws.skeleton import Skeleton
from rl_suite.symbolic.table import MAX_ROWS, read_table

Write = Callable[[str], Path]


def test_the_configuration_and_the_library_search_alike():
    config = load_experiment(DEFAULT_CONFIG, ["experiment=symbolic_search"])
    assert isinstance(config, SymbolicConfig)
    assert options_of(config) == Options()
    assert config.search.budget == DEFAULT_BUDGET == SymbolicRegressor().budget
    assert SymbolicRegressor().max_length == config.search.max_length


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


GOOD = "a,b,y\n1,2,3\n2,3,5\n3,5,8\n4,4,9\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,y\n1,2\n", "1 rows of data; at least 4"),
        ("a,a,y\n" + "1,2,3\n" * 5, "'a' is empty or used twice"),
        ("1,2,3\n" * 6, "put the column names there"),
        ("a" * 5000 + ",y\n1,2\n", "a column's name has 5000 characters"),
        (",".join(f"a{i}" for i in range(2000)) + "\n" + (",".join("1" * 2000) + "\n") * 5, "has no column 'y'"),
        ("a,b,z\n1,2,3\n2,3,5\n3,5,8\n4,4,9\n", "has no column 'y'"),
        (GOOD + "5,,1\n", "data row 5, column 'b': 'empty' is not a finite number"),
        (GOOD + "5,nan,1\n", "'nan' is not a finite number"),
        (GOOD + "5,inf,1\n", "'inf' is not a finite number"),
        (GOOD + "5,1e999,1\n", "is not a finite number"),
        (GOOD + "5,__import__,1\n", "'__import__' is not a finite number"),
        (GOOD + "5,1\n", "row 6 has 2 cells"),
        ("a,y\n1,x\n2,u\n3,v\n4,w\n", "column 'y' holds text"),
        ("a,y\n1,2\n2,2\n3,2\n4,2\n", "is 2 in every row"),
        ("a,y\n1,2\n1,3\n1,4\n1,5\n", "no column is left"),
    ],
)
def test_bad_tables_are_refused_with_what_to_do(text: str, message: str, write: Write) -> None:
    with pytest.raises(UserError, match=r"table\.csv") as caught:
        read_table(write(text), "y")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_sixty_columns_and_a_binary_file(write: Write, tmp_path: Path) -> None:
    names = [f"v{i}" for i in range(60)]
    rows = [",".join(str((i * j) % 7) for i in range(61)) for j in range(1, 9)]
    path = write(",".join([*names, "y"]) + "\n" + "\n".join(rows))
    with pytest.raises(UserError, match="at most 30"):
        read_table(path, "y")
    assert read_table(path, "y", columns=["v1", "v2"]).data.variables == ("v1", "v2")
    with pytest.raises(UserError, match="cannot be an input"):
        read_table(path, "y", columns=["v1", "q"])
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path / "image.csv", "y")
    with pytest.raises(UserError, match=r"shipped examples are: .*\.csv"):
        read_table(Path("qqqq.xyz"), "y")
    with pytest.raises(UserError, match=r"did you mean 'planets\.csv'"):
        read_table(Path("planet.csv"), "y")


def test_many_rows_are_thinned_with_a_message(write: Write) -> None:
    n = 25_000
    table = read_table(write("a,y\n" + "".join(f"{i},{2 * i}\n" for i in range(n))), "y")
    assert len(table.data.y) == MAX_ROWS
    assert f"{n} rows" in table.messages[0]
    np.testing.assert_allclose(table.data.y, 2 * table.data.X[:, 0])


def test_column_names_become_identifiers(write: Write) -> None:
    text = GOOD.replace("a,b,y", "semi-major axis (AU),sin,y").replace(",y\n", ",y\n")
    table = read_table(write(text), "y")
    assert table.data.variables == ("semi_major_axis_AU", "sin_")
    assert table.renamed == {"semi_major_axis_AU": "semi-major axis (AU)", "sin_": "sin"}


def test_units_are_read_and_missing_ones_named(write: Write) -> None:
    path = write(GOOD)
    table = read_table(path, "y", units={"a": "m", "b": "s", "y": "m/s"})
    assert table.data.units is not None
    with pytest.raises(UserError, match="units lack b"):
        read_table(path, "y", units={"a": "m", "y": "m"})
    with pytest.raises(UserError, match="not a product of powers"):
        read_table(path, "y", units={"a": "m+1", "b": "s", "y": "m"})


def command(monkeypatch: pytest.MonkeyPatch, program: object, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["program", *words])
    try:
        run_command(program.main)  # type: ignore[attr-defined]
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def test_planets_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("experiment=symbolic_search", "data=planets.csv", "target=period", "search.budget=20000")
    assert command(monkeypatch, train, *words) == 0
    output = capsys.readouterr().out
    assert "semi_major_axis**(3/2)" in output
    run = Path("runs/symbolic_search-planets-period/0")
    found = json.loads((run / "laws.json").read_text())
    assert found["law"]["latex"].endswith(r"^{\frac{3}{2}}")
    assert found["law"]["nmse"] < 1e-7
    with Image.open(run / "law.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 50  # something was drawn
    assert "(law.png)" in (run / "report.html").read_text(encoding="utf-8")
    assert command(monkeypatch, evaluate, str(run)) == 0
    assert (run / "evaluation.json").exists()
    assert command(monkeypatch, train, *words) == 0
    assert "is complete" in capsys.readouterr().out


def test_command_line_refusals(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(GOOD)
    cases = {
        ("target=q",): "has no column 'q'",
        (): "target=COLUMN",
        ("target=y", "known=__import__('os')"): "the known part: position",
        ("target=y", "known=a" + 6000 * "+a"): "has 12001 characters; the limit is 10000",
        ("target=y", "skeleton=exec(?)"): "the skeleton: position 0: unknown function 'exec'",
        ("target=y", "data=[]"): "data",
        ("target=y", "known=a.__class__"): "attributes are not allowed",
        ("target=y", "known=a^1000000"): "exponent 1e+06 is beyond 64",
        ("target=y", "skeleton=a*b"): "exactly one hole",
        ("target=y", "skeleton=exp(?) + 100"): "no value of the hole",
        ("target=y", "search.functions=[add, foo]"): "unknown function 'foo'",
        ("target=y", "units={a: m, b: s, y: kg}"): "no product of powers",
    }
    for number, (words, message) in enumerate(cases.items()):
        seed = f"seed={number}"
        code = command(monkeypatch, train, "experiment=symbolic_search,smoke", f"data={path}", seed, *words)
        errors = capsys.readouterr().err
        assert code == 2, (words, errors)
        assert message in errors, (words, errors)


def test_a_skeleton_is_solved_and_filled() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 3, (50, 2))
    hole = X[:, 0] * X[:, 1]
    skeleton = Skeleton("3/(2 + sqrt(?)) - b", ("a", "b"))
    np.testing.assert_allclose(skeleton.solve(X, 3 / (2 + np.sqrt(hole)) - X[:, 1]), hole, rtol=1e-9)
    with pytest.raises(ValueError, match="exactly one hole"):
        Skeleton("? + ?", ("a",))
    with pytest.raises(ValueError, match="cannot be solved"):
        Skeleton("a^?", ("a",)).solve(X[:, :1], hole)
    with pytest.raises(ValueError, match="no value of the hole"):
        Skeleton("exp(?)", ("a", "b")).solve(X, -hole)


def test_a_known_part_and_a_skeleton_from_the_command_line(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a = np.linspace(0.5, 3, 40)
    y = 2 * np.exp(np.sin(a) / (1 + a)) + 1
    path = write("a,y\n" + "".join(f"{float(u)!r},{float(v)!r}\n" for u, v in zip(a, y, strict=True)))
    words = ("experiment=symbolic_search", f"data={path}", "target=y", "search.budget=30000")
    assert command(monkeypatch, train, *words, "known=sin(a)/(1+a)") == 0
    assert "exact up to rounding" in capsys.readouterr().out
    assert command(monkeypatch, train, *words, "skeleton=2*exp(?)+1", "seed=1") == 0
    assert "sin(a)" in capsys.readouterr().out


def test_the_example_prints_both_laws(capsys: pytest.CaptureFixture[str]) -> None:
    law_search.main()
    output = capsys.readouterr().out
    assert "semi_major_axis**(3/2)" in output
    assert "sqrt(x0)/sqrt(x1)" in output
    assert "(2*pi is within its error)" in output


def test_the_benchmark_command_passes_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks(["symbolic", "--set", "livermore", "--only", "Livermore-20", "--seeds", "1", "--quick"]) == 0
    assert "livermore: recovered" in capsys.readouterr().out.replace("\n", " ")
    with pytest.raises(SystemExit):
        benchmarks(["symbolic", "--set", "nothing", "--quick"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_the_estimator() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    counts = "weights are precisions of rows: a row that is repeated is more evidence than a row that weighs more"
    known = {f"check_sample_weight_equivalence_on_{kind}_data": counts for kind in ("dense", "sparse")}
    check_estimator(SymbolicRegressor(budget=2_000), expected_failed_checks=known)
