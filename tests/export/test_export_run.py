"""`export_run`: what it writes, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.export.cases import ROWS, table
from tests.export.untrained import START, write_run, write_table
from tests.marks import slow_except
from trainer.errors import RunError, StorageError, UsageError
from trainer.export.bundle import load_bundle
from trainer.export.onnx_export import OnnxFormat
from trainer.export.schema import InputField, Schema, read_metadata
from trainer.runs.directory import RunDirectory
from trainer.runs.files import DISK
from trainer.runs.temporary import temporary_sibling
from trainer.workflows.export import ExportResult, export_run

CONFIG: dict[str, Any] = {
    "name": "shop",
    "data": {
        "source": "table.csv", "target": "binary",
        "features": {"include": ["size", "colour", "when", "open"]},
    },
    "model": {"layers": [{"dense": 4}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_table(folder / "table.csv", table(np.random.default_rng(0)))
    return write_run(folder, CONFIG)


@pytest.fixture(scope="module")
def exported(original: Path) -> ExportResult:
    """The export of the run to its own folder."""
    return export_run(original, "onnx", None, allow_custom=False)


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of a run, which finds its table by an absolute path."""
    return Path(shutil.copytree(original, tmp_path / "my run ü"))


def test_file_card_and_metadata(original: Path, exported: ExportResult) -> None:
    result = exported
    assert result.path == original / "export" / "onnx" / "model.onnx"
    assert sorted(path.name for path in result.path.parent.iterdir()) == [
        "MODEL_CARD.md", "model.onnx",
    ]  # fmt: skip
    assert result.bytes == result.path.stat().st_size
    assert result.check.rows > 150
    assert result.check.difference < 1e-6
    assert result.check.notes == ()
    assert "validation rows" in result.check.source
    model = onnx.load(result.path)
    onnx.checker.check_model(model, full_check=True)
    schema = read_metadata({item.key: item.value for item in model.metadata_props})
    assert schema.weights_sha256 == result.weights_sha256
    assert [field.name for field in schema.inputs] == ["size", "colour", "open", "when"]
    assert [field.kind for field in schema.inputs] == ["number", "category", "boolean", "datetime"]
    assert schema.example.keys() == {"size", "colour", "open", "when"}
    assert schema.example["open"] in (True, False)
    # The example is not a row of the data.
    assert schema.example["size"] not in table(np.random.default_rng(0))["size"]


def test_code_in_the_card_runs_without_tensorflow(exported: ExportResult) -> None:
    result = exported
    card = result.card.read_text(encoding="utf-8")
    code = [line[4:] for line in card.splitlines() if line.startswith("    ")]
    script = "\n".join([*code, "import sys", "assert 'tensorflow' not in sys.modules"])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=result.path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "probabilities" in done.stdout
    for title in ("How to call it", "Inputs and outputs", "Limits", "Check of the export", "Data"):
        assert f"## {title}" in card


def test_the_same_run_gives_the_same_bytes(exported: ExportResult, tmp_path: Path) -> None:
    bundle, export = load_bundle(exported.run), OnnxFormat()
    export.write(bundle, export.schema(bundle), tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == exported.path.read_bytes()


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "MODEL_CARD.md"):
        path = tmp_path / name
        path.write_text("mine")
        with pytest.raises(UsageError, match="a path that does not exist yet"):
            export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
        assert path.read_text() == "mine"
        path.unlink()


def test_nothing_is_left_behind_without_space_for_the_card(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(DISK), "write", full)
    with pytest.raises(StorageError, match="no space left"):
        export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
    assert list(tmp_path.iterdir()) == [run]


