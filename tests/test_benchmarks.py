"""The benchmarks: the loops that the engine is compared with train as it does; the program runs."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import baseline, engine, limits, parts, problem, runs, throughput, timing

from samscope.tasks.augment import HOLE
from samscope.train.step import Learner

CPU = torch.device("cpu")
TASK = problem.Problem("cnn3", 20, 60, "float32")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("variant", ["sgd", "sam"])
@pytest.mark.parametrize("task", [TASK, problem.Problem("resnet8_w8", 8, 8, "float32")], ids=str)
def test_a_users_step_is_ours(task, variant):
    cell = problem.cell(task, variant)
    ours, theirs = problem.network(task), problem.network(task)
    images, labels = problem.batch(task, CPU)
    taught = Learner(ours, task.batch, "float32", False, CPU)
    taught.begin(cell, theirs.state_dict())
    row = taught.step((images,), labels)
    method = cell.method
    settings = {name: getattr(method, name) for name in ("lr", "momentum", "weight_decay")}
    optimizer = torch.optim.SGD(theirs.parameters(), **settings)
    if variant == "sam":
        optimizer = baseline.SAM(
            theirs.parameters(), torch.optim.SGD, rho=method.ascent.rho, **settings
        )
    loss, accuracy = baseline.train_epoch(theirs, [(images, labels)], optimizer, CPU)
    assert row[0].item() == pytest.approx(loss, abs=1e-6)
    assert row[1].item() == pytest.approx(accuracy * task.batch)
    start = problem.network(task).state_dict()
    for (name, found), expected in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        if name.endswith("num_batches_tracked"):
            continue  # SAM's README lets the second pass count
        assert torch.allclose(found, expected, rtol=0, atol=1e-6), name
        assert not torch.allclose(found, start[name], rtol=0, atol=1e-5), name


def test_a_users_images_are_normalised_cropped_and_cut():
    pixels = torch.full((400, 32, 32, 3), 255, dtype=torch.uint8).numpy()
    images = baseline.photographs(pixels, torch.arange(400), [0.5] * 3, [0.5] * 3)
    torch.manual_seed(0)
    batch = torch.stack([images[i][0] for i in range(len(images))])
    assert set(batch.unique().tolist()) == {-1.0, 0.0, 1.0}  # black border, hole, white
    cut = (batch == 0).flatten(1).sum(1)
    assert cut.max() == 3 * HOLE**2
    assert 150 < (cut > 0).sum() < 250
    assert (batch == -1).flatten(1).any(1).sum() > 300  # 80 in 81 crops move


def test_the_loaders_hold_every_image_once():
    labels = torch.arange(50)
    images = torch.arange(50.0).reshape(50, 1, 1, 1).expand(50, 1, 8, 8)
    one_by_one = baseline.digits(images, labels, 1.0, 0.0, 1.0)
    for loader in (
        baseline.loader(one_by_one, 20, 0, False),
        baseline.Resident(images, labels, 20),
    ):
        batches = list(loader)
        assert [len(part) for _, part in batches] == [20, 20, 10]
        assert torch.cat([part for _, part in batches]).sort().values.equal(labels)
        assert all(part.equal(x[:, 0, 0, 0].long()) for x, part in batches)


def test_contestants_take_turns():
    order = []
    contestants = {
        name: timing.Contestant(lambda name=name: order.append(name), count=2) for name in "abc"
    }
    times = timing.interleave(contestants, 3, CPU)
    assert "".join(order) == "abc" + "aabbcc" + "bbccaa" + "ccaabb"
    assert all(len(taken.wall) == len(taken.cpu) == 3 for taken in times.values())


def test_ratios_are_of_rounds_that_belong_together():
    slow, fast = (timing.Times(s, s, s) for s in ((2.0, 30.0, 4.0), (1.0, 10.0, 2.0)))
    found = timing.ratio(slow, fast)
    assert (found["median"], found["low"], found["high"]) == (2.0, 2.0, 3.0)


def test_operations_are_counted():
    # cnn3 by hand: multiply-adds of three convolutions and a linear layer, twice that many
    # operations forward, as many for the weights, as many for the inputs of all but the first.
    first, others = 4 * 4 * 16 * 9, 4 * 4 * 16 * 16 * 9 + 2 * 2 * 32 * 16 * 9 + 128 * 10
    assert limits.flops(TASK) == 2 * (2 * first + 3 * others)


def test_the_limit_is_the_products_rate():
    size = problem.SIZES["tiny"]
    product = timing.Times(*[(2 * size.product**3 / 1e9, 4e-6)] * 3)  # a GFLOP/s; faster
    seconds = throughput._epoch(TASK, size, product).seconds
    assert seconds[0] == pytest.approx(2 * TASK.images * limits.flops(TASK) / 1e9)
    assert seconds[1] / seconds[0] == pytest.approx(product.cpu[1] / product.cpu[0])


KERNELS = {
    "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128": "products",
    "nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_TNN": "products",
    "void cudnn::bn_fw_tr_1C11_kernel_NHWC<__nv_bfloat16, float, 512>": "element-wise",
    "triton_poi_fused__native_batch_norm_legit_functional_convolution_copy_relu_3": "element-wise",
    "void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>": "copies",
    "Memcpy DtoD (Device -> Device)": "copies",
    "aten::mkldnn_convolution": "products",
}


def test_kernels_on_a_gpu_are_sorted_and_summed(monkeypatch):
    region = "## Call CompiledFxGraph ##"  # lasts as long as its kernels, and is none
    events = [
        SimpleNamespace(
            name=name,
            device_type=DeviceType.CUDA,
            is_user_annotation=name == region,
            time_range=SimpleNamespace(elapsed_us=lambda: 1000.0 * parts.CALLS),
        )
        for name in (*KERNELS, region)
        for _ in range(parts.CALLS)
    ]
    monkeypatch.setattr(
        parts, "profile", lambda **_: nullcontext(SimpleNamespace(events=lambda: events))
    )
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    found = parts._kernels(lambda: None, torch.device("cuda"))
    for kind, (ms, number) in found.items():
        expected = sum(kind.endswith(meant) for meant in KERNELS.values())
        assert number == expected
        assert ms == pytest.approx(expected * parts.CALLS)


def test_three_runs_in_a_process():
    assert len(runs._train_three("cnn3", 20, "float32", False)) == 3


def test_the_program_writes_what_it_measured(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(timing, "ROUND", 0.01)
    for name in ("PROFILES", "CALLS"):
        monkeypatch.setattr(parts, name, 1)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "KINETO_LOG_LEVEL"):
        monkeypatch.setenv(name, "99")  # which the program changes: they end with this test
    sections = [name for name in engine.SECTIONS if name != "runs"]  # another process, see above
    arguments = ["--size", "tiny", "--out", str(tmp_path), "--sections"]
    assert engine.main([*arguments, *sections]) == 0
    (folder,) = tmp_path.iterdir()
    written = json.loads((folder / "engine.json").read_text())
    assert list(written["sections"]) == sections
    assert written["machine"]["torch"] == torch.__version__
    page = (folder / "engine.md").read_text()
    for name, section in written["sections"].items():
        assert f"## {name}" in page
        assert section["commit"]
        assert section["date"].startswith("20")
        assert all(table["rows"] for table in section["tables"])
    assert "not measured (needs a GPU)" in page
    rows = written["sections"]["sam"]["tables"][0]["rows"]
    assert rows[0]["of two SGD steps"]["rounds"] == [0.5, 0.5]

    # A section that fails is named, and the others stay.
    def broken(size, device):
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(engine.SECTIONS, "sam", broken)
    assert engine.main([*arguments, "sam"]) == 1
    assert "no such kernel" in capfd.readouterr().err
    again = json.loads((folder / "engine.json").read_text())["sections"]
    assert again["sam"]["tables"][0]["rows"] == [{"error": "RuntimeError: no such kernel"}]
    assert again["update"] == written["sections"]["update"]


@pytest.mark.parametrize(
    ("measured", "at_least", "verdict"),
    [
        (10.0, True, "| met |"),
        (9.9, True, "| missed |"),
        (10.1, False, "| missed |"),
        (None, True, "| not measured (needs a GPU) |"),
    ],
)
def test_goals_say_whether_they_are_met(measured, at_least, verdict):
    findings = timing.Findings([], [timing.Goal("speed", 10, measured, at_least)])
    section = {"commit": "x", "date": "today", "seconds": 1.0, **asdict(findings)}
    assert verdict in timing.render({"machine": {}, "sections": {"a": section}})
