"""The interface's words and the measured quantities in Chinese; what is missing here is shown in English."""

from __future__ import annotations

WORDS = {
    "holds": "成立",
    "holds if": "有条件成立",
    "erratum": "勘误",
    "heuristic": "启发式",
    "definition": "定义",
    "item": "条目",
    "number": "编号",
    "statement": "内容",
    "verdict": "结论",
    "kept": "通过",
    "measured": "实测",
    "printed": "书中写法",
    "true": "正确写法",
    "formula": "公式",
    "note": "说明",
    "nothing measured": "没有任何测量",
    "items hold": "个条目成立",
    "findings": "项测量",
    "seconds": "秒",
    "share of the bound used": "界的使用率",
}

# fmt: off
FINDINGS: dict[str, str] = {
    "share of stale gradients, M ≥ 3": "滞后梯度的比例，M ≥ 3",
    "|P(fresh) − 1/M| / σ": "|P(不滞后) − 1/M| / σ",
    "|async/sync − H_M| / σ": "|异步/同步吞吐比 − H_M| / σ",
    "|E wₜ − mean over all Mᵗ orders of finishing| / max|E w|":
        "|E wₜ − 全部 Mᵗ 种完成次序的平均| / max|E w|",
    "|E wₜ − heavy ball, μ = 1 − 1/M, step α/M| / max|E w|":
        "|E wₜ − 重球法，μ = 1 − 1/M，步长 α/M| / max|E w|",
    "|E wₜ − optimizers.sgd with that momentum| / max|E w|":
        "|E wₜ − 带该动量的 optimizers.sgd| / max|E w|",
    "|mean of runs − E wₜ| / σ": "|多次运行的平均 − E wₜ| / σ",
    "|p − 1/(M+1)| / σ, uniform service": "|p − 1/(M+1)| / σ，均匀服务时间",
    "(1/M − p)·M, uniform service": "(1/M − p)·M，均匀服务时间",
    "|τ − (M − 1)|, constant service: never fresh": "|τ − (M − 1)|，恒定服务时间：总是滞后",
    "|limit of αλ − (2, 1.2808, .843, .566)|, M = 1, 2, 4, 8":
        "|αλ 的上限 − (2, 1.2808, .843, .566)|，M = 1, 2, 4, 8",
    "|spectral radius of E w², E wr, E rr at it − 1|":
        "|该处 E w²、E wr、E rr 的谱半径 − 1|",
    "limit of αλ for E w / for E w², M = 8": "αλ 的上限，E w 与 E w² 之比，M = 8",
    "|E wₙ|, M = 8, αλ three times the limit for E w²":
        "|E wₙ|，M = 8，αλ 为 E w² 上限的三倍",
    "E wₙ², same αλ": "E wₙ²，αλ 相同",
    "smallest |wₙ| of all runs, same αλ": "各次运行中最小的 |wₙ|，αλ 相同",
    "|ΔJ/(η‖g_θ‖²) − 1|, the surrogate rises": "|ΔJ/(η‖g_θ‖²) − 1|，代理目标上升",
    "|Δloss/(η‖g_ψ‖²) + 1|, the critic's loss falls":
        "|Δ损失/(η‖g_ψ‖²) + 1|，批判者的损失下降",
    "distance to the optimum, 40 rounds / start, reply (θ, ψ)":
        "到最优点的距离，40 轮后/开始时，返回 (θ, ψ)",
    "distance to the optimum, 40 rounds / start, printed reply (V_ψ, π_θ)":
        "到最优点的距离，40 轮后/开始时，按书返回 (V_ψ, π_θ)",
    "|θ, ψ after the first fetch − before|, SGD": "|首次获取后的 θ, ψ − 之前|，SGD",
    "|K rounds as printed − K − 1 completed rounds|": "|按书 K 轮 − 补全后 K − 1 轮|",
    "gradients never pushed, as printed": "从未推送的梯度数，按书",
    "gradients never pushed, completed": "从未推送的梯度数，补全后",
    "|Adam's step after a zero push − √(1+β₂)/(1+β₁)|":
        "|推送零梯度后 Adam 的步长 − √(1+β₂)/(1+β₁)|",
    "share of Adam's step that the zero push costs": "零梯度推送使 Adam 步长损失的比例",
    "goals beyond L steps reached, environment reset for each k":
        "到达 L 步以外目标的次数，每个 k 重置环境",
    "goals beyond L steps reached, environment carried over": "到达 L 步以外目标的次数，环境延续",
    "|∇ clipped − complex step| / |·|": "|∇ 截断目标 − 复数步长导数| / |·|",
    "|∇ KL-penalised − complex step| / |·|": "|∇ KL 惩罚目标 − 复数步长导数| / |·|",
    "|either gradient − policy gradient| / |·| at θ = θ_old":
        "|两种梯度 − 策略梯度| / |·|，θ = θ_old 处",
    "clipped − surrogate: a lower bound": "截断目标 − 代理目标：是下界",
    "|adapted β − (½, 1, 2)| for KL = d/10, d, 10d":
        "|调整后的 β − (½, 1, 2)|，KL = d/10, d, 10d",
    "|∇| of samples with an active clip": "截断生效的样本的 |∇|",
    "such samples": "这样的样本数",
    "|∇ clipped − ∇ surrogate| of the others / |·|":
        "其余样本的 |∇ 截断目标 − ∇ 代理目标| / |·|",
    "|dπ by B·(natural gradient in φ) − dπ by that in θ| / |·|":
        "|B·(φ 的自然梯度) 引起的 dπ − θ 的自然梯度引起的 dπ| / |·|",
    "(J* − J(π_T)) / (log|A|/(ηT) + 1/((1−γ)²T)), worst":
        "(J* − J(π_T)) / (log|A|/(ηT) + 1/((1−γ)²T))，最坏",
    "|θ + ηH⁺∇J − that update|": "|θ + ηH⁺∇J − 该更新|",
    "(J′ − J) / (J* − J) of a step, least: never down":
        "一步的 (J′ − J) / (J* − J)，最小：从不下降",
    "(J′ − J) / (J* − J) of a step, most: it crawls":
        "一步的 (J′ − J) / (J* − J)，最大：进展缓慢",
    "|regression − H⁺∇J| / |·|": "|回归 − H⁺∇J| / |·|",
    "|(1−γ) Σρ − 1|, nothing terminates": "|(1−γ) Σρ − 1|，无终止",
    "|ρ − Σ_t γ^t P(S_t)| / |ρ|, 400 steps":
        "|ρ − Σ_t γ^t P(S_t)| / |ρ|，400 步",
    "|undiscounted weights: g − ∇J| / |∇J|, γ = 1":
        "|不折扣的权重：g − ∇J| / |∇J|，γ = 1",
    "|undiscounted weights: g − ∇J| / |∇J|, γ < 1, median":
        "|不折扣的权重：g − ∇J| / |∇J|，γ < 1，中位数",
    "KL/δ of an accepted step": "被接受的步的 KL/δ",
    "L of an accepted step": "被接受的步的 L",
    "refused steps that changed a bit of θ": "被拒绝却改动了 θ 某一位的步数",
    "KL/δ of the full step where π = (1−1e−4, 1e−4)":
        "π = (1−1e−4, 1e−4) 处整步的 KL/δ",
    "|δ|, V exact": "|δ|，V 精确",
    "|GAE(λ)|, V exact": "|GAE(λ)|，V 精确",
    "|δ + γV(S′)|, cut taken as end": "|δ + γV(S′)|，把截断当作终止",
    "|δ − γV(S′)|, end as cut": "|δ − γV(S′)|，把终止当作截断",
    "least |bias| where a cut-off is taken for an end": "把截断当作终止时最小的 |偏差|",
    "least |bias| where an end is taken for a cut-off": "把终止当作截断时最小的 |偏差|",
    "|J(π′) − J(π) − E|/(Σρ′·max(1, |J|)), γ = 1, all paths end":
        "|J(π′) − J(π) − E|/(Σρ′·max(1, |J|))，γ = 1，轨迹必终止",
    "max J − J(argmax E), over all deterministic π′":
        "max J − J(argmax E)，遍历所有确定性 π′",
    "max − min of J(π′) − E over π′": "J(π′) − E 在各 π′ 间的最大值减最小值",
    "max E, at least that of π itself": "max E，至少是 π 自身的值",
    "|(1−γ) Σ_s ρ(s) − 1|, nothing terminates": "|(1−γ) Σ_s ρ(s) − 1|，无终止",
    "|order − 2| of the error as π′ → π, median": "π′ → π 时误差的 |阶 − 2|，中位数",
    "|E − L|/|E| between unrelated policies, median": "互不相关的策略间 |E − L|/|E|，中位数",
    "|(5.23) − (5.22)|, π > 0, also logits ±50":
        "|(5.23) − (5.22)|，π > 0，含 logits ±50",
    "|(5.24) over paths − (5.22)|": "|按轨迹的 (5.24) − (5.22)|",
    "|(5.23) + Σ_{π=0} ρπ′A − (5.22)|, π deterministic":
        "|(5.23) + Σ_{π=0} ρπ′A − (5.22)|，π 为确定性策略",
    "(5.22) − (5.24) where π never takes the better action":
        "π 从不采取更优动作时的 (5.22) − (5.24)",
    "|J(π)| left out, largest": "未包含的 |J(π)|，最大",
    "|dL − dJ| at π, along π′ − π": "π 处沿 π′ − π 的 |dL − dJ|",
    "|E_{π′} Σγ^t (Q − V_ψ) − (J(π′) − J(π))|, largest":
        "|E_{π′} Σγ^t (Q − V_ψ) − (J(π′) − J(π))|，最大",
    "that failure − ρ_π′·(V − V_ψ)": "该误差 − ρ_π′·(V − V_ψ)",
    "|J_T(π′) − J_T(π) − Σ_{t<T} γ^t E[A_{π,T−t}]|, also γ = 1":
        "|J_T(π′) − J_T(π) − Σ_{t<T} γ^t E[A_{π,T−t}]|，含 γ = 1",
    "|J_T(π′) − J_T(π) − ρ′·Ā| at T = 400":
        "|J_T(π′) − J_T(π) − ρ′·Ā|，T = 400",
    "gap / (4εγD/(1−γ)²), largest": "差 / (4εγD/(1−γ)²)，最大",
    "gap / (half of it), largest": "差 / (其一半)，最大",
    "gap / (4εα²γ/((1−γ)(1−γ(1−α)))), largest":
        "差 / (4εα²γ/((1−γ)(1−γ(1−α))))，最大",
    "gap / (2εD Σ√t γ^t), largest": "差 / (2εD Σ√t γ^t)，最大",
    "gap / (CPO's with TV), largest": "差 / (CPO 的 TV 界)，最大",
    "gap / (CPO's with KL), largest": "差 / (CPO 的 KL 界)，最大",
    "gap / (4εγD(π′‖π)/(1−γ)²), largest": "差 / (4εγD(π′‖π)/(1−γ)²)，最大",
    "gap / (3εγD/(1−γ)², D over reachable states), largest":
        "差 / (3εγD/(1−γ)²，D 只取可达状态)，最大",
    "|gap / refined TV bound − 1| on its tight family":
        "|差 / 精细 TV 界 − 1|，在取等的实例族上",
    "|gap / printed − .495| on the KL family, γ = .01, D → 0":
        "|差 / 书中的界 − .495|，KL 实例族，γ = .01，D → 0",
    "|gap / printed − 0.452| on the random walk, γ = 0.1":
        "|差 / 书中的界 − 0.452|，随机游走，γ = 0.1",
    "|gap / printed − 0.289| on the random walk, γ = 0.5":
        "|差 / 书中的界 − 0.289|，随机游走，γ = 0.5",
    "|gap / printed − 0.115| on the random walk, γ = 0.9":
        "|差 / 书中的界 − 0.115|，随机游走，γ = 0.9",
    "|gap / printed − 0.035| on the random walk, γ = 0.99":
        "|差 / 书中的界 − 0.035|，随机游走，γ = 0.99",
    "|gap·(1−γ)^(3/2)/(εD) − √2|, walk, 1−γ = 1e-4":
        "|差·(1−γ)^(3/2)/(εD) − √2|，随机游走，1−γ = 1e-4",
    "gap / printed on Dirichlet MDPs, median": "差 / 书中的界，Dirichlet MDP，中位数",
    "gap / printed on Dirichlet MDPs, largest": "差 / 书中的界，Dirichlet MDP，最大",
    "gap / TV bound with α over reachable states only": "差 / α 只取可达状态的 TV 界",
    "gap / (C Σ_s d(s) KL(s)), d = (1−γ)ρ":
        "差 / (C Σ_s d(s) KL(s))，d = (1−γ)ρ",
    "gap / (C Σ_s ρ(s) KL(s)), ρ unnormalised": "差 / (C Σ_s ρ(s) KL(s))，ρ 未归一化",
    "gap / (C max_s KL(s))": "差 / (C max_s KL(s))",
    "TV / √(D/2), largest": "TV / √(D/2)，最大",
    "TV / √(D/2) at (½, ½) → (½ + x, ½ − x), x = 1e-4":
        "TV / √(D/2)，(½, ½) → (½ + x, ½ − x)，x = 1e-4",
    "|Σ_s ρ D(π ‖ π′) / δ − 1| of the exact solution":
        "精确解的 |Σ_s ρ D(π ‖ π′) / δ − 1|",
    "|A + λπ/π′ − ν_s| / λ, one λ for all states (KKT)":
        "|A + λπ/π′ − ν_s| / λ，所有状态同一个 λ（KKT）",
    "gain of any of 10 other policies at the same δ": "同一 δ 下另外 10 个策略的最大增益",
    "|step(ρ normalised) / step(ρ) · √(1−γ) − 1|":
        "|步长(归一化 ρ) / 步长(ρ) · √(1−γ) − 1|",
    "|g − ∇L(θ′)| / |g| at θ′ = θ": "|g − ∇L(θ′)| / |g|，θ′ = θ 处",
    "|(5.28) − ∇J| / |∇J|, complex step": "|(5.28) − ∇J| / |∇J|，复数步长",
    "|(5.15) − ∇J| / |∇J|, median, 20 steps": "|(5.15) − ∇J| / |∇J|，中位数，20 步",
    "|JᵀFJ − ∇²KL| / |·| at θ′ = θ, complex step":
        "|JᵀFJ − ∇²KL| / |·|，θ′ = θ 处，复数步长",
    "|∇KL| at θ′ = θ": "|∇KL|，θ′ = θ 处",
    "|∇²KL(new ‖ old) − JᵀFJ| / |·|": "|∇²KL(新 ‖ 旧) − JᵀFJ| / |·|",
    "|∇²KL − Fisher(θ′)| / |·| at another θ′, softmax table":
        "|∇²KL − Fisher(θ′)| / |·|，另一 θ′ 处，softmax 表格",
    "|∇²KL − Fisher(θ′)| / |·| at another θ′, MLP":
        "|∇²KL − Fisher(θ′)| / |·|，另一 θ′ 处，MLP",
    "−λ_min / λ_max of ∇²KL at another θ′, MLP: indefinite":
        "另一 θ′ 处 ∇²KL 的 −λ_min / λ_max，MLP：不定",
    "|½ΔᵀHΔ/δ − 1| of the printed solution": "书中解的 |½ΔᵀHΔ/δ − 1|",
    "ΔᵀHΔ/δ of the printed solution; its constraint allows 1":
        "书中解的 ΔᵀHΔ/δ；其约束只允许 1",
    "g·Δ gained by any of 10 other steps, either constraint":
        "另外 10 个步在任一约束下多得的 g·Δ",
    "|H·(one constant for each state)|: H is singular": "|H·(每个状态一个常数)|：H 奇异",
    "|H⁺∇J − (A − mean_a A)| / |·|": "|H⁺∇J − (A − 对 a 的平均)| / |·|",
    "KL/δ of the full step, undamped, worst": "整步的 KL/δ，无阻尼，最坏",
    "KL/δ of the full step, damping 0.1, median": "整步的 KL/δ，阻尼 0.1，中位数",
    "KL/δ of the full step, damping 0.1, worst": "整步的 KL/δ，阻尼 0.1，最坏",
    "KL/δ of a step with damping and line search, worst": "有阻尼和线搜索的步的 KL/δ，最坏",
    "|dJ(θ + η∇J)/dη / ‖∇J‖² − 1| at η = 0":
        "|dJ(θ + η∇J)/dη / ‖∇J‖² − 1|，η = 0 处",
    "|(5.15) − ∇J| / |∇J|, γ = 1, episodic": "|(5.15) − ∇J| / |∇J|，γ = 1，分幕",
    "|(5.15) − ∇J| / |∇J|, γ = ½, episodic": "|(5.15) − ∇J| / |∇J|，γ = ½，分幕",
    "|growth over 2T … 4T / growth over T … 2T − 2|, continuing":
        "|2T … 4T 的增长 / T … 2T 的增长 − 2|，持续型",
    "‖(5.15) over 400 steps‖ / ‖∇J‖, continuing": "‖400 步的 (5.15)‖ / ‖∇J‖，持续型",
    "‖∂g/∂θ − (∂g/∂θ)ᵀ‖ / ‖∂g/∂θ‖ for (5.28)":
        "(5.28) 的 ‖∂g/∂θ − (∂g/∂θ)ᵀ‖ / ‖∂g/∂θ‖",
    "‖∂g/∂θ − (∂g/∂θ)ᵀ‖ / ‖∂g/∂θ‖ for (5.15)":
        "(5.15) 的 ‖∂g/∂θ − (∂g/∂θ)ᵀ‖ / ‖∂g/∂θ‖",
    "|∂J/∂θ by (5.28) − 1/16| at θ = 0": "θ = 0 处 |按 (5.28) 的 ∂J/∂θ − 1/16|",
    "−∂J/∂θ by (5.15) at θ = 0: downhill": "θ = 0 处 −(按 (5.15) 的 ∂J/∂θ)：指向下坡",
    "1 − J after following (5.28); the best is 1": "沿 (5.28) 上升后的 1 − J；最优为 1",
    "J lost by following (5.15) from .875; the worst is .75": "从 .875 沿 (5.15) 上升后损失的 J；最差为 .75",
    "gain in J / (best − start), η = 0.1": "J 的增益 / (最优 − 起点)，η = 0.1",
    "J after / before one gradient step, η = 10⁴": "一个梯度步之后/之前的 J，η = 10⁴",
    "J after / before one trust-region step with line search, worst δ":
        "一个带线搜索的信赖域步之后/之前的 J，最坏的 δ",
    "|Σ_a π(a|s) − 1|, every s": "|Σ_a π(a|s) − 1|，每个 s",
    "Σ_{s,a} π(a|s) on 4 states: ∫π = 1 holds per state only":
        "4 个状态上的 Σ_{s,a} π(a|s)：∫π = 1 只对每个状态成立",
    "|π_θ − π_θ′|, θ′ = θ + 1: not one-to-one": "|π_θ − π_θ′|，θ′ = θ + 1：非单射",
    "|π_θ − π_θ′|, hidden units of an MLP permuted": "|π_θ − π_θ′|，置换 MLP 的隐藏单元",
    "min π_θ(a|s), |θ| = 300: deterministic policies are not reached":
        "min π_θ(a|s)，|θ| = 300：达不到确定性策略",
    "|π rounded − printed|, all four pairs": "|四舍五入后的 π − 书中数值|，四对",
    "|E g_θ − Σ_{t<L} E ∇log π A| / |·|, all paths":
        "|E g_θ − Σ_{t<L} E ∇log π A| / |·|，所有轨迹",
    "bias |γP(V_ψ − V)|, V_ψ drawn": "偏差 |γP(V_ψ − V)|，随机的 V_ψ",
    "|residual gradient − ∇Σ Â²| / |·|": "|残差梯度 − ∇Σ Â²| / |·|",
    "|semi-gradient − ∇Σ Â², target fixed| / |·|": "|半梯度 − 目标固定时的 ∇Σ Â²| / |·|",
    "|fixed point of the semi-gradient − V|": "|半梯度的不动点 − V|",
    "|fixed point of the printed gradient − V|": "|书中梯度的不动点 − V|",
    "|fixed point of the printed gradient − V|, all deterministic":
        "|书中梯度的不动点 − V|，一切都确定时",
    "|Σ gradients of N workers − gradient on N·L| / |·|":
        "|N 个 Worker 的梯度之和 − N·L 上的梯度| / |·|",
    "|J(π′) − J(π) − E_{τ∼π′} Σγ^t A| / (scale · Σρ)":
        "|J(π′) − J(π) − E_{τ∼π′} Σγ^t A| / (量级 · Σρ)",
    "|dJ − dL| from π towards π′ / (scale · Σρ)":
        "从 π 朝 π′ 的 |dJ − dL| / (量级 · Σρ)",
    "|g·v − dJ| / Σ|g v|, softmax logits, random v":
        "|g·v − dJ| / Σ|g v|，softmax 的 logits，随机 v",
    "gap − bound printed": "差 − 界 printed",
    "gap − bound pinsker": "差 − 界 pinsker",
    "gap − bound total_variation": "差 − 界 total_variation",
    "gap − bound chain": "差 − 界 chain",
    "gap − bound cpo_tv": "差 − 界 cpo_tv",
    "gap − bound cpo_kl": "差 − 界 cpo_kl",
    "|dπ by B·(gradient in φ) − dπ by that in θ| / |·|, most":
        "|B·(φ 的普通梯度) 引起的 dπ − θ 的普通梯度引起的 dπ| / |·|，最大",
    "gain in the penalised objective beside the step / at the step":
        "该步旁边的惩罚目标增益 / 该步处",
    "policies compared":
        "参与比较的策略数",
    "KL/δ of a step with damping and line search, median":
        "有阻尼和线搜索的步的 KL/δ，中位数",
    "|either objective − its terms summed from π itself|":
        "|两种目标 − 由 π 直接求和的各项|",
    "|ΔᵀHΔ/δ − 1| of the solution that belongs to the printed constraint":
        "与书中约束相配的解的 |ΔᵀHΔ/δ − 1|",
    "|νHΔ − g| / |g| with ν = g·Δ / ΔᵀHΔ (KKT), either constraint":
        "|νHΔ − g| / |g|，ν = g·Δ / ΔᵀHΔ（KKT），两种约束",
}
