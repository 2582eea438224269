from benchmarks.pretrained_results import encoder_sections, transfer_sections


def test_transfer_compares_epochs_and_processes():
    side = {"wall": 10.0, "cpu": 12.0, "epoch": 0.005}
    measured = {
        "images": 200,
        "size": 96,
        "epochs": 20,
        "seconds": {"first": side, "cached": side, "keras": {**side, "epoch": 0.095}},
        "ratios": {"first": {"epoch": 19.0, "wall": 1.0}},
    }
    page = "\n".join(transfer_sections(measured))
    assert "| Keras | 10 | 12 | 95 |" in page
    assert "An epoch is 19× as fast as Keras's; at least 20×: not met." in page


def test_encoders_compare_steps_with_hugging_face():
    measured = {
        "rows": 160,
        "epochs": 3,
        "threads": 1,
        "step_ms": {"dropout 0.1": {"trainer": 100, "hugging_face": 130, "torch": 90}},
        "process_s": {"dropout 0.1": {"trainer": 30.0, "hugging_face": 60.0}},
        "short_texts": {"epoch_s": 2.0, "epoch_of_64_tokens_s": 5.0},
        "frozen": {"epoch_s": 0.01, "features_s": 4.0, "epoch_with_encoder_s": 0.2, "ratio": 20},
    }
    page = "\n".join(encoder_sections(measured))
    assert "| dropout 0.1 | 100 | 130 | 90 | 1.30× (1.3×: met) | 30 | 60 |" in page
    assert "20×, at least 30×: not met" in page
