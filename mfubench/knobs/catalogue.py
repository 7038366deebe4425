"""The knobs: each one change to the way the same model trains, declared here and nowhere else.

To add one, add a `Knob` to `KNOBS`: a name, what changes in the `LoopConfig`, where it applies, and
the words to type for it. docs/knobs.md says the rest.
"""

from __future__ import annotations

from mfubench.knobs.kinds import (
    batch_knob,
    compiled,
    eager,
    environment,
    float32_attention,
    loader,
    preload,
    scaled_batch_knob,
    set_to,
)
from mfubench.knobs.knob import (
    Knob,
    hybrid,
    installed,
    only_cpu,
    only_cuda,
    several_cores,
    smt,
    supports,
    unpadded,
)
from mfubench.measure.loop_config import HELD_MEMORY

# A search tries them in this order among those with as much to win.
KNOBS: tuple[Knob, ...] = (
    Knob(
        name="malloc keeps memory",
        before="glibc returns large blocks to the system",
        after="glibc keeps them",
        change=environment(**HELD_MEMORY),
        nanogpt=" ".join(f"{k}={v}" for k, v in HELD_MEMORY.items()) + " python train.py",
        pytorch="the same variables",
        inapplicable=only_cpu,
    ),
    Knob(
        name="huge pages",
        before="pages of 4 KiB",
        after="glibc asks for huge pages",
        change=environment(GLIBC_TUNABLES="glibc.malloc.hugetlb=1", **HELD_MEMORY),
        nanogpt="GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python train.py",
        pytorch="the same variable",
        inapplicable=only_cpu,
    ),
    *(
        Knob(
            name=library,
            before="the system's allocator",
            after=library,
            change=preload(library),
            nanogpt=f"LD_PRELOAD={file} python train.py",
            pytorch="the same variable",
            inapplicable=installed(library),
        )
        for library, file in (
            ("jemalloc", "libjemalloc.so.2"),
            ("tcmalloc", "libtcmalloc_minimal.so.4"),
        )
    ),
    *(
        Knob(
            name=f"adamw {kind}",
            before="torch's default AdamW",
            after=f"AdamW, {kind}",
            change=set_to(optimizer=kind),
            nanogpt=f"AdamW(…, {arguments}) in configure_optimizers",
            pytorch=f"torch.optim.AdamW(…, {arguments})",
            aims_at=("optimizer",),
            long_shot=kind != "fused",
        )
        for kind, arguments in (
            ("fused", "fused=True"),
            ("foreach", "foreach=True"),
            ("for-loop", "foreach=False, fused=False"),
        )
    ),
    Knob(
        name="evaluate every 1000",
        before="the preset's eval_interval",
        after="losses estimated, and a checkpoint saved, every 1000 iterations",
        change=set_to(eval_interval=1000),
        nanogpt="--eval_interval=1000",
        pytorch="validate and torch.save less often",
        aims_at=("evaluation", "checkpoint"),
    ),
    *(batch_knob(factor) for factor in (2, 4, 10)),
    *(scaled_batch_knob(factor) for factor in (2, 4)),
    compiled("default"),
    compiled("reduce-overhead", inapplicable=only_cuda),
    compiled("max-autotune", inapplicable=only_cuda),
    Knob(
        name="bf16 autocast",
        before="float32",
        after="bfloat16 matmuls",
        change=set_to(dtype="bfloat16"),
        nanogpt="--dtype=bfloat16 (on CUDA; on a CPU change ctx in train.py)",
        pytorch="with torch.autocast(device, dtype=torch.bfloat16): …",
        changes_numerics=True,
        aims_at=("gemm",),
        inapplicable=supports("bfloat16"),
    ),
    float32_attention(
        "bf16 autocast with f32 attention",
        "bfloat16 matmuls outside the attention",
        'ctx = torch.autocast("cpu", dtype=torch.bfloat16) in train.py',
        dtype="bfloat16",
    ),
    Knob(
        name="bf16 weights",
        before="float32 weights",
        after="bfloat16 weights and optimizer state",
        change=set_to(weights="bfloat16"),
        nanogpt="model.to(torch.bfloat16) in train.py",
        pytorch="model.to(torch.bfloat16)",
        changes_numerics=True,
        aims_at=("gemm",),
        inapplicable=supports("bfloat16"),
    ),
    float32_attention(
        "bf16 weights with f32 attention",
        "bfloat16 weights and optimizer state, the attention in float32",
        "model.to(torch.bfloat16) in train.py",
        weights="bfloat16",
    ),
    Knob(
        name="fp16 autocast",
        before="float32",
        after="float16 matmuls with a gradient scaler",
        change=set_to(dtype="float16"),
        nanogpt="--dtype=float16",
        pytorch="torch.autocast(device, dtype=torch.float16) and torch.amp.GradScaler",
        changes_numerics=True,
        aims_at=("gemm",),
        inapplicable=supports("float16"),
    ),
    Knob(
        name="tf32",
        before="strict float32",
        after="TF32 matmuls",
        change=set_to(dtype="tf32"),
        nanogpt="on already",
        pytorch='torch.set_float32_matmul_precision("high")',
        changes_numerics=True,
        aims_at=("gemm",),
        inapplicable=supports("tf32"),
    ),
    eager("eager", "--compile=False"),
    eager(
        "eager in strict float32",
        "--dtype=float32 --compile=False, and allow_tf32 = False in train.py",
        dtype="float32",
    ),
    Knob(
        name="attention math",
        before="fused attention",
        after="attention by separate matmuls",
        change=set_to(attention="math"),
        nanogpt="self.flash = False in model.py",
        pytorch="with sdpa_kernel(SDPBackend.MATH): …",
        aims_at=("attention",),
        long_shot=True,
    ),
    Knob(
        name="gelu tanh",
        before="exact GELU (erf)",
        after="GELU's tanh approximation",
        change=set_to(gelu="tanh"),
        nanogpt='nn.GELU(approximate="tanh") in model.py',
        pytorch='nn.GELU(approximate="tanh")',
        changes_numerics=True,
        aims_at=("activation",),
    ),
    *(
        Knob(
            name=f"vocab x{multiple}",
            before="the data's vocabulary",
            after=f"padded to a multiple of {multiple}",
            change=set_to(vocab_multiple=multiple),
            nanogpt="vocab_size in model_args",
            pytorch="a vocabulary padded with ids that never occur",
            changes_numerics=True,
            inapplicable=unpadded(multiple),
        )
        for multiple in (64, 128)
    ),
    Knob(
        name="zero_grad zeros",
        before="gradients dropped",
        after="gradients filled with zeros",
        change=set_to(zero_grad="zeros"),
        nanogpt="zero_grad(set_to_none=False)",
        pytorch="optimizer.zero_grad(set_to_none=False)",
        long_shot=True,
    ),
    loader("thread", "drawn one ahead by a thread", "a queue filled by threading.Thread"),
    loader("workers-2", "DataLoader with 2 workers", "DataLoader(…, num_workers=2)"),
    loader("workers-4", "DataLoader with 4 workers", "DataLoader(…, num_workers=4)"),
    *(
        Knob(
            name=f"log every {interval}",
            before="the preset's log_interval",
            after=f"a loss read every {interval} iterations",
            change=set_to(log_interval=interval),
            nanogpt=f"--log_interval={interval}",
            pytorch="loss.item() less often",
            aims_at=("logging", "synchronisation"),
        )
        for interval in (10, 100)
    ),
    Knob(
        name="accumulate 4",
        before="one batch per optimizer step",
        after="four batches per optimizer step",
        change=set_to(gradient_accumulation=4),
        nanogpt="--gradient_accumulation_steps=4",
        pytorch="loss.backward() four times per optimizer.step()",
        changes_numerics=True,
        aims_at=("optimizer", "clip", "dispatch"),
    ),
    Knob(
        name="activation checkpointing",
        before="activations kept",
        after="each block computed again in the backward pass",
        change=set_to(activation_checkpointing=True),
        nanogpt="torch.utils.checkpoint in Block",
        pytorch="torch.utils.checkpoint.checkpoint(block, x)",
        long_shot=True,
    ),
    Knob(
        name="flush denormals",
        before="denormal numbers kept",
        after="denormal numbers are zero",
        change=set_to(flush_denormals=True),
        nanogpt="torch.set_flush_denormal(True)",
        pytorch="torch.set_flush_denormal(True)",
        changes_numerics=True,
        inapplicable=only_cpu,
    ),
    Knob(
        name="one thread",
        before="a thread per usable core",
        after="one thread",
        change=set_to(threads=1),
        nanogpt="OMP_NUM_THREADS=1 python train.py",
        pytorch="torch.set_num_threads(1)",
        inapplicable=several_cores,
        long_shot=True,
    ),
    Knob(
        name="a thread per physical core",
        before="a thread per usable processor",
        after="one per physical core",
        change=lambda config, machine: {"threads": machine.cores.physical},
        nanogpt="OMP_NUM_THREADS=cores python train.py",
        pytorch="torch.set_num_threads(cores)",
        inapplicable=smt,
    ),
    Knob(
        name="performance cores",
        before="all cores",
        after="bound to the performance cores",
        change=lambda config, machine: {
            "cpus": machine.fast_cpus,
            "threads": len(machine.fast_cpus),
        },
        nanogpt="taskset -c 0-7 python train.py",
        pytorch="os.sched_setaffinity(0, performance_cores)",
        inapplicable=hybrid,
    ),
    Knob(
        name="idle threads sleep",
        before="idle OpenMP threads spin",
        after="they sleep",
        change=environment(OMP_WAIT_POLICY="passive"),
        nanogpt="OMP_WAIT_POLICY=passive python train.py",
        pytorch="the same variable",
        inapplicable=several_cores,
        long_shot=True,
    ),
    Knob(
        name="threads bound to cores",
        before="the system moves OpenMP's threads",
        after="each stays on its core",
        change=environment(OMP_PROC_BIND="true", OMP_PLACES="cores"),
        nanogpt="OMP_PROC_BIND=true OMP_PLACES=cores python train.py",
        pytorch="the same variables",
        inapplicable=several_cores,
    ),
)


KNOBS_BY_NAME = {knob.name: knob for knob in KNOBS}
