import pytest
from benchmarks import run
from benchmarks.ours import config_of, steady_seconds
from benchmarks.plot import draw_growth
from benchmarks.results import render
from benchmarks.workload_results import matrix_share
from benchmarks.workloads import OURS, WORKLOADS, Table, growth

from trainer.config.schema import Config


def results(**measured):
    return {
        "date": "2026-01-31",
        "machine": {
            "processor": "A processor",
            "cores": 2,
            "memory_bytes": 24 * 2**30,
            "system": "Linux 6",
        },
        "versions": {"python": "3.11.2", "keras": "3.15.1"},
        "workloads": measured,
    }


def rounds(engine="resident, XLA, 1 thread", settings=None, matrix=(), **figures):
    return {
        "rounds": 3,
        "measured": figures,
        "settings": settings or {},
        "engine": engine,
        "matrix": list(matrix),
    }


class TestRender:
    def test_medians_ratios_and_targets(self):
        figures = {OURS: [50.0, 40.0, 90.0], "keras": [2_000.0, 2_250.0, 2_500.0]}
        peers = {"torch_loop": [300.0], "sklearn": [400.0]}
        page = render(results(W1=rounds(**figures, **peers)))
        assert "| trainer fit | 50 | 40–90 | 1 |  |  |" in page
        assert "| Keras fit | 2,250 | 2,000–2,500 | 45.0× | 25× | met |" in page
        assert "| W1 | PyTorch, loop over tensors | 6.0× | 8× | not met |" in page
        assert "Target missed against PyTorch, loop over tensors: " in page
        assert "Target missed against Keras fit" not in page

    def test_machine_and_versions(self):
        page = render(results())
        assert "A processor, 2 cores" in page
        assert "24 GiB" in page
        assert "python 3.11.2, keras 3.15.1" in page

    def test_best_settings_are_shown(self):
        measured = rounds(
            settings={"keras_best": "jit_compile=False"},
            **{OURS: [1.0], "keras": [30.0], "keras_best": [9.0]},
            torch_loop=[1.0],
            sklearn=[1.0],
        )
        assert "Keras fit, best settings (jit_compile=False)" in render(results(W1=measured))

    def test_share_of_peak_gemm_throughput(self):
        workload = WORKLOADS["W2"]
        rate = {"numpy": 80e9, "tensorflow": 100e9, "tensorflow_w2": 90e9}
        # 80% of the higher rate.
        step = 1e6 * workload.flops() / 80e9 / workload.steps
        measured = rounds(
            matrix=[rate, rate],
            **{OURS: [step], "keras": [3 * step], "torch_loop": [2 * step]},
        )
        assert matrix_share(workload, measured) == pytest.approx(0.8)
        assert "| W2 | peak GEMM throughput | 80% | 70% | met |" in render(results(W2=measured))

    def test_other_measurements(self):
        engine = {"peak_above_start_gb": 1.5, "anonymous_above_start_gb": 0.9}
        encoded = {"seconds": 2.5, "memory": 2.0}
        extra = {
            "streaming": {
                "rows": 20_000_000,
                "columns": 20,
                "resident": {**engine, "rows_per_second": 3_000_000},
                "streaming": {**engine, "rows_per_second": 2_000_000},
            },
            "start_up": {
                "help_seconds": 0.09,
                "check_seconds": 0.8,
                "imports_tensorflow": False,
            },
            "listing": {
                "runs": 1_000,
                "compared": 20,
                "ls_seconds": 0.5,
                "sorted_seconds": 0.6,
                "filtered_seconds": 1.25,
                "compare_seconds": 0.4,
                "imports_tensorflow": False,
            },
            "encode_table": {
                "rows": 1_000_000,
                "columns": 20,
                "categorical": 10,
                "parquet": encoded,
                "csv": encoded,
            },
            "prediction": {
                "rows": 1_000_000,
                "columns": 30,
                "predict": {"seconds": 4.5, "start_up_seconds": 3.0},
                "eval": {"seconds": 5.5, "start_up_seconds": 3.0},
            },
            "growth": {"rows": [growth_result()], "width": []},
            "evaluation": {
                "rows": 100_000,
                "resamples": 1_000,
                "intervals": {
                    "binary": {
                        "seconds": 1.5,
                        "metrics": 11,
                        "loop_seconds": 300.0,
                        "looped": 5,
                    },
                },
                "linear": {"rows": 2.5, "digits": 0.1},
            },
            "report": {
                "rows": 100_000,
                "columns": 30,
                "page_bytes": 300_000,
                "seconds": {"report": 9.0, "page": 3.0, "explain": 12.25, "audit": 4.0},
            },
        }
        page = render({**results(), **extra})
        assert "| streaming | 2,000,000 | 1.50 | 0.90 |" in page
        assert "At most 2× slower than resident: 1.50×, met." in page
        assert "| `trainer --help` | 0.09 s | 0.3 s |" in page
        assert "| `trainer ls` | 0.50 s | 1 s | met |" in page
        assert "two settings | 1.25 s | 1 s | not met |" in page
        assert "| `trainer predict` | 4.5 s | 3.0 s | 1.5 s | 2 s | met |" in page
        assert "| `trainer eval` | 5.5 s | 3.0 s | 2.5 s | 2 s | not met |" in page
        assert "| parquet | 2.5 s | 10 s | 2.0× | 3× |" in page
        assert "| two classes | 11 | 1.5 s | 5 s | met | 300 s | 200× |" in page
        assert "| 100,000 × 30, two classes | 2.50 s | 2 s | not met |" in page
        assert "| size of the page | 0.30 MB | 3 MB |" in page
        assert "| `trainer explain`: 5 shuffles, partial dependence | 12.2 s | 20 s |" in page
        assert "| 1,000 | 0.0020 | 80 | 512 | 400 | resident |" in page

    def test_two_networks(self):
        times = {
            "trainer, XLA": {"step": 10.0, "step_cpu": 18.0},
            "GradientTape in tf.function": {"step": 17.0, "step_cpu": 30.0},
            "train_on_batch": {"step": 37.5, "step_cpu": 60.0},
        }
        gan = {"steps": 100, "repeats": 3, "threads": 2, "variants": times}
        programs = {
            "trainer": {"step": 240.0, "greedy": 2.5, "beam_4": 10.3},
            "keras": {"step": 216.0, "step_xla": 230.0, "greedy": 20.0},
            "torch": {"step": 288.0, "greedy": 8.75},
        }
        translation = {"rows": 1024, "epochs": 2, "threads": 1, "programs": programs}
        page = render({**results(), "gan": gan, "translation": translation})
        assert "| trainer, XLA | 10 | 18 | 1 |  |  |" in page
        assert "| train_on_batch | 37.5 | 60 | 3.8× | 3× | met |" in page
        assert "| trainer | 240 | 2.5 | 10.3 |" in page
        assert "| Keras | 216 (0.9×) | 20 (8.0×) |  |" in page
        assert "| PyTorch, `nn.Transformer` | 288 (1.2×) | 8.75 (3.5×) |  |" in page


