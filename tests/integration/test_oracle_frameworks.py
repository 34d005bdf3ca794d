"""The oracle on frameworks as installed: what is right is accepted, what deviates is named."""

import warnings

import numpy as np
import pytest

from pgref import oracle

DTYPES = ["float64", "float32"]
FEW = 8  # inputs, edge cases among them: JAX compiles each shape anew


@pytest.fixture
def torch(optional_peer):
    return optional_peer("torch")


@pytest.fixture
def jax(optional_peer):
    module = optional_peer("jax")
    with module.enable_x64(True):
        yield module


def name_of(report):
    return report.deviation.name if report.deviation else report.verdict


# torch


def torch_normals(torch, mean, log_std):
    return torch.distributions.Normal(mean, log_std.exp())


def in_torch(torch, function, grad_of=()):
    """Return a callable of NumPy arrays; with `grad_of`, the gradients in those arguments."""

    def called(*arrays):
        tensors = [torch.tensor(a) for a in arrays]
        if not grad_of:
            return function(*tensors).numpy()
        for k in grad_of:
            tensors[k].requires_grad_()
        grads = torch.autograd.grad(function(*tensors).sum(), [tensors[k] for k in grad_of])
        return grads[0].numpy() if len(grads) == 1 else np.stack([g.numpy() for g in grads])

    return called


def torch_choices(torch, function):
    """Return a function of two categoricals as one of their logits."""
    choose = torch.distributions.Categorical
    return lambda z_old, z_new: function(choose(logits=z_old), choose(logits=z_new))


