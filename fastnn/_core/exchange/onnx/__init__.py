"""Models to and from ONNX.

The package onnx is imported when a function is called, never at import.
"""
