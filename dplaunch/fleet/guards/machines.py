"""Guards on machines: surveys, commands, and ports that other nodes try."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from dplaunch.errors import DplaunchError
from dplaunch.fleet.guards.driver import SLACK, Guards, refusal_error
from dplaunch.fleet.guards.session import Message
from dplaunch.model.check import Finding
from dplaunch.model.remote import Connected, ExecResult, Listening, SurveyReply
from dplaunch.wire import replies, requests
from dplaunch.wire.replies import Reply

OPEN_WITHIN = 10.0
"""Seconds until a node must have opened the ports that others try."""


class GuardedMachines(Guards):
    """The whole of what guards can do on machines."""

    def prepare(self, report: Callable[[str], None]) -> None:
        """Machines are there."""

    def examine(self) -> tuple[Finding, ...]:
        """There is nothing beside the machines, which probes look at."""
        return ()

    def execute(self, nodes: Collection[str], argv: Sequence[str], timeout: float) -> tuple[ExecResult, ...]:
        """Run a command on these nodes at once, in the environment that processes start from."""
        return self.execute_each(dict.fromkeys(nodes, argv), timeout)

    def execute_each(self, wanted: Mapping[str, Sequence[str]], timeout: float) -> tuple[ExecResult, ...]:
        """The same with a command for each node."""
        asked = {n: requests.execute(argv, timeout) for n, argv in wanted.items() if n in self.reached}
        answers = self.gather(asked, timeout + SLACK)
        return tuple(self._executed(node, answers.get(node)) for node in self.names if node in wanted)

    def _executed(self, node: str, reply: Reply | None) -> ExecResult:
        refusal = None if reply is None else replies.refusal(reply)
        if refusal is not None:
            return ExecResult(node=node, problem=refusal.text)
        done = None if reply is None else self._parse(node, reply, replies.executed)
        return done or ExecResult(node=node, problem=self._lost(node).text)

    def survey(
        self,
        surveys: Mapping[str, Mapping[str, object]],
        patience: float,
        progress: Callable[[str, int, int], None],
    ) -> dict[str, SurveyReply]:
        """Run surveys; ``progress`` is given node, commands answered, commands in all."""

        def on_message(node: str, message: Message) -> None:
            if message.get("event") == "surveyed":
                counts = self._parse(node, message, replies.progress)
                if counts is not None:
                    progress(node, *counts)

        wanted = {node: requests.survey(survey) for node, survey in surveys.items()}
        return self.each(wanted, patience, replies.surveyed, on_message)

    def survey_aside(
        self, surveys: Mapping[str, Mapping[str, object]], take: Callable[[str, SurveyReply | None], None]
    ) -> None:
        """The same without waiting; ``take`` is given None where a node refused, nothing where it is lost."""

        def on_reply(node: str, reply: Reply) -> None:
            refused = replies.refusal(reply) is not None
            found = None if refused else self._parse(node, reply, replies.surveyed)
            if refused or found is not None:
                take(node, found)

        self.ask_aside({node: requests.survey(survey) for node, survey in surveys.items()}, on_reply)

    @contextmanager
    def listening(
        self, wanted: Mapping[str, tuple[str, Sequence[int]]], random: int, seconds: float
    ) -> Iterator[dict[str, Listening | DplaunchError]]:
        """Open ports (node → address, ports) for as long as the block runs; a lost node is missing."""
        asked = {
            node: number
            for node, (address, ports) in wanted.items()
            if (number := self.send(node, requests.listen(address, ports, random, seconds))) is not None
        }
        try:
            yield self._opened(asked)
        finally:
            for node, number in asked.items():
                self.send(node, requests.cancel(number))

    def _opened(self, asked: Mapping[str, int]) -> dict[str, Listening | DplaunchError]:
        found: dict[str, Listening | DplaunchError] = {}

        def on_message(node: str, message: Message) -> None:
            if message.get("id") != asked.get(node):
                return
            refusal = None if "event" in message else replies.refusal(message)
            if refusal is not None:
                found[node] = refusal_error(node, refusal)
            elif message.get("event") == "listening":
                opened = self._parse(node, message, replies.listening)
                if opened is not None:
                    found[node] = opened

        def done() -> bool:
            return all(node in found or node not in self.sessions for node in asked)

        self.deliver(on_message, until=done, deadline=self.clock() + OPEN_WITHIN)
        late = DplaunchError(f"no answer within {OPEN_WITHIN:.0f} s")
        return {node: found.get(node, late) for node in asked if node in found or node in self.sessions}

    def connect(
        self, targets: Mapping[str, Sequence[tuple[str, str, int]]], timeout: float, patience: float
    ) -> tuple[Connected, ...]:
        """Try connections from each node to (key, address, port)."""
        wanted = {node: requests.connect(many, timeout) for node, many in targets.items()}
        found = self.each(wanted, patience, replies.connected)
        return tuple(result for results in found.values() for result in results)
