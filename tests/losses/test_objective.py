from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import grad, gradcheck
from torch.testing import assert_close

from fclf import sphere
from fclf.config import LossConfig, PairwiseMSEConfig, PrototypeInfoNCEConfig, SoftInfoNCEConfig, load_config
from fclf.data.targets import flip_attributes
from fclf.losses.contrastive import agreement, batch_prototypes, pairwise_mse
from fclf.losses.contrastive import pairwise_infonce as infonce
from fclf.losses.contrastive import prototype_infonce as against
from fclf.losses.objective import Objective, Rollout
from fclf.losses.regularizers import curl, divergence, probe_jacobian, smoothness

WEIGHTS = st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5])


def field(z, y):
    """A field with a Jacobian, a curl and an opinion about the target."""
    return torch.tanh(z.roll(1, dims=-1) * 2) + y.sum(-1, keepdim=True) * z.flip(-1)


def carry(z, y):
    return sphere.project(z + 0.5 * field(z, y))


def rollout(random_unit, n=6, d=4, k=2, seed=0, start=None):
    targets = torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).double()
    start = random_unit(n, d, seed).requires_grad_() if start is None else start
    return Rollout(start, targets, field, carry, torch.Generator().manual_seed(seed))


def prototype_infonce(z, codes, temperature, stop_gradient=False):
    return against(z, batch_prototypes(z.detach() if stop_gradient else z, codes), codes, temperature)


def pairwise_infonce(z, codes, temperature):
    return infonce(z, codes[:, None] == codes[None, :], temperature)


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


def jacobian_terms(r, reduction):
    probe = probe_jacobian(field, r.start, r.targets, torch.Generator().manual_seed(0))
    return 0.05 * (curl(probe, reduction) + divergence(probe, reduction)).item()


def test_before_is_the_references_old_objective(random_unit):
    r = rollout(random_unit)
    losses = Objective(load_config("before").loss)(r)
    contrastive = pairwise_mse(r.end, r.targets, 0.07).item()
    assert losses.terms["contrastive"].item() == pytest.approx(contrastive)
    expected = contrastive + 1.0 * movement(r, "mean") + jacobian_terms(r, "mean")
    assert losses.total.item() == pytest.approx(expected)


def test_fclf_config_is_the_specifications_objective(random_unit):
    r = rollout(random_unit)
    losses = Objective(load_config("fclf_config").loss)(r)
    c = codes(r.targets)
    contrastive = (0.7 * prototype_infonce(r.end, c, 0.07) + 0.3 * pairwise_infonce(r.end, c, 0.07)).item()
    assert losses.total.item() == pytest.approx(contrastive + 0.05 * movement(r, "mean") + jacobian_terms(r, "mean"))


def test_negative_sampling_adds_the_repulsion_of_fix_4(random_unit):
    r = rollout(random_unit)
    config = load_config("negative_sampling").loss
    assert config.lambda_separation == 0.2
    plain = load_config("fclf_config").loss
    assert config.model_copy(update={"lambda_separation": 0.0}) == plain
    only = LossConfig(lambda_contrastive=0, lambda_identity=0, lambda_separation=0.2, identity_reduction="mean")
    wrong = flip_attributes(r.targets, torch.Generator().manual_seed(0), max_flips=1)
    assert ((wrong != r.targets).sum(1) == 1).all()
    expected = -0.2 * (r.end - carry(r.start, wrong)).square().mean().item()
    assert Objective(only)(r).total.item() == pytest.approx(expected)


def test_soft_positives_agree_on_four_of_five(random_unit):
    r = rollout(random_unit, n=8, k=5)
    config = load_config("soft_positives").loss
    assert (config.lambda_contrastive, config.lambda_identity) == (0.2, 0.8)
    found = Objective(config)(r).terms["contrastive"].item()
    assert found == pytest.approx(infonce(r.end, agreement(r.targets, 0.8), 0.07).item())
    assert found != pytest.approx(infonce(r.end, agreement(r.targets, 1.0), 0.07).item())


def test_smoothness_and_magnitude_are_those_of_the_field(random_unit):
    r = rollout(random_unit)
    losses = Objective(LossConfig(lambda_smoothness=1.0, lambda_magnitude=1.0))(r)
    probe = probe_jacobian(field, r.start, r.targets, torch.Generator().manual_seed(0))
    assert losses.terms["smoothness"].item() == pytest.approx(smoothness(probe).item())
    by_hand = sum(v**2 for v in field(r.start, r.targets).flatten().tolist()) / len(r.start)
    assert losses.terms["magnitude"].item() == pytest.approx(by_hand)


