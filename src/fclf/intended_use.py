"""What edits are for, what they are not for, and how they fail: one text for every place where somebody meets them.

The README, the documentation, model cards, reports and the served page all take it from here.
"""

from __future__ import annotations

__all__ = ["FAILS", "FOR", "MEANS", "NOTICE", "NOT_FOR", "SECTIONS", "TERMS", "brief", "markdown"]

NOTICE = (
    "For research: what you see is a model’s guess at one attribute, not a fact about a person. Do not use it to "
    "judge, identify or mislead about anybody."
)
"""In one breath, where there is room for no more."""
FOR = (
    "Research on representations: what an embedding has learned about an attribute.",
    "Asking whether a classifier over the same embeddings changes its mind when one attribute does.",
    "Rare combinations to train with, and search among one’s own pictures.",
)
NOT_FOR = (
    "Identifying people, surveillance, or inferring traits of anybody.",
    "Decisions about people: hiring, lending, insurance, schooling, policing, borders.",
    "Pictures or claims of how a real person looks or would look.",
)
MEANS = (
    "Labels of faces such as “Attractive”, “Young” or “Male” are what annotators thought of a picture. They are not "
    "facts about a person, who was not asked.",
    "An edit shows what goes with a label in the training data. Its correlations and stereotypes come along, and what "
    "nobody labelled moves too. It is right on average over rows like the training rows, and nothing is known of one "
    "person.",
    "Data of celebrities are of few kinds of people. How well others are edited was not measured.",
)
FAILS = (
    "Rare attributes and combinations are edited worst, and need not look it. In the CelebA files measured here 365 of "
    "9,682 faces are labelled Mustache, and none of the 5,598 that are labelled not Male: no example says what "
    "Mustache set to 1 should make of those.",
    "Rows that could each be real can together be a collapse. Only an evaluation sees that, so read the verdict before "
    "any picture.",
)
TERMS = (
    "CelebA may be used for non-commercial research only, and what is learned from it falls under its terms. "
    "Embeddings of faces identify people: treat them as the pictures.",
)
SECTIONS = (
    ("For", FOR),
    ("Not for", NOT_FOR),
    ("What an attribute is", MEANS),
    ("How an edit fails", FAILS),
    ("Data", TERMS),
)
"""Everything, under its headings."""


def brief() -> str:
    """What a README has room for, as Markdown."""
    banned = "; ".join(line[0].lower() + line[1:].rstrip(".") for line in NOT_FOR)
    lines = (f"Not for {banned}.", MEANS[0], FAILS[0], TERMS[0])
    return f"{NOTICE}\n\n" + "".join(f"- {line}\n" for line in lines)


def markdown(level: int = 2) -> str:
    """The sections, with headings of a level."""
    parts = [f"{'#' * level} {title}\n\n" + "".join(f"- {line}\n" for line in lines) for title, lines in SECTIONS]
    return "\n".join(parts)