class TestSteadySeconds:
    def test_second_half_includes_work_between_epochs(self):
        assert steady_seconds([9.0, 1.0, 1.0, 3.0], 16.0) == pytest.approx(2.5)

    def test_several_epochs_per_call(self):
        # Calls of 3 epochs; the first compiles.
        epochs = [9.0, 0.0, 0.0, 3.0, 0.0, 0.0, 3.0, 0.0, 0.0, 1.0]
        assert steady_seconds(epochs, sum(epochs)) == pytest.approx(1.0)

    def test_long_compilation_is_excluded(self):
        assert steady_seconds([90.0, 0.0, 3.0, 0.0, 3.0, 0.0], 96.0) == pytest.approx(1.5)

    def test_single_epoch(self):
        assert steady_seconds([4.0], 4.0) == pytest.approx(4.0)


class TestWorkloads:
    @pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
    def test_configs_are_valid(self, workload, tmp_path):
        for variant in (workload, workload.shortened()):
            Config.model_validate(config_of(variant, tmp_path / "table.npz"))

    @pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
    def test_targets_refer_to_peers(self, workload):
        assert {target.against for target in workload.targets} <= set(workload.peers)
        assert set(workload.once) <= set(workload.peers)

    def test_flops(self):
        # 48,000 rows forward and backward, 12,000 forward; no gradient with respect to the inputs.
        weights = 784 * 512 + 512 * 512 + 512 * 10
        operations = (6 * weights - 2 * 784 * 512) * 48_000 + 2 * weights * 12_000
        assert WORKLOADS["W2"].flops() == operations

    def test_growth_workloads_train_enough_epochs(self):
        for workloads in growth().values():
            for workload in workloads:
                assert workload.epochs >= 4
        assert growth()["rows"][0].table == Table(1_000, 10)

    def test_all_benchmarks_are_named(self):
        assert set(run.NAMES) == {*WORKLOADS, *run.SCRIPTS, "growth"}


def growth_result():
    return {
        "rows": 1_000,
        "width": 64,
        "epochs": 400,
        "epoch_seconds": 0.002,
        "step_microseconds": 80.0,
        "peak_bytes": 512 * 2**20,
        "engine": "resident",
    }


def test_plot_is_deterministic(tmp_path):
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        draw_growth(path, {"rows": [growth_result()], "width": [growth_result()]})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"seconds per epoch" in paths[0].read_bytes()
