"""accuracy_gate decides whether a measured model is good enough. It measures nothing: evaluate_model does."""

import logging
from dataclasses import dataclass

from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.evaluation import Evaluation
from fer_tasks.gate_criteria import (
    Criterion,
    judge_accuracy,
    judge_calibration,
    judge_champion,
    judge_lowest_recall,
    judge_macro_f1,
    judge_majority_class,
    judge_serving,
)
from fer_tasks.run_directory import RunDirectory
from fer_tasks.serving_check import ServingCheck
from fer_tasks.settings import RunSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GateDecision:
    """The verdict: passed when every criterion is.

    reason: for people; what failed, or what an accepted model has in one line. needs_approval: a person's, as well.
    """

    passed: bool
    reason: str
    criteria: tuple[Criterion, ...]
    needs_approval: bool

    @property
    def next_task(self) -> str:
        """The task that acts on it."""
        if not self.passed:
            return "reject_model"
        return "approve_promotion" if self.needs_approval else "promote_model"


def decide(
    evaluation: Evaluation, comparison: ChampionComparison, serving: ServingCheck, settings: RunSettings
) -> GateDecision:
    """Judge by every criterion, also where an earlier one has failed. Pure."""
    criteria = (
        judge_accuracy(evaluation, settings),
        judge_macro_f1(evaluation, settings),
        judge_lowest_recall(evaluation, settings),
        judge_calibration(evaluation, settings),
        judge_majority_class(evaluation, settings),
        judge_champion(comparison, settings),
        judge_serving(serving),
    )
    failed = [criterion.reason for criterion in criteria if not criterion.passed]
    reason = " ".join(failed) or _summary(evaluation, comparison)
    return GateDecision(not failed, reason, criteria, settings.require_approval)


def run(run_dir: RunDirectory) -> GateDecision:
    """Judge what evaluate_model measured; write gate.json."""
    with run_dir.attempt("accuracy_gate"):
        decision = decide(
            run_dir.load_json(run_dir.evaluation_json, Evaluation),
            run_dir.load_json(run_dir.champion_comparison_json, ChampionComparison),
            run_dir.load_json(run_dir.serving_check_json, ServingCheck),
            run_dir.load_settings(),
        )
        run_dir.save_json(run_dir.gate_json, decision)
        _log.info("%s: %s", "Accepted" if decision.passed else "Rejected", decision.reason)
    return decision


def _summary(evaluation: Evaluation, comparison: ChampionComparison) -> str:
    """What an accepted model has, in one line: `70.4% (68.9–71.9%), champion 69.8%, not worse.`"""
    told = f"{evaluation.accuracy:.1%} ({evaluation.accuracy_low * 100:.1f}–{evaluation.accuracy_high:.1%})"
    if comparison.outcome == "no champion":
        return f"{told}, no champion yet."
    if comparison.paired is None:
        return f"{told}, champion not comparable."
    return f"{told}, champion {comparison.paired.champion_accuracy:.1%}, not worse."
