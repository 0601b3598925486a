"""Looking at a fit: whether it has settled, by which measure, and what of it the data determine."""

from __future__ import annotations

import math
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Float64

from optim.analysis.curvature_of_fit import Curvature, decrement
from optim.analysis.design import Block, Design, design_of, distinct_rows, utilities_of
from optim.analysis.evidence import (
    FAR,
    LEAST_PRODUCTS,
    MOMENT,
    MOST_DENSE,
    SETTLED,
    BlockEvidence,
    Slopes,
    evidence_of,
    general_curvature,
    total_decrement,
    with_separation,
)
from optim.analysis.fit_certificate import FitCertificate, FitFindings
from optim.analysis.identifiability import Determined, determined_by, reasons
from optim.analysis.prediction import log_likelihood, null_model, one_mean_a_recipe
from optim.analysis.total_loss import Bound, TotalLoss
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_KNOWN, NOT_SETTLED, Caveat
from optim.config import schema
from optim.config.modifications import modifications, modifications_of_updates
from optim.config.numbers import number
from optim.config.optimizers import Lbfgs, Newton
from optim.data.tallies import Tally, tally
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters
from optim.optimize.newton import MOST_PARAMETERS
from optim.study.stage import Stage
from optim.study.study import Study

LEFT_OUT = "what they like is left out of every mean"
PARAMETERS = "likelihood.parameters"
"""The key of result.json that most caveats of a fit are about."""


