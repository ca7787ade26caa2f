"""The releases of the host and the rules of their boards, copied from the contract by hand."""

from itertools import product

RELEASES_OF = {
    "F1": "1.0.0 1.0.1 1.0.2 1.0.3",
    "F2": "2.1.0 2.1.1 2.1.2 2.1.3 3.0.0 3.0.1 3.0.2 3.0.3",
    "M0": "3.1.0",
    "M1": "3.1.1 3.1.2 3.1.4 3.1.5 3.1.6 3.1.7 3.1.8 3.1.9 3.1.10",
    "M2": "3.2.0 3.2.1",
    "M3": "3.2.2 3.2.3 3.2.4 3.2.5",
    "M4": "3.2.6 3.2.6.1 3.2.6.2 3.2.7 4.0.0rc1 4.0.0rc2 4.0.0rc3 4.0.0rc4",
    "M5": "4.0.0rc5 4.0.0rc6 4.0.0rc7",
}
"""Every dialect with its releases, oldest first."""
RELEASES = {release: name for name, all_of in RELEASES_OF.items() for release in all_of.split()}
"""Every release with the API, and its dialect."""
SAMPLE = ("1.0.3", "3.0.3", "3.1.0", "3.1.10", "3.2.1", "3.2.3", "3.2.5", "3.2.7", "4.0.0rc7")
"""One release of each dialect; two where a verb was added inside."""
CONTRACTS = {
    "1.1.0": "3.2.2",
    "1.2.0": "3.2.4",
    "1.4.0": "3.2.6",
    "1.5.0": "3.2.7",
    "1.6.0": "4.0.0rc4",
    "1.8.0": "4.0.0rc5",
    "1.14.0": "4.0.0rc6",
    "1.16.0": "4.0.0rc7",
}
"""Every contract version that identifies the host, and the oldest release that has it."""

_F1 = """
planned > in_progress
in_progress > for_review
for_review > in_progress planned : review_ref
for_review > done
planned in_progress for_review done blocked canceled > blocked canceled
"""
_COMMON = """
planned > claimed
claimed > in_progress
in_progress > for_review
in_progress > planned : note
in_progress > approved : evidence
approved > done : evidence
approved > in_progress planned : review_ref
planned claimed in_progress for_review approved > blocked canceled
blocked > in_progress canceled
"""
_FOR_REVIEW = """
for_review > in_progress planned : review_ref
for_review > approved done : evidence
"""
_IN_REVIEW = """
for_review > in_review
in_review > approved done in_progress planned blocked canceled : review_result
"""


def _edges(table: str) -> dict[tuple[str, str], str]:
    found = {}
    for line in table.strip().splitlines():
        moves, _, guard = line.partition(" : ")
        before, _, after = moves.partition(" > ")
        found |= dict.fromkeys(product(before.split(), after.split()), guard.strip())
    return found


EDGES = {
    "F1": _edges(_F1) | {(a, a): "" for a in ("planned", "in_progress", "for_review", "done")},
    **{name: _edges(_COMMON + _FOR_REVIEW) for name in ("F2", "M0")},
    **{name: _edges(_COMMON + _IN_REVIEW) for name in ("M1", "M2", "M3", "M4", "M5")},
}
"""Every move that a board allows without force, with the evidence that its rule needs."""
OPTIONLESS = {
    "F2": {"evidence"},
    **{name: {"review_result"} for name in ("M1", "M2", "M3")},
}
"""The evidence of rules for which a dialect's command line has no option."""
