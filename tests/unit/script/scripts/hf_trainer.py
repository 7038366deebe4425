"""Hugging Face's Trainer, with two batches per step."""

import tempfile

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

torch.manual_seed(0)
config = GPT2Config(
    vocab_size=40,
    n_positions=8,
    n_embd=16,
    n_layer=1,
    n_head=2,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    bos_token_id=0,
    eos_token_id=0,
)
model = GPT2LMHeadModel(config)
generator = torch.Generator().manual_seed(1)
rows = [torch.randint(0, 40, (8,), generator=generator) for _ in range(96)]
data = [{"input_ids": row, "labels": row} for row in rows]


class Prints(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            print(repr(logs["loss"]))


with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=12,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Prints()])
    trainer.remove_callback(PrinterCallback)  # it prints how long the run took
    trainer.train()
