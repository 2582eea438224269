import importlib.metadata
import shutil
import subprocess
from pathlib import Path

import pytest

from trainer.runs.machine import PACKAGES, git_state, package_versions, processor_name

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    completed = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return completed.stdout.strip()


def test_package_versions() -> None:
    versions = package_versions([*PACKAGES, "no-such-package"])
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert "no-such-package" not in versions


def test_processor_name() -> None:
    name = processor_name()
    assert name == name.strip() != ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "model name" in cpuinfo.read_text():
        assert f": {name}\n" in cpuinfo.read_text()


@needs_git
def test_git_state(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    inner = tmp_path / "inner"
    inner.mkdir()
    for directory in (tmp_path, inner):
        state = git_state(directory)
        assert state is not None
        assert (state.commit, state.dirty) == (commit, False)
    (tmp_path / "untracked").touch()
    assert git_state(tmp_path) == state
    file.write_text("a: 2\n")
    changed = git_state(tmp_path)
    assert changed is not None
    assert (changed.commit, changed.dirty) == (commit, True)


@needs_git
def test_configured_monitor_program_is_not_run(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    program = tmp_path / "monitor"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    program.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(program))
    assert git_state(tmp_path) is not None
    assert not (tmp_path / "was-run").exists()


@needs_git
def test_git_dir_in_the_environment_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for directory in (inside, outside):
        directory.mkdir()
    git(inside, "init", "-q")
    git(inside, "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setenv("GIT_DIR", str(inside / ".git"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_state(outside) is None


def test_git_state_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path / "gone") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path.cwd()) is None


def test_slow_git_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None
