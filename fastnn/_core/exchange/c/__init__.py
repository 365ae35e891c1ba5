"""Models as C headers.

Text only: nothing here compiles or runs what it writes.
"""
