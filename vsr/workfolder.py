"""The hidden folder for unfinished work: closed to other processes; gone when the job ends, but for finished segments."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vsr.errors import BrokenPromise, ConfigError, Interrupted, JobError, VsrError
from vsr.journal import Journal, fsync
from vsr.planning import Draft


@contextmanager
def work_folder(draft: Draft) -> Iterator[Journal]:
    """The hidden folder for unfinished work, closed to other processes. It goes when the job ends, however it ends, unless a
    finished segment is in it that the same command can go on from."""
    folder = draft.work_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fsync(folder.parent)
    except OSError as exc:
        raise ConfigError(f"{folder}: cannot be created: {exc.strerror}") from exc
    except KeyboardInterrupt:
        with suppress(OSError):
            folder.rmdir()  # empty, or another's
        raise
    journal = Journal(folder)
    with journal.locked():
        try:
            yield journal
        except JobError:
            raise  # not our work: leave it alone
        except Interrupted:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except KeyboardInterrupt as exc:
            raise Interrupted(_kept(journal)) from exc
        except VsrError as exc:
            kept = _kept(journal)
            if kept and not isinstance(exc, BrokenPromise):
                exc.args = (f"{exc}; {kept}",)
            elif isinstance(exc, BrokenPromise):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            _kept(journal)
            raise
        else:
            try:
                with suppress(OSError):  # the result is there; a folder that cannot be removed does not spoil it
                    journal.remove()
            except KeyboardInterrupt as exc:
                shutil.rmtree(folder, ignore_errors=True)
                raise Interrupted("the result is finished") from exc


def _kept(journal: Journal) -> str:
    """What is left of an unfinished job, in words; nothing is left of one without a finished segment."""
    done, planned = journal.counts()
    if not done:
        shutil.rmtree(journal.folder, ignore_errors=True)
        return ""
    journal.drop_parts()
    return f"{done} of {planned} segments are kept in {journal.folder}; the same command goes on from there"
