"""Rows and predict functions of networks whose only input is a matrix of features."""

from trainer.data.preprocessing import InputColumns
from trainer.explain.perturbations import EncodedRows
from trainer.inputs import FEATURES


def encoded_rows(x, columns):
    """Return (n, width) features as encoded rows; `columns` maps table columns to those of x."""
    places = {name: InputColumns(FEATURES, each) for name, each in columns.items()}
    return EncodedRows({FEATURES: x}, places)


def of_features(predict):
    """Return a predict function that calls `predict` with the features of each encoding."""
    return lambda encoded: predict([inputs[FEATURES] for inputs in encoded])
