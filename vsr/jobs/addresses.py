"""Addresses of remote storage, as text: s3://bucket/folder/film.mkv."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from vsr.errors import ConfigError
from vsr.jobs.refusals import HINT

# where an upload appears whole or not at all; elsewhere a file is sent under another name and renamed
WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
HOSTS = frozenset({"sftp", "ssh", "smb", "ftp"})  # sftp://user@host:port/path
SAME = {"s3a": "s3", "gcs": "gs", "ssh": "sftp"}  # names of one protocol
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SLIP = re.compile(rf"({'|'.join(sorted(WHOLE | HOSTS))}):/?[^/]", re.IGNORECASE)


def is_remote(name: str) -> bool:
    """Whether a name is an address. Raises ConfigError for one that says no place, or holds a password, which would end up in
    every log."""
    if _URL.match(name) is None:
        if _SLIP.match(name) and not Path(name).exists():
            raise ConfigError(f"{name}: an address is written with two slashes, as {name.partition(':')[0]}://...")
        return False
    protocol, place = protocol_of(name), place_of(name)
    user, _, host = place.rpartition("@")
    secret = ":" in unquote(user) or re.search(r":(?!\d*$)", host) if not host.startswith(("arn:", "[")) else False
    if secret:
        raise ConfigError(f"{protocol}://...: leave passwords and keys out of addresses; {HINT}")
    if protocol == "memory":
        raise ConfigError(f"{name}: lives in one process alone, and is gone with it")
    if protocol in WHOLE | HOSTS and not host:
        raise ConfigError(f"{name}: names no {'host' if protocol in HOSTS else 'bucket'}")
    return True


def protocol_of(url: str) -> str:
    return url.partition("://")[0].lower()


def place_of(url: str) -> str:
    """The bucket, or user, host and port."""
    return url.partition("://")[2].partition("/")[0]


def under(folder: str, *names: str) -> str:
    """The address of something below a folder."""
    return "/".join([folder.rstrip("/"), *names])


def folder_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[0]


def name_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]
