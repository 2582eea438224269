"""`trainer` turns one YAML file into a trained, evaluated, reproducible Keras network.

    config file ─ load ─► Config ─ prepare ─► Prepared ─ plan ─► Plan ─ build ─► Training
        ─ fit ─► epochs… ─ record ─► run directory ─ evaluate ─► evaluation

The house, from the top; a room imports from lower floors only:

    5  trainer_cli   words in, words out: one file a verb, the error boundary
    4  workflows     composes the rooms below into check, fit, resume, evaluate, predict,
                     explain, sweep
    3  engine        epochs: runner, loop, decisions, state, devices  TensorFlow
       report        run directories and sweeps → tables and plots
       tracking      what TensorBoard and MLflow record of a run
    2  evaluation    measures, intervals, baselines, calibration, thresholds, slices,
                     permutation importance, partial dependence; numpy
       sweep         which trials there are, what is decided of them; handed the function that trains
       data          read, split, audit, fit and apply preprocessing       polars
       models        config and shapes → Keras pieces; plan and metrics without Keras
    1  config        schema, YAML with positions, overrides, problems
       runs          layout, atomic writes, checkpoints, log, manifest, lock
    0  errors        one tree of exceptions that carry data
       packages      the name of the distribution, and what its extras install

Verbs that do not train import neither TensorFlow nor Keras: in `models` only `plan`, `packing` and
`metrics` are light, in `workflows` all but `building`, `recording` and `ensemble`, which the others
import when they run.
"""
