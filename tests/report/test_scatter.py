import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from trainer.errors import StorageError
from trainer.report.scatter import draw_scatter

pytest.importorskip("matplotlib")

rng = np.random.default_rng(7)
NAMES = ("petal length [cm]", "$ price_{")


def pixels(path: Path) -> npt.NDArray[Any]:
    from matplotlib.image import imread

    return np.asarray(imread(path))


@pytest.mark.parametrize(
    ("rows", "truth"),
    [
        (4, np.array([0, 1, 1, 0])),
        (60, np.array(["no", "yes $", "größe"] * 20)),
        (60, rng.normal(size=60)),
        (30_000, rng.integers(0, 2, 30_000)),
        (3, np.array([True, False, True])),
        (1, np.array([1])),
        (0, np.zeros(0)),
    ],
)
def test_a_picture_is_drawn(tmp_path: Path, rows: int, truth: npt.NDArray[Any]) -> None:
    path = tmp_path / "scatter.png"
    x = rng.normal(size=(rows, 2))
    draw_scatter(path, x, rng.uniform(size=rows), truth, names=NAMES, title="wine $_^")
    picture = pixels(path)
    assert picture.shape[:2] == (660, 840)
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10
    assert list(tmp_path.iterdir()) == [path]


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    x = np.array([[0.0, 1.0], [np.nan, 2.0], [3.0, np.inf]])
    draw_scatter(
        tmp_path / "s.png", x, np.array([np.nan, 5.0, -2.0]), np.arange(3), names=NAMES, title=""
    )
    assert pixels(tmp_path / "s.png").shape[:2] == (660, 840)


def test_equal_plots_are_equal_files(tmp_path: Path) -> None:
    x, p, y = rng.normal(size=(9, 2)), rng.uniform(size=9), rng.integers(0, 2, 9)
    for name in ("a.png", "b.png"):
        draw_scatter(tmp_path / name, x, p, y, names=NAMES, title="xor")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    x = np.zeros((2, 2))
    with pytest.raises(StorageError, match="ENOENT"):
        draw_scatter(tmp_path / "gone" / "s.png", x, x[:, 0], x[:, 0], names=NAMES, title="")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
sys.modules["matplotlib"] = None
from pathlib import Path
from trainer.errors import UsageError
from trainer.report.scatter import draw_scatter
x = np.zeros((2, 2))
try:
    draw_scatter(Path("s.png"), x, x[:, 0], x[:, 0], names=("a", "b"), title="")
except UsageError as error:
    print(error.problems[0].fix)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "pip install 'trainer[plots]'\n"
    assert list(tmp_path.iterdir()) == []
