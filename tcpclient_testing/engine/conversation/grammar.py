"""The grammar of a script: which step may follow which on one connection.

A step that can never be satisfied is refused where it is written, not when its turn comes. `GRAMMAR` is the table of
what is refused. It knows steps by their traits (see `Step`), never by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.steps.base import ANYTHING, THE_CLIENTS_END, Script, Step
from tcpclient_testing.errors import ScriptError

if TYPE_CHECKING:
    from tcpclient_testing.engine.environment import Environment

    from .any_order import Unordered

__all__ = ["GRAMMAR", "Rule", "check_begun", "check_order", "check_reset"]

__unittest = True


class Rule:
    """One line of the grammar.

    - `about`: the traits of the steps that it is about; one of them is enough
    - `barrier`: what stands in the way of such a step in its script; None if nothing does
    - `why`: the error's text after the step, given the step, the barrier, and the connection's number
    """

    __slots__ = ("about", "barrier", "why")

    def __init__(self, about: tuple[str, ...], barrier: Callable[[Script, Step[Any]], Optional[object]],
                 why: Callable[[Step[Any], Any, int], str]) -> None:
        self.about = about
        self.barrier = barrier
        self.why = why


def _after(rest: Union[str, Callable[[Step[Any], Step[Any]], str]]) -> Callable[[Step[Any], Any, int], str]:
    """Return a `why`: the step comes after the barrier, and `rest` says what is wrong with that."""
    return lambda step, before, number: (f" comes after {before} on connection {number}, "
                                         f"{rest if isinstance(rest, str) else rest(step, before)}")


def _paused_by(script: Script, _: Step[Any]) -> Optional[Step[Any]]:
    """Return the step since which the server does not read."""
    latest = next((step for step in reversed(script.steps) if step.sets_reading is not None), None)
    return None if latest is None or latest.sets_reading else latest


def _tls_before(script: Script, _: Step[Any]) -> Optional[object]:
    """Return what has begun TLS."""
    before = next((step for step in script.steps if step.starts_tls), None)
    return before if before is not None or script.cursor.environment.tls_context is None else "the server has tls="


def _not_a_handshake(script: Script, _: Step[Any]) -> Optional[Step[Any]]:
    """Return the last step if no TLS handshake comes with it."""
    last = script.steps[-1]
    shakes = last.starts_tls or (last.connects and script.cursor.environment.tls_context is not None)
    return None if shakes else last


def _last_of_script(script: Script, step: Step[Any]) -> Optional[Step[Any]]:
    """Return the last step if `step` may not follow it."""
    last = script.steps[-1]
    may_follow = last.followers is ANYTHING or (last.followers is THE_CLIENTS_END and step.answers_end)
    return None if may_follow else last


def _input_ended_by(script: Script, step: Step[Any]) -> Optional[Step[Any]]:
    """Return the step with which the client has ended its stream, if `step` takes a byte, or the stream itself."""
    ended = script.input_ended
    return None if ended is None or (not step.needs_stream and step.may_be_empty()) else ended


def _too_late(_: Step[Any], last: Step[Any]) -> str:
    only = "only expect_disconnect() or expect_reset() may follow" if last.followers is THE_CLIENTS_END \
        else "none may follow"
    return f"where {only}; expect_connect() begins the next connection"


#: What is refused, in the order in which it is looked for.
GRAMMAR: tuple[Rule, ...] = (
    Rule(("needs_sight",), _paused_by,
         _after(lambda step, _: f"so the server {step.needs_sight}")),
    Rule(("starts_tls",), _tls_before,
         lambda _, before, number: f" comes on connection {number}, which speaks TLS already: {before}"),
    Rule(("needs_tls",), lambda script, step: script if _tls_before(script, step) is None else None,
         lambda _, script, number: f" comes on connection {number}, which speaks no TLS: only TLS has a close_notify"),
    Rule(("wants_tls_failure",), _not_a_handshake,
         lambda _, last, number: (f" comes after {last} on connection {number}; it must come directly after "
                                  "start_tls(), or after the expect_connect() of a server with tls=")),
    Rule(("without_reset",),
         lambda script, _: None if script.cursor.environment.can_reset else script,
         lambda step, *_: _no_reset(step)),
    Rule(("sends",), lambda script, _: script.output_ended,
         _after("with which the server has ended its stream: nothing can be sent any more")),
    # Every step has a method.
    Rule(("method",), _last_of_script, _after(_too_late)),
    Rule(("needs_stream", "reads"), _input_ended_by,
         _after("with which the client has ended its stream: nothing can come any more")),
)


def check_begun(script: Optional[Script], what: object) -> None:
    """Raise `ScriptError` if `what` is written before the `expect_connect()` of its script; None is no script yet."""
    if script is None or not script.steps:
        connect = "the first expect_connect()" if script is None \
            else f"the expect_connect() of connection {script.cursor.number}"
        raise ScriptError(f"{what} comes before {connect}: every script begins with expect_connect()")


def check_reset(environment: Environment, step: Step[Any]) -> None:
    """Raise `ScriptError` if `step` resets connections and the server can't: a Unix-domain socket has no reset."""
    if not environment.can_reset and step.without_reset is not None:
        raise ScriptError(f"{step}{_no_reset(step)}")


def _no_reset(step: Step[Any]) -> str:
    return f": a Unix-domain socket has no reset, only a close; use {step.without_reset}"


def check_order(script: Script, step: Step[Any], block: Optional[Unordered] = None, *,
                by_handler: bool = False) -> None:
    """Raise `ScriptError` if `step` may not come next in this script, which must have begun.

    `block` is the any_order() block that is being written. `by_handler` says that a handler adds the step: after
    `hand_over()`, only the handler may add steps.
    """
    if step.free and block is None and script.steps[-1].followers is ANYTHING \
            and script.output_ended is script.input_ended is script.handed_over is None:
        return  # the common case
    number = script.cursor.number
    if script.handed_over is not None and not by_handler:
        raise ScriptError(f"{step} comes after {script.handed_over} on connection {number}, "
                          "after which only the handler adds steps; expect_connect() begins the next connection")
    if block is not None:
        block.check(step)
    for rule in GRAMMAR:
        for trait in rule.about:
            if getattr(step, trait):
                break
        else:
            continue
        before = rule.barrier(script, step)
        if before is not None:
            raise ScriptError(f"{step}{rule.why(step, before, number)}")
