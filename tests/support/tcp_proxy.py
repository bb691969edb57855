"""A relay between a client and a gRPC server that inspects traffic and can simulate a vanished peer."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["TcpProxy"]

PREFACE = 24  # bytes with which a client begins
HEAD = 9  # bytes of a frame's head: length, type, flags, stream
DATA, PING, ACK = 0, 6, 1


class TcpProxy:
    """Relays connections on loopback, each by two threads.

    Attributes:
        address: Where it listens.
        pings: HTTP/2 pings sent by the ``"client"`` and the ``"server"``, without acknowledgements.
        data: Frames of data that each has sent.
        connections: How many there were.
        silent: While it is set, all traffic is dropped silently.
        silenced: Names of the sides whose traffic is dropped silently.
    """

    def __init__(self, target: str) -> None:
        """Listen, and relay to ``target``."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.pings: Counter[str] = Counter()
        self.data: Counter[str] = Counter()
        self.connections = 0
        self.silent = threading.Event()
        self.silenced: set[str] = set()
        self._sockets = [self._listener]
        self._closed: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def silence(self, name: str) -> None:
        """Drop what the ``"client"`` or the ``"server"`` sends, until ``drop_connections``."""
        self.silenced.add(name)

    def drop_connections(self) -> None:
        """End all connections; later ones are relayed."""
        dropped, self._sockets = self._sockets[1:], self._sockets[:1]
        for one in dropped:
            with suppress(OSError):  # it is not connected any more
                one.shutdown(socket.SHUT_RDWR)
        self._closed += dropped
        self.silenced.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # the server is gone
                client.close()
                continue
            self.connections += 1
            self._sockets += [client, server]
            for sender, receiver, name in ((client, server, "client"), (server, client, "server")):
                self._threads.append(threading.Thread(target=self._relay, args=(sender, receiver, name)))
                self._threads[-1].start()

    def _relay(self, sender: socket.socket, receiver: socket.socket, name: str) -> None:
        """Forward data of one side until it, or the other, has ended."""
        waiting, skip = b"", PREFACE if name == "client" else 0
        try:
            while part := sender.recv(65536):
                if self.silent.is_set() or name in self.silenced:
                    continue
                receiver.sendall(part)
                waiting += part
                waiting, skip = waiting[skip:], max(skip - len(waiting), 0)
                while len(waiting) >= HEAD and len(waiting) >= HEAD + int.from_bytes(waiting[:3], "big"):
                    kind, flags = waiting[3], waiting[4]
                    self.pings[name] += kind == PING and not flags & ACK
                    self.data[name] += kind == DATA
                    waiting = waiting[HEAD + int.from_bytes(waiting[:3], "big") :]
            receiver.shutdown(socket.SHUT_WR)
        except OSError:  # the other has ended
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for one in self._sockets:
            with suppress(OSError):  # it is not connected any more
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for one in self._closed:
            one.close()
        for thread in self._threads:
            thread.join()
