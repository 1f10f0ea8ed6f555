"""``flux doctor``: what Flux needs, checked one by one, with what to do about each failure.

* ``finding``: what a check found. ``report``: findings as text. ``examination``: all checks, the exit code.
* ``machine``: settings, page, port. ``kafka``: Kafka and the topics.
* ``sources``: real sources, asked side by side. ``probes``: which there are, and a fetch of each.
"""

from flux.doctor.examination import doctor

__all__ = ["doctor"]