@pytest.mark.parametrize("kind", [PairwiseMSEConfig(), PrototypeInfoNCEConfig(), SoftInfoNCEConfig(agreement=0.5)])
def test_gradients_agree_with_finite_differences(random_unit, kind):
    objective = Objective(LossConfig(contrastive=kind, temperature=0.5, lambda_separation=0.1, lambda_curl=0.1))
    assert gradcheck(lambda start: objective(rollout(random_unit, start=start)).total, rollout(random_unit).start)


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient_reaches_the_prototypes_and_only_them(random_unit, stop_gradient):
    r = rollout(random_unit)
    kind = PrototypeInfoNCEConfig(prototypes="stop_gradient" if stop_gradient else "batch")
    objective = Objective(LossConfig(contrastive=kind, lambda_identity=0.0))
    c = codes(r.targets)

    def gradient(stop):
        loss = 0.7 * prototype_infonce(r.end, c, 0.07, stop) + 0.3 * pairwise_infonce(r.end, c, 0.07)
        return grad(loss, r.start, retain_graph=True)[0]

    (measured,) = grad(objective(r).total, r.start, retain_graph=True)
    assert_close(measured, gradient(stop_gradient))
    assert not torch.allclose(measured, gradient(not stop_gradient), atol=1e-2)


@pytest.mark.parametrize("term", ["separation", "curl", "div", "smoothness", "magnitude"])
def test_a_term_without_weight_costs_nothing(random_unit, term):
    calls = []

    def counted(z, y):
        calls.append(1)
        return field(z, y)

    def passes(weight):
        calls.clear()
        config = LossConfig(**{f"lambda_{term}": weight})
        r = rollout(random_unit)
        Objective(config)(Rollout(r.start, r.targets, counted, lambda z, y: z + counted(z, y), r.generator))
        return len(calls)

    assert passes(0.0) == 1  # the step itself
    assert passes(0.1) == {"separation": 2, "magnitude": 2}.get(term, 3)


def test_curl_divergence_and_smoothness_share_their_field_passes(random_unit):
    calls = []

    def counted(z, y):
        calls.append(1)
        return field(z, y)

    r = rollout(random_unit)
    config = LossConfig(lambda_curl=1, lambda_div=1, lambda_smoothness=1)
    Objective(config)(Rollout(r.start, r.targets, counted, carry, r.generator))
    assert len(calls) == 2


def test_the_largest_term_is_named_and_one_that_is_not_finite_first(random_unit):
    r = rollout(random_unit)
    losses = Objective(LossConfig(lambda_identity=1e6))(r)
    assert losses.largest() == "identity"
    losses.terms["contrastive"] = torch.tensor(torch.nan)
    assert losses.largest() == "contrastive"


def test_prototypes_of_real_rows_need_real_rows(random_unit):
    config = LossConfig(contrastive=PrototypeInfoNCEConfig(prototypes="real"))
    with pytest.raises(ValueError, match="real"):
        Objective(config)
    r = rollout(random_unit)
    assert torch.isfinite(Objective(config, (r.start.detach(), r.targets))(r).total)


@pytest.mark.parametrize("kind", [PairwiseMSEConfig(), PrototypeInfoNCEConfig(), SoftInfoNCEConfig(agreement=0.5)])
def test_rows_of_unknown_targets_are_masked_in_the_contrastive_term_and_only_there(random_unit, kind):
    r = rollout(random_unit, n=12)
    complete = torch.arange(12) % 3 > 0
    config = LossConfig(contrastive=kind, lambda_identity=0.5, lambda_curl=0.1)
    targets = torch.where(complete[:, None], r.targets, -torch.ones_like(r.targets))
    masked = replace(r, targets=targets, complete=complete, carry=lambda z, _: r.end)
    some, every = Objective(config)(masked), Objective(config)(r)
    alone = Objective(config)(replace(r, start=r.start[complete], targets=r.targets[complete]))
    assert some.terms["contrastive"].item() == pytest.approx(alone.terms["contrastive"].item())
    assert some.terms["contrastive"].item() != pytest.approx(every.terms["contrastive"].item())
    assert some.terms["identity"].item() == pytest.approx(every.terms["identity"].item())
    nobody = Objective(config)(replace(masked, complete=torch.zeros(12, dtype=torch.bool)))
    assert nobody.terms["contrastive"].item() == 0
