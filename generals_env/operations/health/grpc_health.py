"""Asks a gRPC server for its health by ``grpc.health.v1``, for the checks of a run and for the command line."""

from __future__ import annotations

from pathlib import Path

from generals_env.errors import ConfigError

__all__ = ["grpc_health_check"]


def grpc_health_check(
    address: str,
    token: str | None = None,
    *,
    service: str = "",
    root_certificates: str | Path | None = None,
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    server_name: str | None = None,
    timeout: float = 5.0,
) -> str | None:
    """Return the problem of a server, or None if it is serving.

    Args:
        address: Host and port of the server.
        token: Its token; not needed by an ``ExperienceServer``, which answers this question without it.
        service: Name of one service; all of the server if empty.
        root_certificates: PEM file to verify a server with TLS; its own certificate will do.
        certificate: PEM file with the certificate of the client, if the server asks for one.
        key: PEM file with its private key.
        server_name: Name in the certificate of the server, if it differs from the host in ``address``.
        timeout: Seconds to wait for the answer.

    Raises:
        ConfigError: If a file cannot be read, or grpcio is not installed.
    """
    try:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc
    except ImportError as error:
        raise ConfigError(f'health: expected {error.name}, got none: pip install "generals_env[stream]"') from error
    from generals_env.recorders.stream.protocol.pem import read_pem

    options = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own: else an earlier failure is waited out
    if root_certificates is None:
        channel = grpc.insecure_channel(address, options)
    else:
        paths = (("root_certificates", root_certificates), ("key", key), ("certificate", certificate))
        credentials = grpc.ssl_channel_credentials(*(None if path is None else read_pem(name, path) for name, path in paths))
        names = () if server_name is None else (("grpc.ssl_target_name_override", server_name),)
        channel = grpc.secure_channel(address, credentials, (*options, *names))
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout, metadata=metadata
            )
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
            return f"stream: expected an answer of {address} within {timeout:g} s, got {code}: {details}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return None
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return f"stream: expected {address} to be SERVING, got {state}: look at the log records of the server for the reason"
