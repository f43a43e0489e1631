"""Everything that vsr raises on purpose.

    VsrError                  exit code 1: one line on stderr
    ├── ConfigError           a setting is wrong: unknown key, value out of range, settings that exclude each other
    │   └── UsageError        exit code 2: the command line itself is wrong
    ├── MediaError            a file or stream cannot be used
    │   ├── DecodeError       it cannot be read
    │   └── EncodeError       it cannot be written
    ├── ModelError            a model cannot be used: unknown name, wrong scale, unsupported architecture
    │   └── WeightsError      its weights cannot be found, read or trusted
    ├── DeviceError           no such device, or it cannot do what is asked
    ├── JobError              a batch job cannot go on
    └── BrokenPromise         exit code 3: the work is done, and what came out is not what was promised

Each message names the path or the key at fault and the next step to take. A library's error is translated once, in the
module that owns the library, with ``raise ... from exc``.
"""

from __future__ import annotations


class VsrError(Exception):
    """Base of every error that vsr raises on purpose."""

    exit_code = 1


class ConfigError(VsrError):
    """A setting is wrong: an unknown key, a value out of range, settings that exclude each other."""


class UsageError(ConfigError):
    """The command line itself is wrong: exit code 2, as for any unknown option."""

    exit_code = 2


class MediaError(VsrError):
    """A file or a stream cannot be used."""


class DecodeError(MediaError):
    """A file or a stream cannot be read."""


class EncodeError(MediaError):
    """A file or a stream cannot be written."""


class ModelError(VsrError):
    """A model cannot be used."""


class WeightsError(ModelError):
    """A model's weights cannot be found, read or trusted."""


class DeviceError(VsrError):
    """There is no such device, or it cannot do what is asked of it."""


class JobError(VsrError):
    """A batch job cannot go on."""


class Interrupted(KeyboardInterrupt):
    """The job was stopped (Ctrl-C, SIGTERM). Its text says what is kept; empty: nothing is left behind."""


class BrokenPromise(VsrError):
    """The work is done, and what came out is not what was promised."""

    exit_code = 3