class FitExaminer:
    """Looks at a fit of a study, at any parameters; what is compiled is compiled once."""

    def __init__(self, study: Study, stage: Stage) -> None:
        block = study.config.stages[stage.name]
        assert isinstance(block, schema.Fit)
        self.study, self.stage, self.block = study, stage, block
        self._total: TotalLoss | None = None
        self._design: tuple[list[bytes], Design | None] | None = None

    def forget(self) -> None:
        """Count the responses and make the design anew when they are next asked for."""
        self.__dict__.pop("counted", None)
        self._design = None

    @cached_property
    def counted(self) -> Tally | None:
        """The responses of the fit; None for a property fit."""
        panel = self.study.panel
        if panel is None or not isinstance(self.stage.objective, PanelObjective):
            return None
        by_customer = self.stage.objective.aggregate == "mean_customers"
        return tally(panel, self.study.group, ~panel.held_out, by_customer=by_customer)

    @cached_property
    def slopes(self) -> Slopes:
        """Of the loss of a response."""
        objective = self.stage.objective
        assert isinstance(objective, PanelObjective)
        if objective.response_loss is not None:
            return Slopes(objective.response_loss)
        return Slopes.of_link(type(objective.model(self.study.first_member["model"]).link))

    def design(self, model_parameters: Parameters) -> Design | None:
        """The design of a fit of a utility that is linear in its parameters, and of nothing else.

        It is made anew only where the features depend on other properties than before.
        """
        if self.counted is None or set(self.stage.train or ()) - {"utility", "link"}:
            return None
        study = self.study
        assert study.panel is not None
        key = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model_parameters.get("properties", {}))]
        if self._design is None or self._design[0] != key:
            fixed = fixed_features(study, model_parameters)
            amounts, counted, groups = study.panel.amounts, self.counted, study.groups
            self._design = key, design_of(study.model, model_parameters, amounts, counted, groups, fixed)
        design = self._design[1]
        return None if design is None else design.at(model_parameters)

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is a likelihood, so that curvature is information."""
        return not isinstance(self.block.loss, schema.OwnLoss)

    @property
    def _penalty(self) -> schema.Penalty | None:
        return self.block.loss.penalty if isinstance(self.block.loss, schema.LikelihoodLoss) else None

    @property
    def penalty_kind(self) -> str | None:
        """`ridge`, `firth`, or None."""
        return None if self._penalty is None else self._penalty.kind

    @property
    def is_penalised(self) -> bool:
        """Whether a penalty is part of what is minimised."""
        return self._penalty is not None

    def _blocks(self, design: Design) -> tuple[BlockEvidence, ...]:
        return evidence_of(design, self.slopes, self._penalty)

    def _at(self, model_parameters: Parameters) -> Bound:
        if self._total is None:
            self._total = TotalLoss.of(self.stage, model_parameters, self.counted)
        return self._total.bind(model_parameters)

    def delta(self, model_parameters: Parameters) -> float | None:
        """δ at some parameters, for a curve; None where it is not to be had, or would cost more than it is worth."""
        if not self.is_likelihood:
            return None
        budget = (self._work // CURVE_SHARE + MOMENT) // CURVE_POINTS
        design = self.design(model_parameters)
        if design is not None:
            cost = sum(block.rows.size * (len(block.names) + 10) // 10 for block in design.blocks)
            return _finite(total_decrement(self._blocks(design))) if cost <= 10 * budget else None
        if self._parameters(model_parameters) > MOST_DENSE:
            return None  # the directions themselves cost more than the steps between two points
        at = self._at(model_parameters)
        if budget < 2 * LEAST_PRODUCTS * len(at.total.weights):
            return None
        return _finite(decrement([general_curvature(at, budget)[0]]))

    @property
    def _work(self) -> int:
        """Rows that the gradients of the whole stage go over."""
        objective = self.stage.objective
        units = self.stage.batch or objective.units
        responses = self.counted.responses / objective.units if self.counted is not None else 1.0
        return int(self.stage.length * units * responses)

    def findings(self, model_parameters: Parameters, *, ended: str = "") -> FitFindings:
        """What is known of the fit.

        Args:
            model_parameters: of the likelihood model, of one member, as the fit has left them.
            ended: why it has ended short of its length, or gone back from there; empty where it has not.
        """
        design = self.design(model_parameters)
        blocks = () if design is None else self._blocks(design)
        if blocks and self.is_likelihood:
            blocks = with_separation(blocks)
        utility = None if self.counted is None else self._utilities(model_parameters)
        growth = "" if blocks and self.is_likelihood else self._growth(utility)
        certificate = self._certificate(model_parameters, blocks, growth, self._lost(utility), ended)
        too_many = self._too_many(model_parameters) if design is None else []
        undetermined = [*too_many, *_undetermined([(one.block, one.determined) for one in blocks])]
        undetermined += self._strangers() if design is None else []
        misfit = "" if utility is None or growth else self._misfit(utility, certificate)
        caveats = self._caveats(blocks, certificate, undetermined)
        if misfit:
            caveats = (*caveats, Caveat("likelihood", NOT_DETERMINED, misfit))
        return FitFindings(certificate, design, blocks, caveats, bool(too_many), misfit, growth, self.is_penalised)

    def _certificate(
        self,
        model_parameters: Parameters,
        blocks: tuple[BlockEvidence, ...],
        growth: str,
        lost: str,
        ended: str,
    ) -> FitCertificate:
        if blocks and self.is_likelihood:
            curvatures, exact = [one.penalised for one in blocks], True
            norm = math.hypot(*(one.slope for one in blocks))
        else:
            at = self._at(model_parameters)
            curvature, exact = general_curvature(at, self._work // CURVE_SHARE + MOMENT)
            curvatures, norm = [curvature], float(np.linalg.norm(at.gradient))
        delta = None
        if self.is_likelihood:
            delta = decrement(curvatures)
            settled, text = self._judged(curvatures, delta, is_chosen=bool(ended))
            if lost:  # P(like) may be 0 or 1 to the last bit, and then nothing bends: δ says nothing
                delta = delta if delta > SETTLED else math.inf
                settled, text = False, f"{lost}; {self._remedy()}"
        else:
            settled, text = self._judged_by_gradient(norm, self._at(model_parameters), curvatures)
        status = CHECKED if settled else NOT_SETTLED
        flat = "" if blocks or not settled else self._flat(model_parameters, curvatures[0], exact)
        if flat:
            status, text = NOT_DETERMINED, text + flat
        if growth and (self.is_likelihood or settled):
            settled, status, text = False, NOT_DETERMINED, growth
        elif growth:
            text = f"{growth}; {text}"
        separated = [one.separation.text for one in blocks if one.separation is not None]
        if separated and not self.is_penalised:
            some = any(one.curvature.rank for one in blocks)  # have a finite value
            rest = "" if settled or not (some or lost) else f"; the others have not settled: {text}"
            settled = settled and some
            status, text = NOT_DETERMINED, f"{'; '.join(separated)}: no finite coefficients are best{rest}"
        return FitCertificate(
            stage=self.stage.name,
            status=status,
            settled=settled,
            delta=None if delta is None else _finite(delta),
            gradient_norm=norm * self._per_loss,
            parameters=self._parameters(model_parameters),
            rank=sum(one.rank for one in curvatures),
            condition=_finite(max((one.condition for one in curvatures if one.rank), default=math.inf)),
            is_exact=exact,
            text=text,
            modifications=(*modifications(self.study.config, self.stage.name), *filter(None, [ended])),
        )

    def _parameters(self, model_parameters: Parameters) -> int:
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.stage.trained({"model": model_parameters})))

    @property
    def _per_loss(self) -> float:
        """What the total objective is multiplied by to be the loss that is trained."""
        objective = self.stage.objective
        if self.counted is None:
            return 2.0 / objective.units
        return 1.0 if objective.aggregate == "sum" else 1.0 / max(self.counted.responses, 1)

    def _judged(self, curvatures: list[Curvature], delta: float, *, is_chosen: bool) -> tuple[bool, str]:
        """Whether a likelihood's fit has settled, in words; there is no remedy for an end that was chosen."""
        if not all(one.is_convex for one in curvatures):
            return False, f"not a minimum: the Hessian has a negative eigenvalue; {self._remedy()}"
        if not delta <= SETTLED:
            far = ": the coefficients say nothing" if delta > NOTHING else ""
            remedy = "" if is_chosen else f"; {self._remedy()}"
            return False, f"off by up to {number(delta, 3)} standard errors{far}{remedy}"
        return True, f"within {_shown(delta)} standard errors of the best coefficients"

    def _flat(self, model_parameters: Parameters, curvature: Curvature, exact: bool) -> str:
        """What to add of parameters in which a utility that is not linear in them is flat."""
        count = self._parameters(model_parameters)
        if curvature.rank == count:
            return ""
        bends = "that bend" if exact else "that were looked at"
        return f" in the {curvature.rank} directions of {count} {bends}; nothing is known of the others"

    def _judged_by_gradient(self, norm: float, at: Bound, curvatures: list[Curvature]) -> tuple[bool, str]:
        """A loss that is no likelihood has no standard errors: its gradient is compared with what chance makes it."""
        noise = at.noise
        share = norm / noise if 0 < noise < math.inf else 0.0 if norm == 0 else math.inf
        text = f"the gradient is {_shown(share)} of what single responses make it by chance"
        if share <= SETTLED:
            return True, text
        loss = f"the loss is {number(at.value * self._per_loss)}, its gradient {number(norm * self._per_loss, 3)}"
        bends = all(one.is_convex and one.rank for one in curvatures)
        endless = "" if bends else ", and it does not bend upwards: has it a lower bound?"
        return False, f"{loss}; {text}{endless}; {self._remedy(bends=bends)}"

    def _lost(self, utility: Float64[np.ndarray, " cells"] | None) -> str:
        """That a likelihood predicts worse than a coin and far worse than one rate for all, in words; else empty."""
        counted = self.counted
        if counted is None or utility is None or not self.is_likelihood:
            return ""
        responses = float(counted.likes.sum() + counted.dislikes.sum())
        loss = -log_likelihood(counted.likes, counted.dislikes, utility) / responses
        if not loss > math.log(2):
            return ""
        null = null_model(counted.likes, counted.dislikes, float(counted.likes.sum() / responses))
        if not loss > LOST * null.loss_per_response:
            return ""
        return (
            f"the log-likelihood is {number(-loss)} a response, where one rate for all has "
            f"{number(-null.loss_per_response)}: the coefficients say nothing"
        )

    def _remedy(self, *, bends: bool = True) -> str:
        """What to do about a fit that has not settled; Newton's method is for a loss that bends."""
        name = self.stage.name
        declared = modifications_of_updates(self.study.config, name)
        if declared:
            return f"what is declared may keep it from there ({', '.join(declared)}): leave it out, or train longer"
        if isinstance(self.block.optimizer, Newton) and not bends:
            return "newton has no use for such a loss: take adam, with a learning rate"
        if isinstance(self.block.optimizer, Newton):
            return f"give stages.{name}.length more steps, or precision: float64"
        longer = f"raise stages.{name}.length"
        if not isinstance(self.block.optimizer, Lbfgs):
            longer += ", or another learning rate"
        small = self._parameters(self.study.first_member["model"]) <= MOST_PARAMETERS
        if not small or not bends:
            return longer
        batch = "" if self.block.batch == "all" else " with `batch: all`"
        return f"{longer}, or use `optimizer: {{name: newton}}`{batch}, which needs no rate"

    def undetermined(self, model_parameters: Parameters) -> list[Caveat]:
        """What the data do not determine, whatever training comes to."""
        design = self.design(model_parameters)
        if design is None:
            return self._too_many(model_parameters) + self._strangers()
        return _undetermined([(block, determined_by(block.rows)) for block in design.blocks])

    def _caveats(
        self, blocks: tuple[BlockEvidence, ...], certificate: FitCertificate, undetermined: list[Caveat]
    ) -> tuple[Caveat, ...]:
        found, name = list(undetermined), self.stage.name
        for one in blocks:
            if one.separation is not None:
                text = f"{one.separation.text}: {_of_separated(one, is_penalised=self.is_penalised)}"
                found.append(Caveat(PARAMETERS, NOT_DETERMINED, text))
            elif one.is_unknown:
                text = f"{one.block.place}whether likes are separated could not be told"
                found.append(Caveat(PARAMETERS, NOT_KNOWN, text))
        if isinstance(self._penalty, schema.Ridge) and found:
            note = "what the data do not determine is what the penalty makes of it"
            found.append(Caveat(PARAMETERS, NOT_DETERMINED, note))
        separated = any(one.separation is not None for one in blocks)
        unsettled = not certificate.settled and (certificate.rank > 0 or not separated)
        if unsettled or (certificate.status == NOT_DETERMINED and not separated):
            status = NOT_SETTLED if separated else certificate.status
            told = "has not settled" if status == NOT_SETTLED else "is not determined"
            found.append(Caveat(f"stages.{name}", status, f"{name} {told}: {certificate.text}"))
        return tuple(found)

    def _strangers(self) -> list[Caveat]:
        """Groups that nobody asked, of a utility that has no block for each."""
        if self.counted is None:
            return []
        strangers = [name for index, name in enumerate(self.study.groups) if index not in self.study.asked]
        return [Caveat(PARAMETERS, NOT_KNOWN, f"{name}: nobody was asked; {LEFT_OUT}") for name in strangers]

    def _too_many(self, model_parameters: Parameters) -> list[Caveat]:
        """A utility that is not linear in its parameters, and has more of them than there are recipes to fit."""
        if self.counted is None:
            return []
        assert self.study.panel is not None
        amounts, count = self.study.panel.amounts, self._parameters(model_parameters)
        recipes = distinct_rows(amounts[self.counted.recipe])
        if count <= distinct_rows(np.column_stack([amounts[self.counted.recipe], self.counted.group])):
            return []
        text = (
            f"{count} parameters, {recipes} distinct recipes: between and beyond them the utility is what its form "
            "makes of it; `data.evaluation={share: 0.2, by: recipe}` tells how good a guess that is"
        )
        return [Caveat(PARAMETERS, NOT_DETERMINED, text)]

    def _growth(self, utility: Float64[np.ndarray, " cells"] | None) -> str:
        """Why a utility without a program for it only gets better by growing for ever; empty where nothing says so."""
        if self.counted is None or utility is None:
            return ""
        likes, dislikes = self.counted.likes, self.counted.dislikes
        told_apart = ((likes == 0) | (dislikes == 0)) & (np.sign(utility) == np.where(likes > 0, 1.0, -1.0))
        if self.is_likelihood and not self.is_penalised and told_apart.all():
            return "the utility tells every like from every dislike: it gets better by growing for ever"
        far = int(np.sum(np.abs(utility) > FAR))
        if not far:
            return ""
        return (
            f"the utility runs away: beyond ±{FAR:g} for {far} of {len(utility)} pairs of group and recipe, where "
            "P(like) is 0 or 1 to six digits, and longer training makes it larger"
        )

    def _misfit(self, utility: Float64[np.ndarray, " cells"], certificate: FitCertificate) -> str:
        """Whether one mean for each recipe and group explains the responses better than chance would have it.

        The likelihood ratio test of the utility against the saturated model, where the cells have responses enough for
        its χ² distribution, and the fit has come to its end.
        """
        counted = self.counted
        assert counted is not None
        cells, freedom = len(counted.recipe), len(counted.recipe) - certificate.rank
        is_weighted = not np.array_equal(counted.squares, counted.responses_of_cell)
        if freedom <= 0 or is_weighted or not certificate.settled or counted.responses < ENOUGH * cells:
            return ""
        saturated = one_mean_a_recipe(counted.likes, counted.dislikes, np.arange(cells))
        fitted = log_likelihood(counted.likes, counted.dislikes, utility)
        ratio = 2 * (saturated - fitted)
        if ratio <= freedom + 3 * math.sqrt(2 * freedom):  # far from any doubt; SciPy need not be imported
            return ""
        from scipy.special import gammaincc

        chance = float(gammaincc(freedom / 2, ratio / 2))
        if chance >= REJECTED:
            return ""
        return (
            "the recipes that were tasted reject this utility: their means differ from it by more than chance makes "
            f"them (likelihood ratio {ratio:.1f} on {freedom} degrees of freedom, p = {chance:.1g}); try a richer one"
        )

    def _utilities(self, model_parameters: Parameters) -> Float64[np.ndarray, " cells"]:
        assert self.counted is not None
        assert self.study.panel is not None
        amounts = self.study.panel.amounts
        return utilities_of(self.study.model, model_parameters, amounts, self.counted.recipe, self.counted.group)


