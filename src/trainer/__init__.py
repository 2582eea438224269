"""`trainer` turns one YAML file into a trained, evaluated, reproducible Keras model.

    config file ─ load ─► Config ─ prepare ─► Dataset ─ plan ─► RunPlan ─ build ─► Training
        ─ fit ─► epochs… ─ record ─► run directory ─ evaluate ─► evaluation

The packages, from high to low level; each imports only from lower levels:

   11  trainer_cli   the command line: one module per command, output, exit codes
   10  workflows     combines the packages below into check, fit, resume, explain, export, serve, sweep
                     .packed         networks that are trained together
                     .sweeps         sweeps and their trials
                     .explanations   what `explain` and reports show
                     .generation     a generator and a discriminator, and their samples
                     .reporting      what is written of a trained run: evaluations, findings, texts
                     .resuming       continuing a run, and what must hold for it
                     .serving        runs over HTTP, and what is counted of their inputs
    9  serving       exported networks over HTTP                                         ONNX Runtime
    8  export        a run as a model for other programs, with its preprocessing         ONNX
    7  prediction    a run directory → its networks, which predict rows and evaluate splits
    6  engine        the training loop, its executors and learners, callbacks, devices   TensorFlow
       explain       importance, partial dependence, SHAP values, occlusion              NumPy
       workers       pools of worker processes, on this machine or a Ray cluster
       report        run directories and sweeps → tables, plots, report.html
       tracking      logging to TensorBoard and MLflow
    5  assessment    decisions, intervals, baselines, calibration, slices of predictions  NumPy
       audit         problems in the data that raise no error
    4  tasks         the form of targets and predictions of each task; the task of a run NumPy
    3  sweep         search space, samplers, successive halving, the journal of trials
       data          read, split; fit and apply preprocessing                           Polars
       models        config and data shapes → Keras layers, losses, optimizers
    2  metrics       predictions; one definition per metric, for any row weights        NumPy
       archive       a run or sweep → one file, verified by hashes, and back
    1  config        schema, YAML with locations, overrides, validation
       runs          run directories, atomic writes, checkpoints, log, manifest, lock
       keys          secret keys in files and environment variables
    0  errors        the exceptions, which carry problems with their fixes
       packages      the name of the distribution, and the packages of its extras
       inputs        name, shape and dtype of the inputs of a network
       task_names    the names of the tasks

The path of `trainer fit configs/wine.yaml`, from the command to the bytes on disk; each name is a
function or method, in the order of their calls:

    trainer_cli.main.run ─► trainer_cli.fit.command: the arguments
    data.checking.load_checked ─► config.load.load_config: YAML ─► Config, or all problems at once
    following.show_training ─► following.follow: prints the events of workflows.fit.fit_run:
      workflows.plan.make_plan: everything known without TensorFlow
        data.prepare.prepare: open_table, assign_splits, fit_columns, fit_table_target ─► Dataset
        tasks.task.make_task ─► Task; models.summary.summarize_layers ─► shapes and parameters
      engine.devices.start: imports TensorFlow, chooses the device and the number of threads
      workflows.building.build_training: build_network, build_optimizer, Dataset.samples
      workflows.recording.new_recording: RunDirectory.create, write_config, write_fitted_data, …
      workflows.fit.train_and_evaluate ─► engine.fit.fit: a generator of epochs, each of them
        LearnerExecutor.run_epoch, Training.end_epoch, Recording.record_epoch ─► metrics.jsonl
      Recording.save_checkpoint ─► write_checkpoint ─► replace_directory: checkpoints/last and best
      Recording.write_split: choose_decisions on the validation rows, evaluation/, predictions/
      reporting.findings.write_run_findings: fit_linear_baseline, make_findings ─► findings.json
      Recording.write_end ─► manifest.json; write_page ─► runs.files.write_atomically: report.html

Commands that do not train import neither TensorFlow nor Keras. Without them, all modules can be
imported except `building`, `evaluation`, `networks`, `recorded_training`, `recording` and `setups` in
`workflows` and most of `engine` and `models`: in `engine` `base_features`, `checkpoint_schedule`,
`devices`, `divergence`, `divergence_advice`, `events`, `lengths`, `monitors`, `program_cache`,
`selection` and `token_batches` can, in `models` `coded_weights`, `compression_schedule`, `custom`,
`generation_summary`, `kernel_padding`, `memory`, `pack_compatibility`, `principal_components`,
`seeds`, `summary`, `warm_start`, readers of `pretrained` weights, and sizes of layers that translate.
In `export`, `keras_columns`, `keras_dates`, `keras_model`, `keras_tasks` and `litert_model` cannot.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from trainer.prediction.predictor import Predictor

__all__ = ["load"]


def load(
    run: str | os.PathLike[str],
    *,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    allow_custom: bool = False,
) -> Predictor:
    """Load a trained run for predictions: `trainer.load(run).predict(frame)`.

    Args:
        run: A run directory, or a checkpoint in it. A run with repeats or folds predicts by the mean of
            its finished members.
        device: "auto", "cpu" or "gpu".
        allow_custom: Whether custom layers may be imported.

    Raises:
        trainer.errors.RunError: The run does not exist, has no checkpoint yet, or is damaged.
        trainer.errors.ConfigError: A custom layer is not allowed.
    """
    # Commands that only read files import `trainer` too, and must start fast.
    from pathlib import Path

    from trainer.prediction.predictor import open_predictor

    predictor = open_predictor(Path(run), device=device, allow_custom=allow_custom)
    predictor.load_networks()
    return predictor
