"""How good, how sure, better than what, where does it fail, can its probabilities be trusted."""
