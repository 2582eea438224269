from benchmarks.export_results import export_sections, serving_sections
from benchmarks.latency import SIZES, measure


def figures(p50):
    return {"p50": p50, "p99": 2 * p50, "calls": 100, "1000": 4_000_000, "100000": 5_000_000}


def server(rate, p50):
    many = {"requests_per_second": rate, "requests": 100_000, "failed": 0, "cpu_microseconds": 120}
    rated = {"p50_ms": p50, "p99_ms": 2 * p50, "rate": 1_000}
    return {
        "start_seconds": 1.25,
        "1 row, 1 connection": {"p50_ms": 0.25, "p99_ms": 0.5},
        "1 row, 32 connections": many,
        "1 row, fixed rate": rated,
        "1,000 rows, 1 connection": {"p50_ms": 3.0},
    }


def test_exports_relative_to_bound_inputs():
    measured = {"numbers": {"onnx_bound": figures(20.0), "model_predict": figures(90_000.0)}}
    page = "\n".join(export_sections(measured))
    assert "inputs bound to memory | 20 | 40 | 1.0× | 4,000,000 | 5,000,000 |" in page
    assert "encoded rows | 90,000 | 180,000 | 4500.0× |" in page
    assert "in less than 30 µs: 20.0, met." in page


def test_servers():
    servers = {
        "trainer serve, 1 process": server(6_000, 0.6),
        "trainer serve, 2 processes": server(9_000, 0.4),
        "slow": server(300, 9.0),
        "best": server(500, 8.0),
    }
    page = "\n".join(serving_sections({"rate": 1_000, "servers": servers}))
    assert (
        "| 0.25 (0.50) | 6,000 | 120 | 100,000 | 0 | 0.60 (1.20) at 1,000/s | 3.0 | 1.2 |" in page
    )
    assert "in less than 0.5 ms: 0.60, not met; no failed request: met." in page
    assert "(best): 12.0× its requests per second, target 3×: met." in page


def test_every_size_is_measured():
    calls = []
    found = measure(calls.append, {rows: rows for rows in SIZES}, 0.0)
    assert {1, 1_000, 100_000} == set(calls)
    assert found["p50"] <= found["p99"]
    assert found["calls"] >= 5
