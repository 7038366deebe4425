"""Run below torchrun: ranks that share a batch, and one rank with all of it, on the same tokens.

    torchrun --nproc-per-node 2 trains_alike.py STRATEGY ACCUMULATION FILE

Rank 0 writes the losses of both and what each counted to FILE.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from mfubench_model.corpus import open_corpus
from mfubench_model.presets import get_preset

from mfubench.hardware.devices import parse_device
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.train_step import unmarked
from mfubench.ranks.measure.strategies import STEPS, Replica

STEPS_TRAINED, BATCH = 20, 4


def main() -> None:
    strategy, accumulation, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    # AdamW divides each gradient by its size. Where one is almost nothing, rounding decides its
    # sign: in float32 that moves a loss by 1e-4 now and then, on some texts.
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    preset, device = get_preset("nanogpt-cpu"), parse_device("cpu")
    config = preset.config
    with tempfile.TemporaryDirectory() as folder:
        corpus = open_corpus(
            None,
            vocab_size=config.vocab_size,
            block_size=config.block_size,
            cache_dir=Path(folder),
        )
        whole = GPTWorkload(preset, BATCH, corpus)
        part = GPTWorkload(preset, BATCH // ranks, corpus)
        torch.manual_seed(7)
        batches = [
            whole.sample_batch("train", torch.device("cpu"))
            for _ in range(STEPS_TRAINED * accumulation)
        ]
        shares = [tuple(t.chunk(ranks)[rank].clone() for t in batch) for batch in batches]
        how = {"dtype": "float32", "compile": False, "accumulation": accumulation}
        one = Replica(whole, device, rank=0, batches=batches, **how)
        several = STEPS[strategy](part, device, rank=rank, batches=shares, **how)
        losses: dict[str, list[float]] = {"one": [], "several": []}
        for _ in range(STEPS_TRAINED):
            one.iterate(unmarked)
            several.iterate(unmarked)
            mean = several.last_loss.double()
            dist.all_reduce(mean)
            losses["one"].append(float(one.last_loss))
            losses["several"].append(float(mean) / ranks)
        flops = torch.tensor([part.cost("float32", "cpu").model_flops])
        dist.all_reduce(flops)
        if rank == 0:
            whole_flops = whole.cost("float32", "cpu").model_flops
            answer = {**losses, "flops": int(flops), "whole_flops": whole_flops}
            path.write_text(json.dumps(answer), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