def torch_gaussians(torch, function):
    """Return a function of two normals as one of their parameters."""
    return lambda mo, so, mn, sn: function(torch_normals(torch, mo, so), torch_normals(torch, mn, sn))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_probabilities_and_entropies_of_torch_are_accepted(torch, dtype):
    choose = torch.distributions.Categorical
    for check, function in (
        (oracle.categorical_log_prob, lambda z, a: choose(logits=z).log_prob(a)),
        (oracle.categorical_log_prob, lambda z, a: torch.log_softmax(z, -1)[torch.arange(len(a)), a]),
        (
            oracle.categorical_log_prob,
            lambda z, a: -torch.nn.functional.cross_entropy(z, a, reduction="none"),
        ),
        (oracle.categorical_entropy, lambda z: choose(logits=z).entropy()),
        (oracle.gaussian_log_prob, lambda m, s, a: torch_normals(torch, m, s).log_prob(a).sum(-1)),
        (oracle.gaussian_entropy, lambda s: torch_normals(torch, 0 * s, s).entropy().sum(-1)),
    ):
        report = check(in_torch(torch, function), dtype=dtype)
        assert report.ok, report


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_clamps_probabilities(torch, dtype):
    def function(z, a):
        return torch.distributions.Categorical(probs=torch.softmax(z, -1)).log_prob(a)

    assert (
        name_of(oracle.categorical_log_prob(in_torch(torch, function), dtype=dtype)) == "clamped_probability"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kl_of_torch(torch, dtype):
    kl = torch.distributions.kl_divergence
    choices = torch_choices(torch, kl)
    backwards = torch_choices(torch, lambda old, new: kl(new, old))
    report = oracle.categorical_kl(in_torch(torch, choices), dtype=dtype)
    assert name_of(report) == "infinite_on_underflow"
    assert report.relative_error == np.inf
    found = oracle.categorical_kl_grad(in_torch(torch, choices, [1]), dtype=dtype)
    assert name_of(found) == "no_gradient_on_underflow"
    found = oracle.categorical_kl(in_torch(torch, backwards), dtype=dtype)
    assert name_of(found) == "reversed_infinite_on_underflow"
    found = oracle.categorical_kl_grad(in_torch(torch, backwards, [1]), dtype=dtype)
    assert name_of(found) == "reversed_no_gradient_on_underflow"
    normals = torch_gaussians(torch, lambda old, new: kl(old, new).sum(-1))
    assert oracle.gaussian_kl(in_torch(torch, normals), dtype=dtype).ok
    assert oracle.gaussian_kl_grad(in_torch(torch, normals, [2, 3]), dtype=dtype).ok
    averaged = torch_gaussians(torch, lambda old, new: kl(old, new).mean())
    assert name_of(oracle.gaussian_mean_kl(in_torch(torch, averaged), dtype=dtype)) == "mean_over_dimensions"


@pytest.mark.parametrize(("reduction", "wanted"), [("batchmean", "equal"), ("mean", "mean_over_actions")])
def test_kl_div_of_torch(torch, reduction, wanted):
    def function(z_old, z_new):
        p, log_q = torch.log_softmax(z_old, -1), torch.log_softmax(z_new, -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.nn.functional.kl_div(log_q, p, reduction=reduction, log_target=True)

    for dtype in DTYPES:
        assert name_of(oracle.categorical_mean_kl(in_torch(torch, function), dtype=dtype)) == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backwards", [False, True])
def test_fisher_products_by_double_backpropagation(torch, dtype, backwards):
    def product(mean_kl):
        def called(theta, obs, v):
            theta, obs, v = map(torch.tensor, (theta, obs, v))
            theta.requires_grad_()
            (grad,) = torch.autograd.grad(mean_kl(theta, obs), theta, create_graph=True)
            return torch.autograd.grad((grad * v).sum(), theta)[0].numpy()

        return called

    def kl(make):
        def value(theta, obs):
            old, new = make(theta.detach(), obs), make(theta, obs)
            return torch.distributions.kl_divergence(*((new, old) if backwards else (old, new)))

        return value

    def linear(theta, obs):
        return torch.cat([obs, torch.ones_like(obs[:, :1])], 1) @ theta

    choices = kl(lambda theta, obs: torch.distributions.Categorical(logits=linear(theta, obs)))
    normals = kl(lambda theta, obs: torch_normals(torch, linear(theta[:-1], obs), theta[-1]))
    mean = product(lambda theta, obs: choices(theta, obs).mean())
    assert oracle.categorical_fisher_product(mean, dtype=dtype).ok
    summed = product(lambda theta, obs: normals(theta, obs).sum(-1).mean())
    assert oracle.gaussian_fisher_product(summed, dtype=dtype).ok
    averaged = product(lambda theta, obs: normals(theta, obs).mean())
    found = oracle.gaussian_fisher_product(averaged, dtype=dtype)
    assert name_of(found) == "mean_over_dimensions"


# stable-baselines3 and sb3-contrib


def buffer_gae(buffers, spaces, torch):
    def gae(rewards, values, next_values, terminated, truncated, discount, trace):
        """As OnPolicyAlgorithm.collect_rollouts fills the buffer: V of a cut goes into the reward."""
        steps, envs = rewards.shape
        box, ends = spaces.Box(-1, 1, (1,)), terminated | truncated
        made = buffers.RolloutBuffer(steps, box, box, gae_lambda=trace, gamma=discount, n_envs=envs)
        made.rewards[:] = rewards + discount * np.where(truncated, next_values, 0)
        made.values[:] = values
        made.episode_starts[1:] = ends[:-1]
        last = torch.tensor(next_values[-1])
        made.compute_returns_and_advantage(last_values=last, dones=ends[-1])
        return made.advantages

    return gae


def test_the_gae_of_stable_baselines3_is_accepted(optional_peer, torch):
    buffers = optional_peer("stable_baselines3.common.buffers")
    spaces = optional_peer("gymnasium").spaces
    report = oracle.gae(buffer_gae(buffers, spaces, torch), dtype="float32")
    assert report.ok, report


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_distributions_of_stable_baselines3(optional_peer, torch, dtype):
    made = optional_peer("stable_baselines3.common.distributions")

    def choice(z):
        return made.CategoricalDistribution(z.shape[1]).proba_distribution(z)

    def normal(mean, log_std):
        return made.DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, log_std)

    for check, function in (
        (oracle.categorical_log_prob, lambda z, a: choice(z).log_prob(a)),
        (oracle.categorical_entropy, lambda z: choice(z).entropy()),
        (oracle.gaussian_log_prob, lambda m, s, a: normal(m, s).log_prob(a)),
        (oracle.gaussian_entropy, lambda s: normal(0 * s, s).entropy()),
    ):
        report = check(in_torch(torch, function), dtype=dtype)
        assert report.ok, report


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kl_of_sb3_contrib_s_trpo(optional_peer, torch, dtype):
    """As TRPO.train of 2.9.2 computes it: kl_divergence(distribution, old_distribution).mean()."""
    optional_peer("sb3_contrib")
    made = optional_peer("stable_baselines3.common.distributions")

    def choices(z_old, z_new):
        old, new = (made.CategoricalDistribution(z.shape[1]).proba_distribution(z) for z in (z_old, z_new))
        return made.kl_divergence(new, old).mean()

    def normals(mean_old, log_std_old, mean_new, log_std_new):
        old = made.DiagGaussianDistribution(mean_old.shape[1]).proba_distribution(mean_old, log_std_old)
        new = made.DiagGaussianDistribution(mean_old.shape[1]).proba_distribution(mean_new, log_std_new)
        return made.kl_divergence(new, old).mean()

    found = oracle.gaussian_mean_kl(in_torch(torch, normals), dtype=dtype)
    assert name_of(found) == "reversed_mean_over_dimensions"
    found = oracle.categorical_mean_kl(in_torch(torch, choices), dtype=dtype)
    assert name_of(found) == "reversed_infinite_on_underflow"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_solver_of_sb3_contrib_starts_from_noise(optional_peer, torch, dtype):
    solve = optional_peer("sb3_contrib.common.utils").conjugate_gradient_solver

    def solved(product, b, iterations):
        return solve(lambda v: torch.tensor(product(v.numpy())), torch.tensor(b), max_iter=iterations).numpy()

    def step(product, g, kl_limit, damping, iterations):
        def damped(v):
            return product(v) + np.asarray(damping, v.dtype) * v

        x = solved(damped, g, iterations)
        return np.sqrt(2 * kl_limit / (x @ damped(x))) * x

    assert name_of(oracle.conjugate_gradient(solved, dtype=dtype)) == "random_start"
    assert name_of(oracle.trust_region_step(step, dtype=dtype)) == "random_start"


# JAX, distrax, rlax


def jax_kl(jax):
    """Return the KL divergence of categoricals, and that of normals."""
    jnp, log_softmax = jax.numpy, jax.nn.log_softmax

    def choices(z_old, z_new):
        p = log_softmax(z_old)
        return jnp.sum(jnp.exp(p) * (p - log_softmax(z_new)), -1)

    def normals(mean_old, log_std_old, mean_new, log_std_new):
        squares = (mean_old - mean_new) ** 2 * jnp.exp(-2 * log_std_new)
        change = log_std_new - log_std_old
        return jnp.sum(change + (jnp.exp(-2 * change) + squares - 1) / 2, -1)

    return choices, normals


@pytest.mark.parametrize("dtype", DTYPES)
def test_distributions_in_jax_are_accepted(jax, dtype):
    log_softmax, logpdf = jax.nn.log_softmax, jax.scipy.stats.norm.logpdf
    choices, normals = jax_kl(jax)
    for check, function in (
        (oracle.categorical_log_prob, lambda z, a: log_softmax(z)[jax.numpy.arange(len(a)), a]),
        (oracle.categorical_kl, jax.jit(choices)),
        (oracle.categorical_kl_grad, jax.grad(lambda old, new: choices(old, new).sum(), 1)),
        (oracle.gaussian_log_prob, lambda m, s, a: logpdf(a, m, jax.numpy.exp(s)).sum(-1)),
        (oracle.gaussian_kl, normals),
        (oracle.gaussian_kl_grad, jax.grad(lambda *four: normals(*four).sum(), (2, 3))),
    ):
        report = check(function, dtype=dtype, draws=FEW)
        assert report.ok, report


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fisher_product_in_jax_is_accepted(jax, dtype):
    choices, _ = jax_kl(jax)

    def product(theta, obs, v):
        def mean_kl(x):
            seen = jax.numpy.hstack([obs, jax.numpy.ones_like(obs[:, :1])])
            return choices(seen @ theta, seen @ x).mean()

        return jax.jvp(jax.grad(mean_kl), (theta,), (v,))[1]

    report = oracle.categorical_fisher_product(product, dtype=dtype, draws=FEW)
    assert report.ok, report


@pytest.mark.parametrize("dtype", DTYPES)
def test_gae_as_a_scan_in_jax_is_accepted(jax, dtype):
    def step(carry, row):
        delta, going = row
        carry = delta + going * carry
        return carry, carry

    def gae(rewards, values, next_values, terminated, truncated, discount, trace):
        deltas = rewards + discount * jax.numpy.where(terminated, 0, next_values) - values
        going = (discount * trace * ~(terminated | truncated)).astype(rewards.dtype)
        return jax.lax.scan(step, jax.numpy.zeros_like(deltas[0]), (deltas, going), reverse=True)[1]

    report = oracle.gae(gae, dtype=dtype, draws=FEW)
    assert report.ok, report


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the parts they import
@pytest.mark.parametrize("dtype", DTYPES)
def test_distributions_of_distrax(optional_peer, jax, dtype):
    distrax = optional_peer("distrax")

    def normal(mean, log_std):
        return distrax.MultivariateNormalDiag(mean, jax.numpy.exp(log_std))

    for check, function in (
        (oracle.categorical_log_prob, lambda z, a: distrax.Categorical(logits=z).log_prob(a)),
        (oracle.categorical_entropy, lambda z: distrax.Categorical(logits=z).entropy()),
        (oracle.categorical_kl, lambda o, n: distrax.Categorical(o).kl_divergence(distrax.Categorical(n))),
        (oracle.gaussian_log_prob, lambda m, s, a: normal(m, s).log_prob(a)),
        (oracle.gaussian_entropy, lambda s: normal(0 * s, s).entropy()),
        (oracle.gaussian_kl, lambda a, b, c, d: normal(a, b).kl_divergence(normal(c, d))),
    ):
        report = check(function, dtype=dtype, draws=FEW)
        assert report.ok, report

    def of_probabilities(z, a):
        return distrax.Categorical(probs=jax.nn.softmax(z)).log_prob(a)

    assert name_of(oracle.categorical_log_prob(of_probabilities, dtype=dtype, draws=FEW)) == "log_of_softmax"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gae_of_rlax_is_accepted(optional_peer, jax, dtype):
    rlax = optional_peer("rlax")

    def gae(rewards, values, next_values, terminated, truncated, discount, trace):
        """As one sequence per environment; V of a cut goes into the reward, where the discount is 0."""
        ends = terminated | truncated
        rewards = rewards + discount * np.where(truncated, next_values, 0)
        discounts = (discount * ~ends).astype(rewards.dtype)
        values = np.append(values, next_values[-1:], axis=0)
        one = rlax.truncated_generalized_advantage_estimation
        return jax.vmap(lambda r, d, v: one(r, d, trace, v), 1, 1)(rewards, discounts, values)

    report = oracle.gae(gae, dtype=dtype, draws=FEW)
    assert report.ok, report
