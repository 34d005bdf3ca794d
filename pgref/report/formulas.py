"""The formulas of the concordance in LaTeX: what is true, and what the book prints where that differs."""

from __future__ import annotations

from typing import NamedTuple


class Formula(NamedTuple):
    """The lines of one item's formula."""

    right: tuple[str, ...]
    printed: tuple[str, ...] = ()  # where the book prints something else, as it stands there


# fmt: off
FORMULAS = {
    "I-1": Formula((
        r"J(\theta) = \sum_{t=1}^{L} \log\, \pi_\theta(A_t \mid S_t)\, \hat{A}_t",
        r"g_\theta = \sum_{t=1}^{L} \hat{A}_t\, \nabla_\theta\, \log\, \pi_\theta(A_t \mid S_t)",
    )),
    "I-2": Formula((r"\hat{A}_t = R_t + \gamma V_\psi(S_{t+1}) - V_\psi(S_t)",)),
    "I-3": Formula(
        (r"g_\psi = -2 \sum_t \hat{A}_t\, \nabla_\psi V_\psi(S_t)",),
        (
            r"g_\psi = \nabla_\psi \sum_t \hat{A}_t^2",
            r"\hphantom{g_\psi} = 2 \sum_t \hat{A}_t"
            r" \left(\gamma \nabla V_\psi(S_{t+1}) - \nabla V_\psi(S_t)\right)",
        ),
    ),
    "I-4": Formula((r"(g_\psi,\; g_\theta)",)),
    "A-1": Formula((
        r"\sum_{n=1}^{N} g(\tau_n) = g(\tau_1 \cup \dots \cup \tau_N), \quad |\tau_n| = L",
    )),
    "I-5": Formula((
        r"P(\text{fresh}) = \frac{1}{M}",
        r"\frac{\text{async}}{\text{sync}} = H_M = 1 + \frac{1}{2} + \dots + \frac{1}{M}",
    )),
    "I-6": Formula((
        r"\mathbb{E}\, w_{t+1} - \mathbb{E}\, w_t = \left(1 - \frac{1}{M}\right)"
        r"\left(\mathbb{E}\, w_t - \mathbb{E}\, w_{t-1}\right)"
        r" - \frac{\alpha}{M}\, \lambda\, \mathbb{E}\, w_t, \quad t \ge 1",
    )),
    "I-7": Formula(
        (
            r"\psi \leftarrow \psi - \eta_\psi g_\psi, \quad \theta \leftarrow \theta + \eta_\theta g_\theta",
            r"\text{return}\; (\theta, \psi)",
        ),
        (
            r"\text{Master:}\quad \text{return}\; (V_\psi, \pi_\theta)",
            r"\text{Worker:}\quad (\theta, \psi) = \text{Master}(g_\psi, g_\theta)",
        ),
    ),
    "I-8": Formula((
        r"\text{for}\; k = 1, 2, \dots",
        r"(\theta, \psi) = \text{Master}(g_\psi, g_\theta)",
        r"S_1, A_1, R_1, \dots, S_{L+1}",
        r"(g_\psi, g_\theta)",
    )),
    "I-9": Formula((r"\theta \leftarrow \theta + \eta_\theta \nabla J(\theta)",)),
    "I-10": Formula(
        (
            r"\nabla J(\theta) = \mathbb{E}_\tau"
            r" \left[ \sum\limits_t \gamma^t\, \nabla \log\, \pi_\theta(A_t \mid S_t)\,"
            r" A(S_t, A_t) \right]",
        ),
        (
            r"\nabla J(\theta) = \mathbb{E}_\tau"
            r" \left[ \sum\limits_t \nabla \log\, \pi_\theta(A_t \mid S_t)\,"
            r" A(S_t, A_t) \right]",
        ),
    ),
    "I-11": Formula(
        (r"A(s, a) = Q(s, a) - V(s)",),
        (r"A(s, a) = Q(s, a) - V_\psi(s)",),
    ),
    "I-12": Formula((
        r"\eta \mapsto J(\theta + \eta \nabla J)",
        r"\delta \mapsto J(\theta + \Delta), \quad \frac{1}{2} \Delta^\top H \Delta \le \delta",
    )),
    "I-13": Formula(
        (r"\Pi = \left\{ \pi \ge 0 \;:\; \int \pi(a \mid s)\, da = 1 \;\;\forall s \right\}",),
        (r"\Pi = \left\{ \pi \ge 0 \;:\; \int \pi = 1 \right\}",),
    ),
    "I-14": Formula((
        r"D(\theta\!:\; 6 \rightarrow 3) = 0.0387",
        r"D(\theta\!:\; 1.5 \rightarrow -1.5) = 0.9527",
    )),
    "I-15": Formula((
        r"J(\pi') = J(\pi) + \mathbb{E}_{\tau \sim \pi'}"
        r" \left[ \sum\limits_t \gamma^t A_\pi(S_t, A_t) \right]",
    )),
    "I-16": Formula((
        r"\underset{\pi'}{\text{argmax}}\; \mathbb{E}_{\tau \sim \pi'}"
        r" \left[ \sum\limits_t \gamma^t A_\pi(S_t, A_t) \right]"
        r" = \underset{\pi'}{\text{argmax}}\; J(\pi')",
    )),
    "I-17": Formula((
        r"\mathbb{E}_{\tau \sim \pi'} \left[ \sum\limits_t \gamma^t A_\pi(S_t, A_t) \right]"
        r" = \sum_s \rho_{\pi'}(s) \sum_a \pi'(a \mid s)\, A_\pi(s, a)",
    )),
    "I-18": Formula((
        r"(\rho_{\pi'} - \rho_\pi) \cdot \bar{A} = O\left(\|\theta' - \theta\|^2\right)",
        r"\bar{A}(s) = \sum_a \pi'(a \mid s)\, A_\pi(s, a)",
    )),
    "I-19": Formula((
        r"\sum_a \pi'(a \mid s)\, A_\pi(s, a)"
        r" = \sum_a \pi(a \mid s)\, \frac{\pi'(a \mid s)}{\pi(a \mid s)}\, A_\pi(s, a)",
    )),
    "I-20": Formula((
        r"L_\pi(\pi') = \mathbb{E}_{\tau \sim \pi} \left[ \sum\limits_t \gamma^t\,"
        r" \frac{\pi'(A_t \mid S_t)}{\pi(A_t \mid S_t)}\, A_\pi(S_t, A_t) \right]",
    )),
    "I-21": Formula((
        r"\left| J(\pi') - J(\pi) - L \right| \le \frac{4 \varepsilon \gamma}{(1 - \gamma)^2}\, D_{\max}",
        r"\left| J(\pi') - J(\pi) - L \right| \le 2 \varepsilon D_{\max} \sum_{t \ge 1} \sqrt{t}\, \gamma^t",
    )),
    "I-22": Formula((
        r"\max\limits_{\pi'}\; L_\pi(\pi') \quad \text{s.t.}"
        r" \quad \sum_s \rho(s)\, D(\pi \,\|\, \pi')(s) \le \delta",
        r"\pi'(a \mid s) = \frac{\lambda\, \pi(a \mid s)}{\nu_s - A(s, a)}",
    )),
    "I-23": Formula((r"g = \nabla_{\theta'} L_\pi(\pi_{\theta'}) \big|_{\theta' = \theta}",)),
    "I-24": Formula((
        r"g = \mathbb{E}_\tau \left[ \sum\limits_t \gamma^t\, \nabla \log\, \pi_\theta(A_t \mid S_t)\,"
        r" A(S_t, A_t) \right] = \nabla J(\theta)",
    )),
    "I-25": Formula((
        r"H = \nabla^2_{\theta'}\, \mathbb{E}_{s \sim \rho} D(\pi_\theta \,\|\, \pi_{\theta'})"
        r" \big|_{\theta' = \theta} = \mathbf{J}^\top F\, \mathbf{J}",
    )),
    "I-26": Formula(
        (
            r"\max\limits_\Delta\; g^\top \Delta \quad \text{s.t.}"
            r" \quad \frac{1}{2} \Delta^\top H \Delta \le \delta",
            r"\Delta = \sqrt{\frac{2 \delta}{g^\top H^{+} g}}\; H^{+} g",
        ),
        (
            r"\max\limits_\Delta\; g^\top \Delta \quad \text{s.t.} \quad \Delta^\top H \Delta \le \delta",
            r"\Delta = \sqrt{\frac{2 \delta}{g^\top H^{-1} g}}\; H^{-1} g",
        ),
    ),
    "A-2": Formula((
        r"\frac{1}{N} \sum \min\left( r \hat{A},\; \text{clip}(r, 1 - \varepsilon, 1 + \varepsilon)\,"
        r" \hat{A} \right)",
        r"\frac{1}{N} \sum \left[ r \hat{A} - \beta D \right]",
    )),
    "B-1": Formula((
        r"k = \min \left\{ j \ge 0 \;:\; L(\theta + 2^{-j} \Delta) > 0,\;"
        r" \bar{D}(\theta + 2^{-j} \Delta) \le \delta \right\}",
        r"\theta \leftarrow \theta + 2^{-k} \Delta",
    )),
    "B-2": Formula((
        r"\hat{A}_t = \sum_{l \ge 0} (\gamma \lambda)^l\, \delta_{t+l}",
        r"\lambda = 0: \;\; \hat{A}_t = \delta_t, \qquad \lambda = 1: \;\; \hat{A}_t = G_t - V(S_t)",
    )),
    "B-3": Formula((
        r"\nabla \min\left( r \hat{A},\; \text{clip}(r)\, \hat{A} \right) = \begin{cases}"
        r" 0 & \text{clip}(r)\, \hat{A} < r \hat{A} \\"
        r" \hat{A}\, \nabla r & \text{clip}(r)\, \hat{A} \ge r \hat{A} \end{cases}",
    )),
    "B-4": Formula((
        r"\theta = B \varphi : \quad d\pi(B\, H_\varphi^{+} g_\varphi) = d\pi(H_\theta^{+} g_\theta)",
    )),
    "B-5": Formula((
        r"\pi'(a \mid s) \propto \pi(a \mid s)\, \exp\left( \frac{\eta A(s, a)}{1 - \gamma} \right)",
        r"J^{*} - J_T \le \frac{\log \lvert\mathcal{A}\rvert}{\eta T} + \frac{1}{(1 - \gamma)^2\, T}",
    )),
    "B-6": Formula((
        r"\pi' = \underset{\pi'}{\text{argmax}}\;"
        r" \left( L_\pi(\pi') - C\, \max\limits_s D(\pi \,\|\, \pi')(s) \right)",
        r"J(\pi') \ge J(\pi)",
    )),
    "B-7": Formula((
        r"\underset{w}{\text{argmin}}\; \sum_{s, a} \rho(s)\, \pi(a \mid s)"
        r" \left( A(s, a) - w \cdot \nabla \log\, \pi(a \mid s) \right)^2 = H^{+} \nabla J",
    )),
    "B-8": Formula((r"\text{TV} \le \sqrt{\frac{D}{2}}",)),
    "B-9": Formula((
        r"J_T(\pi') - J_T(\pi) = \sum_{t=0}^{T-1} \gamma^t\, \mathbb{E}_{\pi'}"
        r" \left[ A_{\pi, T-t}(S_t, A_t) \right]",
    )),
    "B-10": Formula((
        r"\rho(s) = \sum_t \gamma^t P(S_t = s)",
        r"\sum_t P(S_t = s)",
    )),
}
