"""From a run directory to predictions.

    trained_runs           open a run or its members; build the network with the weights of a checkpoint
    predictor              rows in memory → labels, probabilities or numbers, intervals, flags
    files                  the same for the rows of a file, which may be larger than memory
    evaluation             metrics on the splits of a run, or on rows of a file
    inherited_decisions    decisions that a run takes from another one

Opening a run imports no TensorFlow; its networks are loaded when they are first used.
"""
