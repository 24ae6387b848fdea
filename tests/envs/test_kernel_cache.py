import os

from envs.kernel_cache import forget_stale_kernels


def touch(path, time):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time, time))


def names(folder):
    return sorted(path.name for path in folder.rglob("*.nb?"))


def test_kernels_older_than_their_neighbours_are_forgotten(tmp_path):
    touch(tmp_path / "world" / "steps.py", 100)
    touch(tmp_path / "world" / "field.py", 300)
    touch(tmp_path / "world" / "__pycache__" / "steps.old-1.nbi", 250)
    touch(tmp_path / "world" / "__pycache__" / "steps.old-1.nbc", 250)
    touch(tmp_path / "world" / "__pycache__" / "steps.new-1.nbi", 350)
    assert forget_stale_kernels(tmp_path) == 1
    assert names(tmp_path) == ["steps.new-1.nbi", "steps.old-1.nbc"]
    assert forget_stale_kernels(tmp_path) == 0


def test_a_change_above_counts_and_one_beside_does_not(tmp_path):
    for world in ("sea", "land"):
        touch(tmp_path / world / "steps.py", 100)
        touch(tmp_path / world / "__pycache__" / f"{world}.nbi", 250)
    touch(tmp_path / "streams.py", 200)
    touch(tmp_path / "land" / "hills.py", 300)
    assert forget_stale_kernels(tmp_path) == 1
    assert names(tmp_path) == ["sea.nbi"]
    touch(tmp_path / "streams.py", 400)
    assert forget_stale_kernels(tmp_path) == 1
