"""The families against sums over all states, and against densities."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor
from torch.distributions import Bernoulli as Coins
from torch.distributions import Categorical as Dice
from torch.distributions import Normal, kl_divergence

from evenfall_blocklocal.families import Bernoulli, Categorical, Gaussian

N, Y, D = 3, 4, 6


@pytest.fixture
def messages() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return (
        torch.randn(N, D, dtype=torch.float64, requires_grad=True),
        torch.randn(Y, D, dtype=torch.float64, requires_grad=True),
    )


def test_bernoulli_scores_sum_over_all_states(messages) -> None:
    a, b = messages
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)), dtype=torch.float64)
    alpha = Coins(logits=a.unsqueeze(1)).log_prob(states).sum(-1)
    beta = Coins(logits=b.unsqueeze(1)).log_prob(states).sum(-1)
    inner = torch.logsumexp(alpha.unsqueeze(1) + beta, -1)
    _equal_up_to_rows(Bernoulli().scores(a, b), inner)
    torch.testing.assert_close(Bernoulli().agreement(a, b[:N]), -inner.diagonal())


def test_categorical_scores_sum_over_all_states(messages) -> None:
    a, b = messages
    alpha = Dice(logits=a.reshape(N, 2, 3)).probs
    beta = Dice(logits=b.reshape(Y, 2, 3)).probs
    inner = torch.einsum("nvs,yvs->nyv", alpha, beta).log().sum(-1)
    _equal_up_to_rows(Categorical(3).scores(a, b), inner)
    torch.testing.assert_close(Categorical(3).agreement(a, b[:N]), -inner.diagonal())


def test_gaussian_scores_are_log_densities(messages) -> None:
    a, b = messages
    density = Normal(b, 1.0).log_prob(a.unsqueeze(1)).sum(-1) / D**0.5
    _equal_up_to_rows(Gaussian().scores(a, b), density)


def _equal_up_to_rows(scores: Tensor, wanted: Tensor) -> None:
    """Equal after the softmax, so up to what does not depend on the class."""
    torch.testing.assert_close(scores.log_softmax(1), wanted.log_softmax(1))


@pytest.mark.parametrize("which", ["a", "b"])
def test_the_gradient_of_the_agreement_is_that_of_a_divergence(messages, which: str) -> None:
    a, b = messages[0], messages[1][:N].detach().requires_grad_()
    message = a if which == "a" else b
    posterior = Coins(logits=(a + b).detach())
    divergence = kl_divergence(posterior, Coins(logits=message)).sum()
    (wanted,) = torch.autograd.grad(divergence, message)
    agreement = Bernoulli().agreement(a, b).sum()
    (found,) = torch.autograd.grad(agreement, message)
    torch.testing.assert_close(found, wanted)


def test_the_gradient_of_the_gaussian_agreement_is_that_of_overlap(messages) -> None:
    a, b = messages[0], messages[1][:N]
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    overlap = torch.trapezoid(
        (Normal(a[..., None], 1.0).log_prob(z) + Normal(b[..., None], 1.0).log_prob(z)).exp(), z
    )
    found = Gaussian().agreement(a, b)
    wanted = -overlap.log().sum(-1)
    torch.testing.assert_close(found - found[0], wanted - wanted[0])


def test_widths_and_states_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the 4 states"):
        Categorical(4).log_partition(torch.zeros(2, 6))
    with pytest.raises(ValueError, match="states must be at least 2"):
        Categorical(1)


def test_half_precision_is_summed_in_float32() -> None:
    torch.manual_seed(0)
    family = Bernoulli()
    a, b = torch.randn(8, 64).bfloat16(), torch.randn(3, 64).bfloat16()
    exact = family.scores(a.double(), b.double())
    with torch.autocast("cpu", torch.bfloat16):
        scores, agreement = family.scores(a, b), family.agreement(a[:3], b)
    torch.testing.assert_close(scores.double(), exact, atol=1e-4, rtol=0)
    exact = family.agreement(a[:3].double(), b.double())
    torch.testing.assert_close(agreement.double(), exact, atol=1e-4, rtol=0)
