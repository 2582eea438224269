"""What a user is told to install is ours or among what we need."""

import re
import tomllib
from pathlib import Path

import pytest

from trainer.packages import DISTRIBUTION, install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TEXTS = ("src/**/*.py", "cli/**/*.py", "*.md", "configs/*.yaml", "benchmarks/*.md")
PLACES = sorted(path for pattern in TEXTS for path in ROOT.glob(pattern))
INSTALLED = re.compile(r"pip install ((?:'[^']*'|[^\s'`{;,)]+)(?:`? and `?'[^']*')?)")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def name_of(requirement: str) -> str:
    match = NAME.match(requirement)
    assert match, requirement
    return match[0].lower()


def test_the_distribution_is_the_one_of_the_project() -> None:
    assert PROJECT["name"] == DISTRIBUTION


@pytest.mark.parametrize("extra", [name for name in EXTRAS if name != "dev"])
def test_an_extra_is_installed_by_its_packages(extra: str) -> None:
    command = install_command(extra)
    assert command.startswith("pip install ")
    for requirement in EXTRAS[extra]:
        package, bounds = re.split(r"(?=[<>=])", requirement, maxsplit=1)
        assert package in command
        assert all(bound in command for bound in bounds.split(","))


def test_a_checkout_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.packages.DISTRIBUTION", "a-distribution-that-is-not-there")
    assert install_command("sweep") == "pip install '.[sweep]'"


def test_an_unknown_extra() -> None:
    with pytest.raises(KeyError, match="nothing"):
        install_command("nothing")


def test_no_text_tells_to_install_what_is_not_ours() -> None:
    ours = {name_of(one) for many in (PROJECT["dependencies"], *EXTRAS.values()) for one in many}
    unknown = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in PLACES
        for match in re.finditer(
            r"pip install ((?:'[^']*'|[^\s'`{;,)]+)(?: and `?'[^']*')?)", path.read_text()
        )
        for word in re.findall(r"'([^']*)'", match[1]) or [match[1]]
        if not word.startswith((".", "-", "{")) and name_of(word) not in ours
    ]
    assert unknown == []
