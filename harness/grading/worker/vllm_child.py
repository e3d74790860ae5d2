"""The program in which vLLM runs: one model, loaded once; token ids in, token ids out.

A process of its own, because vLLM's pins and those of the grader's libraries exclude each other, and because ending it is the one
way to get all of its memory back. It speaks in lines of JSON: settings first, then requests, each answered by one line. It is
given ids of tokens and a list of ids that end an answer; template, tokenizer and caps are the worker's, whatever vLLM's own are.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

# The prompt's and the answer's tokens are all that counts: no sampling, no penalties, no generation_config.json, no end token of
# vLLM's own. Decoding in the process itself keeps the scheduler's order, and so the numerics, the same from run to run.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_PLUGINS": "",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    # threads are the sandbox's limit; binding them would put every grader of a machine on the same cores
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "GLOO_SOCKET_IFNAME": "lo",
}


def serve(settings: dict[str, Any], requests: Any, say: Callable[[dict[str, Any]], None]) -> None:
    """Load the model and answer requests until there are no more.

    Args:
        settings: ``model`` (a folder), ``dtype``, ``max_model_len``, ``max_num_seqs``, ``lora_rank`` (0: no adapters),
            ``kv_bytes`` (0: vLLM decides), ``eager``, ``share`` (of a card's memory; 0: vLLM decides).
        requests: lines of JSON.
        say: takes each answer.
    """
    from vllm import LLM

    try:
        llm = LLM(**_arguments(settings))
    except Exception as exc:
        say({"error": f"{type(exc).__name__}: {exc}"[:2000]})
        raise
    say({"ready": True, "versions": _versions(), "device": _device()})
    for line in requests:
        request = json.loads(line)
        try:
            say(reload(llm, request["reload"]) if "reload" in request else generate(llm.llm_engine, request, say))
        except Exception as exc:
            # the engine's state after an error is nobody's to know: the worker starts another
            say({"error": f"{type(exc).__name__}: {exc}"[:2000]})
            raise


def _arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what vLLM is started with; nothing of a folder but its weights and its configuration is used."""
    found: dict[str, Any] = {
        "model": settings["model"],
        "dtype": settings["dtype"],
        "max_model_len": settings["max_model_len"],
        "max_num_seqs": settings["max_num_seqs"],
        "enforce_eager": settings["eager"],
        "skip_tokenizer_init": True,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "generation_config": "vllm",
        "seed": 0,
        "disable_log_stats": True,
    }
    if settings["kv_bytes"]:
        found["kv_cache_memory_bytes"] = settings["kv_bytes"]
    if settings["share"]:
        found["gpu_memory_utilization"] = settings["share"]
    if settings["lora_rank"]:
        found |= {"enable_lora": True, "max_lora_rank": settings["lora_rank"], "max_loras": 1, "max_cpu_loras": 1}
    return found


def reload(llm: Any, folder: str) -> dict[str, Any]:
    """Read the weights of a folder into the running model; keys and values of the earlier ones are forgotten."""
    llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
    if not llm.reset_prefix_cache():
        raise RuntimeError("the cache of the weights before could not be emptied")
    return {"reloaded": folder}


def generate(engine: Any, request: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Continue every prompt greedily; says now and then how many answers have ended."""
    from vllm import SamplingParams, TokensPrompt
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import RequestOutputKind

    adapter = request["adapter"]
    lora = None if adapter is None else LoRARequest(adapter["name"], adapter["id"], adapter["path"])
    stop = sorted(request["stop"])
    for number, (prompt, cap) in enumerate(zip(request["prompts"], request["caps"], strict=True)):
        params = SamplingParams(
            temperature=0.0,
            max_tokens=cap,
            stop_token_ids=stop,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        engine.add_request(str(number), TokensPrompt(prompt_token_ids=prompt), params, lora_request=lora)
    answers: list[Any] = [None] * len(request["prompts"])
    while engine.has_unfinished_requests():
        ended = 0
        for output in engine.step():
            if output.finished:
                answers[int(output.request_id)] = _answer(list(output.outputs[0].token_ids), frozenset(stop))
                ended += 1
        say({"ended": ended})
    if lora is not None:
        engine.remove_lora(lora.lora_int_id)
    return {"answers": answers}


def _answer(tokens: list[int], stop: frozenset[int]) -> tuple[list[int], bool]:
    """Return an answer without its end token, and whether it had one."""
    ended = bool(tokens) and tokens[-1] in stop
    return (tokens[:-1] if ended else tokens), ended


def _versions() -> dict[str, str]:
    from importlib.metadata import distributions

    wanted = {"torch", "transformers", "vllm", "vllm-cpu"}
    return {name: d.version for d in distributions() if (name := d.metadata["Name"]) in wanted}


def _device() -> str:
    from vllm.platforms import current_platform

    return str(current_platform.device_type)


def main() -> None:
    """Take the settings from the first line of stdin; answer on what was stdout, where nothing else is printed any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    os.environ.update(_ENVIRONMENT)

    def say(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    serve(json.loads(sys.stdin.readline()), sys.stdin, say)


if __name__ == "__main__":
    main()
