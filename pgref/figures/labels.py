"""The words in the figures, in Chinese; formulas and names are the same in both languages."""

CHINESE = {
    # sigmoid_steps
    "parameter space": "参数空间",
    "policy space": "策略空间",
    # step_size_cliff
    "step size η": "步长 η",
    "KL limit δ": "KL 上限 δ",
    "before the step": "更新之前",
    "J after one step": "一步之后的 J",
    "gradient step θ + η∇J": "梯度步 θ + η∇J",
    "trust-region step with line search": "带线搜索的信赖域步",
    # discounting_bias
    "with γᵗ": "含 γᵗ",
    "as printed": "按书中写法",
    "updates θ ← θ + ηg": "更新次数 θ ← θ + ηg",
    "what is taken for ∂J/∂θ": "被当作 ∂J/∂θ 的量",
    "J on the way": "更新过程中的 J",
    # theorem_bounds
    "half of it": "其一半",
    "CPO's with TV": "CPO 的 TV 界",
    "CPO's with KL": "CPO 的 KL 界",
    "in units of εD": "以 εD 为单位",
    "random MDPs: medians": "随机 MDP：中位数",
    "random walk": "随机游走",
    # trust_region
    "true KL = δ": "真实的 KL = δ",
    "ΔᵀHΔ = δ, as printed": "ΔᵀHΔ = δ（书中写法）",
    "closed-form step Δ": "闭式解 Δ",
    "conjugate gradients": "共轭梯度",
    "line search: refused": "线搜索：拒绝",
    "line search: accepted": "线搜索：接受",
    "mean KL around π(a₀|s) = σ(wx + b)": "π(a₀|s) = σ(wx + b) 附近的平均 KL",
    # staleness
    "staleness k": "滞后 k",
    "share of updates": "更新所占比例",
    "updates": "更新次数",
    "simulated": "模拟",
    "measured": "实测",
    "single runs": "单次运行",
    "E w of M workers": "M 个 Worker 的 E w",
    "heavy ball, μ = 1 − 1/M, step α/M": "重球法，μ = 1 − 1/M，步长 α/M",
    # learning_curves
    "environment steps": "环境步数",
    "mean return of {window} episodes (IQM, {level:.0%} band)": (
        "{window} 个回合的平均回报（IQM，{level:.0%} 区间）"
    ),
}
