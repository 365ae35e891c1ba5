"""Mutants of single lines: `python -m tests.campaign.mutants`."""
