"""The domains: what Flux knows of weather, crypto, news and stocks.

* ``registry``: the list of them, one line each.
* ``domain``: the descriptor from which topics, ownership, rooms and hydration follow.
* ``location``, ``providers``, ``limits``: places; how sources are chosen and fail; bounds.
* ``source_names``: every real source that there is.
* ``commands``, ``delivery``, ``worker``, ``choosing``: what every service is made of.
* ``weather``, ``crypto``, ``news``, ``stock``: the same few files each.
"""
