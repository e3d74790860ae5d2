"""The 28 threats: ways in which agents have been seen to cheat in benchmarks of this kind, or could break out.

`docs/security.md` shows them; a test keeps the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threat:
    """One row.

    Attributes:
        row: 1 to 28.
        title: what an agent does.
        defence: what stops it here.
        rest: what does not stop it, or what is left; empty where nothing is known.
    """

    row: int
    title: str
    defence: str
    rest: str = ""


THREATS: dict[int, Threat] = {
    threat.row: threat
    for threat in (
        Threat(
            1,
            "edit the evaluator or its libraries",
            "the grader runs in another sandbox, made after the agent's is gone; what an agent sees of libraries is read-only",
        ),
        Threat(
            2,
            "hand in another model than a fine-tune of the base",
            "names and shapes must be the base's; weights that lie too far from the base's, matrix by matrix, are refused; no "
            "other model is in the sandbox and there is no network to fetch one",
            "a model that was itself trained from the base lies near it: comparing with known siblings comes later",
        ),
        Threat(
            3,
            "train on a public split that is the test",
            "sources lose what repeats a dev or hidden item when the task is built, exactly, normalised or in runs of 13 words",
        ),
        Threat(
            4,
            "train on test items directly",
            "the hidden split is in no mount, environment, process or answer of the agent's sandbox",
            "a scan of what the agent wrote comes later",
        ),
        Threat(
            5,
            "disguise test items as synthetic data",
            "the hidden split is out of reach; form, case and punctuation do not hide a repeat in sources",
            "paraphrases are not recognised; a scan of what the agent wrote comes later",
        ),
        Threat(
            6,
            "tune on feedback item by item",
            "dev shares no item with hidden; evaluations are counted by the harness, however many are asked for at once",
            "overfitting dev itself; it shows as a gap between dev and hidden",
        ),
        Threat(
            7,
            "contaminate indirectly, through public sets",
            "every source is compared with dev and hidden when the task is built, by text and by key",
            "a scan of the training files an agent made comes later",
        ),
        Threat(
            8,
            "use keys found lying about",
            "no environment, file or descriptor of the host in any sandbox; the gateway takes keys out of every byte that leaves "
            "it; a run's token opens its own API and dies with it",
        ),
        Threat(
            9,
            "swap chat template, tokenizer, architecture or generation settings",
            "the grader takes the base model's and says what it ignored; what would compute something else is refused",
        ),
        Threat(
            10,
            "game the metric: constant, echo, empty, all answers at once",
            "graders take one answer; constant, echoed and empty answers score no more than the majority line that stands beside "
            "every score",
        ),
        Threat(
            11,
            "climb on a server that tells test scores",
            "`evaluate` knows the dev split alone and takes no other; the hidden split is scored once, after the seal",
        ),
        Threat(
            12,
            "read labels out of ids, order or files",
            "a task whose ids or order give answers away is refused when it is built",
        ),
        Threat(
            13,
            "copy a published solution",
            "a task's solution and grader are not in the sandbox, and there is no network to fetch one",
            "comparing with published solutions comes later",
        ),
        Threat(
            14,
            "patch timers, equality, imports or the stack",
            "files are scored, not the agent's processes; the clock is the harness's",
        ),
        Threat(
            15,
            "reread stale memory, caches or files of another run",
            "every run and every grade has a fresh sandbox with files, memory and processes of its own",
            "GPU memory: dojo clears nothing between runs itself",
        ),
        Threat(
            16,
            "change its limits, or outlive its run",
            "limits are set from outside, nobody inside can raise them; the whole tree gets SIGKILL, and the sandbox does it by "
            "itself at the deadline where no harness lives; survivors are counted",
        ),
        Threat(
            17,
            "forge results, scores or meta files",
            "the harness writes them into a place that no sandbox mounts",
        ),
        Threat(
            18,
            "archive tricks: links, devices, `..`, absolute paths, huge, many",
            "a typed refusal at collection; caps on bytes, files and names; nothing is followed",
        ),
        Threat(
            19,
            "pickles, custom code, a hostile tokenizer, template or safetensors header",
            "safetensors and JSON only, headers checked before loading, no remote code, no template of the agent's; loaded "
            "without network as an unprivileged user",
            "a hole in the libraries that load it, then contained by the grader's sandbox",
        ),
        Threat(
            20,
            "NaN, infinite, huge, doubled or forged verdicts",
            "a verdict is finite, bounded, unique and capped, names exactly the split's items, and its scores are computed again",
        ),
        Threat(
            21,
            "plant files for a judge: instructions, verdicts",
            "what is planted in a submission is not read; what is planted in a workspace is kept as data for people",
            "there is no judge in this version",
        ),
        Threat(
            22,
            "steal or overspend an LLM budget",
            "no key in the sandbox; every call is reserved before it goes out and settled after, in one ledger for all wire "
            "formats; another run's token is refused",
        ),
        Threat(
            23,
            "ask the backbone for hidden answers",
            "hidden items never reach the sandbox, so there is nothing to ask with",
            "the talk is kept and searched for hidden items when the run is graded; a paraphrase is not found",
        ),
        Threat(
            24,
            "reach the network, the host, other runs, container sockets, cloud metadata or the kernel's rarer doors",
            "loopback alone, no inherited descriptor, no privilege, `no_new_privs`, own namespaces and a system call filter",
            "holes in the kernel behind the calls that are allowed",
        ),
        Threat(
            25,
            "exhaust the host: fork bomb, memory, disk, handles, output, at the deadline",
            "limits on processes, memory, disk, files and output; commands, collection and the end work when they are reached",
            "where only rlimits are to be had, memory is limited for a process, not for the tree; `dojo doctor` says so",
        ),
        Threat(
            26,
            "kill or impersonate the server inside",
            "the agent's user can neither signal, trace nor reach it; its word is not used for scoring; its death has a cause",
        ),
        Threat(
            27,
            "write after collection from a leftover process",
            "the tree is dead before; the sealed copy lies elsewhere, hashed when it was taken and compared when it is sealed",
        ),
        Threat(
            28,
            "terminal escapes, HTML or script in logs and names",
            "control and escape sequences are stripped from all that is printed; reports escape markup",
        ),
    )
}
