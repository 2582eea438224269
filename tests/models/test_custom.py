from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from trainer.config.layers import Custom
from trainer.errors import ConfigError
from trainer.models.custom import build_custom


def build(function: str, base: Path, *, allow: bool = True, **arguments: Any) -> Any:
    custom = Custom(function=function, arguments=arguments)
    return build_custom(
        custom, keras.layers.Layer, allow_custom=allow, base=base, key="model.layers.0.custom"
    )


def test_a_function_next_to_the_config(tmp_path: Path) -> None:
    (tmp_path / "own_units.py").write_text(
        "import keras\ndef wide(units):\n    return keras.layers.Dense(units)\n"
    )
    before = list(sys.path)
    layer = build("own_units:wide", tmp_path, units=12)
    assert isinstance(layer, keras.layers.Dense)
    assert layer.units == 12
    assert sys.path == before


@pytest.mark.parametrize("initialised", [True, False])
def test_two_configs_with_modules_of_one_name(tmp_path: Path, initialised: bool) -> None:
    for name, units in [("a", 3), ("b", 4)]:
        folder = tmp_path / name / "own_package"
        folder.mkdir(parents=True)
        if initialised:
            (folder / "__init__.py").write_text("")
        (folder / "parts.py").write_text(
            f"import keras\ndef make():\n    return keras.layers.Dense({units})\n"
        )
    for name, units in [("a", 3), ("b", 4), ("a", 3)]:
        assert build("own_package.parts:make", tmp_path / name).units == units


def test_installed_modules_stay_loaded(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def make():\n    return None\n")
    loaded = sys.modules["json"]
    with pytest.raises(ConfigError):
        build("json:make", tmp_path)
    assert sys.modules["json"] is loaded


def test_without_permission_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "own_forbidden.py").write_text("raise SystemExit\n")
    with pytest.raises(ConfigError) as caught:
        build("own_forbidden:make", tmp_path, allow=False)
    (problem,) = caught.value.problems
    assert "--allow-custom" in problem.fix
    assert problem.key == "model.layers.0.custom"
    assert "own_forbidden" not in sys.modules


@pytest.mark.parametrize(
    ("function", "word"),
    [
        ("own_absent_module:make", "ModuleNotFoundError"),
        ("own_wrong:absent", "AttributeError"),
        ("own_wrong:raising", "ZeroDivisionError"),
        ("own_wrong:number", "int"),
        ("own_syntax:make", "SyntaxError"),
    ],
)
def test_what_goes_wrong_is_the_users_to_mend(tmp_path: Path, function: str, word: str) -> None:
    (tmp_path / "own_wrong.py").write_text(
        "def raising():\n    return 1 / 0\ndef number():\n    return 3\n"
    )
    (tmp_path / "own_syntax.py").write_text("def make(:\n")
    with pytest.raises(ConfigError) as caught:
        build(function, tmp_path)
    assert word in caught.value.problems[0].found


def test_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "own_arguments.py").write_text("def make():\n    return None\n")
    with pytest.raises(ConfigError) as caught:
        build("own_arguments:make", tmp_path, units=3)
    assert "TypeError" in caught.value.problems[0].found


def test_the_folder_of_the_layer_comes_before_the_base(tmp_path: Path) -> None:
    for name, units in [("home", 3), ("cwd", 4)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "own_home.py").write_text(
            f"import keras\ndef make():\n    return keras.layers.Dense({units})\n"
        )

    def units(folder: str) -> Any:
        custom = Custom(function="own_home:make", folder=str(tmp_path / folder))
        base = tmp_path / "cwd"
        return build_custom(
            custom, keras.layers.Layer, allow_custom=True, base=base, key="model.layers.0"
        ).units

    assert units("home") == 3
    assert units("moved_away") == 4
