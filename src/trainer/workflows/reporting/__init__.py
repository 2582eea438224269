"""What is written of a trained run: evaluations, predictions, translations and findings."""
