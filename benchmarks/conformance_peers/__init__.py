"""What conformance.py calls: the installed frameworks' own code on the oracle's inputs.

Nothing of what a framework computes is written here. A formula inside a large method is reached by calling
that method with the little that it needs: a `SimpleNamespace` for the agent, scripted policies. Coefficients
of losses are 1, dampings 0 or what the oracle drew. Each module imports its framework when asked for calls.
"""

from conformance_peers import (
    of_cleanrl,
    of_contrib,
    of_jax,
    of_sb3,
    of_skrl,
    of_skrl_trpo,
    of_tianshou,
    of_tianshou_trpo,
    of_torch,
)

PEERS = {  # frameworks by their distribution's name, each with what yields its calls
    "torch": (of_torch.torch,),
    "stable-baselines3": (of_sb3.stable_baselines3,),
    "sb3-contrib": (of_contrib.sb3_contrib,),
    "cleanrl": (of_cleanrl.cleanrl,),
    "tianshou": (of_tianshou.tianshou, of_tianshou_trpo.tianshou),
    "skrl": (of_skrl.skrl, of_skrl.distributions, of_skrl_trpo.skrl),
    "rlax": (of_jax.rlax,),
    "distrax": (of_jax.distrax,),
    "rejax": (of_jax.rejax,),
}
