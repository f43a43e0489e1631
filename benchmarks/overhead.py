"""What everything but the network costs:  python benchmarks/overhead.py [CLIP] --model animevideo --threads 1

(wall of the whole job, from the first decode to the closed and verified file, less the wall of the same frames through
`Upscaler.stream` alone, from memory, with the same threads) / wall. Both in one process, in turn; medians of the rounds.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from vsr import UpscaleConfig
from vsr.engine.upscaler import Upscaler
from vsr.media.decode import Reader
from vsr.pipeline import Run
from vsr.planning import Job, draft_job, make_plan
from vsr.workfolder import work_folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", nargs="?", type=Path, default=Path(__file__).parents[1] / "examples" / "bunny_160x90.mp4")
    parser.add_argument("--model", default="animevideo")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    whole, alone = [], []
    for _ in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            config = UpscaleConfig(
                str(options.clip), f"{folder}/out.mp4", scale=4, model=options.model, threads=options.threads, segment=0
            )
            draft = draft_job(config)
            plan = make_plan(draft)
            with Reader(str(options.clip), plan.info) as reader:
                frames = list(reader)
            upscaler = Upscaler(draft.generator, plan.info.format, plan.target, plan.engine)
            began = perf_counter()
            for _ in upscaler.stream(frames):
                pass
            alone.append(perf_counter() - began)
            with work_folder(draft) as journal:
                began = perf_counter()
                run = Run(Job(plan, draft.source, draft.generator), journal)
                run.finish(run.render())
                whole.append(perf_counter() - began)
    wall, network = statistics.median(whole[1:]), statistics.median(alone[1:])
    count = run.report.frames_out
    job = f"{options.model}, {options.clip.name}, {count} frames, {options.threads} threads, {plan.engine.precision}"
    share = (wall - network) / wall
    print(f"{job}: whole {wall:.3f} s ({count / wall:.2f} fps), network alone {network:.3f} s, overhead {share:.1%}")


if __name__ == "__main__":
    main()