def test_another_process_writes_the_same_export(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with (
        temporary_sibling(path, Path.mkdir) as temporary,
        pytest.raises(RunError, match="no other process is writing"),
    ):
        export_run(run, "onnx", path, allow_custom=False)
    assert not temporary.exists()
    assert list(tmp_path.iterdir()) == [run]


def test_a_file_that_differs_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = OnnxFormat.write

    def damaged(self: Any, bundle: Any, schema: Schema, path: Path) -> None:
        write(self, bundle, schema, path)
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and list(tensor.dims)[-1:] == [4]:
                values = onnx.numpy_helper.to_array(tensor) + np.float32(1e-3)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(model, path)

    monkeypatch.setattr(OnnxFormat, "write", damaged)
    with pytest.raises(RunError, match=r"within 1e-05 of those of trainer predict, found a diff"):
        export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


def test_what_a_killed_export_left_is_removed(run: Path, tmp_path: Path) -> None:
    left = tmp_path / ".model.onnx.new" / "model.onnx"
    left.parent.mkdir()
    left.write_text("half a model")
    export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["MODEL_CARD.md", "model.onnx", run.name]


def test_without_its_table_rows_are_drawn(run: Path, original: Path, tmp_path: Path) -> None:
    source = original.parent / "table.csv"
    hidden = source.rename(source.with_suffix(".hidden"))
    try:
        result = export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
    finally:
        hidden.rename(source)
    assert "1,000 rows drawn within the ranges" in result.check.source
    assert "not on validation rows" in result.check.notes[0]
    assert result.check.difference < 1e-6


def test_paths_and_formats(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a format \(onnx.*found 'onx'; did you mean 'onnx'"):
        export_run(run, "onx", None, allow_custom=False)
    with pytest.raises(UsageError, match=r"a name ending in \.onnx"):
        export_run(run, "onnx", tmp_path / "model.pb", allow_custom=False)
    with pytest.raises(UsageError, match="an existing directory"):
        export_run(run, "onnx", tmp_path / "none" / "model.onnx", allow_custom=False)


@pytest.mark.parametrize("status", slow_except(["running"], ["running", "stopped"]))
def test_an_unfinished_run_is_refused_but_a_checkpoint_of_it_is_not(
    status: Any, run: Path, tmp_path: Path
) -> None:
    directory = RunDirectory(run)
    manifest = directory.read_manifest()
    directory.write_manifest(replace(manifest, status=status, ended=None, heartbeat=START))
    with pytest.raises(RunError, match=r"a run that has finished.*trainer resume"):
        export_run(run, "onnx", tmp_path / "model.onnx", allow_custom=False)
    result = export_run(directory.best, "onnx", tmp_path / "model.onnx", allow_custom=False)
    assert result.path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_in_mixed_precision_is_compared_in_float32(
    precision: str, original: Path, tmp_path: Path
) -> None:
    shutil.copy(original.parent / "table.csv", tmp_path)
    run = write_run(tmp_path, {**CONFIG, "runtime": {"precision": precision}})
    result = export_run(run, "onnx", None, allow_custom=False)
    assert result.check.difference < 1e-6
    assert precision in result.check.notes[0]


def test_a_layer_without_equivalent_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(run)
    network = bundle.members[0].network
    call = network.calls[0]
    unknown = replace(call, layer=replace(call.layer, kind="Wavelet"))
    changed = replace(network, calls=(unknown, *network.calls[1:]))
    monkeypatch.setitem(vars(bundle.members[0]), "network", changed)
    (problem,) = OnnxFormat().problems(bundle)
    assert problem.found == "a layer 'dense' of class Wavelet"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="write permission"):
        export_run(run, "onnx", folder / "model.onnx", allow_custom=False)


def test_schema_is_equal_after_a_round_trip() -> None:
    inputs = (
        InputField("a", "a", "number", "float64", (1,), minimum=0.5, number_format={"unit": "€"}),
    )
    schema = Schema(
        run="r", name="n", weights_sha256="0", task="binary", target=("y",), classes=("a", "b"),
        threshold=0.5, coverage=None, quantiles=(), separator=None, has_label_lists=False, members=1,
        inputs=inputs, outputs=(), columns=("label",), example={"a": 1},
    )  # fmt: skip
    assert Schema.from_json(schema.to_json()) == schema
    newer = json.dumps({**json.loads(schema.to_json()), "later": 1})
    assert Schema.from_json(newer) == schema
    assert len(table(np.random.default_rng(0))["id"]) == ROWS


def test_code_of_a_row_of_missing_values(run: Path) -> None:
    bundle, export = load_bundle(run), OnnxFormat()
    schema = export.schema(bundle)
    code = export.snippet(replace(schema, example={}), "model.onnx")
    values = [line for line in code if line.startswith("    '")]
    assert values == [
        "    'size': np.array([[np.nan]]),",
        "    'colour': np.array([['']], dtype=object),",
        "    'open': np.array([[np.nan]]),",
        "    'when': np.array([[np.nan]]),",
    ]
