"""Whether training still makes sense: losses and weights that are numbers, a critic that can still be wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vsr.errors import JobError
from vsr.train.checkpoint import Stateful, checkpoints

SURE = 1e-4  # a critic's loss below which it is never wrong ...
SURE_REPORTS = 50  # ... and so many reports of that in a row from which on it teaches nothing


class Health:
    """Looks at each report and before each checkpoint. Raises JobError with advice, and the last checkpoint of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._sure = folder, 0

    def require_losses(self, means: Mapping[str, float], step: int) -> None:
        """Of one report."""
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            raise self._diverged(f"the {' and '.join(bad)} loss is no number any more", step)
        self._sure = self._sure + 1 if means.get("critic", math.inf) < SURE else 0
        if self._sure >= SURE_REPORTS:
            raise JobError(
                f"step {step}: the critic has not been wrong for {SURE_REPORTS} reports: the generator learns nothing from it "
                f"any more. {self._last('is')}; lower train.critic_rate, or begin from weights that were trained for PSNR "
                "(train.init)"
            )

    def require_weights(self, parts: Mapping[str, Stateful], step: int) -> None:
        """Before they are saved: it may be a while since losses were looked at, and a checkpoint of NaN saves nothing."""
        for name, part in parts.items():
            tensors = part.state_dict().values() if isinstance(part, nn.Module) else ()
            if not all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point()):
                raise self._diverged(f"weights of the {name} are no numbers any more", step)

    def _diverged(self, what: str, step: int) -> JobError:
        return JobError(
            f"step {step}: {what}: training has diverged. {self._last('was good:')}; lower train.rate, set train.clip, or "
            "train.precision = fp32, and train into another folder"
        )

    def _last(self, how: str) -> str:
        found = checkpoints(self._folder)
        return f"The last checkpoint {how} {found[-1]}" if found else "There is no checkpoint yet"
