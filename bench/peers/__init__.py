"""The servers that the benchmark runs; each is a program of its own that takes a port.

All speak one protocol: ``join`` puts a client into the room, ``echo`` answers with the same event, and
``go(K, SIZE, RATE, BATCH)`` emits K ``tick`` events of SIZE padding bytes to the room, BATCH of them at a
time, RATE times a second (0: as fast as it can).
"""
