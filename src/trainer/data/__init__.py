"""Tables to arrays: read files, infer task and column kinds, split rows, fit and apply preprocessing.

Tables in memory and streamed tables give the same arrays, up to rounding.
"""
