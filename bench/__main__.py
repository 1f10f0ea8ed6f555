"""``python -m bench``: the Socket.IO server; ``python -m bench kafka``: the Kafka bus."""

import sys

from bench import kafka, run

if sys.argv[1:2] == ["kafka"]:
    kafka.main(sys.argv[2:], prog_name="python -m bench kafka")
else:
    run.main()
