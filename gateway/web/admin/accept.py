"""What an `Accept` header asks for (RFC 9110 section 12.5.1)."""

from __future__ import annotations


def accepts(header: str | None, media_type: str) -> bool:
    """Whether a media type is acceptable: the most specific range that covers it decides; `q=0` excludes.

    No header, or an empty one, accepts everything. What is no range covers nothing.
    """
    if header is None or not header.strip():
        return True
    kind = media_type.partition("/")[0]
    weights: dict[str, float] = {}
    for part in header.split(","):
        spelled, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights[spelled] = max(weights.get(spelled, 0.0), _weight(parameters))
    for range_ in (media_type, f"{kind}/*", "*/*"):
        if range_ in weights:
            return weights[range_] > 0
    return False


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0
