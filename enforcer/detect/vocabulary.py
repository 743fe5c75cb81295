"""
Which vocabulary a model counts in, and how sure that is.

A model whose vocabulary splintr-rs ships counts exactly. Any other model counts in the nearest
vocabulary times a factor, and says ``estimated`` with a bound. The bound is the relative error
that at least nine texts in ten of ordinary prose and code stay within; it is a stated assumption
for families that publish no vocabulary, and no promise for texts chosen to defeat it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import re2
from splintr import AnyTokenizer, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """
    How a model's text is counted.

    Attributes:
        name: The vocabulary's name in splintr-rs.
        permille: Tokens of the model per 1,000 tokens of that vocabulary.
        error_bound: 0.0 where the vocabulary is the model's own, else the relative error stated.
        chat: Which chat template adds to the texts: a key of ``chat.OVERHEADS``.
    """

    name: str
    permille: int = 1000
    error_bound: float = 0.0
    chat: str = "openai"

    @property
    def exact(self) -> bool:
        """Whether this is the model's own vocabulary."""
        return self.error_bound == 0.0


UNKNOWN = Vocabulary("o200k_base", 1150, 0.4, "openai")

# OpenAI's vocabularies of 50,000 words are not shipped. They are near the next one on English prose, and count more on code, whose
# blanks they take one by one, and on other languages; the bound is stated, not measured.
OLDER = Vocabulary("cl100k_base", 1100, 0.4, "none")
OLDER_NAMES = frozenset({"p50k_base", "p50k_edit", "r50k_base", "gpt2"})

# Read from top to bottom; the first pattern found in the bare model name wins. Names are lower
# case, without the route to the model ("accounts/fireworks/models/", "us.meta.") before them.
_FAMILIES: tuple[tuple[str, Vocabulary], ...] = (
    # OpenAI, by its own table of models (openai/tiktoken, tiktoken/model.py).
    (r"^gpt-oss", Vocabulary("o200k_base", chat="harmony")),
    (r"^(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o[134](?:-|$))", Vocabulary("o200k_base")),
    (r"^(?:gpt-4|gpt-3\.5|gpt-35|text-embedding-(?:ada-002|3-))", Vocabulary("cl100k_base")),
    (r"^(?:davinci|babbage)-002", Vocabulary("cl100k_base", chat="none")),
    (r"^(?:text-|code-)?(?:davinci|curie|babbage|ada|cushman)(?:-|$)|^gpt-?2(?:-|$)", OLDER),
    (r"^(?:gpt-|chatgpt|codex|computer-use)", Vocabulary("o200k_base", 1000, 0.1)),
    # Meta. Llama 4 has a vocabulary of its own that is not shipped.
    (r"code-?llama", Vocabulary("codellama", chat="llama2")),
    (r"llama-?(?:v?4|guard-4)", Vocabulary("o200k_base", 1000, 0.1, "llama3")),
    (r"llama-?v?2|tinyllama|vicuna", Vocabulary("llama2", chat="llama2")),
    (r"llama-?(?:v?3|guard-3)|hermes-3-llama", Vocabulary("llama3", chat="llama3")),
    # Distilled models keep the vocabulary of the model they were distilled into.
    (r"deepseek-r1-distill-llama", Vocabulary("llama3", chat="llama3")),
    (r"deepseek-r1-distill-qwen", Vocabulary("qwen3", chat="chatml")),
    (r"deepseek|^r1(?:-|$)|^v3(?:\.|-|$)", Vocabulary("deepseek_v3", chat="deepseek")),
    # Mistral, where the vocabulary of a release is published; its moving names are estimates.
    (
        r"mistral-nemo|ministral|pixtral-12b|magistral-small|devstral-small",
        Vocabulary("mistral_v3", chat="mistral"),
    ),
    (r"mistral-small-(?:24b|25|3)", Vocabulary("mistral_v3", chat="mistral")),
    (
        r"mistral-7b.*v0\.3|mixtral-8x22b|codestral-(?:22b|2405)|mathstral",
        Vocabulary("mistral_v2", chat="mistral"),
    ),
    (r"mistral-7b|mixtral-8x7b|zephyr-7b", Vocabulary("mistral_v1", chat="mistral")),
    (
        r"mistral|mixtral|codestral|pixtral|devstral|magistral|voxtral",
        Vocabulary("mistral_v3", 1000, 0.1, "mistral"),
    ),
    # Google. Gemini 2 counts with Gemma 3's vocabulary by Google's own local tokenizer; that one
    # is twenty times slower here than o200k, which a bound of 15 % covers on prose and code.
    (r"gemma-?4", Vocabulary("gemma4", chat="gemma")),
    (r"gemma-?3", Vocabulary("gemma3", chat="gemma")),
    (r"gemma", Vocabulary("gemma2", chat="gemma")),
    (r"gemini|palm|bison", Vocabulary("o200k_base", 1030, 0.15, "none")),
    # Others that publish theirs.
    (
        r"qwen-?(?:3\.[5-9]|[4-9])|qwen-vl|qwen-(?:max|plus|turbo|long)",
        Vocabulary("qwen3", 1000, 0.1, "chatml"),
    ),
    (r"qwen|qwq|qvq", Vocabulary("qwen3", chat="chatml")),
    (r"glm-4", Vocabulary("glm4", chat="glm")),
    (r"kimi-k3", Vocabulary("kimi_k3", chat="kimi")),
    (r"kimi-k2|moonlight", Vocabulary("kimi_k2", chat="kimi")),
    (r"phi-?4(?:-|:|$)", Vocabulary("phi4", chat="chatml")),
    (r"olmo-?2", Vocabulary("olmo2", chat="chatml")),
    (r"glm|kimi|moonshot", Vocabulary("o200k_base", 1050, 0.2, "chatml")),
    # Anthropic publishes no vocabulary since Claude 3. Its counts run above cl100k's, most on
    # code and on scripts other than Latin; from Opus 4.7 on a finer vocabulary counts more still.
    (
        r"claude-(?:opus-4-[7-9]|opus-[5-9]|sonnet-[5-9]|fable|mythos)",
        Vocabulary("cl100k_base", 1450, 0.35, "none"),
    ),
    (r"claude", Vocabulary("cl100k_base", 1180, 0.25, "none")),
)
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 64 << 20
_PATTERNS = tuple((re2.compile(pattern, _OPTIONS), found) for pattern, found in _FAMILIES)

