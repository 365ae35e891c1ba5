"""The search for the settings of a network: `fastnn.search` and `fastnn search`.

A search draws settings and trains networks by them side by side. What one training does
is in `_core/training`.
"""
