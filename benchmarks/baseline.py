"""What the engine is compared with: training as a user writes it from tutorials and SAM's README.

A DataLoader that transforms one image at a time, the two-pass SAM of github.com/davda54/sam, the
loss and the accuracy read in every step.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Batches = Iterable[tuple[Tensor, Tensor]]


class Images(Dataset):
    """Images and classes, each image through ``transform`` when it is asked for."""

    def __init__(
        self, images: Sequence, labels: Sequence[int], transform: Callable[..., Tensor]
    ) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


class Cutout:
    """With probability 1/2, a square of zeros, its corner uniform on [-size/2, side - size/2)."""

    def __init__(self, size: int = 16) -> None:
        self.size = size

    def __call__(self, image: Tensor) -> Tensor:
        """An image [C, H, W], changed in place."""
        if random.random() < 0.5:
            height, width = image.shape[1:]
            top = random.randint(-self.size // 2, height - self.size // 2 - 1)
            left = random.randint(-self.size // 2, width - self.size // 2 - 1)
            rows = slice(max(top, 0), min(top + self.size, height))
            columns = slice(max(left, 0), min(left + self.size, width))
            image[:, rows, columns] = 0.0
        return image


def photographs(images: np.ndarray, labels: np.ndarray, mean: list, std: list) -> Images:
    """32 x 32 colour images, uint8 [N, 32, 32, 3], with the geometry-SAM study's augmentation."""
    from PIL import Image
    from torchvision import transforms

    steps = [
        Image.fromarray,
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
        Cutout(),
    ]
    return Images(images, labels.tolist(), transforms.Compose(steps))


def digits(images: Tensor, labels: Tensor, scale: float, mean: float, std: float) -> Images:
    """Grey images, uint8 [N, 1, 8, 8], normalised."""
    return Images(images, labels.tolist(), lambda image: (image.float() / scale - mean) / std)


def loader(images: Images, batch_size: int, workers: int, keep_workers: bool) -> DataLoader:
    """The DataLoader of a training loop.

    Args:
        images: to load.
        batch_size: images of a batch; the last may be short.
        workers: processes beside this one.
        keep_workers: from epoch to epoch, with pinned memory: what the careful user sets.
    """
    return DataLoader(
        images,
        batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=keep_workers and torch.cuda.is_available(),
        persistent_workers=keep_workers and workers > 0,
    )


class Resident:
    """The fastest thing a user can do: slices of tensors that are normalised already."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.images), device=self.images.device)
        for part in order.split(self.batch_size):
            yield self.images[part], self.labels[part]


class SAM(torch.optim.Optimizer):
    """SAM as in github.com/davda54/sam: parameter by parameter, around a base optimizer."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        base: type[torch.optim.Optimizer],
        rho: float,
        **kwargs,
    ) -> None:
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        """Move to w + e, from the gradients at w."""
        parameters = self.param_groups[0]["params"]
        norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in parameters]), p=2)
        for p in parameters:
            self.state[p]["old_p"] = p.data.clone()
            p.add_(p.grad * (self.param_groups[0]["rho"] / (norm + 1e-12)))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        """Back to w and one step of the base optimizer, with the gradients at w + e."""
        for p in self.param_groups[0]["params"]:
            p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        self.zero_grad()


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    autocast: bool = False,
) -> tuple[float, float]:
    """Train for an epoch; returns mean loss and accuracy in percent.

    Args:
        model: on the device.
        batches: of images and classes.
        optimizer: `SAM`, or any of torch's for one pass a step.
        device: to train on.
        autocast: to bf16; else float32.
    """
    model.train()
    total, correct, count, steps = 0.0, 0, 0, 0
    for images, labels in batches:
        images = images.to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        with _context(device, autocast):
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
        loss.backward()
        if isinstance(optimizer, SAM):
            optimizer.first_step()
            _record_statistics(model, False)
            with _context(device, autocast):
                perturbed = F.cross_entropy(model(images), labels)
            perturbed.backward()
            _record_statistics(model, True)
            optimizer.second_step()
        else:
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item()
        correct += (logits.argmax(1) == labels).sum().item()
        count += len(labels)
        steps += 1
    return total / steps, 100.0 * correct / count


def _context(device: torch.device, autocast: bool) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext()


def _record_statistics(model: nn.Module, on: bool) -> None:
    """Let BatchNorm record its running statistics or not, the way SAM's README does it."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            if on:
                module.momentum = module.kept_momentum
            else:
                module.kept_momentum, module.momentum = module.momentum, 0.0
