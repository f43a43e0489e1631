"""How fast a model runs here, how close that is to what the chip can do, and what holds it back.

The product's own Reader, Upscaler and Writer, connected as in `vsr.pipeline`, over a clip that is read again and again until
there are frames enough. Nothing is simulated, and no frame repeats.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

from vsr.bench.ceiling import matmul_tflops
from vsr.color import planes_to_rgb, rgb_to_planes
from vsr.config import EncodeConfig, UpscaleConfig
from vsr.engine.crew import Crew
from vsr.engine.ncnn_vulkan import is_vulkan
from vsr.engine.network import Network
from vsr.engine.precision import resolve_device
from vsr.engine.prefetch import prefetch
from vsr.engine.window import Windows
from vsr.frames import FrameBatch
from vsr.media.decode import Reader
from vsr.media.encode import Writer
from vsr.media.encoders import choose_encoding
from vsr.media.hardware import planned
from vsr.pipeline import QUEUE_DEPTH, upscale
from vsr.plan import Plan
from vsr.planning import Draft, draft_job, make_plan
from vsr.resample import resize

WARM_UP = 3  # batches before the clock runs: first calls choose kernels and fill the memory's pools
_BUSY = 0.85  # of the wall time: a stage that works so much is the limit
_FASTER = ("veryfast", "superfast", "ultrafast")  # x264's names, which every codec's preset answers to
_TRIED_FRAMES = 12


@dataclass(frozen=True)
class SpeedReport:
    """Frames a second of the network with its colour conversions (`fps_model`) and of the whole chain (`fps_end_to_end`).

    `mfu` is the network's operations over the measured matrix rate (`ceiling_tflops`), both of `fps_model`. `stages_ms` are
    milliseconds a frame of each stage, which overlap (and so do the `workers` of the model's); `inside_ms` splits the model's
    stage, from a separate pass of single frames with all threads on each, and so need not add up to it. `waits` are shares of
    the wall time that a thread waited: the network for frames, for room behind it; the encoder for frames. Memory in bytes.
    """

    model: str
    size: tuple[int, int]
    frames: int
    device: str
    precision: str
    backend: str
    threads: int
    workers: int
    fps_model: float
    fps_end_to_end: float
    mfu: float
    ceiling_tflops: float
    stages_ms: dict[str, float]
    inside_ms: dict[str, float]
    waits: dict[str, float]
    host_bytes: int
    device_bytes: int
    bottleneck: str


def bench_speed(config: UpscaleConfig, size: tuple[int, int] | None, frames: int) -> SpeedReport:
    """Runs `frames` frames of `config.source`, enlarged to `size` first where one is given, through the whole chain.

    `config` says the rest: model, scale, device, precision, threads, codec. Raises what `upscale` raises.
    """
    with TemporaryDirectory(prefix="vsr-bench-") as folder:
        source = _clip(config, size, Path(folder))
        wish = replace(config, source=source, output=f"{folder}/out.mkv", segment=0.0, reuse="off", overwrite=True)
        draft = draft_job(wish)
        plan = make_plan(draft)
        return _measure(draft, plan, frames, Path(folder))


def _clip(config: UpscaleConfig, size: tuple[int, int] | None, folder: Path) -> str:
    """The source in the size that is asked for: by bicubic, nearly without loss."""
    if size is None:
        return config.source
    encode = EncodeConfig(codec="h264", crf=6, preset="ultrafast")
    made = upscale(UpscaleConfig(config.source, str(folder / "clip.mkv"), size=size, model="bicubic", encode=encode))
    return made.output


def _measure(draft: Draft, plan: Plan, frames: int, folder: Path) -> SpeedReport:
    device = resolve_device(plan.engine.device)
    upscaler = Crew(draft.generator, plan.info.format, plan.target, plan.engine)
    context = draft.generator.spec.context
    for _ in upscaler.stream(_seen(_frames(draft, plan, WARM_UP * plan.engine.batch * plan.engine.workers), context, plan)):
        pass
    seconds: defaultdict[str, float] = defaultdict(float)
    kept: deque[FrameBatch] = deque(maxlen=_TRIED_FRAMES)
    writer = Writer(folder / "speed.mkv", plan)
    began = perf_counter()
    with (
        writer,
        prefetch(_frames(draft, plan, frames), QUEUE_DEPTH, "decode") as decoded,
        prefetch(upscaler.stream(_seen(decoded, context, plan)), QUEUE_DEPTH, "upscale") as upscaled,
    ):
        for batch in upscaled:
            for name, spent in batch.timings.items():
                seconds[name] += spent
            kept.append(batch)
            writer.write(batch)
    wall = perf_counter() - began
    count = len(writer.pts)
    seconds["encode"] = writer.seconds
    workers = plan.engine.workers
    fps, whole = workers * count / seconds["model"], count / wall
    busy = {name: spent / wall / (workers if name == "model" else 1) for name, spent in seconds.items()}
    spec, source = draft.generator.spec, plan.info.format
    foreign = is_vulkan(plan.engine.device)  # torch has no matrix products there
    ceiling = 0.0 if foreign else matmul_tflops(device, plan.engine.precision, plan.engine.threads)
    work = spec.mflop_per_pixel * source.width * source.height / 1e6  # 10^12 operations a frame
    return SpeedReport(
        model=spec.name,
        size=(source.width, source.height),
        frames=count,
        device=plan.engine.device if foreign else _name(device),
        precision=plan.engine.precision,
        backend=plan.engine.backend,
        threads=plan.engine.threads,
        workers=workers,
        fps_model=fps,
        fps_end_to_end=whole,
        mfu=work * fps / ceiling if ceiling else 0.0,
        ceiling_tflops=ceiling,
        stages_ms={name: 1e3 * spent / count for name, spent in seconds.items()},
        inside_ms=_inside(draft, plan),
        waits={
            "network for frames": decoded.consumer_wait_seconds / wall,
            "network for the encoder": upscaled.producer_wait_seconds / wall,
            "encoder for frames": upscaled.consumer_wait_seconds / wall,
        },
        host_bytes=_peak_host_bytes(),
        device_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        bottleneck=_bottleneck(plan, busy, [*kept], whole, folder),
    )


def _seen(batches: Iterator[FrameBatch], context: int, plan: Plan) -> Iterator[FrameBatch]:
    """As the network sees them: with neighbours where it looks at them."""
    return Windows(context, plan.engine.batch).through(batches) if context else batches


def _frames(draft: Draft, plan: Plan, count: int) -> Iterator[FrameBatch]:
    """`count` frames: the clip from its beginning, as often as it takes, its clock going on."""
    done = shift = 0
    assert isinstance(draft.source, str)
    while done < count:
        last = 0
        size, device = plan.engine.batch, planned(plan.hwaccel)
        with Reader(draft.source, plan.info, batch=size, deinterlace=plan.deinterlace, hardware=device) as reader:
            for batch in reader:
                last = batch.pts[-1] + (batch.duration[-1] or 1)
                yield replace(batch, pts=tuple(pts + shift for pts in batch.pts), index=done)
                done += len(batch)
                if done >= count:
                    return
        shift += last - (plan.info.start_pts or 0)


def _inside(draft: Draft, plan: Plan) -> dict[str, float]:
    """Milliseconds of each step of the model's stage for one frame, the best of three, each waited for."""
    device = resolve_device(plan.engine.device)
    network = Network(draft.generator, device, plan.engine)
    batch = next(_frames(draft, plan, 1))
    best: dict[str, float] = {}

    def timed(name: str, began: float) -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        best[name] = min(best.get(name, float("inf")), 1e3 * (perf_counter() - began))

    with torch.inference_mode():
        planes = tuple(torch.from_numpy(plane[:1].copy()).to(device) for plane in batch.planes)
        for _ in range(3):
            began = perf_counter()
            rgb = planes_to_rgb(planes, plan.info.format)
            timed("planes to RGB", began)
            began = perf_counter()
            rgb = network.enlarge(rgb, plan.engine.precision, plan.engine.tile, plan.engine.halo)
            timed("network", began)
            began = perf_counter()
            rgb = resize(rgb, plan.target.height, plan.target.width)
            timed("resize", began)
            began = perf_counter()
            rgb_to_planes(rgb, plan.target)
            timed("RGB to planes", began)
    return best


def _bottleneck(plan: Plan, busy: dict[str, float], frames: list[FrameBatch], fps: float, folder: Path) -> str:
    """One sentence: which stage is the limit, and what would relieve it. `busy`: shares of the wall time."""
    stage = max(("decode", "model", "encode"), key=lambda name: busy.get(name, 0.0))
    share = f"{busy[stage]:.0%} of the time"
    if busy[stage] < _BUSY:
        return f"no stage alone: {stage} is busy {share}; the stages share {plan.engine.threads} threads' cores"
    if stage == "model":
        return f"the network ({share}): a smaller model, another device or a lower --precision would be faster"
    if stage == "decode":
        return f"decoding ({share}): the source's codec is the limit, not the network"
    encoder = plan.encoding.encoder
    for preset in _FASTER:
        quick = _encode_fps(plan, preset, frames, folder)
        if quick > 1.5 * fps:
            return f"the encoder {encoder} ({share}): --preset {preset} encodes {quick:.1f} frames a second here"
    return f"the encoder {encoder} ({share}): more cores, or a hardware encoder (--encoder), would be faster"


def _encode_fps(plan: Plan, preset: str, frames: list[FrameBatch], folder: Path) -> float:
    """Frames a second of the plan's codec with another preset, on the frames at hand."""
    size = plan.target
    encoding, _, _ = choose_encoding(
        EncodeConfig(codec=plan.encoding.codec, preset=preset), plan.encoding.codec, plan.info, size.width, size.height,
        plan.encoding.threads,
    )  # fmt: skip
    began = perf_counter()
    with Writer(folder / f"{preset}.mkv", replace(plan, encoding=encoding)) as writer:
        for batch in frames:
            writer.write(batch)
    return len(writer.pts) / (perf_counter() - began)


def _peak_host_bytes() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
