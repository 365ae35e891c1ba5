"""The subject of a call, checked: the plan of a network, and the arrays users give.

Errors about arguments are worded here. Nothing here computes, or holds the state of a
network.
"""
