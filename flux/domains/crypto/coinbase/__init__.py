"""The Coinbase Exchange feed.

* ``conversation``, ``messages``, ``gaps``, ``refusals``: what is said there, and what goes missing (pure).
* ``feed``: connected, and connected again. ``feed_socket``: one WebSocket.
"""
