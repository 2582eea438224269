import pytest

from trainer.config.load import load_config
from trainer.errors import ConfigError
from trainer.workflows import plan
from trainer.workflows.plan import make_plan

LARGE = "model.layers=[{dense: 7000}, {dense: 7000}]"


def test_a_network_that_exceeds_the_memory_is_an_error_at_its_layer(small, monkeypatch):
    config = small.with_name("large.yaml")
    lines = [f"extends: {small.name}", "model:", "  layers:", "  - dense: 5000", "  - dense: 5001"]
    config.write_text("\n".join(lines))
    monkeypatch.setattr(plan, "device_memory", lambda config: (10**8, "the GPU"))
    with pytest.raises(
        ConfigError, match=r"within the 0\.1 GB of the GPU, found 0\.5 GB"
    ) as caught:
        make_plan(load_config(config, []))
    (problem,) = caught.value.problems
    assert "large.yaml:5:" in problem.where


def test_copies_that_exceed_the_memory_are_a_warning(small, monkeypatch):
    loaded = load_config(small, [LARGE, "optimizer=adam"])
    monkeypatch.setattr(plan, "device_memory", lambda config: (15 * 10**8, "this machine"))
    monkeypatch.setattr(plan, "total_memory", lambda: 16 * 10**8)
    (warning,) = [text for text in make_plan(loaded).warnings if "killed" in text]
    assert "about 1.8 GB" in warning
    monkeypatch.setattr(plan, "total_memory", lambda: 2 * 10**9)
    assert not [text for text in make_plan(loaded).warnings if "killed" in text]


def test_a_small_network_is_not_compared_with_the_memory(small, monkeypatch):
    monkeypatch.setattr(plan, "device_memory", lambda config: pytest.fail("looks for a GPU"))
    make_plan(load_config(small, []))
