"""An SSH server that shows a folder:  python -m tests.jobs.sftp_server FOLDER KEY  (says its port, lives on)"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncssh


async def serve(folder: str, key: str) -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=asyncssh.import_authorized_keys(key),
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(folder)),
    )  # fmt: skip
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
