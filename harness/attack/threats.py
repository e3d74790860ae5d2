"""The threats: ways in which agents have been seen to cheat in benchmarks of this kind, or could break out.

`docs/security.md` shows them; a test keeps the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threat:
    """One row.

    Attributes:
        row: its number, which stays.
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
            "the agent's user can neither signal, trace nor reach it; its word is not used for scoring; its death has a cause, "
            "and one that an agent can bring about (by all of its memory) is its own end: no other attempt, and the run counts",
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
        Threat(
            29,
            "hand in an agent's directory that takes along what it should not: links, pipes, devices, holes, rights, hidden code",
            "plain files alone are looked at, digested and copied, by one walk that follows nothing; their bytes are taken, no "
            "set-uid bit, owner or capability; the digest is taken again of the copy; hidden names and caches are no part of it",
            "a second name (hard link) of a file that its author could read anyway cannot be told from the file",
        ),
        Threat(
            30,
            "hand in or answer what breaks its own grade, so that the run does not count",
            "ranks, configs, headers and values are bounded before anything is loaded, and read without raising; answers are "
            "made plain once; a model's code touches no mode, owner, time, signal or priority of its grader; file calls end "
            "before the server's own folder and the kernel's files; where a grade breaks all the same (error, forged reply, "
            "memory, death) and the base model is graded well right after it, the submission is at fault: `agent_error`, worth "
            "what nothing handed in is worth",
            "a submission that only slows its grade down; three accidents in a row before a good grade of the base model look "
            "like the submission's fault: `dojo grade --again` mends that",
        ),
        Threat(
            31,
            "make the hidden split again with a copy of the task's program",
            "hidden items are drawn with a secret of the installation (0600, never told); its digest stands in every result, "
            "and only equal digests are compared; what is drawn with the public seed is marked on every table; nothing that "
            "agents see is drawn with the secret",
            "of a pool that is small (molecules, numbers in words) many draws know a part; `full` and `strict` take theirs from "
            "published test sets",
        ),
        Threat(
            32,
            "hand in another model by halves: as a full-rank adapter, in under half of the matrices, in the norms",
            "the change of every matrix, norm, bias, embedding and head is measured, in adapters and full weights alike; the "
            "largest, the ninth tenth and the share beyond the limit decide, and all of it stands in the result",
            "a model that was itself trained from the base, as in row 2; fine-tunes at ruinous rates or scales are refused too, "
            "at handing in: `benchmarks/honest.py` counts such false alarms",
        ),
        Threat(
            33,
            "gain time before the clock starts, or have the preparation fail so that the run does not count",
            "nothing of the agent's runs or is read before the clock: its variables and parameters reach its own process alone, "
            "whether by module paths, user folders, PATH, preloaded libraries or size; what no process can be started with is "
            "refused at plan time; what it installs is put in place without running anything of it",
        ),
        Threat(
            34,
            "gain time after the deadline, by a call that is under way then",
            "whichever budget ends the run, all of the agent is dead first and nothing of it can start: escaped processes, "
            "commands under way and commands that wait; what was being handed in is then copied anew from where nothing runs; "
            "what was being read for a check or a score, or comes later, is refused; how long the end took is in the result",
            "CPU-seconds are measured: what is spent beyond the budget is up to 0.2 s on every core",
        ),
        Threat(
            35,
            "fill the memory of the harness, which other runs share: unread answers, bodies of many values, held calls",
            "one run costs it at most 64 MB: a JSON body of the API has at most 1 MB, a call to a backbone 6 MB, values are "
            "counted before any is built, and what they become waits for room; files and answers lie on the disk; connections, "
            "what each holds, notes and submissions are counted; the end of a run is told from its file",
            "large answers of a backbone that an agent may make long, as lists of likely words are; a process for each run",
        ),
        Threat(
            36,
            "leave files that act on the people who look: repositories, editor settings, build files, tests",
            "what an agent leaves is kept as one archive that `dojo files` lists and prints; taken out, hidden names and git's "
            "HEAD are changed; a submission is flat and holds files of models alone",
            "the agent's own directory lies in the run's folder as its author wrote it, but for hidden names and HEAD; who "
            "starts what was taken out, starts it",
        ),
        Threat(
            37,
            "fill the run's record, or make the agent's own mistakes look like the harness's faults",
            "one writer with one cap for all that an agent causes: errors that repeat are counted, calls that cannot go "
            "unrecorded are refused beyond it, submissions and notes have a number; wrong calls are answered as such",
        ),
        Threat(
            38,
            "hold a run, or the harness's disk, with what is collected: holes, and files that are refused anyway",
            "files are weighed by what they take on the disk beside their length; what is refused (too long, beyond the sum, "
            "mostly holes) comes out of the sandbox by its name alone; every copy has a deadline by the size it may have",
            "what is written whole is copied whole, up to the task's disk",
        ),
        Threat(
            39,
            "be the same user as an account of the host or another run: read it through `/proc`, signal it, use up its share",
            "a user and group of its own for every sandbox, the grader's too, from numbers that nobody hands out: no account, no "
            "subordinate range, no process of this host has it, and it comes again only after all others",
            "command lines, which Linux shows to every user of the host",
        ),
        Threat(
            40,
            "read hidden items where they lie: below the host's system, or as another user of the host",
            "of the host's system sandboxes are shown a list of folders; no run begins with cache, results or tasks in one of "
            "them; prepared data lies in folders that nobody else enters; doctor, submit and `data verify` look at both",
            "root of the host, and what runs as dojo's own user outside sandboxes, reads everything",
        ),
        Threat(
            41,
            "have more of the machine than others, by a sandbox of its own beside the task's",
            "what that one has of CPUs, memory, processes and disk is taken from the task's limits, and it has no GPU; "
            "CPU-seconds of both are one budget; what leaves the other nothing is refused at plan time; both shares stand in "
            "the result",
            "for an ordinary user without control groups, memory is limited for each process and CPU is not, as everywhere there",
        ),
        Threat(
            42,
            "put the dev split together out of sampled errors, and train on it",
            "whether training on dev is allowed stands in every goal and in `GET /v1/task`; errors are drawn from a fixed "
            "quarter of each sub-set; the gap between dev and hidden stands in every result",
            "a score an item is one bit an item and evaluation; the dev split of `mini` can be made again by who has the program",
        ),
        Threat(
            43,
            "hand in another model, write down hidden items or forge the harness's files, and keep the score",
            "such a run ends as agent_integrity and is graded as if nothing had been handed in",
            "models that are in no cache here; hidden items in files that are no text, and those of published test sets",
        ),
        Threat(
            44,
            "use small gaps: more memory than there is, calls that leave no event, answers of chance, closed folders",
            "memory is claimed like cores and GPUs; text is made clean where it comes in; an answer is scored once; a closed "
            "folder hides nothing else from the people who look",
            "the grader's sandbox beside a run has the run's limit of memory again, which no claim counts",
        ),
    )
}
