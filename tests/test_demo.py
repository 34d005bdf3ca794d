"""The page in which a policy plays: what it is made of, and what it refuses."""

import argparse
import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from pgref import cli_demo
from pgref.agent import A2C, AGENTS, PPO, TRPO
from pgref.demo import actors, page
from pgref.distributions import Categorical
from pgref.envs.cartpole import CartPole
from pgref.envs.names import make
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError
from pgref.moments import deviation, normalised
from pgref.policy import Policy

SMALL = {"hidden": (4,), "n_envs": 2, "n_steps": 8}


class Parts(HTMLParser):
    """The texts of the elements of each name, and the attributes of those that have any."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.attributes, self.open = {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open = tag
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.open = None

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open, []).append(data)


@pytest.fixture
def agent():
    return TRPO("CartPole", rng=0, **SMALL)


def hashed(content):
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def told(text):
    """Return what the page says of the run."""
    return json.loads(re.search(r"const PAGE = (.*);", text)[1])


def outputs(actor, obs):
    return actor.policy.network.forward(actor.theta)(normalised(actor.seen, obs))


@pytest.mark.parametrize("env", ["CartPole", "Pendulum", "Acrobot", "MountainCarContinuous"])
def test_a_page_is_one_file_that_allows_its_own_script_and_style_alone(env):
    text = page.text(PPO(env, rng=0, **SMALL))
    parts = Parts(text)
    (script,), (style,) = parts.texts["script"], parts.texts["style"]
    (policy,) = (a["content"] for tag, a in parts.attributes if tag == "meta" and "http-equiv" in a)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "script-src": hashed(script),
        "style-src": hashed(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"https?:|//\w|@import|url\(|^import|\{\{", text.replace("// ", ""), re.MULTILINE)
    linked = [value for _, a in parts.attributes for name, value in a.items() if name in ("src", "href")]
    assert linked == ["data:,"]
    assert told(text) == {
        "env": env,
        "algorithm": "PPO",
        "steps": 0,
        "discount": told(text)["discount"],
        "lang": "en",
    }
    assert text == page.text(PPO(env, rng=0, **SMALL))
    assert len(text) < 100_000


def test_the_page_says_what_was_run():
    agent = AGENTS["actor_critic"]("CartPole", rng=0, hidden=(4,), discount=0.75, n_steps=8).learn(8)
    about = {"env": "CartPole", "algorithm": "ACTOR-CRITIC", "steps": agent.state.steps, "discount": 0.75}
    assert told(page.text(agent, "zh")) == {**about, "lang": "zh"}


@pytest.mark.parametrize("algorithm", AGENTS)
def test_the_untrained_networks_are_those_before_the_first_update(tmp_path, algorithm):
    settings = {"hidden": (4,), "n_steps": 8, "normalise_obs": True}
    agent = AGENTS[algorithm]("CartPole", rng=3, **settings)
    theta, psi = agent.theta.copy(), agent.psi.copy()
    agent.learn(1)
    assert not np.array_equal(agent.theta, theta)
    policy, critic = actors.untrained(agent)
    assert (policy.theta.tobytes(), critic.theta.tobytes()) == (theta.tobytes(), psi.tobytes())
    assert (policy.seen.n, policy.state.steps) == (0, 0)


@pytest.mark.parametrize("kind", [PPO, A2C])
def test_the_trained_networks_answer_as_the_agent_with_values_in_units_of_the_reward(kind):
    settings = {"dtype": "float64", "normalise_obs": True, "scale_rewards": True, **SMALL}
    agent = kind("Pendulum", rng=0, **settings).learn(100)
    kept = agent.state.weights.copy()
    obs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    policy, critic = actors.trained(agent)
    seen = normalised(agent.seen, obs)
    np.testing.assert_array_equal(outputs(policy, obs), agent.policy.network.forward(agent.theta)(seen))
    (unit,) = deviation(agent.runners()[0].gained)
    assert unit > 2
    values = agent.critic.values(agent.psi, seen)
    np.testing.assert_allclose(outputs(critic, obs)[:, 0], unit * values, rtol=1e-13)
    np.testing.assert_array_equal(agent.state.weights, kept)


def test_values_are_left_as_they_are_where_rewards_were_not_scaled(agent):
    np.testing.assert_array_equal(actors.trained(agent).critic.theta, agent.psi)


@pytest.mark.parametrize(
    ("env", "name"),
    [
        (make("LQR"), "LQR"),
        (Episodic("CartPole", CartPole(gravity=5), 500), "CartPole"),
        (Episodic("CartPole", CartPole(), 200), "CartPole"),
    ],
)
def test_an_environment_that_the_page_does_not_have_is_refused(tmp_path, env, name):
    path = tmp_path / "play.html"
    path.write_text("old")
    with pytest.raises(ArgumentError, match=rf"^env must be one of CartPole, .* as it comes, got '{name}'$"):
        page.write(PPO(env, rng=0, **SMALL), path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("lang", ["de", "", None, ["en"], 1])
def test_another_language_is_refused(agent, lang):
    with pytest.raises(ArgumentError, match=r"^lang must be one of en, zh, got "):
        page.text(agent, lang)


def test_a_policy_that_cannot_be_exported_is_refused(agent):
    odd = SimpleNamespace(n_params=agent.policy.n_params, n_outputs=2, forward=agent.policy.network.forward)
    agent.task = agent.task._replace(policy=Policy(odd, Categorical()))
    with pytest.raises(ArgumentTypeError, match=r"^policy must be an MLP or a Table to be exported, got "):
        page.text(agent)


@pytest.mark.parametrize("part", ["theta", "psi"])
def test_a_parameter_that_is_not_finite_is_refused(agent, part):
    getattr(agent, part)[0] = np.nan
    with pytest.raises(NonFiniteError):
        page.text(agent)


@pytest.mark.parametrize(("place", "error"), [("no/play.html", FileNotFoundError), ("", IsADirectoryError)])
def test_a_path_that_cannot_be_written_is_an_error(tmp_path, agent, place, error):
    with pytest.raises(error):
        page.write(agent, tmp_path / place)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def command():
    """Return the function that runs `pgref demo` with arguments."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        cli_demo.add(parser.add_subparsers())
        chosen = parser.parse_args(["demo", *map(str, arguments)])
        return chosen.run(chosen)

    return run


def test_the_command_writes_the_page_of_a_run_or_of_an_agents_file(tmp_path, capsys, command):
    from pgref import runs

    run = runs.begin(tmp_path / "run", "trpo", "CartPole", 16, settings=SMALL)
    runs.train(run)
    path = tmp_path / "play.html"
    assert command(tmp_path / "run", "--html", path) == 0
    assert path.read_text("utf-8") == page.text(run.agent)
    assert capsys.readouterr().out == f"{path}: trpo plays CartPole after 16 steps\n"
    assert command(tmp_path / "run" / runs.CHECKPOINT, "--html", path, "--lang", "zh") == 0
    assert path.read_text("utf-8") == page.text(run.agent, "zh")


def test_the_command_needs_a_run(tmp_path, command):
    with pytest.raises(FileNotFoundError):
        command(tmp_path / "none", "--html", tmp_path / "play.html")
    assert list(tmp_path.iterdir()) == []
