"""What holds for every algorithm, and what each one's update does to θ and ψ."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from training import ALGORITHMS, bits, settings, small

from pgref import checkpoint, exact, mdp, natural, objectives, samples, streams
from pgref.algorithms import a2c, actor_critic, npg, ppo, trpo, vpg
from pgref.arrays import Workspace
from pgref.envs.names import make
from pgref.envs.protocol import Episodic
from pgref.envs.tabular import Tabular
from pgref.estimates import normalise_advantages
from pgref.rollout import collect
from pgref.samples import Samples
from pgref.task import make_task

ROOT = Path(__file__).parent.parent


def run(module, task, config, updates, rng=0, state=None, **options):
    """Return the state after so many updates, and the evidence of all."""
    state = module.init(task, config, rng) if state is None else state
    seen = []
    for _ in range(updates):
        state, evidence = module.update(task, config, state, **options)
        seen.append(evidence)
    return state, seen


@pytest.mark.parametrize("algorithm", ALGORITHMS)
class TestEveryAlgorithm:
    def test_the_same_seed_gives_the_same_bits(self, algorithm):
        module, task, config = small(algorithm)
        first, seen = run(module, task, config, 3)
        for _ in range(19):
            again, seen_again = run(module, task, config, 3)
            assert bits(again) == bits(first)
            assert bits(tuple(seen_again)) == bits(tuple(seen))
        other, _ = run(module, task, config, 3, rng=1)
        assert bits(other) != bits(first)

    def test_an_update_leaves_the_state_it_was_given_alone(self, algorithm):
        module, task, config = small(algorithm)
        state = module.init(task, config, 0)
        before = bits(state)
        module.update(task, config, state)
        assert bits(state) == before

    def test_a_workspace_changes_no_bit(self, algorithm):
        module, task, config = small(algorithm)
        plain, _ = run(module, task, config, 3)
        assert bits(run(module, task, config, 3, work=Workspace())[0]) == bits(plain)

    @pytest.mark.parametrize("env", ["CartPole", "Pendulum", "LQR"])
    def test_k_updates_and_k_from_a_file_are_2k_updates_bit_for_bit(self, algorithm, env, tmp_path):
        module, task, config = small(algorithm, env, normalise_obs=True, scale_rewards=True, anneal_over=999)
        half, _ = run(module, task, config, 2)
        checkpoint.save(tmp_path / "half.npz", {}, half)
        arrays = checkpoint.load(tmp_path / "half.npz").arrays
        loaded = checkpoint.restore(module.init(task, config, 99), arrays, "half.npz")
        assert bits(loaded) == bits(half)
        resumed, _ = run(module, task, config, 2, state=loaded)
        assert bits(resumed) == bits(run(module, task, config, 4)[0])

    def test_steps_are_counted_over_all_environments(self, algorithm):
        module, task, config = small(algorithm)
        state, seen = run(module, task, config, 2)
        each = {"a2c": 2 * 3 * 12, "a3c": 6 * 3 * 12}.get(algorithm, 3 * 12)
        assert (state.steps, seen[-1].steps) == (2 * each, 2 * each)
        assert seen[-1].updates == state.updates

    def test_float64_and_both_activations(self, algorithm):
        module, task, config = small(algorithm, dtype="float64", activation="relu")
        state, _ = run(module, task, config, 2)
        assert state.weights.dtype == np.float64

    @pytest.mark.parametrize("env", ["ProbeAction", "ProbeObservation", "Pendulum"])
    def test_other_kinds_of_spaces(self, algorithm, env):
        module, task, config = small(algorithm, env)
        state, _ = run(module, task, config, 2)
        assert np.isfinite(state.weights).all()


def test_the_bits_depend_on_no_number_of_blas_threads():
    # OpenBLAS divides larger products than these among its threads, and some versions then round otherwise
    script = (
        "import sys; sys.path[:0] = ['tests']\n"
        "import numpy as np; from training import *\n"
        "for name in ('trpo', 'ppo', 'a2c'):\n"
        "    a = agent(name, n_envs=8, n_steps=16, hidden=(16, 16)); a.learn(1500)\n"
        "    import hashlib; print(hashlib.sha256(a.state.weights.tobytes()).hexdigest())\n"
    )
    out = set()
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        out.add(done.stdout)
    assert len(out) == 1


class TestWorkers:
    def test_one_worker_of_a2c_is_actor_critic(self):
        _, task, config = small("a2c", n_workers=1, optimizer="rmsprop", max_norm=0.5)
        shared = settings("actor_critic", optimizer="rmsprop", max_norm=0.5)
        one, _ = run(a2c, task, config, 5)
        other, _ = run(actor_critic, task, actor_critic.Config(**shared), 5)
        mine, theirs = (one.weights, one.slots, *one.runners), (other.weights, other.slots, other.runner)
        assert bits(mine) == bits(theirs)

    def test_the_sum_over_workers_is_the_gradient_of_all_their_transitions(self):
        _, task, config = small("a2c", n_workers=4, dtype="float64", step=1.0, critic_step=1.0)
        before = a2c.init(task, config, 3)
        after, _ = a2c.update(task, config, before)
        theta, psi = task.split(before.weights)
        parts = []
        for i, runner in enumerate(before.runners):
            segment, _ = collect(
                task.env, task.policy, theta, runner, config.n_steps, streams.stream(before.seed, 0, i)
            )
            parts.append(samples.estimated(task.critic, psi, segment, config.discount, 0.0))
        whole = Samples(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        g_theta = task.policy.score_sum(theta, whole.obs, whole.actions, whole.advantages)
        g_psi = task.critic.value_sum_grad(psi, whole.obs, -2 * whole.advantages)
        moved = after.weights - before.weights
        scale = np.abs(moved).max()
        np.testing.assert_allclose(moved, np.concatenate([g_theta, -g_psi]), rtol=0, atol=1e-12 * scale)

    @pytest.mark.parametrize("n_threads", [1, 2, 5])
    def test_threads_give_the_bits_of_no_executor(self, n_threads):
        _, task, config = small("a2c", n_workers=3)
        alone, seen = run(a2c, task, config, 3)
        with ThreadPoolExecutor(n_threads) as executor:
            pooled, seen_pooled = run(a2c, task, config, 3, executor=executor)
        assert bits(pooled) == bits(alone)
        assert bits(tuple(seen_pooled)) == bits(tuple(seen))

    def test_spawned_processes_give_the_bits_of_no_executor(self):
        _, task, config = small("a2c", n_workers=3)
        alone, _ = run(a2c, task, config, 3)
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
            pooled, _ = run(a2c, task, config, 3, executor=executor)
        assert bits(pooled) == bits(alone)


def batch_of(task, config, seed=0):
    """Return weights and a batch of samples drawn by them."""
    state = trpo.init(task, config, seed)
    theta, psi = task.split(state.weights)
    segment, _ = collect(task.env, task.policy, theta, state.runner, config.n_steps, streams.stream(seed, 7))
    batch = samples.estimated(task.critic, psi, segment, config.discount, config.trace)
    return theta, batch._replace(advantages=normalise_advantages(batch.advantages).values)


class TestTRPO:
    @pytest.mark.parametrize("env", ["CartPole", "Pendulum"])
    @pytest.mark.parametrize("solver", ["cg", "hessian"])
    def test_an_accepted_step_keeps_the_kl_and_improves_the_surrogate(self, env, solver):
        _, task, config = small("trpo", env, dtype="float64", solver=solver, damping=0.01, n_steps=50)
        for seed in range(10):
            theta, batch = batch_of(task, config, seed)
            new, report = trpo.policy_step(task, config, theta, batch, 0.01)
            assert report.status == "accepted"
            kl = task.policy.mean_kl(theta, new, batch.obs)
            assert kl <= 0.01
            assert kl == pytest.approx(report.kl, rel=1e-9)
            old = task.policy.log_prob(theta, batch.obs, batch.actions)
            parts = objectives.Batch(batch.obs, batch.actions, batch.advantages, old)
            gained = objectives.surrogate(task.policy, new, parts) - batch.advantages.mean()
            assert gained > 0
            assert gained == pytest.approx(report.improvement, rel=1e-6, abs=1e-12)

    def test_both_solvers_find_one_direction(self):
        _, task, config = small("trpo", dtype="float64", damping=0.1, products=40)
        theta, batch = batch_of(task, config)
        dense = trpo.Config(**settings("trpo", dtype="float64", damping=0.1, solver="hessian"))
        g = task.policy.score_sum(theta, batch.obs, batch.actions, batch.advantages / len(batch.advantages))
        by_products, _, _ = trpo.solved(task, config, theta, batch, g, 0.01)
        by_matrix, _, status = trpo.solved(task, dense, theta, batch, g, 0.01)
        assert status == "full_rank"
        np.testing.assert_allclose(by_products, by_matrix, rtol=0, atol=1e-9 * np.abs(by_matrix).max())

    def test_the_model_and_the_truth_meet_as_the_region_shrinks(self):
        _, task, config = small("trpo", dtype="float64", damping=0.01, products=60, n_steps=60)
        theta, batch = batch_of(task, config)
        hessian = task.policy.kl_hessian(theta, batch.obs)
        for limit, off in ((1e-4, 0.1), (1e-8, 1e-3)):
            new, report = trpo.policy_step(task, config, theta, batch, limit)
            step = new - theta
            assert report.tries == 1
            assert report.improvement / report.predicted == pytest.approx(1, abs=off)
            assert report.kl / (0.5 * step @ hessian @ step) == pytest.approx(1, abs=off)
            assert 0.5 * step @ (hessian @ step + 0.01 * step) == pytest.approx(limit, rel=1e-6)

    def test_the_step_does_not_depend_on_the_scale_of_the_advantages(self):
        _, task, config = small("trpo", dtype="float64", damping=0.1)
        theta, batch = batch_of(task, config)
        one, _ = trpo.policy_step(task, config, theta, batch, 0.01)
        batch = batch._replace(advantages=8 * batch.advantages)
        other, _ = trpo.policy_step(task, config, theta, batch, 0.01)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)

    def test_without_advantages_theta_stays_to_the_bit(self):
        _, task, config = small("trpo")
        theta, batch = batch_of(task, config)
        batch = batch._replace(advantages=0 * batch.advantages)
        new, report = trpo.policy_step(task, config, theta, batch, 0.01)
        assert (report.status, report.accepted, report.tries, report.kl) == ("no_step", False, 0, 0.0)
        assert new.tobytes() == theta.tobytes()

    def test_a_refused_step_leaves_theta_to_the_bit(self, monkeypatch):
        _, task, config = small("trpo")
        theta, batch = batch_of(task, config)
        monkeypatch.setattr(trpo, "measured", lambda *_: lambda candidate: (np.nan, 0.0))
        new, report = trpo.policy_step(task, config, theta, batch, 0.01)
        assert (report.status, report.accepted, report.tries) == ("refused", False, config.tries)
        assert new.tobytes() == theta.tobytes()

    def test_with_exact_advantages_j_rises_at_every_accepted_step(self):
        accepted = 0
        for seed in range(25):
            rng = np.random.default_rng(seed)
            n, k = int(rng.integers(2, 6)), int(rng.integers(2, 4))
            world = mdp.TabularMDP(
                rng.dirichlet(np.ones(n), (n, k)), rng.standard_normal((n, k)), np.full(n, 1 / n), 0.9
            )
            config = trpo.Config(dtype="float64", solver="hessian", damping=1e-6)
            task = make_task(Episodic("world", Tabular(world), 100), config)
            theta = task.policy.init(rng)
            states, actions = (grid.ravel() for grid in np.meshgrid(range(n), range(k), indexing="ij"))
            value = None
            for _ in range(20):
                pi = task.policy.probabilities(theta, np.arange(n))
                before = mdp.expected_return(world, pi)
                assert value is None or before == value
                weights = (mdp.visitation(world, pi)[:, None] * pi * mdp.advantages(world, pi)).ravel()
                rows = np.zeros(len(states))
                batch = Samples(states, actions, weights * len(states), rows, rows, rows)
                theta, report = trpo.policy_step(task, config, theta, batch, 1e-3)
                value = mdp.expected_return(world, task.policy.probabilities(theta, np.arange(n)))
                if report.accepted:
                    accepted += 1
                    assert value > before
        assert accepted > 400


class TestNPG:
    def test_the_step_is_that_of_5_29(self):
        _, task, config = small("npg", dtype="float64", damping=0.1, kl_limit=1e-6, products=60)
        before = npg.init(task, config, 0)
        after, evidence = npg.update(task, config, before)
        theta, new = task.split(before.weights)[0], task.split(after.weights)[0]
        psi = task.split(before.weights)[1]
        segment, _ = collect(
            task.env, task.policy, theta, before.runner, config.n_steps, streams.stream(before.seed, 0)
        )
        batch = samples.estimated(task.critic, psi, segment, config.discount, config.trace)
        g = task.policy.score_sum(theta, batch.obs, batch.actions, batch.advantages / len(batch.advantages))
        h = task.policy.kl_hessian(theta, batch.obs) + 0.1 * np.eye(len(theta))
        x = np.linalg.solve(h, g)
        step = np.sqrt(2e-6 / (x @ h @ x)) * x
        np.testing.assert_allclose(new - theta, step, rtol=0, atol=1e-8 * np.abs(step).max())
        assert evidence.kl < 1e-6  # the damping takes its share

    def test_a_fixed_step_is_eta_times_the_natural_gradient(self):
        _, task, config = small("npg", dtype="float64", damping=0.1, products=60)
        fixed = npg.Config(**settings("npg", dtype="float64", damping=0.1, products=60, step=0.5))
        state = npg.init(task, config, 0)
        theta = task.split(state.weights)[0]
        to_limit = task.split(npg.update(task, config, state)[0].weights)[0] - theta
        by_eta = task.split(npg.update(task, fixed, state)[0].weights)[0] - theta
        ratio = by_eta / to_limit
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


class TestVPG:
    @pytest.mark.parametrize("discounted", [True, False])
    def test_the_step_is_eta_times_the_mean_of_5_15_or_5_28(self, discounted):
        _, task, config = small("vpg", dtype="float64", discounted=discounted, step=0.5, n_steps=40)
        before = vpg.init(task, config, 0)
        after, _ = vpg.update(task, config, before)
        theta, psi = task.split(before.weights)
        segment, _ = collect(
            task.env, task.policy, theta, before.runner, config.n_steps, streams.stream(before.seed, 0)
        )
        batch = samples.estimated(task.critic, psi, segment, config.discount, 1.0)
        total = np.zeros_like(theta)
        for obs, action, advantage, age in zip(
            batch.obs, batch.actions, batch.advantages, segment.ages.ravel(), strict=True
        ):
            weight = 0.99**age if discounted else 1.0
            total += weight * task.policy.score_sum(theta, obs[None], [action], [advantage])
        expected = 0.5 * total / len(batch.obs)
        moved = task.split(after.weights)[0] - theta
        np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-12 * np.abs(expected).max())

    def test_in_expectation_it_follows_the_exact_gradient_only_with_the_discount(self):
        # aliased states: both share the one observation, so that (5.15) points the wrong way (I-10)
        rng = np.random.default_rng(0)
        world = mdp.TabularMDP(
            np.array([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]),
            np.array([[1.0, 0.0], [0.0, 1.5]]),
            np.array([1.0, 0.0]),
            0.5,
        )
        policy = make_task(Episodic("aliased", Tabular(world), 10), vpg.Config()).policy
        theta, shared = policy.init(rng), np.zeros(2, int)
        true = exact.policy_gradient(world, policy, theta, shared)
        printed = exact.policy_gradient(world, policy, theta, shared, discounted=False)
        assert true[0] > 0 > printed[0]
        pi = np.full((2, 2), 0.5)
        ages, advantage = np.array([0, 0, 1, 1]), mdp.advantages(world, pi).ravel()
        for discounted, expected in ((True, true), (False, printed)):
            weights = 0.5 * advantage * (0.5**ages if discounted else 1)  # π(a) = ½ on the one path
            got = policy.score_sum(theta, np.zeros(4, int), [0, 1, 0, 1], weights)
            np.testing.assert_allclose(got, expected, atol=1e-15)

    def test_a_zero_gradient_is_no_step(self, monkeypatch):
        _, task, config = small("vpg")
        monkeypatch.setattr(vpg, "score_step", lambda policy, theta, *_: (np.zeros_like(theta), 0.0))
        state = vpg.init(task, config, 0)
        after, evidence = vpg.update(task, config, state)
        assert evidence.status == "no_gradient"
        assert task.split(after.weights)[0].tobytes() == task.split(state.weights)[0].tobytes()


class TestPPO:
    def test_the_first_step_follows_the_policy_gradient(self):
        options = {"dtype": "float64", "epochs": 1, "minibatch": 36, "optimizer": "sgd", "step": 0.5}
        _, task, config = small("ppo", **options)
        before = ppo.init(task, config, 0)
        after, evidence = ppo.update(task, config, before)
        theta, psi = task.split(before.weights)
        segment, _ = collect(
            task.env, task.policy, theta, before.runner, config.n_steps, streams.stream(before.seed, 0)
        )
        batch = samples.estimated(task.critic, psi, segment, config.discount, config.trace)
        g = task.policy.score_sum(theta, batch.obs, batch.actions, batch.advantages / 36)
        moved = task.split(after.weights)[0] - theta
        np.testing.assert_allclose(moved, 0.5 * g, rtol=0, atol=1e-12 * np.abs(g).max())
        assert evidence.kl == pytest.approx(0, abs=1e-15)
        assert evidence.clip_fraction == 0

    def test_it_stops_where_the_kl_is_above_its_limit(self):
        _, task, config = small("ppo", kl_stop=1e-5, step=1e-2, epochs=50)
        _, (evidence,) = run(ppo, task, config, 1)
        assert evidence.status == "stopped_on_kl"
        assert evidence.epochs < 50

    @pytest.mark.parametrize(("target", "factor"), [(1e-9, 2.0), (1e3, 0.5)])
    def test_the_penalty_adapts_to_the_kl(self, target, factor):
        _, task, config = small("ppo", objective="penalty", kl_target=target, step=1e-3, entropy=0.01)
        state, seen = run(ppo, task, config, 3)
        assert state.penalty == seen[-1].penalty == factor**3
        assert seen[0].kl > 0

    def test_the_penalty_holds_the_policy_back(self):
        far, near = (
            run(ppo, *small("ppo", objective="penalty", penalty=p, step=1e-2, epochs=30)[1:], 1)[1][0].kl
            for p in (1e-6, 100.0)
        )
        assert near < far / 10

    def test_clipping_bounds_what_the_ratio_can_win(self):
        shares = [
            run(ppo, *small("ppo", clip=clip, step=1e-2, epochs=20)[1:], 1)[1][0].kl for clip in (0.01, 10.0)
        ]
        assert shares[0] < shares[1] / 3

    def test_where_no_action_is_better_the_status_says_so_and_theta_stays(self):
        _, task, config = small("ppo", "ProbeTermination", normalise_advantages=True, discount=0.0, trace=0.0)
        state = ppo.init(task, config, 0)
        _, psi = task.split(state.weights)
        psi[:] = 0  # so that every advantage is the reward, 1
        after, evidence = ppo.update(task, config, state)
        assert evidence.status == "degenerate_advantages"
        theta, new = task.split(state.weights)[0], task.split(after.weights)[0]
        assert new.tobytes() == theta.tobytes()

    def test_the_switches_change_the_update(self):
        plain = run(ppo, *small("ppo", epochs=5)[1:], 2)[0].weights
        for switch in (
            {"normalise_advantages": True},
            {"clip_values": 1e-3},
            {"entropy": 0.1},
            {"max_norm": 1e-3},
            {"anneal_over": 72},
            {"critic_weight": 0.5, "optimizer": "sgd"},
        ):
            assert run(ppo, *small("ppo", epochs=5, **switch)[1:], 2)[0].weights.tobytes() != plain.tobytes()

    def test_an_annealed_clip_is_narrower(self):
        both = [
            run(ppo, *small("ppo", epochs=20, step=1e-2, anneal_over=144, anneal_clip=flag)[1:], 3)[1][-1].kl
            for flag in (True, False)
        ]
        assert both[0] < both[1]


def test_the_natural_step_of_a_flat_policy_is_no_step():
    step = natural.natural_step(lambda v: 0 * v, np.ones(3), kl_limit=0.01)
    assert not step.any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("probe", ["ProbeAction", "ProbeMatch"])
def test_it_learns_the_probes(algorithm, probe):
    from pgref.agent import AGENTS

    extra = {"backend": "schedule", "n_workers": 2} if algorithm == "a3c" else {}
    learner = AGENTS[algorithm](probe, rng=0, hidden=(16,), **extra).learn(20_000)
    assert learner.evaluate(50).mean >= 0.95 * best(probe)


def best(probe):
    """Return the optimal undiscounted return of a probe."""
    return make(probe).dynamics.optimal_return()
