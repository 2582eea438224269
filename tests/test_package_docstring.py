"""The docstring of the package: the path of a training run through the code, and the light modules."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

import trainer
from trainer_cli.main import run

ROOT = Path(__file__).parents[1]
FILE_NAMES = ("metrics.jsonl", "findings.json", "manifest.json", "report.html")
LIGHT = """
import json, pkgutil, sys
import trainer

sys.modules["tensorflow"] = sys.modules["keras"] = None
heavy = []
for module in pkgutil.walk_packages(trainer.__path__, "trainer."):
    try:
        __import__(module.name)
    except ImportError:
        heavy.append(module.name.removeprefix("trainer."))
print(json.dumps(heavy))
"""


@pytest.mark.slow
def test_path_of_a_training_run_names_functions_in_the_order_of_their_calls(tmp_path: Path) -> None:
    names = functions_of_the_path()
    last_names = {name.rpartition(".")[2] for name in names}
    calls: list[str] = []

    def record(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name in last_names:
            calls.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")

    config = ROOT / "configs" / "wine.yaml"
    settings = ["fit.epochs=2", "evaluate.report=true"]
    sys.setprofile(record)
    try:
        code = run(["fit", str(config), "--runs", str(tmp_path), "--quiet", *settings])
    finally:
        sys.setprofile(None)
    assert code == 0
    remaining = iter(calls)
    missing = [
        name for name in names if not any(f".{call}".endswith(f".{name}") for call in remaining)
    ]
    assert missing == []


def functions_of_the_path() -> list[str]:
    """Return the dotted or underscored names in the lines of the path."""
    assert trainer.__doc__ is not None
    _, _, path = trainer.__doc__.partition("in the order of their calls:\n\n")
    lines = path.partition("\n\n")[0].splitlines()
    assert len(lines) == 15
    words = re.findall(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*", "\n".join(lines))
    return [word for word in words if re.search(r"[._]", word) and word not in FILE_NAMES]


def test_light_modules_are_named() -> None:
    command = [sys.executable, "-c", LIGHT]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    heavy = json.loads(output)
    assert trainer.__doc__ is not None
    named = set(re.findall(r"`(\w+)`", trainer.__doc__.partition("Commands that do not")[2]))
    assert (
        {name for name in heavy if name.startswith("workflows.")}
        == {
            "workflows.building",
            "workflows.generation.building",
            "workflows.generation.evaluation",
            "workflows.networks",
            "workflows.recorded_training",
            "workflows.recording",
            "workflows.setups",
        }
        <= {f"workflows.{package}{name}" for name in named for package in ("", "generation.")}
    )
    for package in ("engine", "models"):
        modules = {path.stem for path in (ROOT / "src/trainer" / package).glob("[!_]*.py")}
        light = {name for name in modules if f"{package}.{name}" not in heavy}
        assert light == modules & named
    assert {name.partition(".")[0] for name in heavy} == {"engine", "export", "models", "workflows"}
