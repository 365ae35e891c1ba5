"""What the command line and the demo are made of: one module per subject.

Arguments are parsed in `fastnn.cli`; nothing here is imported by the library.
"""
