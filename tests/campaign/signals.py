"""Signals within long calls: a KeyboardInterrupt in time, and a network as before."""

from tests.reliability import test_sigint

from . import Try, part

LONGEST = 0.5  # seconds


@part(share=2, slowest=300, least=6)
def signals(t: Try):
    """Ctrl-C at random moments of every long call."""
    what = test_sigint.WAYS[t.seed % len(test_sigint.WAYS)]
    found = test_sigint.delays(what, 20, t.seed)
    assert max(found) <= LONGEST, (what, max(found))
    return len(found)


@part(slowest=600, least=30)
def interrupted_and_resumed(t: Try):
    """Fits that signals interrupt and that go on, through files: the same bits."""
    test_sigint.resume(3, t.folder, t.seed)
    return 9
