"""What Kubernetes says of pods: which wait and why, and how one has ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from snakefold.kernel.errors import Reason
from snakefold.plan.quote.model import seconds as duration
from snakefold.run.attempts import COMPLETED, Ended
from snakefold.run.queued import RUNNING, WAITING, Queued

NAME = "Kubernetes"
_CONTAINER = "snakemake"
_JOB_LABEL = "job-name"
#: Reasons to wait that end by themselves.
ORDINARY = {"ContainerCreating", "PodInitializing", "Scheduled"}
ENDLESS = {"InvalidImageName", "CreateContainerConfigError", "ErrImageNeverPull"}
_KILLED = 137
#: Reasons of a pod that its node, and not the pod, is to blame for.
_NODE_GONE = {
    *("NodeLost", "NodeShutdown", "NodeAffinity", "Shutdown", "Terminated", "Preempting"),
    "UnexpectedAdmissionError",
}
Pod = Mapping[str, Any]


class Kubernetes:
    """The scheduler of `watching.Scheduler`; asks by the executor plugin's own client and rights."""

    name = NAME
    ordinary = ORDINARY
    endless = ENDLESS

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def queue(self, ids: Iterable[str]) -> list[Queued]:
        """Those of our pods that wait or run."""
        # Kubernetes gives pods of jobs this label, and none of those that the plugin gives the jobs.
        found = {str(pod["metadata"]["labels"][_JOB_LABEL]): pod for pod in self._pods(_JOB_LABEL)}
        return [state for job in ids if job in found and (state := queued(job, found[job])) is not None]

    def ended(self, job: str, rule: str) -> Ended | None:
        """How a pod has ended; None if it has not, or is gone."""
        pods = self._pods(f"{_JOB_LABEL}={job}")
        return ended(job, pods[-1], rule) if pods else None

    def refused(self, said: str) -> Ended | None:
        """Nothing: the plugin ends the run where the API takes no pod."""
        del said
        return None

    def _pods(self, selector: str) -> Sequence[Pod]:
        plugin = self._executor
        # The client's own lists are of objects; what is below is in the words of the API.
        answer = plugin.kubeapi.list_namespaced_pod(
            namespace=plugin.namespace, label_selector=selector, _request_timeout=60
        )
        items = plugin.kubeapi.api_client.sanitize_for_serialization(answer)["items"]
        return list(items)


def queued(job: str, pod: Pod) -> Queued | None:
    """How a live pod stands; None if it is over."""
    status = pod.get("status", {})
    if status.get("phase") in {"Succeeded", "Failed"}:
        return None
    state = _container(pod).get("state", {})
    if "terminated" in state:
        return None
    if "running" in state:
        return Queued(job, RUNNING, "", _time(state["running"].get("startedAt")))
    since = _time(pod["metadata"].get("creationTimestamp"))
    waits = state.get("waiting", {})
    if waits.get("reason"):  # ImagePullBackOff, CreateContainerConfigError
        return Queued(job, WAITING, _joined(waits["reason"], waits.get("message", "")), since)
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            why = _joined(condition.get("reason", "Unschedulable"), condition.get("message", ""))
            return Queued(job, WAITING, why, since)
    return Queued(job, WAITING, "Scheduled" if status.get("conditions") else "", since)


def ended(job: str, pod: Pod, rule: str) -> Ended | None:
    """The end of a pod; None if it has not ended."""
    status = pod.get("status", {})
    last = _container(pod).get("state", {}).get("terminated")
    if last is None and status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    last = last or {}
    started, finished = _time(last.get("startedAt")), _time(last.get("finishedAt"))
    created = _time(pod["metadata"].get("creationTimestamp"))
    took = finished - started if started is not None and finished is not None else None
    word = str(status.get("reason") or last.get("reason") or "Error")
    code = last.get("exitCode")
    reason, message, advice = None, "", ""
    if code == 0 and not status.get("reason"):
        word = COMPLETED
    else:
        after = f" after {duration(took)}" if took else ""
        node = pod.get("spec", {}).get("nodeName")
        told = str(status.get("message") or "").strip().rstrip(".")[:300]
        head = f"Pod of job {job}: {word}{after}{f' on {node}' if node else ''}{f': {told}' if told else ''}"
        reason, tail, advice = _why(word, code, pod, rule)
        message = f"{head}{tail}."
    return Ended(
        state=word,
        reason=reason,
        message=message,
        advice=advice,
        seconds=took,
        queued=max(0.0, started - created) if started is not None and created is not None else None,
        started=started,
    )


def _why(word: str, code: int | None, pod: Pod, rule: str) -> tuple[Reason | None, str, str]:
    """Typed reason, end of the message, advice."""
    section = "msa" if rule == "msa" else "predict"
    if word == "OOMKilled":
        had = _limit(pod)
        larger = "" if section == "msa" else ", or use a larger GPU class (gpu.classes)"
        text = f" (its limit was {had})" if had else ""
        return Reason.OUT_OF_MEMORY, text, f"Raise {section}.mem_mb{larger}."
    if word == "DeadlineExceeded":
        return (
            Reason.TIMEOUT,
            "",
            "The cluster limits the time of pods: make smaller jobs, or have it raised.",
        )
    if word == "Evicted":
        reason = Reason.OUT_OF_MEMORY if "memory" in str(pod["status"].get("message")) else Reason.LOST
        return reason, "", f"The node ran short: raise {section}.mem_mb, or disk_mb in the profile."
    if word in _NODE_GONE:
        return Reason.LOST, "", "Run again: stored results are not computed again."
    if code == _KILLED:
        text = f", exit code {code}: killed by signal 9, as a process is whose memory runs out"
        return Reason.LOST, text, f"If it happens again, raise {section}.mem_mb."
    return None, f", exit code {code}" if code is not None else "", ""


def _container(pod: Pod) -> Mapping[str, Any]:
    found = pod.get("status", {}).get("containerStatuses") or ()
    return next((each for each in found if each.get("name") == _CONTAINER), {})


def _limit(pod: Pod) -> str:
    for each in pod.get("spec", {}).get("containers", ()):
        if each.get("name") == _CONTAINER:
            return str(each.get("resources", {}).get("limits", {}).get("memory", ""))
    return ""


def _joined(reason: str, message: str) -> str:
    """A reason with what is said of it, without the parts that differ from pod to pod."""
    said = re.sub(r"\s+", " ", message).strip().rstrip(".")
    return f"{reason}: {said[:200]}" if said else reason


def _time(text: Any) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).timestamp()
    except ValueError:
        return None
