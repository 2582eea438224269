"""Exact metrics over all rows, as scikit-learn computes them: one definition each, in NumPy.

Every metric is computed for r weightings of the same rows at once, given as weights (r, n), and has r
values. An epoch has one weighting, a bootstrap interval one for each resample. Keras's metrics are not
used: they accumulate in float32 over batches, and its AUC is computed at fixed thresholds.

    predictions     predictions of some rows with their targets
    activations     sigmoid and softmax, their inverses, temperature scaling
    labels          classes as targets; which class a probability predicts; losses of single rows
    weighting       weighted means and counts of the rows
    confusion       precision, recall, F1, … from the counts of a confusion matrix
    ranking         ROC AUC, average precision, top-k
    classification  the classification metrics by name
    regression      the regression metrics by name
    compute         some metrics of one weighting, by name
    evaluator       all metrics of predictions by name, including per-class metrics
    influence       the influence of each row on the headline metric

To add a metric, add it to the table in `classification` or `regression` and to
`trainer.config.metrics.METRICS`.

The conventions are those of scikit-learn with all classes as `labels` and `zero_division=0`:

- precision, recall, f1, specificity and mcc are 0 where their denominator is 0;
- for multiclass and multilabel, metrics are macro averages unless stated otherwise: the unweighted mean
  over all classes (one-vs-rest) or columns. A class without true or predicted rows counts as 0 in
  precision, recall and f1;
- multiclass accuracy is the fraction of rows with the right class; balanced_accuracy is the mean recall
  of the classes that have rows;
- multilabel accuracy is the fraction of correct labels, not of rows with all labels correct;
- auc is nan if a class has no rows, or all of them;
- average_precision of a class without rows is 0;
- log_loss clips probabilities to [ε, 1 - ε], where ε is the resolution of their dtype; for multilabel it
  is the mean over rows and columns;
- brier is the mean of (p - y)² for binary and multilabel, and of Σ (p - y)² over the classes for
  multiclass;
- regression metrics are unweighted means over the columns;
- every metric is nan without rows, if the weights sum to 0, or if a prediction is not finite.
"""
