"""The stateless functions of the reference: checks and documentation.

The arithmetic is in the tables of `fastnn.reference`, which engines use as well.
"""
