"""TensorBoard begins with the charts that matter: every kind has some, and a run's own tags fill them."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2

from rl_suite.charts import CHARTS, COMPARED, describe
from rl_suite.experiments import KINDS
from rl_suite.logs import Events


def test_kinds_have_charts_and_numbers_to_compare():
    assert set(CHARTS) == set(COMPARED) <= set(KINDS)
    assert all(1 < len(layout["overview"]) <= 5 for layout in CHARTS.values())


@pytest.mark.parametrize("kind", sorted(CHARTS))
def test_what_hparams_shows_is_in_a_chart(kind):
    shown = [pattern for chart in CHARTS[kind]["overview"].values() for pattern in chart[1]]
    for tag in COMPARED[kind]:
        assert any(re.fullmatch(pattern, tag) for pattern in shown), tag


def written(folder: Path):
    """Tag -> plugin data of every summary in the folder."""
    found = {}
    for path in folder.glob("events.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag] = value
    return found


def test_layout_and_settings_reach_the_event_file(tmp_path):
    writer = Events(tmp_path, None)
    describe(writer, "meta_learning", {"loop": {"steps": 3}, "seed": 0, "name": None, "rates": list(range(50))})
    writer.close()
    found = written(tmp_path)
    layout = layout_pb2.Layout.FromString(found["custom_scalars__config__"].tensor.string_val[0])
    assert [chart.title for chart in layout.category[0].chart] == list(CHARTS["meta_learning"]["overview"])
    assert b"loop.steps" in found["_hparams_/session_start_info"].metadata.plugin_data.content
    assert b"rates" not in found["_hparams_/session_start_info"].metadata.plugin_data.content


def test_a_kind_of_somebody_else_gets_none(tmp_path):
    writer = Events(tmp_path, None)
    describe(writer, "mine", {})
    writer.close()
    assert written(tmp_path) == {}
