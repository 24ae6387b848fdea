from rl_suite.benchmarks import BENCHMARKS, Options, load


def test_the_benchmark_measures_every_face_and_the_memory():
    result = load("durotaxis", BENCHMARKS).run(Options(quick=True, repeats=1))
    names = [row.name for row in result.rows]
    assert len(names) == len(set(names)) == 9
    for row in result.rows:
        assert row.ours > 0
        if row.name.endswith("memory"):
            assert row.ours <= 30, "kB per environment"
        else:
            assert row.peer > 0
    assert all("56.0 nodes" in note for note in result.notes[:3])
