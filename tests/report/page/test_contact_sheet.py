"""The page about the images of a dataset."""

from pathlib import Path

import pytest
from PIL import Image

from tests.data.images import make_images
from tests.report.page.html_checks import check_page
from trainer.config.load import load_config
from trainer.data.prepare import prepare
from trainer.report.page.contact_sheet import contact_sheet_page
from trainer.report.page.content import Gallery
from trainer.report.page.html import page_html


@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_page(tmp_path: Path, color: str) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    photos = make_images(tmp_path / "photos", labels=("a", hostile), count=6)
    Image.new("RGB", (40, 30)).save(photos / "a" / f"{hostile}.png")
    (photos / "a" / "broken.png").write_bytes(b"text")
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{source: photos, image: {{size: 10, color: {color}}}}}\n")
    dataset = prepare(load_config(config).config)
    page = contact_sheet_page("photos", dataset, {"weights": 1_200_000})
    channels = 1 if color == "grey" else 3
    assert page.lead[0].endswith(f"shown as the network sees them, 10 × 10 × {channels}.")
    galleries = [block for block in page.sections[0].blocks if isinstance(block, Gallery)]
    first = dataset.preprocessing.target.classes.index("a")
    assert [len(gallery.pictures) for gallery in galleries][first] == 7
    text = page_html(page)
    checked = check_page(text)
    assert len(checked.find_all("img")) == 13
    assert hostile not in text
    shown = "".join(data for _, data in checked.texts)
    for part in ("16 × 12", "40 × 30", "1.2 MB", "not an image that Pillow can read"):
        assert part in shown