class Examiners:
    """The examiners of a study's fits, one each: for its curve and for its answer they are compiled once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._of_stage: dict[int, FitExaminer] = {}

    def __call__(self, stage: Stage) -> FitExaminer:
        """That of a stage."""
        return self._of_stage.setdefault(stage.index, FitExaminer(self.study, stage))


def fixed_features(study: Study, model_parameters: Parameters) -> dict[str, float]:
    """Features that are the same in every cake that can be baked: amounts that are fixed, and their fractions."""
    features, total = study.model(model_parameters).feature_map, study.space.total
    amounts = {name: one.fixed for name, one in study.config.ingredients.items() if one.fixed is not None}
    in_fractions = dict(zip(features.names, features.are_fractions, strict=True))
    found = {}
    for name, amount in amounts.items():
        if in_fractions.get(name) and total is not None:
            found[name] = amount / total
        elif not in_fractions.get(name, True):
            found[name] = amount
    return found


NOTHING = 1e3
"""Coefficients that are off by more standard errors than these say nothing."""
LOST = 10.0
"""So do those of a fit whose responses are this many times as unlikely, in nats, as with one rate for all."""
ENOUGH = 10
"""Responses that a cell must have on average for its mean to be about normal."""
REJECTED = 1e-3
"""A utility is said to be rejected where chance makes so much difference more rarely than this."""
CURVE_POINTS = 10
"""Points of the curve of δ in a stage, about: checkpoints by default."""
CURVE_SHARE = 20
"""Of what a fit costs, its curve may cost one part in so many, and so may its certificate."""


def _undetermined(blocks: list[tuple[Block, Determined]]) -> list[Caveat]:
    """What some blocks do not determine, one caveat each."""
    found = []
    for block, determined in blocks:
        status = NOT_DETERMINED if len(block.rows) else NOT_KNOWN
        why = reasons(block, determined)
        left_out = "" if len(block.rows) else f"; {LEFT_OUT}"
        found += [Caveat(PARAMETERS, status, "; ".join(why) + left_out)] if why else []
    return found


def _of_separated(evidence: BlockEvidence, *, is_penalised: bool) -> str:
    """What is known of coefficients without a finite value."""
    separation = evidence.separation
    assert separation is not None
    known = [f"{name} raises the liking" for name in separation.rises]
    known += [f"{name} lowers the liking" for name in separation.falls]
    certain = f"; what is certain: {', '.join(known)}" if known else ""
    if is_penalised:
        return f"the penalty alone keeps the coefficients finite{certain}"
    return (
        f"the coefficients grow for ever, and longer training makes them larger{certain}; taste recipes on the border, "
        "or add `penalty: {kind: firth}`"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:.1g}" if value >= 1e-3 else "0.001"
