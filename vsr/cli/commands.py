"""One function for each command: what it calls, and what it says. The heavy libraries are imported when a command runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.console import Console, plain, progress_shown, require_writable, show_rows, write_json
from vsr.errors import BrokenPromise, UsageError, VsrError
from vsr.names import STDIO

if TYPE_CHECKING:
    from vsr.config import UpscaleConfig
    from vsr.frames import VideoInfo
    from vsr.media.imagemeta import StillImage
    from vsr.plan import Plan
    from vsr.report import OnProgress, Report


def run_upscale(config: UpscaleConfig, options: dict[str, Any]) -> None:
    """`vsr upscale`: runs, shows progress, says in the last lines what was made and proved."""
    target = options["json_file"]
    to_stderr = STDIO in (config.output, target)
    console = Console(quiet=options["quiet"], verbose=options["verbose"], log=options["log"], to_stderr=to_stderr)
    if config.output == target == STDIO:
        raise UsageError("--json - and -o - both want standard output: give one of them a file")
    require_writable(target)
    try:
        if options["dry_run"]:
            dry_run(console, config, target)
            return
        with progress_shown(options["progress"], console) as on_progress:
            report = upscaled(config, on_progress)
    except VsrError as exc:
        write_json(target, "upscale", "error", [], error=str(exc))
        raise
    for text in report.warnings:
        console.warn(text)
    for image in report.failed:
        console.warn(f"failed: {image.error}")
    show_result(console, report)
    facts = {
        "frames_in": report.frames_in,
        "frames_out": report.frames_out,
        "frames_reused": report.frames_reused,
        "fps": round(report.fps, 4),
        "seconds": round(report.seconds, 4),
    }
    film = {"plan": report.plan, "verify": report.checks, "read": report.read, "cuts": report.cuts}
    more: dict[str, Any] = {"images": report.images} if report.images else film
    write_json(target, "upscale", "failed" if report.failed else "ok", report.warnings, **facts, output=report.output, **more)
    if report.failed:
        raise VsrError(f"{len(report.failed)} of {len(report.images)} images failed; the others are in {report.output}")


def upscaled(config: UpscaleConfig, on_progress: OnProgress | None) -> Report:
    """The job, on one device or on several."""
    if "," not in config.device and config.device != "all":
        from vsr.pipeline import upscale

        return upscale(config, on_progress)
    from vsr.jobs.local import slots_of
    from vsr.jobs.run import devices_of, upscale_on

    devices = devices_of(config.device.split(","))
    return upscale_on(replace(config, device=devices[0]), slots_of(devices), on_progress)


def dry_run(console: Console, config: UpscaleConfig, target: str | None) -> None:
    """The plan and what it will cost, and nothing done."""
    from vsr.estimate import estimate
    from vsr.planning import Job, draft_job, make_plan
    from vsr.stills import is_still, plan_stills

    if is_still(config):
        output, targets, notes = plan_stills(config)
        for source, path in targets.items():
            console.say(f"{source} -> {path}")
        write_json(target, "upscale", "planned", notes, output=output, images={str(k): str(v) for k, v in targets.items()})
        return
    draft = draft_job(config)
    job = Job(make_plan(draft), draft.source, draft.generator)
    facts = estimate(job)
    show_plan(console, job.plan, facts)
    write_json(target, "upscale", "planned", list(job.plan.warnings), plan=job.plan, estimate=facts)


def show_plan(console: Console, plan: Plan, facts: dict[str, object]) -> None:
    """`--dry-run`, for people."""
    info, engine, encoding = plan.info, plan.engine, plan.encoding
    tiles = f"tiles of {engine.tile} + {engine.halo} px" if engine.tile else "whole frames"
    blend = "" if plan.blend is None else f", blended {plan.blend:g}"
    options = " ".join(f"{key}={value}" for key, value in encoding.options.items())
    rows = {
        "input": f"{info.source} ({info.container.split(',')[0]}, {info.codec}, {info.pix_fmt})",
        "output": f"{plan.output} ({plan.container}, {encoding.encoder}, {encoding.pix_fmt}, {options})",
        "size": plan.upscale_label,
        "model": f"{plan.model}{blend} (native scale {plan.model_scale or 'any'})",
        "engine": f"{engine.device}, {engine.backend}, {engine.precision}, {tiles}, {engine.threads} threads, "
        f"{engine.workers} at a time; encoder {encoding.threads}",
        **{key.replace("_", " "): str(value) for key, value in facts.items()},
        **{f"stream {s.index}": f"{s.action} {s.codec} {s.reason}".strip() for s in plan.streams},
    }
    for key, value in rows.items():
        console.say(f"{key:<18}{value}")
    for text in plan.warnings:
        console.warn(text)


def show_result(console: Console, report: Report) -> None:
    from vsr.media.verify import summary

    if report.plan is not None:
        console.detail(f"plan: {json.dumps(report.plan, default=plain)}")
    noun = ("images" if report.images else "frames")[: None if report.frames_out != 1 else -1]
    where = "standard output" if report.output == STDIO else report.output
    repeats = f" ({report.frames_reused} repeated)" if report.frames_reused else ""
    console.say(f"{where}: {report.frames_out} {noun}{repeats}, {report.fps:.2f} a second, {report.seconds:.1f} s")
    if report.encoder_bound:
        share = report.seconds_for_encoder / report.seconds
        console.say(
            f"the network waited {share:.0%} of the time for the encoder: a faster --preset, or a hardware --encoder, would help"
        )
    if report.checks:
        console.say(f"verified: {summary(report.checks)}")


def run_verify(source: str, output: str, target: str | None, *, pixels: bool, progress: str) -> None:
    """`vsr verify`: a table of every promise; raises BrokenPromise when one is broken."""
    from vsr.media.verify import verify_files
    from vsr.report import Progress

    began = monotonic()
    try:
        with progress_shown(progress, Console(to_stderr=target == STDIO)) as draw:

            def tell(done: int, total: int) -> None:
                if draw is not None:
                    draw(Progress("verify", done, total, monotonic() - began))

            checks = verify_files(source, output, pixels=pixels, on_frame=tell)
    except VsrError as exc:
        write_json(target, "verify", "error", [], error=str(exc), checks=[])
        raise
    broken = [check.name for check in checks if not check.ok]
    if target != STDIO:
        width = max(len(check.name) for check in checks) + 2
        for check in checks:
            click.echo(f"{check.name:<{width}}{'ok' if check.ok else 'BROKEN':<8}{check.detail}")
    stated = [f"{check.name}: {check.detail}" for check in checks if check.stated]
    write_json(target, "verify", "broken" if broken else "ok", stated, source=source, output=output, checks=checks)
    if broken:
        raise BrokenPromise(f"{output}: {len(broken)} of {len(checks)} promises are broken: {', '.join(broken)}")


def run_probe(source: str, target: str | None) -> None:
    """`vsr probe`."""
    from vsr.media.images import is_image, read_image
    from vsr.media.probe import probe
    from vsr.media.source import standard_input

    if is_image(source):
        image = read_image(Path(source))
        rows, content = image_rows(source, image), {"format": image.batch.format, "source_format": image.source_format}
    else:
        info = probe(standard_input() if source == STDIO else source)
        rows, content = film_rows(info), {"info": info}
    if target != STDIO:
        show_rows(rows)
    write_json(target, "probe", "ok", [], **content)


def image_rows(source: str, image: StillImage) -> dict[str, object]:
    size, layout = image.batch.format, image.batch.format.layout
    carried = [name for name in ("icc", "exif", "xmp", "dpi") if getattr(image, name)]
    return {
        "image": source,
        "format": f"{image.source_format}, {size.width}x{size.height}",
        "samples": f"{layout.kind}, {layout.bits} bits{', alpha' if layout.alpha else ''}",
        "carries": ", ".join(carried),
    }


def film_rows(info: VideoInfo) -> dict[str, object]:
    color, size = info.format.color, info.format
    guessed = " (untagged: as players guess)" if color.matrix_guessed else ""
    chroma = f", chroma {color.siting}" if size.layout.log2_chroma_w else ""
    rows: dict[str, object] = {
        "file": f"{info.source} ({info.container})",
        "film": f"stream {info.index}, {info.codec}, {info.pix_fmt}, {size.width}x{size.height}, sample aspect {info.sar}",
        "time": f"about {info.frames} frames, nominal rate {info.rate}, clock {info.time_base}, first pts {info.start_pts}",
        "duration": f"{info.duration:.3f} s" if info.duration else "",
        "colour": f"matrix {color.matrix}{guessed}, {'full' if color.full_range else 'limited'} range, "
        f"primaries {color.primaries}, transfer {color.transfer}{chroma}",
        "hdr": ", ".join(info.hdr) or "no",
        "interlaced": "yes" if info.interlaced else "no",
        "rotation": f"{info.rotation} degrees",
        "chapters": info.chapters,
    }
    for s in info.streams:
        words = (
            s.type,
            s.codec,
            s.detail,
            s.language,
            s.title,
            "cover art" * s.cover,
            "default" * s.default,
            "forced" * s.forced,
        )
        rows[f"stream {s.index}"] = " ".join(filter(None, words))
    return rows
