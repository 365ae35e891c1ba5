"""The loops over epochs and chunks, validation, and L-BFGS; they take a `Model`.

No arithmetic of layers is here; that is in the engines.
"""
