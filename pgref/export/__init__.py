"""Policies as files that run without this package: pure Python, C99, JavaScript, ONNX, JSON.

`recipe` says what acts, each of `python`, `c`, `javascript`, `onnxfile` and `jsonfile` writes it down,
`targets` knows them by name, and `verification` runs a written file beside the NumPy policy.
"""
