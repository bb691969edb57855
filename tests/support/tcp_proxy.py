"""A relay between a client and a gRPC server that looks at what passes, and can let both believe that the other is gone."""

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
        pings: HTTP/2 pings that the ``"client"`` and the ``"server"`` have sent, those that answer left out.
        data: Frames of data that each has sent.
        connections: How many there were.
        silent: While it is set, nothing passes, and nothing is told of that.
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
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._target)
            self.connections += 1
            self._sockets += [client, server]
            for sender, receiver, name in ((client, server, "client"), (server, client, "server")):
                self._threads.append(threading.Thread(target=self._relay, args=(sender, receiver, name)))
                self._threads[-1].start()

    def _relay(self, sender: socket.socket, receiver: socket.socket, name: str) -> None:
        """Pass on what one sends until it, or the other, has ended."""
        waiting, skip = b"", PREFACE if name == "client" else 0
        try:
            while part := sender.recv(65536):
                if self.silent.is_set():
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
        for thread in self._threads:
            thread.join()
