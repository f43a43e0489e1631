"""Connections to remote storage: the only module that imports fsspec.

Addresses are taken apart here, not by fsspec, for which '#', '?' and '::' in names have meanings of their own; what its libraries
write to logs is kept from the screen; and what waits for ever by default does not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from vsr.errors import ConfigError
from vsr.jobs.addresses import HOSTS, SAME, WHOLE, place_of, protocol_of

Options = Mapping[str, Mapping[str, Any]]

SECONDS = 30  # until a server that says nothing counts as gone
KEEP_ALIVE = 30  # seconds between two signs of life on a connection that is not used: an encoder may work for minutes
_LOUD = ("paramiko", "fsspec", "s3fs", "gcsfs", "botocore", "aiobotocore", "aiohttp", "google", "asyncio")


def connected(url: str, options: Options) -> Any:
    """fsspec's file system for an address. Raises ConfigError where a package is missing, or fsspec knows no such protocol, and
    whatever the storage's own library does."""
    protocol = protocol_of(url)
    told = {**options.get(SAME.get(protocol, protocol), {}), **options.get(protocol, {})}
    _hush()
    if protocol in ("gs", "gcs") and ("endpoint_url" in told or "STORAGE_EMULATOR_HOST" in os.environ):
        # asks by gRPC, which other servers do not speak, what kind of bucket it is, for a minute each time
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        from fsspec.core import url_to_fs
    except ImportError as exc:
        raise ConfigError(f"{url}: needs fsspec: pip install 'vsr[remote]'") from exc
    root = f"{protocol}://{place_of(url)}/" if protocol in WHOLE | HOSTS | {"file", "local"} else url
    try:
        if protocol in ("sftp", "ssh"):
            return _sftp(root, told)
        fs, _ = url_to_fs(root, skip_instance_cache=True, **_patient(protocol, told))
    except ImportError as exc:
        raise ConfigError(f"{url}: needs another package ({exc}): pip install 'vsr[remote]'") from exc
    except ValueError as exc:
        raise ConfigError(f"{url}: {exc}") from exc
    if protocol in ("s3", "s3a"):
        fs.retries = 2
    return fs


def path_in(fs: Any, url: str) -> str:
    """Where an address is in its file system."""
    protocol, rest = protocol_of(url), url.partition("://")[2]
    if protocol in WHOLE:
        return rest.rstrip("/")
    if protocol in HOSTS | {"file", "local"}:
        return f"/{rest.partition('/')[2]}".rstrip("/") or "/"
    return str(fs._strip_protocol(url))


def _patient(protocol: str, told: Mapping[str, Any]) -> dict[str, Any]:
    if protocol not in ("s3", "s3a"):
        return dict(told)
    limits = {"connect_timeout": 10, "read_timeout": SECONDS, "retries": {"max_attempts": 1}}
    return {**told, "config_kwargs": {**limits, **told.get("config_kwargs", {})}}


def _sftp(root: str, told: Mapping[str, Any]) -> Any:
    """SFTP as fsspec does it, but for keys of hosts: one that is known and has changed is refused, one that is not is taken."""
    import paramiko
    from fsspec.implementations.sftp import SFTPFileSystem

    class KnownHosts(SFTPFileSystem):  # type: ignore[misc]
        cachable = False

        def _connect(self) -> None:
            self.client = paramiko.SSHClient()
            self.client.load_system_host_keys()
            self.client.set_missing_host_key_policy(getattr(self, "host_key_policy", paramiko.AutoAddPolicy()))
            limits = {"timeout": SECONDS, "banner_timeout": SECONDS, "auth_timeout": SECONDS}
            self.client.connect(self.host, **{**limits, **self.ssh_kwargs})
            self.client.get_transport().set_keepalive(KEEP_ALIVE)
            self.ftp = self.client.open_sftp()
            self.ftp.get_channel().settimeout(SECONDS)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path  # we give paths

    return KnownHosts(**{**SFTPFileSystem._get_kwargs_from_urls(root), **told})


def _hush() -> None:
    """What libraries log about failures is told in our own words."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if os.environ.get("VSR_DEBUG") == "1":
        return
    for name in _LOUD:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
            logger.propagate = False
