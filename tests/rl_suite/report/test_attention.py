"""The page shows the weights that the file holds, and refuses a file that does not fit itself."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rl_suite.errors import UserError
from rl_suite.report.attention import chosen_rows, quantised, read_attention

WEIGHTS = np.array([[1.0, 0.0, 0.0, 0.0], [0.64, 0.16, 0.16, 0.04]])  # two rows over four steps
CONTEXT: dict[str, Any] = {
    "about": "a context",
    "seen": ["0 0", "0 1", "1 1", "1 0"],
    "rewards": [0.0, 1.0, 0.0, 0.0],
    "first": [True, False, False, False],
    "rows": [0, 3],
    "layers": 1,
    "heads": 1,
    "weights": quantised(WEIGHTS),
}


def test_bytes_are_roots_of_weights() -> None:
    values = np.frombuffer(base64.b64decode(quantised(WEIGHTS)), np.uint8).reshape(2, 4)
    np.testing.assert_array_equal(values[1], [255, 128, 128, 64])


def test_rows_are_spread_and_hold_the_last() -> None:
    assert chosen_rows(5, 1).tolist() == [0, 1, 2, 3, 4]
    few = chosen_rows(1000, 100_000)
    assert few.tolist() == [0, 500, 999] or len(few) == 3
    assert chosen_rows(10, 10**9).tolist() == [0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": "!"},
        {"weights": quantised(WEIGHTS[:1])},
        {"rows": [0, 4]},
        {"rows": [3, 0]},
        {"rewards": [0.0]},
        {"layers": 2},
        {"heads": 10**9},
        {"seen": []},
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "attention.json"
    path.write_text(json.dumps({**CONTEXT, **wrong}))
    with pytest.raises(UserError, match="no attention"):
        read_attention(path)


DRIVER = """
<script>
const looked = () => document.getElementById("looked").textContent;
const picture = document.querySelector("#attention canvas");
const box = picture.getBoundingClientRect();
picture.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + 0.3 * box.width, clientY: box.top + 5}));
const hovered = looked(), kept = document.getElementById("attention-kept");
kept.value = 1;
kept.dispatchEvent(new Event("input"));
document.title = [hovered, looked()].join(" | ");
</script>
"""


def test_hovering_tells_the_weights_of_the_file(tmp_path: Path, driven: Callable[[str], list[str]]) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"experiment": "room", "seed": 0}))
    (tmp_path / "attention.json").write_text(json.dumps(CONTEXT))
    hovered, one_kept = driven(DRIVER)
    # step 1 paid, and holds 0.16 of the attention of step 3, up to rounding to bytes
    assert "Step 3 (saw 1 0): 16 % of its attention is on steps that came with a reward" in hovered
    assert "Step 1 (saw 0 1, reward 1): weight 0.16" in hovered
    assert "the 1 steps that would stay hold 64 % of it" in one_kept
