"""Explain a network, given as a predict function: permutation importance, partial dependence, SHAP.

rows in each encoding, predict function ─► perturbed copies ─► predictions ─► JSON in `explanation/`
"""
