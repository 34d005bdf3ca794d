"""The updates of PPO, A2C and TRPO next to those of Stable-Baselines3 and sb3-contrib.

Both get the same weights and see the same segment: pgref acts, and what it saw and did is played back to
their own `collect_rollouts` and `train`. Episodes end there in both ways, terminated and cut off.

Precision: a number here is a sum of at most K products, so that two orders of summation differ by at most
Kε of the largest. A forward pass adds fewer than 64 products, a mean over the batch N more. The step of
TRPO is compared in float64: conjugate gradients multiply rounding by the condition of H.

Their defaults are set aside where ours differ by intent: Adam's ε is 1e-8 here as in the paper (theirs 1e-5),
RMSProp's stands under the root (theirs does in `RMSpropTFLike` alone, which starts its statistics at 1), and
a clipped value loss is the larger of two, where theirs is the clipped one. Not compared: their schedules
already see the steps of the segment at hand, ours those before it.
"""

import numpy as np
import pytest

from pgref import rollout, samples, streams
from pgref.algorithms import a2c, ppo, trpo
from pgref.envs.cartpole import CartPole
from pgref.envs.lqr import LQR
from pgref.envs.protocol import Episodic
from pgref.optimizers import RMSPropState
from pgref.spaces import Discrete
from pgref.task import make_task

pytestmark = pytest.mark.integration
E, T = 3, 20
N = E * T
HIDDEN = (32, 24)
EPS = float(np.finfo(np.float32).eps)
EPS64 = float(np.finfo(np.float64).eps)
FORWARD = 64  # products added up on the way to an output: 5 + 33 + 25 of CartPole, 4 + 33 + 25 of the LQR
THREE = LQR(  # three states, two actions
    transition=0.9 * np.eye(3), control=[[1.0, 0.0], [0.3, 0.2], [0.0, 1.0]], state_cost=0.1 * np.eye(3),
    action_cost=0.1 * np.eye(2), noise=0.1, start_low=[-1.0] * 3, start_high=[1.0] * 3,
)  # fmt: skip
ENVS = {
    "categorical": Episodic("CartPole", CartPole(most_angle=0.5, most_start=0.3, dt=0.08), 5),
    "Gaussian": Episodic("LQR", THREE, 7),
}
SHARED = {"n_envs": E, "n_steps": T, "hidden": HIDDEN, "discount": 0.97}


@pytest.fixture(scope="module")
def sb3(optional_peer):
    optional_peer("torch").set_num_threads(1)
    return optional_peer("stable_baselines3")


@pytest.fixture(params=ENVS)
def env(request):
    return ENVS[request.param]


class Replayed:
    """What pgref's segment looks like to their `collect_rollouts`, and the policy that acted in it."""

    def __init__(self, segment, last_obs):
        self.segment, self.t = segment, 0
        self.obs = np.concatenate([segment.obs, last_obs[None]])
        self.num_envs = segment.obs.shape[1]

    def step(self, actions):
        t, segment = self.t, self.segment
        self.t += 1
        np.testing.assert_array_equal(actions, segment.actions[t])
        terminated, truncated = segment.terminated[t], segment.truncated[t]
        infos = [
            {"terminal_observation": obs, "TimeLimit.truncated": bool(cut and not over)}
            for obs, cut, over in zip(segment.next_obs[t], truncated, terminated, strict=True)
        ]
        return self.obs[t + 1], segment.rewards[t].astype(np.float32), terminated | truncated, infos


