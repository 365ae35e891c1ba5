"""`Model`, what training changes, and everything that is a function of its seed.

No loop over epochs is here, and no file format.
"""
