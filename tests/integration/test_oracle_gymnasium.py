"""Gymnasium's own time limit and vector environments, in all three autoreset modes, pass the oracle."""

import pytest

from pgref import oracle

pytestmark = pytest.mark.integration


@pytest.fixture
def chain(peer):
    """Return what makes a world as a Gymnasium environment with Gymnasium's time limit."""
    gym = peer("gymnasium")

    class Chain(gym.Env):
        def __init__(self, successors, rewards):
            self.successors, self.rewards = successors, rewards
            self.observation_space = gym.spaces.Discrete(len(rewards))
            self.action_space = gym.spaces.Discrete(rewards.shape[1])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.state = 0
            return 0, {}

        def step(self, action):
            reward, following = (
                float(self.rewards[self.state, action]),
                int(self.successors[self.state, action]),
            )
            self.state = max(following, 0)
            return self.state, reward, following < 0, False, {}

    return lambda successors, rewards, limit: gym.wrappers.TimeLimit(Chain(successors, rewards), limit)


def test_a_single_environment_is_right(chain):
    assert oracle.environment_step(chain).ok


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_vector_environment_is_right(peer, chain, mode):
    vector = peer("gymnasium").vector
    if not hasattr(vector, "AutoresetMode"):
        pytest.skip("Gymnasium 1.0 has no such modes")

    def environments(*world_and_number):
        *world, n = world_and_number
        return vector.SyncVectorEnv([lambda: chain(*world)] * n, autoreset_mode=vector.AutoresetMode(mode))

    report = oracle.environment_step(environments, autoreset=mode)
    assert report.ok, report
