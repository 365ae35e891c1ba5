"""The native lane: Cython around the C core of `csrc/`, and its thread settings.

Arguments are checked on the way in; the arithmetic is all in C.
"""
