"""What training a real small model keeps and needs, counted on the CPU: the bytes of tensors as they come and go."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from typing import Any

import torch
from reading.memory import Training
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {"hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 500}


def small_model(kind: str, training: Training, layers: int, **sizes: Any) -> Any:
    """Make a model of random weights as it is trained."""
    config = AutoConfig.for_model(kind, **{**SIZES, "num_hidden_layers": layers, "use_cache": False, **sizes})
    dtype = torch.float32 if training.weight_bytes == 4 else torch.bfloat16
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    if training.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if training.rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=training.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    return model.train()


def loss_of(model: Any, training: Training) -> Any:
    ids = torch.randint(0, SIZES["vocab_size"], (training.tokens // training.length, training.length))
    # a row of two examples, which must not see each other
    packed = {"position_ids": torch.arange(training.length // 2).repeat(2)[None].expand(ids.shape)} if training.masked else {}
    with torch.autocast("cpu", dtype=torch.bfloat16) if training.autocast else nullcontext():
        return model(input_ids=ids, labels=ids, **packed).loss


def kept_bytes(model: Any, training: Training) -> int:
    """Return the bytes that autograd keeps for the way back, the model's own weights left out."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept[place] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(model, training)
    return sum(storage.nbytes() for storage in kept.values())


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def count(self, tensor: Any) -> None:
        storage = tensor.untyped_storage()
        if self._seen.get(id(storage)) is storage:
            return
        self._seen[id(storage)] = storage
        self._grow(storage.nbytes())
        weakref.finalize(storage, self._grow, -storage.nbytes())

    def _grow(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return made


def most_bytes(model: Any, training: Training, loss: Any = loss_of) -> int:
    """Return the most bytes alive at once in the second of two steps of ``loss``: by then the optimiser has its moments."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, foreach=False)
    live = Live()
    for tensor in (*model.parameters(), *model.buffers()):
        live.count(tensor.data)
    for _ in range(2):
        live.most = live.now
        with live:
            loss(model, training).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return live.most
