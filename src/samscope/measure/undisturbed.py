"""The modes, precision and random numbers in which a model is measured, and the caller's after."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def undisturbed(
    model: nn.Module, device: torch.device, batch_statistics: bool, seed: int
) -> Iterator[None]:
    """Context in which a model runs as it is measured; on leaving, also by an error, all is back.

    Modules are in eval mode, in full precision, uncompiled, attention in its plain form.

    Args:
        model: whose modes are set.
        device: on which it computes.
        batch_statistics: whether batch normalisation uses those of each batch.
        seed: of what random layers draw.
    """
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        # Fused attention has no second derivatives, compiled code none at all.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(full_precision())
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        # Not torch.manual_seed, which reaches devices that are not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                module.training = batch_statistics and isinstance(module, _BatchNorm)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for module, training in modes:
                module.training = training


@contextmanager
def full_precision() -> Iterator[None]:
    """Context without autocast, also that of a model's own, and without TF32.

    TF32, which a GPU's convolutions use unless told not to, keeps 10 bits of each factor: no basis
    for eigenvalues to five digits.
    """
    settings = [*_tf32_settings(), _autocast_setting()]
    try:
        for holder, name, off, _ in settings:
            setattr(holder, name, off)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for holder, name, _, before in settings:
            setattr(holder, name, before)


def _autocast_setting() -> tuple[Any, str, Any, Any]:
    """What entering autocast does: object, attribute, without its effect and at present."""
    enter = torch.autocast.__enter__

    def disabled(context: Any) -> Any:
        enabled, context._enabled = context._enabled, False
        try:
            return enter(context)
        finally:
            context._enabled = enabled

    return torch.autocast, "__enter__", disabled, enter


def _tf32_settings() -> list[tuple[Any, str, Any, Any]]:
    """Where TF32 is allowed: object, attribute, the value without TF32 and the present one."""
    cuda: Any = torch.backends.cuda
    cudnn: Any = torch.backends.cudnn
    try:
        return [(o, "allow_tf32", False, o.allow_tf32) for o in (cuda.matmul, cudnn)]
    except RuntimeError:
        # The caller has set the newer fp32_precision, beside which these cannot be read.
        operations = (cuda.matmul, *(getattr(cudnn, name) for name in ("conv", "rnn")))
        return [(o, "fp32_precision", "ieee", o.fp32_precision) for o in operations]
