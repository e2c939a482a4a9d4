"""Which language a text is written in."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

KNOWN = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "ja", "zh", "ko", "ru")
DEFAULT = "en"
ENOUGH = 1_500
"""Characters that are looked at."""

LEAST = 40
"""Of shorter texts nothing can be said."""


def language_of(text: str) -> str:
    """ISO 639-1 of the language that most of `text` is written in; English where it is too short to say."""
    letters = "".join(char for char in text[:ENOUGH] if char.isalpha() or char.isspace())
    if len(letters.split()) < 2 and letters.isascii():
        return DEFAULT
    if len(letters) < LEAST and letters.isascii():
        return DEFAULT
    language, _ = _identifier().classify(letters)
    return str(language)


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(KNOWN))
    return identifier
