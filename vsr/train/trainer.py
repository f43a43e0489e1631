"""One step of training: the generator's losses and update, then the critic's."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from vsr.errors import ConfigError
from vsr.models.single import Network
from vsr.recipe import Recipe, TrainRecipe
from vsr.train import checkpoint, ranks
from vsr.train.adversarial import discriminator_loss, generator_loss
from vsr.train.data import Batch
from vsr.train.ema import MovingAverage
from vsr.train.losses import PIXEL_LOSSES
from vsr.train.networks import Begun, build_critic, build_generator
from vsr.train.perceptual import PerceptualLoss, perceptual_loss
from vsr.train.schedule import cosine, multi_step, warm_up


class Trainer:
    """Networks, losses and optimisers of one recipe: `step` makes one."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        train, loss = recipe.train, recipe.loss
        self.recipe, self.device = recipe, device
        self.begun: Begun = build_generator(recipe.network, train.seed, train.init)
        if train.fusion_first and not any(name.startswith("fusion.") for name, _ in self.begun.network.named_parameters()):
            raise ConfigError(
                f"train.fusion_first: {self.begun.network.spec.architecture} has no fusion to train first; leave it out"
            )
        # channels_last: convolutions on tensor cores, and on CPUs, want it
        self.generator = self.begun.network.to(device, memory_format=torch.channels_last).train()
        self.average = MovingAverage(self.generator, train.average) if train.average else None
        self.critic: nn.Module | None = build_critic(loss, recipe.data.crop * max(recipe.network.scales), train.seed)
        self.perceptual: PerceptualLoss | None = None
        if loss.perceptual:
            self.perceptual = perceptual_loss(loss.perceptual, loss.perceptual_pixel, loss.vgg).to(device)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), train.rate, train.betas)
        self.critic_optimizer: torch.optim.Adam | None = None
        if self.critic is not None:
            self.critic.to(device).to(memory_format=torch.channels_last).train()
            self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), train.critic_rate or train.rate, train.betas)
        self.precision = precision_for(train, device)
        self.scaler = torch.GradScaler(device.type, enabled=self.precision is torch.float16)

    @property
    def parts(self) -> dict[str, checkpoint.Stateful]:
        """What a checkpoint holds."""
        named: dict[str, Any] = {"generator": self.generator, "optimizer": self.optimizer, "average": self.average}
        named |= {"critic": self.critic, "critic_optimizer": self.critic_optimizer}
        named["scaler"] = self.scaler if self.scaler.is_enabled() else None
        return {name: part for name, part in named.items() if part is not None}

    @property
    def shipped(self) -> Network:
        """The network that is validated and exported."""
        return cast(Network, self.average.network) if self.average is not None else self.generator

    def step(self, number: int, batch: Batch) -> dict[str, Tensor]:
        """One update of the generator, and of the critic; returns the losses, on the device."""
        train = self.recipe.train
        lr = batch.lr.to(self.device, non_blocking=True)
        hr = batch.hr.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        factor = rate_factor(train, number)
        for optimizer, rate in ((self.optimizer, train.rate), (self.critic_optimizer, train.critic_rate or train.rate)):
            for group in optimizer.param_groups if optimizer is not None else ():
                group["lr"] = rate * factor
        made, losses = self._generator_step(number, lr, hr, batch.scale)
        if self.critic is not None and self.critic_optimizer is not None:
            losses["critic"] = self._critic_step(self.critic, self.critic_optimizer, made.detach(), hr)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.generator)
        return losses

    def _generator_step(self, number: int, lr: Tensor, hr: Tensor, scale: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, losses = self.recipe.loss, dict[str, Tensor]()
        with self._autocast():
            several = len(self.recipe.network.scales) > 1
            made: Tensor = self.generator(lr, scale) if several else self.generator(lr)
        losses["pixel"] = PIXEL_LOSSES[loss.pixel](made, hr)
        total = loss.pixel_weight * losses["pixel"]
        if self.perceptual is not None:
            with self._autocast():
                losses["perceptual"] = self.perceptual(made, hr)
            total = total + loss.perceptual_weight * losses["perceptual"]
        if self.critic is not None and loss.adversarial != "none":
            self.critic.requires_grad_(False)
            with self._autocast():
                fake = self.critic(made)
                with torch.no_grad():
                    real = self.critic(hr) if loss.adversarial == "relativistic" else None
            losses["adversarial"] = generator_loss(loss.adversarial, fake, real, ranks.mean_over_ranks)
            total = total + loss.adversarial_weight * losses["adversarial"]
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(total))
        if number < self.recipe.train.fusion_first:
            for name, parameter in self.generator.named_parameters():
                if not name.startswith("fusion."):
                    parameter.grad = None
        ranks.average_gradients(self.generator.parameters())
        self.scaler.unscale_(self.optimizer)
        if self.recipe.train.clip:
            nn.utils.clip_grad_norm_(self.generator.parameters(), self.recipe.train.clip)
        self.scaler.step(self.optimizer)
        return made, {name: value.detach() for name, value in losses.items()}

    def _critic_step(self, critic: nn.Module, optimizer: torch.optim.Adam, made: Tensor, hr: Tensor) -> Tensor:
        kind = self.recipe.loss.adversarial
        assert kind != "none"
        critic.requires_grad_(True)
        with self._autocast():  # two passes, as the papers': batch norm sees photographs, then made pictures, never a mixture
            real, fake = critic(hr), critic(made)
        loss = discriminator_loss(kind, real, fake, ranks.mean_over_ranks)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        ranks.average_gradients(critic.parameters())
        self.scaler.step(optimizer)
        return loss.detach()

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, self.precision) if self.precision is not torch.float32 else nullcontext()


def precision_for(train: TrainRecipe, device: torch.device) -> torch.dtype:
    """What the networks compute in; losses and weights are always float32. "auto": bf16 on CUDA devices that have it, fp16 on
    others, fp32 on a CPU, where a run is exact."""
    if train.precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[train.precision]


def rate_factor(train: TrainRecipe, step: int) -> float:
    """What the learning rate is multiplied with in a step."""
    if train.schedule == "cosine":
        return cosine(step, train.periods, train.floor) * warm_up(step, train.rise)
    return multi_step(step, train.milestones, train.gamma) * warm_up(step, train.rise)
