import json

import pytest
from benchmarks.image_results import image_sections
from benchmarks.image_workloads import WORKLOADS, config_of, write_folder

from trainer.config.load import load_config


def figures(factor):
    names = ("seconds", "cpu_seconds", "first_epoch", "step_milliseconds")
    return {name: factor * number for number, name in enumerate(names, start=1)}


def test_ratios_to_trainer():
    programs = {"trainer": figures(10.0), "keras": figures(25.0)}
    page = "\n".join(image_sections({"three_28": {"rounds": 3, "programs": programs}}))
    assert "28 × 28: 2,000 images, 10 epochs, batch 32, adam. Rounds: 3." in page
    assert "| trainer fit | 10 | 20 | 30 | 40 |" in page
    assert (
        "| Keras, image_dataset_from_directory | 25 (2.5×) | 50 (2.5×) | 75 (2.5×) | 100 (2.5×) |"
        in page
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_config_is_valid(name, tmp_path):
    write_folder(tmp_path / "images", 4)
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config_of(WORKLOADS[name], tmp_path / "images")))
    config = load_config(path).config
    assert config.data.target == "label"
    assert len(config.model.layers) == len(WORKLOADS[name].layers)
