"""Divergence and curl of fields whose Jacobian is known, and against torch's own functional Jacobian."""

import pytest
import torch

from fclf.evaluation.jacobian import field_scores, jacobians
from fclf.field import TargetField


def linear(matrix):
    return lambda z, y: z @ matrix.T


@pytest.fixture
def rows(random_unit):
    return random_unit(7, 4, 0), torch.randint(0, 2, (7, 2)).double()


def matrix(seed=0):
    return torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_linear_field_has_its_matrix_as_jacobian_everywhere(rows):
    a = matrix()
    torch.testing.assert_close(jacobians(linear(a), *rows), a.expand(7, 4, 4))
    scores = field_scores(linear(a), *rows)
    trace, curl = torch.trace(a).item(), torch.linalg.norm((a - a.T) / 2).item()
    assert scores.rows == 7
    assert scores.divergence_mean == pytest.approx(trace)
    assert scores.divergence_rms == pytest.approx(abs(trace))
    assert scores.curl_mean == scores.curl_rms == pytest.approx(curl)
    assert scores.jacobian_rms == pytest.approx(torch.linalg.norm(a).item())


def test_a_gradient_field_has_no_curl_and_a_rotation_no_divergence(rows):
    a = matrix()
    potential = field_scores(linear(a + a.T), *rows)
    assert potential.curl_rms == pytest.approx(0, abs=1e-12)
    assert abs(potential.divergence_mean) > 0.1
    rotation = field_scores(linear(a - a.T), *rows)
    assert rotation.divergence_rms == pytest.approx(0, abs=1e-12)
    assert rotation.curl_rms == pytest.approx(rotation.jacobian_rms)
    assert rotation.curl_rms > 0.1


def test_mean_and_rms_differ_where_the_jacobian_does(rows):
    z, y = rows
    scores = field_scores(lambda z, y: z * z, z, y)  # the Jacobian is diag(2 z)
    divergence = [2 * sum(row) for row in z.tolist()]
    assert scores.divergence_mean == pytest.approx(sum(divergence) / 7)
    assert scores.divergence_rms == pytest.approx((sum(v * v for v in divergence) / 7) ** 0.5)
    assert scores.divergence_rms > abs(scores.divergence_mean) + 0.1
    assert scores.curl_rms == pytest.approx(0, abs=1e-12)
    swirl = field_scores(lambda z, y: torch.stack([z[:, 1] * z[:, 2], 0 * z[:, 0], 0 * z[:, 0], 0 * z[:, 0]], 1), z, y)
    curls = [((b * b + c * c) / 2) ** 0.5 for _, b, c, _ in z.tolist()]  # J has z2 and z1 in its first row
    assert swirl.curl_mean == pytest.approx(sum(curls) / 7)
    assert swirl.curl_rms == pytest.approx((sum(v * v for v in curls) / 7) ** 0.5)


def test_the_trained_architecture_agrees_with_torchs_functional_jacobian(random_unit):
    field = TargetField(6, 2, hidden_dim=5).double().requires_grad_(False)
    z, y = random_unit(3, 6, 1), torch.tensor([[0, 1], [1, 1], [0, 0]]).double()
    with torch.no_grad():
        found = jacobians(field, z, y)
    for i in range(3):
        exact = torch.autograd.functional.jacobian(lambda x, i=i: field(x[None], y[i : i + 1])[0], z[i])
        torch.testing.assert_close(found[i], exact)
    assert found.abs().max() > 1e-3
    assert not found.requires_grad


def test_each_row_is_asked_about_its_own_target(rows):
    z, _ = rows
    y = torch.tensor([[1.0, 0], [3.0, 0]]).double()
    found = jacobians(lambda z, y: z * y[:, :1], z[:2], y)
    torch.testing.assert_close(found, torch.stack([torch.eye(4), 3 * torch.eye(4)]).double())


@pytest.mark.parametrize("field", [lambda z, y: torch.ones_like(z), lambda z, y: y.repeat(1, 2)])
def test_a_field_that_does_not_look_at_the_embedding_has_no_jacobian(rows, field):
    assert field_scores(field, *rows).jacobian_rms == 0
