"""
Prompts of ordinary words that never repeat.

What a prompt is made of decides what it costs: gibberish has ten times the tokens of prose. These are sentences of
common English words, inflected, with names and numbers among them: about 5 characters a token, as English has.
"""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Final

_COMMON: Final = (
    "the of and to in a is that for it as was with be by on not this are from at have which "
    "or an they you we has had their will its if what when can there all more about would so "
    "also some other only"
)
_VERBS: Final = (
    "accept add allow answer appear ask assign attach avoid begin believe borrow bring build "
    "buy call cancel carry change charge check choose collect combine compare complete "
    "confirm connect consider contain continue copy correct cost count cover create deliver "
    "depend describe design develop differ discover discuss divide draw earn enter estimate "
    "exchange expect explain export extend fail fill find finish follow forget gather grow "
    "happen help hold improve include increase inform install invest join keep know learn "
    "leave listen manage measure mention merge miss monitor move need notice offer open "
    "order organise own pay perform plan prepare present prevent print process produce "
    "protect prove provide publish reach read receive record reduce refer remain remember "
    "remove repair repeat replace report request require return review save search seem sell "
    "send separate serve share show solve start stop store suggest supply support test train "
    "translate travel treat update visit wait watch work write"
)
_NOUNS: Final = (
    "account address agreement amount area article balance bank benefit board book budget "
    "building bus business camera car case chance chapter child city claim class client "
    "cloud colleague column company computer contract cost country course customer data "
    "database date deal decision department design detail device difference doctor document "
    "door effect email employee energy engine error event example experience factor family "
    "feature figure file finding flight form friend function garden group growth guide "
    "health history holiday home hotel hour house idea image income index industry interest "
    "invoice island issue item journey kitchen language law lesson letter level library "
    "licence list loan location machine market material meeting member message method minute "
    "mistake model month morning museum name network number offer office opinion order page "
    "paper parent part partner payment people period person phone picture place plan point "
    "policy position practice price problem product profit program project property quality "
    "quarter question rate reason region reply research result risk river road room rule "
    "sale sample school science season section sentence server service shop side signal site "
    "size software solution source staff stage station step storage story street student "
    "subject summary supplier system table task teacher team test theory ticket time title "
    "topic town trade traffic trip unit user value version village voice warehouse water way "
    "week window winter word year"
)
_QUALITIES: Final = (
    "able active annual available average basic bright broad central cheap clean clear close "
    "cold common complex correct current daily deep different difficult direct early easy "
    "entire exact extra fair familiar final fine foreign free fresh full general good great "
    "happy hard heavy high important interesting internal large late left legal light likely "
    "local long low main major modern national natural new normal old open original past "
    "personal poor popular possible present previous private public quick quiet ready real "
    "recent regular right safe second serious short simple single small social special "
    "standard strong sure technical third total usual useful whole wide wrong young"
)
_NAMES: Final = (
    "Amsterdam Berlin Chicago Dublin Geneva Kyoto Lisbon London Madrid Oslo Paris Toronto "
    "Vienna Anna Carlos David Elena Fatima George Hannah Ivan Julia Kenji Laura Maria Nadia "
    "Oscar Peter Ruth Samuel Kafka Python Linux Monday Tuesday Thursday January March "
    "October December"
)


def _vocabulary() -> tuple[list[str], list[float]]:
    """Words, and their cumulative weights: half of any English text is a few dozen words."""
    verbs = [
        form for v in _VERBS.split() for form in (v, _joined(v, "s"), _joined(v, "ed"), _ing(v))
    ]
    nouns = [form for n in _NOUNS.split() for form in (n, _joined(n, "s"))]
    numbers = [str(n) for n in range(2, 100)]
    groups = (
        (_COMMON.split(), 0.46),
        (verbs, 0.16),
        (nouns, 0.22),
        (_QUALITIES.split(), 0.11),
        (_NAMES.split(), 0.03),
        (numbers, 0.02),
    )
    words = [word for group, _ in groups for word in group]
    weights = [share / len(group) for group, share in groups for _ in group]
    return words, list(accumulate(weights))


def _joined(stem: str, ending: str) -> str:
    if ending == "s" and stem.endswith("y") and stem[-2] not in "aeiou":
        return stem[:-1] + "ies"
    if ending == "ed" and stem.endswith("e"):
        return stem + "d"
    return stem + ending


def _ing(stem: str) -> str:
    return (stem.removesuffix("e")) + "ing"


class Prose:
    """A source of texts. Two with the same seed give the same texts in the same order."""

    def __init__(self, seed: int) -> None:
        """Begin with a vocabulary of about 1,500 forms."""
        self._rng = random.Random(f"prose-{seed}")  # noqa: S311 — prompts, not secrets
        self._words, self._weights = _vocabulary()
        self._serial = 0
        self._seed = seed

    def text(self, characters: int) -> str:
        """A text of about *characters*, with a serial number in it that no other text has."""
        self._serial += 1
        rng = self._rng
        # 6.05 characters a word, the space included, was counted.
        words = rng.choices(
            self._words, cum_weights=self._weights, k=max(1, int(characters / 6.05))
        )
        at, length = 0, len(words)
        sentences = [f"Ticket {self._seed}-{self._serial}."]
        while at < length:
            end = at + rng.randint(7, 18)
            sentence = " ".join(words[at:end])
            sentences.append(f"{sentence[0].upper()}{sentence[1:]}.")
            at = end
        return " ".join(sentences)
