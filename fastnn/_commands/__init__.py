"""The parts of the command line and the demo: one module per subject.

Arguments are parsed in `fastnn.cli`; the library imports nothing from here.
"""
