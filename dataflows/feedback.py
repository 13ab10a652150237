"""feedback: conversations, ratings, comments and metrics become KPIs and alerts.

    events → decode → lateness → sentiment → [bucket] join → [bucket] windows → KPI store
                │         └ frontier ↑           │              └ [lane] detect ↗ └→ log, webhook, console
                └→ dead letters                  └→ facts ↗

What is in a window is a function of the events, whatever came late, twice or in between a crash: a fact that changes is
taken out where it counted and put in where it counts. State that later events can change is the engine's, so that a
flow without it reads everything again; until it is as far as the store, the store keeps what it has.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from dataflows.barred import Barred
from dataflows.feedback_decoding import FeedbackDecoding
from dataflows.module import flow_of
from dataflows.outputs import keep_dead, write_to_store
from events.clock import system_clock
from events.erasure import ErasedConversation, Erasure
from events.feedback import Timed
from events.kpis import FactChange
from events.log import replay_stream
from operators.feedback.configure import alert_rules, kpi_rules, limits, objectives
from operators.feedback.detect import detect
from operators.feedback.frontier import frontier
from operators.feedback.join import join
from operators.feedback.judge import GivenUp, judge_later, judge_now, remembering
from operators.feedback.lateness import lateness
from operators.feedback.windows import windows
from stores.alerting.choose import open_alert_sinks
from stores.kpi_settings import window_of
from stores.kpis.intake import KpiIntake
from stores.log.choose import open_log, open_own_log
from stores.log.source import LogSource
from stores.sentiment.choose import examples_of, open_classifier, open_judge
from stores.sentiment.examples import topics_of
from stores.settings import Settings

FLOW = "feedback"
logger = logging.getLogger(__name__)


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: sources, classifier and stores open on the workers that use them.

    :raises SettingsError: When a KPI, an alert or an example of what comments say cannot be understood.
    """
    log, own_log = open_log(settings), open_own_log(settings)
    feedback = settings.feedback
    live = settings.mode == "live"
    late = limits(feedback)
    barred = Barred(settings)
    decoding = FeedbackDecoding(FLOW, feedback, system_clock, barred)
    source = LogSource(
        log,
        decoding.streams,
        batch_size=feedback.batch_size,
        tail=live,
        heartbeat_seconds=feedback.heartbeat_seconds,
        clock=system_clock,
        on_expired=settings.log.on_expired,
        reader=FLOW,
    )

    flow = Dataflow(FLOW)
    records = op.input("log", flow, source)
    decoded = op.flat_map_batch("decode", records, decoding.batches)
    judged = lateness("lateness", decoded, FLOW, late, frozenset({replay_stream(FLOW)}))
    timed = op.flat_map("timed", judged, lambda batch: batch.timed)
    idle = round(feedback.idle_seconds * 1000)
    frontiers = frontier("frontier", judged, idle_millis=idle, live=live, horizon=late.horizon)
    split = op.branch("fronts", frontiers, lambda front: front.turn < 0)
    fronts, slices = split.trues, split.falses

    erasures = op.flat_map("erasures", decoded, lambda batch: batch.erasures)
    gone = op.flat_map("gone", erasures, lambda erasure: map(ErasedConversation, erasure.conversations))
    heard: list[Any] = _heard(settings, timed, erasures)
    said = op.merge("said", *heard, slices, gone)
    facts = join("join", said, late, objectives(feedback), barred.conversation)
    countable: Any = op.merge("countable", facts, slices)
    values = windows("windows", countable, kpi_rules(feedback, window_of), late)
    watched: Any = op.merge("watched", values, op.filter("points", facts, _is_point), fronts)
    alerts = detect("detect", watched, alert_rules(feedback, window_of), late, live=live)

    told = op.flat_map("told", judged, lambda batch: [*batch.late, batch.mark])
    arriving: Any = op.merge("arriving", facts, values, alerts, fronts, told, erasures)

    def open_intake() -> KpiIntake:
        tell = open_alert_sinks(settings, own_log)
        return KpiIntake(settings, system_clock, tell, barred.conversation, log)

    write_to_store(arriving, open_intake)
    dead = op.flat_map("dead", judged, lambda batch: batch.dead)
    keep_dead(dead, settings)
    return flow


def _heard(settings: Settings, timed: Stream[Timed], erasures: Stream[Erasure]) -> list[Any]:
    """Have comments and questions read: at once, or later, or not at all."""
    backend = settings.feedback.sentiment.backend
    if backend == "classifier":
        topics_of(examples_of(settings), settings.feedback.sentiment.topics)  # what is wrong there, stops the start
        classifier = functools.cache(lambda: remembering(open_classifier(settings).classify))
        return [op.flat_map_batch("judge", timed, lambda batch: judge_now(batch, classifier()))]
    if backend == "endpoint":
        asked: Any = op.merge("asked", timed, erasures)
        judged = judge_later("judge", asked, lambda: open_judge(settings))
        op.inspect("given_up", judged.given_up, _say_given_up)
        return [timed, judged.judgements]
    return [timed]


def _say_given_up(step_id: str, item: GivenUp) -> None:
    place = f"{item.kind} {item.id!r} of the conversation {item.conversation!r}"
    logger.warning("%s: the %s stays without a verdict: %s", step_id, place, item.reason)


def _is_point(change: FactChange) -> bool:
    fact = change.after or change.before
    return fact is not None and fact.kind == "points"


__getattr__ = flow_of(build)
