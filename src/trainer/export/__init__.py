"""A trained run as one file that answers raw rows, in formats that other programs read.

    run ─ load_bundle ─► Bundle ─ ExportFormat.write ─► file ─ check_export ─► differences from `predict`

A format is one module with a subclass of `ExportFormat`, and one line in `formats.FORMATS`. Importing
this package imports neither TensorFlow nor the packages of a format.
"""
