"""The page's own words in both languages; what is read is in the page twice, one of the two shown."""

from __future__ import annotations

from html import escape

from pgref.chinese import WORDS

LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # --lang ↦ the value of HTML's lang

CHINESE = {
    "The policy-gradient chapter, verified": "策略梯度一章：逐条验证",
    "Every definition, equation, algorithm and claim of the chapter under its printed number: what is true, "
    "what was measured in this run, and the code that computes it.":
        "本章的每个定义、公式、算法与论断，均按书中编号列出：正确的写法、本次运行的实测结果，以及相应的实现代码。",
    "date": "日期",
    "seed": "随机种子",
    "random instances of a check": "每项检查的随机实例",
    "Skip to the items": "跳到条目",
    "Contents": "目录",
    "Search": "搜索",
    "Search: 5.18, I-21, advantage, erratum … (press /)": "搜索：5.18、I-21、优势、勘误……（按 /）",
    "Nothing found.": "没有找到。",
    "as printed": "书中写法",
    "as it is right": "正确写法",
    "Measured in this run": "本次运行的实测",
    "what was measured": "测量内容",
    "value": "数值",
    "limit": "界限",
    "kept": "通过",
    "missed": "未通过",
    "Code": "代码",
    "Checks": "检查",
    "The source is not available in this installation.": "此安装中没有源代码。",
    "The figure needs matplotlib:": "此图需要 matplotlib：",
    "The Worker of A2C": "A2C 的 Worker",
    "A3C": "A3C",
    "Vanilla policy gradient": "初版策略梯度",
    "From policy to policy": "策略之间的差",
    "TRPO": "TRPO",
    "PPO": "PPO",
    "Beyond the text": "正文之外",
}  # fmt: skip
KINDS = {
    "Section": "第 {} 节",
    "Algorithm": "算法 {}",
    "Lemma": "引理 {}",
    "Theorem": "定理 {}",
    "Note": "注 {}",
    "Example": "例 {}",
    "line": "线搜索",
    "covariance": "协变性",
    "penalty": "惩罚",
    "compatible": "相容",
    "finite": "有限时域",
    "weighting": "加权",
}


def chinese(text: str) -> str:
    """Return the interface's words in Chinese."""
    return CHINESE.get(text) or WORDS[text]


def both(english: str, other: str | None = None) -> str:
    """Return HTML that shows a text in the language of the page; without a Chinese one the words above."""
    other = chinese(english) if other is None else other
    if english == other:
        return escape(english)
    return "".join(
        f'<span lang="{LANGUAGES[lang]}">{escape(text)}</span>'
        for lang, text in (("en", english), ("zh", other))
    )


def in_both(attribute: str, english: str, lang: str) -> str:
    """Return an HTML attribute in the language shown first, and in both for the script that changes it."""
    texts = {"en": english, "zh": chinese(english)}
    others = (f'data-{attribute}-{LANGUAGES[key]}="{escape(text)}"' for key, text in texts.items())
    return " ".join([f'{attribute}="{escape(texts[lang])}"', *others])


def numbers(names: tuple[str, ...]) -> str:
    """Return an item's numbers: "Lemma 5.1 · (5.18)", 引理 5.1 · (5.18)."""
    english = [f"({name})" if name[0].isdigit() else name for name in names]
    return both(" · ".join(english), " · ".join(map(_chinese_number, english)))


def _chinese_number(name: str) -> str:
    kind, _, number = name.partition(" ")
    return KINDS[kind].format(number) if kind in KINDS else name
