"""`python -m benchmarks`: measures, prints the table, writes README.md and results.json."""

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.groups import GROUPS, Settings, run
from benchmarks.race import Row, describe_machine

HERE = Path(__file__).parent
HEAD = """# Benchmarks

How fast colorseg is, each figure against a peer that ran in turns with it, on the same machine.
`python -m benchmarks` wrote this page and `results.json`; nothing here was typed. The peers in
PyTorch need `pip install -e ".[benchmarks]"`. Let nothing else run meanwhile.

"Result" is the median over the repetitions, the brackets are the smallest and the largest. What
takes long is repeated less often than is said below, what is quick more often. Where a result says
"x", it is how many times as fast ours is as the peer. Behind each contestant stands its time for
one photograph.
"""


def main(arguments=None):
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=GROUPS,
        metavar="GROUP",
        help="some groups; writes nothing unless --out is given, and there in place of what they "
        f"were: {', '.join(GROUPS)}",
    )
    parser.add_argument("--repetitions", type=int, default=Settings.repetitions)
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="try the code; figures mean nothing, and go nowhere but to --out",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for README.md and results.json (benchmarks/)"
    )
    parser.add_argument("--run", choices=GROUPS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        outcome = run(options.run, Settings(options.repetitions, options.tiny))
        print("\n" + json.dumps(outcome))
        return 0
    out = options.out or (None if options.only or options.tiny else HERE)
    before = None
    if out and options.only and (out / "results.json").exists():
        before = json.loads((out / "results.json").read_text())
        if before["tiny"] != options.tiny:
            parser.error(f"tiny figures are not joined with real ones; {out} has the others")
    machine, commit = describe_machine(), _commit()
    outcomes = {name: _run_apart(name, options) for name in options.only or GROUPS}
    results = {
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": commit,
        "tiny": options.tiny,
        "repetitions": options.repetitions,
        "machine": machine,
        "figures": {k: v for outcome in outcomes.values() for k, v in outcome["figures"].items()},
        "groups": outcomes,
    }
    if before:
        results = join(before, results)
    text = to_markdown(results)
    print(text)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        (out / "README.md").write_text(text)
    return 1 if any("failed" in outcome for outcome in outcomes.values()) else 0


def join(before, results):
    """Returns earlier results with the groups in place that were measured anew."""
    told = {key: results[key] for key in ("finished", "git_commit", "repetitions", "machine")}
    anew = {name: {**outcome, "measured": told} for name, outcome in results["groups"].items()}
    return {
        **before,
        "figures": {**before["figures"], **results["figures"]},
        "groups": {**before["groups"], **anew},
    }


def to_markdown(results):
    """Returns the page of what was measured."""
    lines = [HEAD]
    if results["tiny"]:
        lines.append("**Tried on tiny pictures: these figures mean nothing.**\n")
    lines += [f"Measured {_tell(results)}."]
    for name, outcome in results["groups"].items():
        if "measured" in outcome:
            lines += ["", f"The group `{name}` was measured {_tell(outcome['measured'])}."]
    lines += [
        "",
        "| what | colorseg | peer | result | aim | |",
        "|---|---|---|---:|---:|---|",
    ]
    for name, outcome in results["groups"].items():
        for row in outcome["rows"]:
            lines.append(_line(Row(**row)))
        for what in ("skipped", "failed"):
            if what in outcome:
                lines.append(f"| {name} | | | {what} | | {outcome[what]} |")
    return "\n".join(lines) + "\n"


def _tell(measured):
    """Returns in words when, on what and from which code something was measured."""
    machine = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    before = machine["load_before"]
    load = "" if before is None else f", load {before:.1f} before"
    return (
        f"{measured['finished']} at commit {measured['git_commit']}, "
        f"{measured['repetitions']} repetitions, on {machine['processor']}, "
        f"{machine['cpu_count']} cores, {machine['platform']}{load}; {versions}"
    )


def _line(row):
    low, high = min(row.values), max(row.values)
    spread = f" [{low:.3g}, {high:.3g}]" if len(row.values) > 1 else ""
    aim = verdict = ""
    if row.aim is not None:
        aim = f"{'at least' if row.at_least else 'at most'} {row.aim:g} {row.unit}"
        verdict = "met" if row.is_met else "**missed**"
    ends = "; ".join(filter(None, [verdict, row.note]))
    result = f"{row.value:.3g}{spread} {row.unit}"
    return f"| {row.name} | {row.ours} | {row.peer} | {result} | {aim} | {ends} |"


def _run_apart(name, options):
    """Returns the outcome of a group, from a process of its own: memory and threads are its own."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks", "--run", name]
    command += ["--repetitions", str(options.repetitions), *(["--tiny"] if options.tiny else [])]
    process = subprocess.run(
        command,
        cwd=HERE.parent,
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "",  # these are figures of the CPU
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        print(process.stderr, file=sys.stderr)
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        return {"rows": [], "figures": {}, "failed": reason.replace("|", "/")}
    return json.loads(process.stdout.splitlines()[-1])


def _commit():
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=40"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return process.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
