"""One association with a DICOM peer, with Nagle's algorithm and delayed acknowledgements under our control."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Self, TypeVar

from . import dimse
from .part10 import Instance

# Python has the name on Linux only.
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)

Result = TypeVar("Result")


class ProbeError(RuntimeError):
    """The peer cannot be measured; the message says why in one line."""


class Peer:
    """An open association; a context manager that releases it.

    Args:
        host: name or address, IPv4 or IPv6.
        port: TCP port.
        timeout_s: for connecting, and for each answer.
        no_delay: TCP_NODELAY on our side; without it, and with two writes a PDU, we send as an unmodified DCMTK tool
            does.
        quick_ack: acknowledge what arrives at once; without it our kernel delays, as it does for everyone by default.
        quick_ack has no effect where the system has no TCP_QUICKACK.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, no_delay: bool, quick_ack: bool) -> None:
        self.where = f"{host}:{port}"
        self.timeout_s = timeout_s
        self._quick_ack = quick_ack
        self._message_id = 0
        self._accepted = dimse.Accepted(1, dimse.MAX_PDU_BYTES)
        self._deadline = 0.0
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            raise ProbeError(f"{self.where}: {_connect_text(error, timeout_s)}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                with contextlib.suppress(ProbeError):  # all was measured: how the peer releases does not matter
                    self._send(dimse.RELEASE_REQUEST)
                    self._receive()
        finally:
            self._socket.close()

    def associate(self, calling: str, called: str, sop_class: str, transfer_syntax: str) -> None:
        """Requests the association.

        Raises:
            ProbeError: rejected, aborted, closed, no answer in time, or not a DICOM peer.
        """
        self._send(dimse.associate_request(calling, called, sop_class, transfer_syntax))
        kind, body = self._receive()
        if kind == dimse.ASSOCIATE_RJ:
            raise ProbeError(f"{self.where}: {dimse.reject_text(body)}")
        if kind != dimse.ASSOCIATE_AC:
            raise ProbeError(f"{self.where}: answered the association request with PDU type {kind}")
        self._accepted = self._checked(dimse.parse_accept, body)

    def echo(self) -> float:
        """Sends a C-ECHO in one write.

        Returns:
            Seconds from the request to the last byte of the response.

        Raises:
            ProbeError: the peer went away, or answered something else than success.
        """
        request = self._command(dimse.C_ECHO_RQ, dimse.VERIFICATION)
        begin = time.perf_counter()
        self._send(b"".join(request))
        return self._await_response("C-ECHO", begin)

    def store(self, instance: Instance) -> float:
        """Sends a C-STORE as DCMTK does: two writes for each PDU, its 12 bytes of header and its body.

        Returns:
            Seconds from the request to the last byte of the response.

        Raises:
            ProbeError: the peer went away, or did not store it.
        """
        size = self._accepted.max_pdu_bytes - 12
        begin = time.perf_counter()
        for part in self._command(dimse.C_STORE_RQ, instance.sop_class, instance.sop_instance_uid):
            self._send(part)
        for at in range(0, len(instance.dataset), size):
            part = instance.dataset[at : at + size]
            last = at + size >= len(instance.dataset)
            self._send(dimse.data_header(self._accepted.context_id, len(part), is_command=False, last=last))
            self._send(part)
        return self._await_response("C-STORE", begin)

    def _command(self, field: int, sop_class: str, sop_instance: str = "") -> tuple[bytes, bytes]:
        self._message_id += 1
        body = dimse.command(field, sop_class, self._message_id, sop_instance)
        return dimse.data_header(self._accepted.context_id, len(body), is_command=True, last=True), body

    def _await_response(self, what: str, begin: float) -> float:
        command_set, last = b"", False
        while not last:
            kind, body = self._receive()
            if kind != dimse.P_DATA:
                raise ProbeError(f"{self.where}: answered {what} with PDU type {kind}")
            fragment, last = self._checked(dimse.command_fragments, body)
            command_set += fragment
            if len(command_set) > 1 << 16:
                raise ProbeError(f"{self.where}: its answer to {what} does not end")
        elapsed = time.perf_counter() - begin
        status = self._checked(dimse.status, command_set)
        # Warnings (B000H and the like) mean that it was stored.
        if status != 0 and status >> 12 != 0xB:
            raise ProbeError(f"{self.where}: answered {what} with status {status:04X}H")
        return elapsed

    def _checked(self, parse: Callable[[bytes], Result], body: bytes) -> Result:
        try:
            return parse(body)
        except dimse.ProtocolError as error:
            raise ProbeError(f"{self.where}: {error}") from None

    def _send(self, data: bytes) -> None:
        self._deadline = time.monotonic() + self.timeout_s
        try:
            self._socket.settimeout(self.timeout_s)
            self._socket.sendall(data)
        except TimeoutError:
            raise ProbeError(f"{self.where}: takes nothing more, for {self.timeout_s:g} s") from None
        except OSError as error:
            raise ProbeError(f"{self.where}: closed the connection ({error.strerror})") from None

    def _receive(self) -> tuple[int, bytes]:
        """Receives one PDU; returns its type and body."""
        header = self._exactly(6)
        length = self._checked(dimse.pdu_length, header)
        body = self._exactly(length)
        if header[0] == dimse.ABORT:
            raise ProbeError(f"{self.where}: aborted the association")
        return header[0], body

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            self._delay_acknowledgements()
            self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
            try:
                part = self._socket.recv(size - len(found))
            except TimeoutError:
                raise ProbeError(f"{self.where}: no answer within {self.timeout_s:g} s") from None
            except OSError as error:
                raise ProbeError(f"{self.where}: closed the connection ({error.strerror})") from None
            if not part:
                raise ProbeError(f"{self.where}: closed the connection without an answer")
            found += part
        return found

    def _delay_acknowledgements(self) -> None:
        # Before each read: the kernel goes back to delaying by itself, and early in a connection it does not delay yet.
        if _QUICK_ACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, self._quick_ack)


def _connect_text(error: OSError, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no connection within {timeout_s:g} s (a firewall, or no such host)"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens on that port"
    return error.strerror or str(error)
