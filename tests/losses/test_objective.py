import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import grad, gradcheck
from torch.testing import assert_close

from fclf.config import LossConfig, PairwiseMSEConfig, PrototypeInfoNCEConfig, load_config
from fclf.losses.contrastive import pairwise_infonce, pairwise_mse, prototype_infonce
from fclf.losses.objective import Objective, Rollout

WEIGHTS = st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5])


def rollout(random_unit, n=6, d=4, k=2, seed=0):
    targets = torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).double()
    return Rollout(random_unit(n, d, seed), random_unit(n, d, seed + 1).requires_grad_(), targets)


def codes(targets):
    rows = [tuple(row) for row in targets.tolist()]
    return torch.tensor([sorted(set(rows)).index(row) for row in rows])


def movement(r, reduction="sum"):
    squares = [(e - s) ** 2 for e, s in zip(r.end.flatten().tolist(), r.start.flatten().tolist(), strict=True)]
    return sum(squares) / (len(r.end) if reduction == "sum" else len(squares))


@given(
    prototype=WEIGHTS,
    pairwise=WEIGHTS,
    contrastive=WEIGHTS,
    identity=WEIGHTS,
    temperature=st.floats(0.05, 1.0),
    reduction=st.sampled_from(["sum", "mean"]),
    seed=st.integers(0, 999),
)
def test_total_is_the_weighted_sum_of_the_unweighted_terms(
    random_unit, prototype, pairwise, contrastive, identity, temperature, reduction, seed
):
    assume(contrastive or identity)
    r = rollout(random_unit, seed=seed)
    kind = PrototypeInfoNCEConfig(prototype_weight=prototype, pairwise_weight=pairwise)
    losses = Objective(
        LossConfig(
            contrastive=kind,
            temperature=temperature,
            lambda_contrastive=contrastive,
            lambda_identity=identity,
            identity_reduction=reduction,
        )
    )(r)
    c = codes(r.targets)
    expected = {
        "contrastive": prototype * prototype_infonce(r.end, c, temperature).item()
        + pairwise * pairwise_infonce(r.end, c, temperature).item(),
        "identity": movement(r, reduction),
    }
    weights = {"contrastive": contrastive, "identity": identity}
    assert losses.total.item() == pytest.approx(sum(weights[name] * expected[name] for name in weights))
    assert {name: value.item() for name, value in losses.terms.items()} == pytest.approx(
        {name: expected[name] for name in weights if weights[name] > 0}
    )


def test_before_is_the_references_old_objective(random_unit):
    r = rollout(random_unit)
    losses = Objective(load_config("before").loss)(r)
    contrastive = pairwise_mse(r.end, r.targets, 0.07).item()
    assert losses.terms["contrastive"].item() == pytest.approx(contrastive)
    assert losses.total.item() == pytest.approx(contrastive + 1.0 * movement(r, "mean"))


def test_fclf_config_is_the_specifications_objective(random_unit):
    r = rollout(random_unit)
    losses = Objective(load_config("fclf_config").loss)(r)
    c = codes(r.targets)
    contrastive = 0.7 * prototype_infonce(r.end, c, 0.07) + 0.3 * pairwise_infonce(r.end, c, 0.07)
    assert losses.total.item() == pytest.approx(contrastive.item() + 0.05 * movement(r, "mean"))


@pytest.mark.parametrize("kind", [PairwiseMSEConfig(), PrototypeInfoNCEConfig()])
def test_gradients_agree_with_finite_differences(random_unit, kind):
    r = rollout(random_unit)
    objective = Objective(LossConfig(contrastive=kind, temperature=0.5))
    assert gradcheck(lambda end: objective(Rollout(r.start, end, r.targets)).total, r.end)


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient_reaches_the_prototypes_and_only_them(random_unit, stop_gradient):
    r = rollout(random_unit)
    kind = PrototypeInfoNCEConfig(stop_gradient=stop_gradient)
    objective = Objective(LossConfig(contrastive=kind, lambda_identity=0.0))
    c = codes(r.targets)

    def gradient(stop):
        return grad(
            0.7 * prototype_infonce(r.end, c, 0.07, stop_gradient=stop) + 0.3 * pairwise_infonce(r.end, c, 0.07), r.end
        )[0]

    (measured,) = grad(objective(r).total, r.end)
    assert_close(measured, gradient(stop_gradient))
    assert not torch.allclose(measured, gradient(not stop_gradient), atol=1e-2)


def test_a_term_without_weight_is_not_computed():
    bad = torch.full((2, 3), torch.nan, dtype=torch.float64)  # would poison every term that looks at it
    r = Rollout(bad, torch.eye(3).double()[:2], torch.zeros(2, 2).double())
    assert not torch.isfinite(Objective(LossConfig())(r).total)
    assert torch.isfinite(Objective(LossConfig(lambda_identity=0.0))(r).total)
