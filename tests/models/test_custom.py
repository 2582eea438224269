from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from trainer.config.layers.custom import Custom
from trainer.errors import ConfigError
from trainer.models.custom import build_custom


def build(function: str, base: Path, *, allow: bool = True, **arguments: Any) -> Any:
    custom = Custom(function=function, arguments=arguments)
    return build_custom(
        custom, keras.layers.Layer, allow_custom=allow, base=base, key="model.layers.0.custom"
    )


def test_function_in_the_folder_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "user_units.py").write_text(
        "import keras\ndef wide(units):\n    return keras.layers.Dense(units)\n"
    )
    path = list(sys.path)
    layer = build("user_units:wide", tmp_path, units=12)
    assert isinstance(layer, keras.layers.Dense)
    assert layer.units == 12
    assert sys.path == path


@pytest.mark.parametrize("has_init", [True, False])
def test_configs_with_modules_of_the_same_name(tmp_path: Path, has_init: bool) -> None:
    for name, units in [("a", 3), ("b", 4)]:
        folder = tmp_path / name / "user_package"
        folder.mkdir(parents=True)
        if has_init:
            (folder / "__init__.py").write_text("")
        (folder / "parts.py").write_text(
            f"import keras\ndef make():\n    return keras.layers.Dense({units})\n"
        )
    for name, units in [("a", 3), ("b", 4), ("a", 3)]:
        assert build("user_package.parts:make", tmp_path / name).units == units


def test_installed_modules_stay_loaded(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def make():\n    return None\n")
    loaded = sys.modules["json"]
    with pytest.raises(ConfigError):
        build("json:make", tmp_path)
    assert sys.modules["json"] is loaded


def test_nothing_is_imported_without_permission(tmp_path: Path) -> None:
    (tmp_path / "user_forbidden.py").write_text("raise SystemExit\n")
    with pytest.raises(ConfigError) as caught:
        build("user_forbidden:make", tmp_path, allow=False)
    (problem,) = caught.value.problems
    assert "--allow-custom" in problem.fix
    assert problem.key == "model.layers.0.custom"
    assert "user_forbidden" not in sys.modules


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("user_absent_module:make", "ModuleNotFoundError"),
        ("user_wrong:absent", "AttributeError"),
        ("user_wrong:raising", "ZeroDivisionError"),
        ("user_wrong:number", "int"),
        ("user_syntax:make", "SyntaxError"),
    ],
)
def test_errors_in_user_code_are_config_errors(tmp_path: Path, function: str, error: str) -> None:
    (tmp_path / "user_wrong.py").write_text(
        "def raising():\n    return 1 / 0\ndef number():\n    return 3\n"
    )
    (tmp_path / "user_syntax.py").write_text("def make(:\n")
    with pytest.raises(ConfigError) as caught:
        build(function, tmp_path)
    assert error in caught.value.problems[0].found


def test_wrong_arguments_are_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "user_arguments.py").write_text("def make():\n    return None\n")
    with pytest.raises(ConfigError) as caught:
        build("user_arguments:make", tmp_path, units=3)
    assert "TypeError" in caught.value.problems[0].found


def test_folder_of_the_layer_precedes_the_base(tmp_path: Path) -> None:
    for name, units in [("home", 3), ("cwd", 4)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "user_home.py").write_text(
            f"import keras\ndef make():\n    return keras.layers.Dense({units})\n"
        )

    def units(folder: str) -> Any:
        custom = Custom(function="user_home:make", folder=str(tmp_path / folder))
        base = tmp_path / "cwd"
        return build_custom(
            custom, keras.layers.Layer, allow_custom=True, base=base, key="model.layers.0"
        ).units

    assert units("home") == 3
    assert units("moved_away") == 4
