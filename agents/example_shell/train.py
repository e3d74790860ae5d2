"""Train a small LoRA adapter on a JSONL file of prompt and answer: ``train.py EXAMPLES.jsonl OUT``."""

import json
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

steps = int(json.loads(os.environ.get("DOJO_AGENT_PARAMS", "{}")).get("steps", 20))
torch.manual_seed(int(os.environ.get("DOJO_SEED", "0")))
with open(sys.argv[1], encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
tokenizer = AutoTokenizer.from_pretrained("/models/base")
model = AutoModelForCausalLM.from_pretrained("/models/base", dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=3e-4)
for step in range(steps):
    row = rows[step % len(rows)]
    messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["answer"]}]
    ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
    head = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True, return_tensors="pt", return_dict=True)[
        "input_ids"
    ]
    labels = ids.clone()
    labels[:, : head.shape[1]] = -100  # learn the answer, not the question
    loss = model(input_ids=ids, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step + 1}/{steps} loss {loss.item():.3f}", flush=True)
model.save_pretrained(sys.argv[2])
