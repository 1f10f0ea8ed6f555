"""The benchmark: Flux's Socket.IO server against Node's, python-socketio, and the limits, in one run.

``python -m bench --help``. It needs Linux with two cores (the server gets one, the load generator the
other), a C compiler, Node.js with npm, and what ``bench/requirements.txt`` lists. The parts:

* ``sioload/``: the load generator, in C; ``load`` builds and runs it.
* ``peers/``: the servers; ``servers`` builds, starts and ends them.
* ``scenarios``: what is measured, and the bars.
* ``report``: medians, ratios, marks; text, Markdown and JSON.
* ``run``: the command.
"""
