"""Networks that are trained together: their schedule, training and processes."""
