"""Learning rates against torch's schedulers and the sources' own words."""

import math

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from samscope.optim.schedules import SCHEDULES


def rates(name, lr, total, warmup=0):
    return [SCHEDULES[name](lr, t, total, warmup) for t in range(total)]


def of_torch(scheduler, lr, total):
    """The rates of a scheduler of torch, which is given an optimizer."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    stepped, found = scheduler(optimizer), []
    for _ in range(total):
        found.append(stepped.get_last_lr()[0])
        optimizer.step()
        stepped.step()
    return found


def test_cosine_is_torchs():
    theirs = of_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=7), 0.3, 7)
    assert rates("cosine", 0.3, 7) == pytest.approx(theirs)
    # The committed runs' own expression, to the bit.
    assert rates("cosine", 0.3, 200)[17] == 0.3 / 2 * (1 + math.cos(math.pi * 17 / 200))


@pytest.mark.parametrize("total", [10, 15, 50, 200])
def test_steps_are_those_of_a_multi_step_schedule(total):
    milestones = [math.ceil(total * share / 10) for share in (3, 6, 8)]
    theirs = of_torch(lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma=0.2), 0.1, total)
    assert rates("step", 0.1, total) == pytest.approx(theirs)


@pytest.mark.parametrize("total", [10, 150, 199])
def test_garipovs_is_constant_then_a_line_then_a_hundredth(total):
    # The source counts epochs from 1.
    done = [(t + 1) / total for t in range(total)]
    polygon = np.interp(done, [0.0, 0.5, 0.9, 1.0], [0.1, 0.1, 0.001, 0.001])
    assert rates("garipov", 0.1, total) == pytest.approx(polygon.tolist())


def test_warm_up_is_the_line_of_openais_grok():
    found = [SCHEDULES["constant"](1e-3, step, 10**5, 10) for step in range(14)]
    assert found == [1e-3 * min(1.0, step / 10) for step in range(14)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_leaves_the_rest_of_a_schedule_alone(name):
    plain, warmed = rates(name, 0.1, 20), rates(name, 0.1, 20, warmup=4)
    assert warmed[4:] == plain[4:]
    assert warmed[:4] == pytest.approx([rate * t / 4 for t, rate in enumerate(plain[:4])])
    assert plain[0] == 0.1
    assert 0 <= min(plain) <= max(plain) == 0.1
