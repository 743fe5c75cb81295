"""A text classifier in ONNX form, run by onnxruntime (an extra: ``pip install llm-enforcer[onnx]``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOKENS_MAX = 512


class OnnxClassifier:
    """
    How likely a text is an attack, 0 to 1, as a model says.

    The model takes ``input_ids`` of shape (1, n), and ``attention_mask`` and ``token_type_ids`` where it names them; it
    gives logits of shape (1, 1), of which the sigmoid is taken, or (1, k), of which the softmax is.

    Args:
        model: The bytes of the ONNX file.
        encode: From a text to the model's token ids; its tokenizer.
        attack: Index of the class that stands for an attack.

    Raises: ConfigError, if onnxruntime is not installed or the model cannot be used so.
    """

    def __init__(
        self, model: bytes, encode: Callable[[str], Sequence[int]], *, attack: int = 1
    ) -> None:
        try:
            import numpy as np  # noqa: PLC0415 — an extra
            import onnxruntime  # type: ignore[import-untyped,unused-ignore] # noqa: PLC0415 — an extra
        except ImportError as error:
            raise ConfigError(
                "onnxruntime is not installed", help="pip install 'llm-enforcer[onnx]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ConfigError(
                "the classifier is no ONNX model", help="give the bytes of a .onnx file"
            ) from error
        self._np: Any = np
        self._encode = encode
        self._attack = attack
        self._inputs = [each.name for each in self._session.get_inputs()]
        if "input_ids" not in self._inputs:
            raise ConfigError(
                f"the classifier's inputs are {self._inputs}", help="one must be `input_ids`"
            )

    def __call__(self, text: str) -> float:
        """The model's probability of an attack. A long text is judged by windows; the highest counts."""
        ids = list(self._encode(text)) or [0]
        return max(
            self._window(ids[at : at + TOKENS_MAX]) for at in range(0, len(ids), TOKENS_MAX // 2)
        )

    def _window(self, ids: list[int]) -> float:
        made = self._np.array([ids], dtype=self._np.int64)
        known = {
            "input_ids": made,
            "attention_mask": self._np.ones_like(made),
            "token_type_ids": self._np.zeros_like(made),
        }
        (logits,) = self._session.run(None, {name: known[name] for name in self._inputs})[0]
        values = [float(value) for value in logits]
        if len(values) == 1:
            return 1 / (1 + math.exp(-max(-60.0, min(60.0, values[0]))))
        highest = max(values)
        powers = [math.exp(value - highest) for value in values]
        return powers[self._attack] / sum(powers)
