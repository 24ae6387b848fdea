import urllib.error

import pytest
import torch


@pytest.fixture
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def no_downloads(monkeypatch):
    """Weights that would be fetched are not to be had."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
