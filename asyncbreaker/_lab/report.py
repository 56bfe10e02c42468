"""The lab's answer as one text: the question in words, table, picture, verdict."""

from __future__ import annotations

from collections.abc import Callable

from asyncbreaker._lab import picture, table
from asyncbreaker._lab.engine import Say
from asyncbreaker._lab.question import Question
from asyncbreaker._lab.trial import trials
from asyncbreaker._lab.verdict import verdict
from asyncbreaker._lab.words import paragraph, said


def report(question: Question, *, part: Callable[[], Say], width: int, levels: str) -> str:
    """Do the work, and return all there is to say in lines of at most *width* characters."""
    done = list(trials(question, part))
    rows = [(each.configuration, each.figures) for each in done]
    asked = question.scenario
    shown = table.columns(question.quiet_calls, partly_well=question.is_partly_well)
    judged = verdict(rows, partly_well=question.is_partly_well)
    return "\n\n".join(
        (
            paragraph(said(question), width),
            table.key(rows, width),
            table.table(rows, shown, width),
            table.legend(shown, width),
            paragraph(f"Yours over time, in the outage of {asked.ends - asked.before:g} s", width),
            picture.picture(done[0].record, done[0].moves, width=width, levels=levels),
            paragraph(judged, width),
        )
    )
