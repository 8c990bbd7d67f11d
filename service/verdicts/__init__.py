"""Waiting for a verdict: a request that may stay open until its event is decided, whichever process decides it.

The way of a waited request. Its waiter is registered under (source, order, event id) *before* the append, so that no
outcome can slip by. The append tells where the event lies. From then on two things can bring the verdict: the outcome
with exactly that offset, which this process reads from the outcomes topic like every other (`tail`); or the receipt in
the store, which is read once right after the append, since a repeat has a verdict already and makes no outcome of its
own, and once more when the time is over. Whenever an outcome of the same key but another offset shows, the event is a
repeat or was tried again, and the receipt is asked until it is final: it is always right, the outcome is only faster.

No two processes need to know of each other for this, and nothing is promised: who gets no verdict in time gets 202.
"""
