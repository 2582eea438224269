"""Commands in messages and documents install only this distribution and its dependencies."""

import re
import tomllib
from pathlib import Path

import pytest

from trainer.packages import DISTRIBUTION, install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TEXTS = ("src/**/*.py", "cli/**/*.py", "*.md", "configs/*.yaml", "benchmarks/*.md")
FILES = sorted(path for pattern in TEXTS for path in ROOT.glob(pattern))
INSTALLED = re.compile(r"pip install ((?:'[^']*'|[^\s'`{;,)]+)(?:`? and `?'[^']*')?)")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def package_name(requirement: str) -> str:
    match = NAME.match(requirement)
    assert match, requirement
    return match[0].lower()


def test_distribution_name_matches_pyproject() -> None:
    assert PROJECT["name"] == DISTRIBUTION


@pytest.mark.parametrize("extra", [name for name in EXTRAS if name != "dev"])
def test_install_command(extra: str) -> None:
    command = install_command(extra)
    assert command.startswith("pip install ")
    for requirement in EXTRAS[extra]:
        package, bounds = re.split(r"(?=[<>=])", requirement, maxsplit=1)
        assert package in command
        assert all(bound in command for bound in bounds.split(","))


def test_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.packages.DISTRIBUTION", "a-distribution-that-is-not-there")
    assert install_command("sweep") == "pip install '.[sweep]'"


def test_unknown_extra() -> None:
    with pytest.raises(KeyError, match="nothing"):
        install_command("nothing")


def test_pip_commands_install_only_declared_packages() -> None:
    requirements = [
        *PROJECT["dependencies"],
        *(name for extra in EXTRAS.values() for name in extra),
    ]
    known = {package_name(requirement) for requirement in requirements}
    unknown = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in FILES
        for match in INSTALLED.finditer(path.read_text())
        for argument in re.findall(r"'([^']*)'", match[1]) or [match[1]]
        if not argument.startswith((".", "-", "{")) and package_name(argument) not in known
    ]
    assert unknown == []
