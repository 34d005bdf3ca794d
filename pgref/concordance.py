"""The rows of the concordance, in the book's order. Numbers such as (5.18) are the book's own."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["holds", "holds if", "erratum", "heuristic", "definition"]


class Item(NamedTuple):
    """One row: a definition, equation, algorithm, claim or example of the text."""

    id: str  # I-1 … I-26 in the text's order, A-1 … for statements without a number, B-1 … beyond the excerpt
    numbers: tuple[str, ...]  # the book's: "5.18", "Lemma 5.1", "Section 5.7"
    title: str
    title_zh: str
    formula: str  # as it is true
    verdict: Verdict
    code: tuple[str, ...]  # "module:name" under pgref
    checks: tuple[str, ...]  # "module:name" under pgref.checks
    printed: str = ""  # for an erratum or a condition: what the book prints, restated
    note: str = ""
    note_zh: str = ""


# fmt: off
ITEMS = (
    Item(
        "I-1", ("Algorithm 5.20", "Section 5.5"), "Worker's surrogate", "Worker 的代理目标",
        "J(θ) = Σ_{t=1..L} log π_θ(A_t|S_t) Â_t,  g_θ = ∇J with Â fixed", "definition",
        ("objectives:score_objective", "objectives:score_objective_grad"), ("workers:worker_objective",),
        note="a sum, not a mean; no γ^t; the letter J is used twice",
        note_zh="是求和而非平均；没有 γ^t；字母 J 用了两次",
    ),
    Item(
        "I-2", ("Algorithm 5.20", "Section 5.5"), "TD estimate of the advantage", "优势函数的 TD 估计",
        "Â_t = R_t + γ V_ψ(S_{t+1}) − V_ψ(S_t)", "holds if",
        ("critic:td_advantages", "estimates:td_errors"),
        ("workers:td_advantage", "estimators:bootstrap_at_cut_off"),
        note="V_ψ = V; otherwise off by γP(V_ψ − V). V(S′) is 0 when terminal, kept when cut off",
        note_zh="要求 V_ψ = V，否则偏差为 γP(V_ψ − V)。S′ 为终止状态时 V(S′) 取 0，仅被截断时保留",
    ),
    Item(
        "I-3", ("Algorithm 5.20", "Section 5.5"), "Critic's gradient", "批判者的梯度",
        "g_ψ = −2 Σ_t Â_t ∇V_ψ(S_t)", "erratum",
        ("critic:semi_gradient", "critic:residual_gradient"), ("workers:critic_gradients",),
        printed="g_ψ = ∇_ψ Σ_t Â_t² = 2 Σ_t Â_t (γ∇V_ψ(S_{t+1}) − ∇V_ψ(S_t))",
        note="the printed one has another fixed point than V unless everything is deterministic",
        note_zh="按书中写法求导，除非一切都是确定的，否则不动点不是 V",
    ),
    Item(
        "I-4", ("Algorithm 5.20", "Section 5.5"), "What the worker returns", "Worker 的返回值",
        "(g_ψ, g_θ)", "definition", ("worker:worker_gradients",), ("workers:worker_returns",),
    ),
    Item(
        "A-1", ("Algorithm 5.20", "Section 5.5", "A2C"), "A2C adds up its workers", "A2C 汇总各 Worker",
        "Σ_n g(n-th worker's L steps) = g(all N·L transitions)", "holds",
        ("worker:worker_gradients", "algorithms.a2c:update"), ("workers:worker_sums",),
    ),
    Item(
        "I-5", ("Section 5.6",), "A3C: stale gradients, more of them", "A3C：梯度滞后，但吞吐更高",
        "P(fresh) = 1/M,  async/sync throughput = H_M = 1 + ½ + … + 1/M", "holds if",
        ("asynchrony:staleness_law", "asynchrony:throughput_ratio", "asynchrony:simulate"),
        ("asynchronous:stale_gradients",),
        note="M workers, i.i.d. exponential service", note_zh="M 个 Worker，服务时间独立同指数分布",
    ),
    Item(
        "I-6", ("Note 5.2",), "Asynchrony acts as momentum", "异步相当于动量",
        "E w_{t+1} − E w_t = (1 − 1/M)(E w_t − E w_{t−1}) − (α/M) λ E w_t,  t ≥ 1", "holds if",
        ("asynchrony:expected_iterates", "asynchrony:momentum_iterates", "asynchrony:mean_square_limit"),
        ("asynchronous:momentum", "asynchronous:other_service_laws", "asynchronous:single_runs"),
        note="in expectation, on a quadratic, exponential service; single runs are unstable much earlier",
        note_zh="仅对期望成立：二次目标、指数服务时间；单次运行早得多就会失稳",
    ),
    Item(
        "I-7", ("Algorithm 5.21", "Section 5.6"), "A3C's Master", "A3C 的 Master",
        "ψ ← ψ − η_ψ g_ψ,  θ ← θ + η_θ g_θ,  returns (θ, ψ)", "erratum",
        ("asynchrony:master_step", "algorithms.a3c:master"), ("asynchronous:master_signs",),
        printed="returns (V_ψ, π_θ), which the Worker unpacks as (θ, ψ)",
        note="the signs hold", note_zh="符号无误",
    ),
    Item(
        "I-8", ("Algorithm 5.21", "Section 5.6"), "A3C's Worker loop", "A3C 的 Worker 循环",
        "for k = 1, 2, …: (θ, ψ) = Master(g_ψ, g_θ); L steps; new (g_ψ, g_θ)", "holds if",
        ("asynchrony:worker_loop", "algorithms.a3c:worker"), ("asynchronous:worker_pushes",),
        note="if completed: push the last gradient, carry the environment over; a zero push costs Adam",
        note_zh="需补全：最后的梯度要推送，环境须延续；首次推送的零梯度会影响 Adam",
    ),
    Item(
        "I-9", ("5.14",), "Gradient ascent", "梯度上升",
        "θ ← θ + η_θ ∇J(θ)", "definition",
        ("exact:policy_gradient", "optimizers:sgd", "algorithms.vpg:update"), ("vanilla:ascent",),
    ),
    Item(
        "I-10", ("5.15",), "Vanilla policy gradient", "初版策略梯度",
        "∇J(θ) = E_τ[Σ_t γ^t ∇log π_θ(A_t|S_t) A(S_t, A_t)]", "erratum",
        ("exact:policy_gradient",), ("vanilla:printed_gradient", "vanilla:aliased_states"),
        printed="E_τ[Σ_t ∇log π_θ(A_t|S_t) A(S_t, A_t)], without γ^t",
        note="as printed it diverges on continuing MDPs, is no gradient, and can end at the worst policy",
        note_zh="按书中写法，在持续型 MDP 上发散，不是任何函数的梯度，还可能收敛到最差策略",
    ),
    Item(
        "I-11", ("5.16",), "Advantage", "优势函数",
        "A(s, a) = Q(s, a) − V(s)", "erratum", ("mdp:advantages",),
        ("vanilla:baseline", "lemma:learned_baseline"),
        printed="A(s, a) = Q(s, a) − V_ψ(s)",
        note="a learned V_ψ is a baseline in (5.28), but Lemma 5.1 then fails by ρ_{π′}·(V − V_ψ)",
        note_zh="学得的 V_ψ 在 (5.28) 中只是基线，但引理 5.1 会差 ρ_{π′}·(V − V_ψ)",
    ),
    Item(
        "I-12", ("Section 5.7",), "One step size in θ is unsafe", "参数空间的单一步长不可靠",
        "J(θ + η∇J) against η;  J(θ + Δ), ½ΔᵀHΔ ≤ δ, against δ", "holds",
        ("exact:trpo_step", "natural:line_search"), ("vanilla:step_sizes",),
    ),
    Item(
        "I-13", ("5.17",), "Policy space", "策略空间",
        "Π = {π ≥ 0 : ∫π(a|s) da = 1 for every s}", "holds if",
        ("special:softmax", "exact:policy_matrix"), ("vanilla:policy_space",),
        printed="∫π = 1",
        note="per state; θ ↦ π_θ is neither one-to-one nor onto",
        note_zh="对每个状态分别成立；θ ↦ π_θ 既非单射也非满射",
    ),
    Item(
        "I-14", ("Section 5.7", "Example 5.7"), "Sigmoid example", "Sigmoid 例子",
        "D(θ: 6 → 3) = .0387,  D(θ: 1.5 → −1.5) = .9527 nats", "holds",
        ("categorical:Categorical.kl",), ("vanilla:sigmoid_example",),
    ),
    Item(
        "I-15", ("Lemma 5.1", "5.18"), "Performance difference", "策略性能差",
        "J(π′) = J(π) + E_{τ∼π′}[Σ_t γ^t A_π(S_t, A_t)]", "holds",
        ("bounds:performance_difference",), ("lemma:performance_difference",),
    ),
    Item(
        "I-16", ("5.19",), "Same maximiser", "等价的目标",
        "argmax_{π′} E_{τ∼π′}[Σ_t γ^t A_π] = argmax_{π′} J(π′)", "holds",
        ("bounds:performance_difference",), ("lemma:same_maximiser",),
    ),
    Item(
        "I-17", ("5.20", "5.21"), "Over paths or over states", "轨迹形式与状态形式",
        "E_{τ∼π′}[Σ_t γ^t A_π] = Σ_s ρ_{π′}(s) Σ_a π′(a|s) A_π(s, a)", "holds",
        ("bounds:performance_difference", "mdp:visitation"), ("lemma:paths_and_states",),
        note="ρ unnormalised, which the text leaves undefined", note_zh="ρ 未归一化（书中未定义）",
    ),
    Item(
        "I-18", ("5.21", "5.22"), "The one approximation", "唯一的近似",
        "error = (ρ_{π′} − ρ_π)·Ā = O(‖θ′ − θ‖²),  Ā(s) = Σ_a π′(a|s) A_π(s, a)", "heuristic",
        ("bounds:local_surrogate", "bounds:surrogate_gap"), ("lemma:state_approximation",),
    ),
    Item(
        "I-19", ("5.22", "5.23", "5.24"), "Importance weights", "重要性权重",
        "Σ_a π′A = Σ_a π (π′/π) A", "holds if",
        ("bounds:importance_surrogate",), ("lemma:importance_weights",),
        note="π′(a|s)A(s, a) = 0 wherever π(a|s) = 0 and ρ_π(s) > 0",
        note_zh="要求凡 π(a|s) = 0 且 ρ_π(s) > 0 处 π′(a|s)A(s, a) = 0",
    ),
    Item(
        "I-20", ("5.24", "Section 5.7"), "Surrogate L", "代理目标 L",
        "L_π(π′) = E_{τ∼π}[Σ_t γ^t (π′/π) A_π]", "definition",
        ("bounds:importance_surrogate", "objectives:surrogate"), ("lemma:surrogate_excludes_return",),
        note="J is not included; the prose's ρ_θ′ is ρ_{π′}", note_zh="不含 J；正文中的 ρ_θ′ 应为 ρ_{π′}",
    ),
    Item(
        "I-21", ("Theorem 5.1", "5.25"), "Bound of the surrogate's error", "代理目标的误差界",
        "|J(π′) − J(π) − L| ≤ 4εγ/(1−γ)² D_max;  also ≤ 2εD_max Σ_{t≥1} √t γ^t", "holds",
        ("bounds:gap_bounds", "bounds:surrogate_gap"), ("theorem:bounds_hold", "theorem:bounds_are_used"),
        note="half the constant suffices; the refined TV bound is attained; the chain bound is O((1−γ)^−3/2)",
        note_zh="常数减半即可；精细的 TV 界可取等；链式界的阶为 (1−γ)^−3/2",
    ),
    Item(
        "I-22", ("5.26",), "TRPO's problem", "TRPO 的优化问题",
        "max L_π(π′) s.t. Σ_s ρ(s) D(π ‖ π′)(s) ≤ δ:  π′ = λπ / (ν_s − A)", "heuristic",
        ("exact:trpo_exact_tabular",), ("trust_region:exact_problem", "theorem:mean_is_not_max"),
        note="the theorem covers the maximum, not the mean; δ's scale depends on how ρ is normalised",
        note_zh="定理针对最大值而非均值；δ 的尺度取决于 ρ 是否归一化",
    ),
    Item(
        "I-23", ("5.27",), "Gradient of the surrogate", "代理目标的梯度",
        "g = ∇_θ′ L_π(π_θ′) at θ′ = θ", "holds",
        ("exact:policy_gradient", "objectives:surrogate_grad"), ("trust_region:surrogate_gradient",),
        note="∇ acts on the numerator only", note_zh="∇ 只作用于分子",
    ),
    Item(
        "I-24", ("5.28",), "It is the policy gradient", "即策略梯度",
        "g = E_τ[Σ_t γ^t ∇log π_θ A] = ∇J(θ)", "holds",
        ("exact:policy_gradient",), ("trust_region:return_gradient",),
        note="“the same as in Actor-Critic” fails, because of (5.15)",
        note_zh="“和 Actor-Critic 中一样”不成立，因为 (5.15) 有误",
    ),
    Item(
        "I-25", ("Section 5.7",), "Hessian of the mean KL", "平均 KL 的 Hessian",
        "H = ∇²_θ′ E_{s∼ρ} D(π_θ ‖ π_θ′) at θ′ = θ = Fisher = JᵀFJ", "holds",
        ("policy:Policy.kl_hessian", "policy:Policy.fisher_product", "exact:kl_hessian"),
        ("trust_region:hessian",),
        note="at θ′ = θ, in either order; elsewhere an MLP's is another and indefinite",
        note_zh="在 θ′ = θ 处，两种次序相同；其他处 MLP 的 Hessian 不同且不定",
    ),
    Item(
        "I-26", ("5.29",), "TRPO's step", "TRPO 的更新步",
        "max g·Δ s.t. ½ΔᵀHΔ ≤ δ:  Δ = √(2δ / gᵀH⁺g) H⁺g", "erratum",
        ("exact:trpo_step", "natural:natural_step", "algorithms.trpo:policy_step"),
        ("trust_region:closed_form_step", "trust_region:full_step"),
        printed="constraint ΔᵀHΔ ≤ δ with solution √(2δ / gᵀH⁻¹g) H⁻¹g",
        note="the ½ is missing; H is singular for a table; damping and a line search are needed",
        note_zh="缺少 ½；表格型策略的 H 奇异；需要阻尼与线搜索",
    ),
    Item(
        "A-2", ("Section 5.8", "PPO"), "Proximal policy optimisation", "近端策略优化",
        "(1/N) Σ min(rÂ, clip(r, 1−ε, 1+ε)Â);  (1/N) Σ [rÂ − βD]", "definition",
        ("objectives:clipped", "objectives:kl_penalised", "algorithms.ppo:update"),
        ("beyond:ppo_objectives",),
    ),
    Item(
        "B-1", ("line search",), "Line search of TRPO", "TRPO 的线搜索",
        "first of Δ, Δ/2, Δ/4, … with L > 0 and mean KL ≤ δ, else no step", "definition",
        ("natural:line_search",), ("estimators:line_search_guards",),
    ),
    Item(
        "B-2", ("GAE",), "Generalised advantage estimate", "广义优势估计",
        "Â_t = Σ_l (γλ)^l δ_{t+l};  λ = 0: δ_t,  λ = 1: G_t − V(S_t)", "holds",
        ("estimates:gae",), ("estimators:generalised_advantage",),
    ),
    Item(
        "B-3", ("PPO clip",), "PPO's flat side", "PPO 的截断区",
        "∇ = 0 exactly where the clip is active", "holds",
        ("objectives:clipped_grad",), ("beyond:clip_is_flat",),
    ),
    Item(
        "B-4", ("covariance",), "Natural gradient is covariant", "自然梯度的协变性",
        "θ = Bφ:  B H_φ⁺ g_φ and H_θ⁺ g_θ move π alike", "holds",
        ("exact:natural_gradient",), ("beyond:covariance",),
    ),
    Item(
        "B-5", ("NPG",), "Natural policy gradient on a table", "表格型自然策略梯度",
        "π′ ∝ π exp(ηA/(1−γ)),  J* − J_T ≤ log|A|/(ηT) + 1/((1−γ)²T)", "holds",
        ("exact:npg_iterates",), ("beyond:npg_rate",),
    ),
    Item(
        "B-6", ("penalty",), "Algorithm 1 of the TRPO paper", "TRPO 论文的算法 1",
        "argmax L − C·max_s D: J never falls, and crawls", "holds",
        ("exact:penalty_step",), ("beyond:monotone_penalty",),
    ),
    Item(
        "B-7", ("compatible",), "Compatible function approximation", "相容函数逼近",
        "argmin_w Σ ρπ (A − w·∇log π)² = H⁺∇J", "holds",
        ("exact:natural_gradient",), ("beyond:compatible_features",),
    ),
    Item(
        "B-8", ("Pinsker",), "Pinsker's inequality", "Pinsker 不等式",
        "TV ≤ √(D/2)", "holds", ("bounds:max_tv", "bounds:max_kl"), ("theorem:pinsker",),
    ),
    Item(
        "B-9", ("finite horizon",), "Lemma over a finite horizon", "有限时域引理",
        "J_T(π′) − J_T(π) = Σ_{t<T} γ^t E_{π′}[A_{π,T−t}(S_t, A_t)]", "holds",
        ("bounds:performance_difference",), ("lemma:finite_horizon",),
    ),
    Item(
        "B-10", ("weighting",), "Weights of the states", "状态的权重",
        "ρ(s) = Σ_t γ^t P(S_t = s) against Σ_t P(S_t = s)", "holds",
        ("exact:state_weights", "mdp:visitation"), ("beyond:state_weighting",),
    ),
)
