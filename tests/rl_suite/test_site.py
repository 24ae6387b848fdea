"""The site: a page with a picture for every world, tables as they are stored, a whole menu, links that lead on."""

import importlib
import json
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from rl_suite.site import build, tables, worlds
from rl_suite.site.catalogue import AGENTS, META_LEARNERS, REFERENCE
from rl_suite.site.figures import flow

HEADINGS = ["Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"]
LINK = re.compile(r"\]\(([^)\s#]+)(#[\w-]+)?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, with small worlds only: the others are drawn by their own tests, and take their time to compile."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "world_ids", lambda: ["rl_suite/DarkRoom-v0", "rl_suite/DarkRoomTrial-v0"])
        return folder, build.gather(folder)


def test_every_world_has_a_page():
    ids = {*worlds.world_ids(), *worlds.trial_ids()}
    assert ids == {name for name in gym.registry if name.startswith("rl_suite/")}
    assert len({worlds.slug(name) for name in worlds.world_ids()}) == len(worlds.world_ids())


@pytest.mark.parametrize("name", ["darkroom", "trial"])
def test_a_world_is_described_in_gymnasiums_order(site, name):
    folder, _ = site
    text = (folder / f"worlds/{name}.md").read_text()
    found = [heading for heading in re.findall(r"^## (.+)$", text, re.MULTILINE) if heading in HEADINGS]
    assert found == HEADINGS
    assert "Version History" in text
    picture = np.asarray(Image.open(folder / f"worlds/{name}.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(picture, axis=0)) > 3


def test_every_entry_exists_and_is_drawn(site):
    folder, _ = site
    for chapter, entries in (("agents", AGENTS), ("meta_learners", META_LEARNERS)):
        assert len({entry.slug for entry in entries}) == len(entries)
        for entry in entries:
            module, _, name = entry.target.partition(":")
            assert hasattr(importlib.import_module(module), name)
            assert not entry.see or (build.ROOT / "docs" / entry.see).is_file()
            text = (folder / chapter / f"{entry.slug}.md").read_text()
            assert text.count("<rect") == sum(map(len, entry.flow))
    for name in (name for names in REFERENCE.values() for name in names):
        importlib.import_module(name)


def test_links_lead_to_pages(site):
    folder, _ = site
    assert len(list(folder.rglob("*.md"))) > 40
    for page in folder.rglob("*.md"):
        for target, _ in LINK.findall(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.relative_to(folder)}: {target}"


def test_the_menu_has_every_page_once(site):
    folder, chapters = site
    listed = [path for pages in chapters.values() for page in pages for path in page.values()]
    assert sorted(listed) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))


def test_the_tables_are_the_stored_results():
    text = tables.page()
    for path in tables.RESULTS.glob("*.json"):
        chapter = text.split(f"\n## {path.stem}\n")[1].split("\n## ")[0]
        rows = [line for line in chapter.splitlines() if line.startswith("| ")][1:]
        stored = json.loads(path.read_text())["rows"]
        assert len(rows) == len(stored)
        for row, each in zip(rows, stored, strict=True):
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert cells[0] == tables.cell(each["name"])
            shown = cells[1].split()[0].replace(",", "")
            assert [shown] == each["unit"].split()[:1] or float(shown) == pytest.approx(each["ours"], rel=1e-3)


def test_one_row_by_hand():
    each = {"name": "a|b", "ours": 2.0, "unit": "%", "peer": 4.0, "peer_name": "p", "ratio": 0.5, "target": None}
    assert tables.row(each) == "| a&#124;b | 2 % | 4 (p) | 0.5 |  |"


def test_links_of_the_project_follow_their_copies():
    text = "[a](docs/symbolic.md) [b](CONTRIBUTING.md#habits) [c](../README.md) ![d](docs/images/x.png)"
    assert build._relinked(text, 0) == "[a](symbolic.md) [b](contributing.md#habits) [c](index.md) ![d](images/x.png)"
    assert build._relinked("[a](../../CONTRIBUTING.md)", 1) == "[a](../contributing.md)"


def test_a_figure_has_all_its_boxes_and_arrows():
    svg = flow((("in",), ("a <b>", "c"), ("out",)), "how")
    assert svg.count("<rect") == 4
    assert svg.count("Z") == 4
    assert "a &lt;b&gt;" in svg


def test_mkdocs_accepts_the_pages(site, tmp_path):
    """Strict: a link or a name that leads nowhere is an error. Without the API, whose sources take their time."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    import yaml
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    folder, chapters = site
    settings = build.settings(folder, tmp_path / "site", chapters)
    settings["plugins"] = settings["plugins"][:-1]
    assert settings["plugins"] == ["search"]
    file = tmp_path / "mkdocs.yml"
    file.write_text(yaml.safe_dump(settings))
    config = load_config(str(file), strict=True)
    build_site(config)
    page = (tmp_path / "site/worlds/darkroom.html").read_text()
    assert "Rewards" in page
    assert Path(tmp_path / "site/worlds/darkroom.png").is_file()
    outside = re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"(https?://[^\"]+)", page)
    assert outside == []
