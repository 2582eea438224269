"""From a run directory to predictions.

    trained_runs           open a run or its members; build the network with the weights of a checkpoint
    predictor              rows in memory → labels, probabilities or numbers, intervals, flags
    inherited_decisions    decisions that a run takes from another one

Opening a run imports no TensorFlow; its networks are loaded when they are first used.
"""
