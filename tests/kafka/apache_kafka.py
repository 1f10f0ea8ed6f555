"""One real Apache Kafka node (KRaft mode) as a child process, for tests: start, stop, kill, freeze, restart.

Its jars come from Maven Central, once, into a cache folder that is named after the hash of ``pom.xml``.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, field
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from ports import free_port

POM = Path(__file__).with_name("pom.xml")
START_SECONDS = 60.0
STOP_SECONDS = 20.0
RESOLVE_SECONDS = 600.0

JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""A small heap and only the quick compiler: the node is up sooner, and no test runs long enough to mind."""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
controlled.shutdown.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
"""A node alone; its groups may give up a member that was killed sooner than after Kafka's own six seconds."""

SECURE_PROPERTIES = """\
listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.location={keystore}
ssl.keystore.type=PKCS12
ssl.keystore.password={password}
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required user_{user}="{password}";
"""
"""What a node has beside, or instead of, the lines above to speak TLS and ask for a password."""

_FORMATTED: dict[Path, dict[str, bytes]] = {}
"""What formatting makes, by the jars: the same for every node, and a JVM's start each time."""

USER, PASSWORD = "flux", "a-test-password"


WATCH = """\
import os, signal, sys
if sys.stdin.read() != "ended":
    os.kill(int(sys.argv[1]), signal.SIGKILL)
"""
"""Ends the node when the test run is gone: a run that is killed has no fixture left to do it, but its end of
the pipe closes. A node that was stopped in order is announced, as its pid may be another's by then."""


class Unavailable(Exception):  # noqa: N818 - it names a state of the machine
    """What a real Kafka needs is not on this machine; the text names it."""


def resolve_jars() -> Path:
    """Return the folder with Kafka's jars, fetching them with Maven the first time.

    Raises:
        Unavailable: no Java, or no Maven and nothing in the cache, or Maven failed.
    """
    if shutil.which("java") is None:
        raise Unavailable("java is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flux-tests"
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    jars = cache / f"apache-kafka-{digest}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("mvn is not installed, and Kafka's jars are not in the cache")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fetched = Path(scratch) / "jars"
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=RESOLVE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"mvn did not fetch Kafka's jars within {RESOLVE_SECONDS:g} s") from None
        if run.returncode != 0:
            raise Unavailable(f"mvn did not fetch Kafka's jars: {(run.stdout + run.stderr)[-500:]}")
        # Whole or not at all, also when two test runs fetch at the same time.
        with contextlib.suppress(OSError):
            fetched.rename(jars)
    return jars


@define(eq=False)
class ApacheKafka:
    """A node with its data in one folder; use it as a context manager, or `start` and always `stop` it.

    Args:
        jars: the folder of `resolve_jars`.
        folder: for settings, data and the process's output; must exist.
        secure: open a second port, with TLS and a password (`secure_servers`).
    """

    jars: Path
    folder: Path
    secure: bool = False
    port: int = field(init=False)
    secure_port: int = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _watcher: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.port, self.secure_port, controller_port = free_port(), free_port(), free_port()
        facts = {
            "port": self.port,
            "secure_port": self.secure_port,
            "controller_port": controller_port,
            "data": self.folder / "data",
            "keystore": self.folder / "keystore.p12",
            "user": USER,
            "password": PASSWORD,
        }
        # Of a property that comes twice Kafka takes the latter.
        properties = PROPERTIES + (SECURE_PROPERTIES if self.secure else "")
        self._settings.write_text(properties.format(**facts))
        if self.secure:
            self._make_certificate(facts["keystore"])

    @property
    def bootstrap_servers(self) -> str:
        """``host:port``, the same over restarts."""
        return f"127.0.0.1:{self.port}"

    @property
    def secure_servers(self) -> str:
        """``host:port`` of the port with TLS and password."""
        return f"127.0.0.1:{self.secure_port}"

    @property
    def certificate(self) -> Path:
        """The node's self-signed certificate (PEM), which clients are to trust."""
        return self.folder / "certificate.pem"

    def _make_certificate(self, keystore: object) -> None:
        common = ("-alias", "node", "-keystore", str(keystore), "-storepass", PASSWORD)
        make = ("-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12", "-dname", "CN=127.0.0.1")
        for command in (
            (*make, "-ext", "san=ip:127.0.0.1", "-validity", "2"),
            ("-exportcert", "-rfc", "-file", str(self.certificate)),
        ):
            subprocess.run(["keytool", *command, *common], check=True, capture_output=True, timeout=60)

    @property
    def pid(self) -> int | None:
        """The process's id, while it was started and not stopped."""
        return self._process.pid if self._process is not None else None

    def start(self) -> Self:
        """Start the node on its data, and wait until it answers clients.

        Raises:
            RuntimeError: it ended, or did not answer within `START_SECONDS`; the text has its last output.
        """
        if self._process is not None:
            raise RuntimeError("this node runs already")
        if not (self.folder / "data").exists():
            self._format()
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._settings)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C at the test run is the fixture's to handle
            )
        self._watcher = subprocess.Popen(
            [sys.executable, "-c", WATCH, str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End the node in order, or by force after `STOP_SECONDS`; does nothing if it does not run."""
        if self._process is None:
            return
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._ended()

    def kill(self) -> None:
        """End the node at once, as a power cut would (SIGKILL); `start` goes on with the same data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._ended()

    def freeze(self) -> None:
        """Stop the node's clock: connections stay open, nothing answers (SIGSTOP)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitpid(self._process.pid, os.WUNTRACED)  # its threads go on for a moment

    def thaw(self) -> None:
        """Let a frozen node go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ended(self) -> None:
        self._process = None
        if self._watcher is not None:
            self._watcher.communicate(b"ended", STOP_SECONDS)
            self._watcher = None

    @property
    def _settings(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _output(self) -> Path:
        return self.folder / "output.txt"

    def _java(self, main: str, *arguments: str) -> list[str]:
        return ["java", *JVM, "-cp", str(self.jars / "*"), main, *arguments]

    def _format(self) -> None:
        data = self.folder / "data"
        formatted = _FORMATTED.get(self.jars)
        if formatted is not None:
            data.mkdir()
            for name, content in formatted.items():
                (data / name).write_bytes(content)
            return
        command = self._java("kafka.tools.StorageTool", "format", "-c", str(self._settings))
        command += ["-t", "Rmx1eFRlc3RDbHVzdGVyMQ"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
        if run.returncode != 0:
            raise RuntimeError(f"Kafka's storage was not formatted: {(run.stdout + run.stderr)[-1000:]}")
        _FORMATTED[self.jars] = {path.name: path.read_bytes() for path in data.iterdir()}

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        for _ in attempts_until(deadline):
            if process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
                with contextlib.suppress(KafkaException):
                    if client.list_topics(timeout=2).brokers:
                        return
        last = self._output.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"Kafka did not start (exit status {process.poll()}): {last}")


def attempts_until(deadline: float) -> Iterator[None]:
    """Give a turn every 50 ms until the deadline (monotonic seconds)."""
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)