# A route names who serves the model, or where: it says nothing about the vocabulary.
_ROUTE = re2.compile(
    r"^(?:ft:|@cf/|.*/|(?:us|eu|apac|global|us-gov|jp|au)\.)*"
    r"(?:(?:openai|anthropic|meta|mistral|deepseek|qwen|google|cohere|amazon|moonshot|zai)\.)?",
    _OPTIONS,
)


@lru_cache(maxsize=1024)
def vocabulary_of(model: str, provider: str = "") -> Vocabulary:
    """
    The vocabulary a model counts in; ``UNKNOWN`` for a model nothing is known about.

    The provider decides only where the model's name alone does not (Azure's ``gpt-35-turbo``
    needs no help; a deployment named ``prod`` cannot be helped).
    """
    name = model.lower()
    route = _ROUTE.match(name)
    bare = name[route.end() :] if route else name
    for pattern, found in _PATTERNS:
        if pattern.search(bare):
            return found
    if provider.lower() == "anthropic":
        return Vocabulary("cl100k_base", 1180, 0.25, "none")
    return UNKNOWN


class UnknownVocabularyError(ValueError):
    """A vocabulary that is not shipped was named."""


# tiktoken's names of what splintr-rs calls otherwise.
_OTHER_NAMES = {"cl100k": "cl100k_base", "o200k": "o200k_base"}


def named(name: str) -> str:
    """
    The name of a vocabulary that is shipped.

    Raises: UnknownVocabularyError, for any other.
    """
    found = _OTHER_NAMES.get(name, name)
    try:
        encoder(found)
    except (ValueError, KeyError):
        raise UnknownVocabularyError(f"no vocabulary is called `{name[:64]}`") from None
    return found


# A dict, for who starts again wants to know which they were. There are no more than are shipped.
_TOKENIZERS: dict[str, AnyTokenizer] = {}


def _tokenizer(name: str) -> AnyTokenizer:
    found = _TOKENIZERS.get(name)
    if found is None:
        found = _TOKENIZERS[name] = Tokenizer.from_pretrained(name)
    return found


def encoder(name: str) -> Callable[[str], list[int]]:
    """
    The function of a vocabulary: text to token ids, no special token ever recognised.

    ``encode_ordinary`` because prompts are untrusted: ``<|endoftext|>`` typed by a user is seven
    tokens of text to the provider, not one of control. Loaded at first sight: 20 to 40 MB, 0.1 s.

    Raises: ValueError or KeyError for a vocabulary that is not shipped.
    """
    encode: Callable[[str], list[int]] = _tokenizer(name).encode_ordinary
    return encode


def loaded() -> frozenset[str]:
    """The vocabularies that this process has loaded."""
    return frozenset(_TOKENIZERS)


# Of tiktoken's form, whose special tokens are all spelled so, and which add no token at either end.
_MARKED = frozenset({"o200k_base", "cl100k_base", "llama3"})
_MARK = "<|"
_ID_BYTES = 4


@lru_cache(maxsize=32)
def counter(name: str) -> Callable[[str], int]:
    """
    The tokens of a text, as many as ``encoder`` gives.

    Where every special token begins with ``<|`` a text without that mark holds none. Then it does not matter that ids
    in one buffer, which take two thirds of the time of a list of numbers, come with special tokens recognised.

    Raises: As ``encoder``.
    """
    encode, encode_flat = encoder(name), _tokenizer(name).encode_flat
    if name not in _MARKED or any(_MARK not in each for each in _tokenizer(name).special_tokens()):
        return lambda text: len(encode(text))

    def count(text: str) -> int:
        return len(encode(text)) if _MARK in text else len(encode_flat(text)) // _ID_BYTES

    return count