def theirs(kind, env, **settings):
    """Return a model of theirs with spaces like those of the environment."""
    import gymnasium
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import DummyVecEnv

    box = gymnasium.spaces.Box
    seen = box(-np.inf, np.inf, (env.obs_space.d,))
    discrete = isinstance(env.action_space, Discrete)
    acts = gymnasium.spaces.Discrete(env.action_space.n) if discrete else box(-1e3, 1e3, (2,))

    class Spaces(gymnasium.Env):
        observation_space, action_space = seen, acts

    policy = {"net_arch": list(HIDDEN), **settings.pop("policy_kwargs", {})}
    model = kind(
        "MlpPolicy", DummyVecEnv([Spaces] * E), n_steps=T, gamma=SHARED["discount"], policy_kwargs=policy,
        device="cpu", **settings,
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    return model


def parameters(model):
    """Return their parameters in the order of ours, θ and then ψ."""
    policy = model.policy
    actor = [*policy.mlp_extractor.policy_net[::2], policy.action_net]
    judge = [*policy.mlp_extractor.value_net[::2], policy.value_net]
    free = [policy.log_std] if hasattr(policy, "log_std") else []
    theta = [array for layer in actor for array in (layer.weight, layer.bias)]
    psi = [array for layer in judge for array in (layer.weight, layer.bias)]
    return [*theta, *free, *psi]


def flat(arrays):
    """Return arrays of theirs as one vector of ours: a layer is W above b, W transposed."""
    return np.concatenate([array.detach().numpy().T.ravel() for array in arrays])


def put(model, weights):
    """Give their model our weights."""
    start = 0
    for parameter in parameters(model):
        array = parameter.detach().numpy()  # of the same memory
        stop = start + array.size
        array[...] = weights[start:stop].reshape(array.T.shape).T
        start = stop
    assert start == len(weights)


def play(model, segment, last_obs):
    """Let their `collect_rollouts` see our segment; their policy chooses what ours has chosen."""
    import torch
    from stable_baselines3.common.callbacks import CallbackList

    replay, policy, own = Replayed(segment, last_obs), model.policy, model.policy.forward

    def forward(obs):
        actions = torch.as_tensor(segment.actions[replay.t])
        values, log_prob, _ = policy.evaluate_actions(obs, actions)
        return actions, values, log_prob

    model.num_timesteps, model._current_progress_remaining = 0, 1.0
    model._last_obs, model._last_episode_starts = replay.obs[0], np.ones(E, bool)
    model.ep_info_buffer = model.ep_success_buffer = []
    callback = CallbackList([])
    callback.init_callback(model)
    policy.forward = forward
    model.collect_rollouts(replay, callback, model.rollout_buffer, T)
    policy.forward = own


def acted(task, state, runner, *path):
    """Return the segment that the next update will act, and the observations after it."""
    theta, _ = task.split(state.weights)
    segment, after = rollout.collect(
        task.env, task.policy, theta, runner, T, streams.stream(state.seed, state.updates, *path)
    )
    assert segment.truncated.any()
    assert segment.terminated.any() or isinstance(task.env.dynamics, LQR)
    return segment, after.obs


def within(ours, theirs, roundings, scale=None, eps=EPS):
    """Require two arrays to differ by at most so many ε of the scale, by default their largest entry."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    scale = np.abs(theirs).max() if scale is None else scale
    assert np.abs(ours - theirs).max() <= roundings * eps * scale


def within_adam(ours, theirs, gradient, step, roundings, eps=EPS):
    """Require weights after Adam's first step to differ by no more than the gradient's rounding explains.

    That step is ηg/(|g| + 1e-8), all but a sign: where |g| is no larger than its rounding τ, any step is
    possible. It must not be so for most.
    """
    tau = roundings * eps * np.abs(gradient).max()
    low, high = (step * g / (np.abs(g) + 1e-8) for g in (gradient - tau, gradient + tau))
    assert np.median(high - low) < 1e-3 * step
    assert (np.abs(ours - theirs) <= high - low + eps * np.maximum(1, np.abs(theirs))).all()


# GAE, log π and V


def test_advantages_targets_values_and_log_probabilities_of_a_segment(sb3, env):
    config = ppo.Config(**SHARED, trace=0.9)
    task = make_task(env, config)
    state = ppo.init(task, config, 1)
    segment, last_obs = acted(task, state, state.runner)
    theta, psi = task.split(state.weights)
    ours = samples.estimated(task.critic, psi, segment, config.discount, config.trace)

    model = theirs(sb3.PPO, env, gae_lambda=config.trace, batch_size=N)
    put(model, state.weights)
    play(model, segment, last_obs)
    buffer = model.rollout_buffer
    within(ours.values.reshape(T, E), buffer.values, FORWARD)
    within(task.policy.log_prob(theta, ours.obs, ours.actions).reshape(T, E), buffer.log_probs, FORWARD)
    within(ours.advantages.reshape(T, E), buffer.advantages, FORWARD)
    within(ours.targets.reshape(T, E), buffer.returns, FORWARD)


def test_a_truncation_taken_for_a_termination_would_be_seen(sb3, env):
    config = ppo.Config(**SHARED, trace=0.9)
    task = make_task(env, config)
    state = ppo.init(task, config, 1)
    segment, last_obs = acted(task, state, state.runner)
    _, psi = task.split(state.weights)
    wrong = segment._replace(terminated=segment.terminated | segment.truncated)
    ours = samples.estimated(task.critic, psi, wrong, config.discount, config.trace)
    model = theirs(sb3.PPO, env, gae_lambda=config.trace, batch_size=N)
    put(model, state.weights)
    play(model, segment, last_obs)
    with pytest.raises(AssertionError):
        within(ours.advantages.reshape(T, E), model.rollout_buffer.advantages, 1000 * FORWARD)


# PPO


def their_ppo(sb3, env, config, **policy):
    """Return their PPO with the settings of the config."""
    return theirs(
        sb3.PPO, env, gae_lambda=config.trace, batch_size=N, n_epochs=config.epochs, clip_range=config.clip,
        learning_rate=config.step, ent_coef=config.entropy, vf_coef=config.critic_weight,
        max_grad_norm=np.inf if config.max_norm is None else config.max_norm,
        normalize_advantage=config.normalise_advantages, policy_kwargs=policy,
    )  # fmt: skip


@pytest.mark.parametrize("normalise", [False, True])
def test_loss_and_gradient_of_ppo_away_from_the_old_policy(sb3, env, normalise):
    config = ppo.Config(
        **SHARED, clip=0.05, critic_weight=0.5, minibatch=N, epochs=1, normalise_advantages=normalise,
        entropy=0.0 if normalise else 0.03,
    )  # fmt: skip
    task = make_task(env, config)
    state = ppo.init(task, config, 2)
    segment, last_obs = acted(task, state, state.runner)
    theta_old, psi_old = task.split(state.weights)
    batch = samples.estimated(task.critic, psi_old, segment, config.discount, config.trace)
    old = task.policy.log_prob(theta_old, batch.obs, batch.actions)
    away = 0.1 * streams.stream(2, 0).standard_normal(len(state.weights), np.float32)
    part, _ = ppo.preferred(config, batch)
    both = task.linearize(state.weights + away, part.obs)
    ours = ppo.actor_step(task, config, both.first, theta_old, part, old, 1.0, 1.0, None)
    errors, value_loss = ppo.critic_rows(config, both.second[:, 0], batch)
    g_theta, minus_g_psi = task.split(both.vjp(ours.gradient, -config.critic_weight * errors[:, None]))

    model = their_ppo(sb3, env, config)
    put(model, state.weights)
    play(model, segment, last_obs)
    put(model, state.weights + away)
    model.policy.optimizer.step = lambda: None  # so that weights and gradients stay
    model.train()
    logged = model.logger.name_to_value
    gradient = flat([parameter.grad for parameter in parameters(model)])
    # they normalise by the standard deviation with divisor N − 1
    factor = np.sqrt(1 - 1 / N) if normalise else 1.0
    largest = 5.0 if normalise else np.abs(batch.advantages).max()  # |Â|
    assert 0 < logged["train/clip_fraction"] < 1
    evidence = ours.evidence()
    within(evidence.clip_fraction, logged["train/clip_fraction"], 1)
    within(factor * evidence.value, -logged["train/policy_gradient_loss"], N + FORWARD, largest)
    within(evidence.entropy, -logged["train/entropy_loss"], N + FORWARD)
    within(evidence.kl, logged["train/approx_kl"], N + FORWARD, 1.0)  # r − 1 − log r: the 1 is rounded
    within(value_loss, logged["train/value_loss"], N + FORWARD)
    within(-factor * g_theta, gradient[: len(g_theta)], N + FORWARD)
    within(-minus_g_psi, gradient[len(g_theta) :], N + FORWARD)


def test_one_update_of_ppo_with_adam_and_a_clipped_gradient(sb3, env):
    config = ppo.Config(
        **SHARED, step=1e-3, critic_step=1e-3, entropy=0.01, critic_weight=0.5, max_norm=0.5, epochs=1,
        minibatch=N,
    )  # fmt: skip
    task = make_task(env, config)
    state = ppo.init(task, config, 3)
    segment, last_obs = acted(task, state, state.runner)
    after, update = ppo.update(task, config, state)
    assert update.gradient_norm > 2 * config.max_norm

    model = their_ppo(sb3, env, config, optimizer_kwargs={"eps": 1e-8})
    put(model, state.weights)
    play(model, segment, last_obs)
    model.train()
    gradient = flat([parameter.grad for parameter in parameters(model)])  # clipped
    within_adam(after.weights, flat(parameters(model)), gradient, config.step, N + FORWARD)


def test_three_passes_of_ppo_over_a_batch(sb3, env):
    from torch.optim import SGD  # smooth in the gradient, so that rounding stays rounding

    config = ppo.Config(
        **SHARED, step=0.3, critic_step=0.3, optimizer="sgd", critic_weight=0.5, max_norm=1.0, epochs=3,
        minibatch=N, clip=0.02, entropy=0.01,
    )  # fmt: skip
    task = make_task(env, config)
    state = ppo.init(task, config, 4)
    segment, last_obs = acted(task, state, state.runner)
    after, update = ppo.update(task, config, state)
    assert update.clip_fraction > 0.5

    model = their_ppo(sb3, env, config, optimizer_class=SGD)
    put(model, state.weights)
    play(model, segment, last_obs)
    model.train()
    moved = flat(parameters(model)) - state.weights
    within(after.weights - state.weights, moved, 3 * (N + FORWARD))


# A2C


def test_one_update_of_a2c_with_rmsprop_and_a_clipped_gradient(sb3, env):
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    config = a2c.Config(
        **SHARED, n_workers=1, trace=0.95, step=0.1, critic_step=0.1, optimizer="rmsprop", entropy=0.01,
        critic_weight=0.5, max_norm=0.5, mean=True,
    )  # fmt: skip
    task = make_task(env, config)
    state = a2c.init(task, config, 5)
    state = state._replace(slots=RMSPropState(np.ones_like(state.weights)))  # where theirs starts
    segment, last_obs = acted(task, state, state.runners[0], 0)
    after, update = a2c.update(task, config, state)
    assert update.gradient_norm > 2 * config.max_norm

    model = theirs(
        sb3.A2C, env, gae_lambda=config.trace, learning_rate=config.step, ent_coef=config.entropy,
        vf_coef=config.critic_weight, max_grad_norm=config.max_norm,
        policy_kwargs={"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}},
    )  # fmt: skip
    put(model, state.weights)
    play(model, segment, last_obs)
    model.train()
    moved = flat(parameters(model)) - state.weights
    within(after.weights - state.weights, moved, N + FORWARD)


# TRPO


def in_float64(monkeypatch, model, batch, log_probs):
    """Let their TRPO calculate in float64, on our batch; its own buffer holds float32 alone."""
    import torch
    from stable_baselines3.common import policies
    from stable_baselines3.common.type_aliases import RolloutBufferSamples

    monkeypatch.setattr(policies, "preprocess_obs", lambda obs, *_, **__: obs.double())
    model.policy.double()
    parts = (batch.obs, batch.actions, batch.values, log_probs, batch.advantages, batch.targets)
    tensors = RolloutBufferSamples(*(torch.as_tensor(np.array(part, np.float64)) for part in parts))
    monkeypatch.setattr(model.rollout_buffer, "get", lambda batch_size: iter([tensors]))


def corrected(monkeypatch, but):
    """Switch off in sb3-contrib what the paper does not have, `but` for one of these things.

    "direction": KL(new‖old). "mean": a KL averaged over the dimensions of an action. "start": conjugate
    gradients from 1e-4·randn; their end at ‖r‖² < 1e-10 goes with it.
    """
    import torch
    from sb3_contrib.trpo import trpo as module

    solve = module.conjugate_gradient_solver

    def kl_divergence(new, old):
        pair = (new, old) if but == "direction" else (old, new)
        kl = torch.distributions.kl_divergence(*(one.distribution for one in pair))
        return kl if kl.ndim == 1 or but == "mean" else kl.sum(-1)

    def solver(product, b, max_iter):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn_like", torch.zeros_like)
            return solve(product, b, max_iter, residual_tol=0.0)

    monkeypatch.setattr(module, "kl_divergence", kl_divergence)
    if but != "start":
        monkeypatch.setattr(module, "conjugate_gradient_solver", solver)


def compare_trpo(monkeypatch, contrib, env, kl_limit, products, but=None):
    """Make one update each, from the same weights with the same segment, and compare."""
    config = trpo.Config(
        **SHARED, dtype="float64", trace=0.9, kl_limit=kl_limit, damping=0.1, products=products, shrink=0.8,
        normalise_advantages=True, critic_epochs=1, critic_minibatch=N,
    )  # fmt: skip
    task = make_task(env, config)
    state = trpo.init(task, config, 6)
    segment, _ = acted(task, state, state.runner)
    theta, psi = task.split(state.weights)
    batch = samples.estimated(task.critic, psi, segment, config.discount, config.trace)
    after, update = trpo.update(task, config, state)
    assert update.accepted

    model = theirs(
        contrib.TRPO, env, gae_lambda=config.trace, batch_size=N, cg_max_steps=products,
        cg_damping=config.damping, target_kl=kl_limit, line_search_shrinking_factor=config.shrink,
        n_critic_updates=1, learning_rate=config.critic_step,
        policy_kwargs={"optimizer_kwargs": {"eps": 1e-8}},
    )  # fmt: skip
    corrected(monkeypatch, but)
    in_float64(monkeypatch, model, batch, task.policy.log_prob(theta, batch.obs, batch.actions))
    put(model, state.weights)
    model.train()
    logged, moved = model.logger.name_to_value, flat(parameters(model))
    hessian = task.policy.kl_hessian(theta, batch.obs)
    condition = 1 + np.abs(hessian).sum(0).max() / config.damping  # at least that of H + 0.1
    roundings, n = condition * (N + FORWARD), len(theta)
    step = np.abs(moved[:n] - theta).max()
    within(after.weights[:n] - theta, moved[:n] - theta, roundings, step, EPS64)
    within(update.kl, logged["train/kl_divergence_loss"], roundings, None, EPS64)
    within(update.value_loss, logged["train/value_loss"], N + FORWARD, None, EPS64)
    gradient = flat([parameter.grad for parameter in parameters(model)[-6:]])  # the critic's
    within_adam(after.weights[n:], moved[n:], gradient, config.critic_step, N + FORWARD, EPS64)
    return update


@pytest.fixture
def contrib(sb3, optional_peer):
    return optional_peer("sb3_contrib")


# few products, before plain CG has lost the orthogonality that ours keeps; or so many that it has converged
@pytest.mark.parametrize(("kl_limit", "products"), [(2.0, 3), (0.01, 60)])
def test_one_update_of_trpo(contrib, env, monkeypatch, kl_limit, products):
    update = compare_trpo(monkeypatch, contrib, env, kl_limit, products)
    if kl_limit > 1 and env is ENVS["Gaussian"]:
        assert update.tries > 1


@pytest.mark.parametrize(
    ("name", "but"), [("categorical", "direction"), ("Gaussian", "mean"), ("categorical", "start")]
)
def test_where_trpo_of_sb3_contrib_deviates(contrib, monkeypatch, name, but):
    with pytest.raises(AssertionError):
        compare_trpo(monkeypatch, contrib, ENVS[name], 2.0, 3, but)
